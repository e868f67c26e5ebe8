package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

func TestThreeRegionsFormFromOneServeAndTwoJoins(t *testing.T) {
	f := fake.Start(t)
	c := &cluster{t: t, o: clusterOptions{config: configFor(f, ""), regions: threeRegions}}
	for i := range 3 {
		at := time.Now()
		if i == 0 {
			c.add(c.options(0, "serve"))
		} else {
			c.join()
		}
		t.Logf("%s was ready after %s", nameOf(i), time.Since(at))
	}
	c.waitFormed()
	for i, n := range c.nodes {
		list, err := n.members()
		if err != nil {
			t.Fatal(err)
		}
		for j, region := range threeRegions {
			m, ok := find(list, nameOf(j))
			if !ok || m.Region != region || m.State != "alive" || m.Self != (i == j) || m.Raft == "none" {
				t.Errorf("%s sees %s as %+v", nameOf(i), nameOf(j), m)
			}
		}
		// The config came from the first node: its models are served everywhere.
		if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%s: %d %s", nameOf(i), a.status, a.body)
		}
	}
}

func TestMachinesStartedAlikeFindEachOther(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := &cluster{t: t, o: clusterOptions{config: configFor(f, ""), regions: threeRegions}}
	var all []options
	var peers []string
	for i := range 3 {
		o := c.options(i)
		o.config = c.o.config
		all, peers = append(all, o), append(peers, o.cluster)
	}
	ready := make(chan *node, len(all))
	for i := range all {
		all[i].args = append(all[i].args, "--expect", "3", "--peers", strings.Join(peers, ","))
		n := prepare(t, all[i])
		n.begin()
		go func() {
			n.ready()
			ready <- n
		}()
		c.nodes = append(c.nodes, n)
	}
	for range all {
		<-ready
	}
	c.waitFormed()
	first, err := c.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes[1:] {
		s, err := n.status()
		if err != nil || s.ClusterID != first.ClusterID || s.Nodes != 3 {
			t.Errorf("%+v %v", s, err)
		}
	}
	// The same flags again are a restart.
	n := c.followers()[0]
	n.stop()
	n.again()
	c.waitFormed()
}

func TestTheWholeClusterStopsAndStartsAgain(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, "")
	for _, n := range c.nodes {
		n.kill()
	}
	for _, n := range c.nodes {
		n.begin()
	}
	for _, n := range c.nodes {
		n.ready()
	}
	c.waitFormed()
	for i, n := range c.nodes {
		if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%s after the restart of all: %d %s", nameOf(i), a.status, a.body)
		}
	}
}

func TestANodeThatLeavesIsGoneAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 4, clusterOptions{config: configFor(f, "")})
	leaver := c.nodes[3]
	if status, out := run(t, options{}, "leave", "--addr", leaver.url); status != 0 {
		t.Fatalf("leave: %d %s", status, out)
	}
	select {
	case <-leaver.dead:
	case <-time.After(stopWithin):
		t.Fatal("the node that left still runs")
	}
	eventually(t, formWithin, "nobody counts the one that left", func() error {
		for _, n := range c.living() {
			list, err := n.members()
			if err != nil {
				return err
			}
			if m, ok := find(list, nameOf(3)); ok && m.State != "left" {
				return fmt.Errorf("%+v", m)
			}
		}
		return nil
	})
	c.waitFormed()
}
