package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/network"
	"tollgate/proxy/clusterapi"
)

// formWithin bounds how long nodes may take until all know each other and the
// voters are chosen.
const formWithin = time.Minute

// clusterOptions say how a cluster is started.
type clusterOptions struct {
	config  string           // of the first node; the others get it from the cluster
	regions []string         // of the nodes in turn; none is three regions
	args    []string         // further flags of every node
	env     []string         // further variables of every node
	wire    *network.Network // hosts of their own; nil is the loopback device
}

// threeRegions are where nodes stand when a test does not care.
var threeRegions = []string{"eu-west", "us-east", "ap-south"}

// cluster is some nodes that agree.
type cluster struct {
	t     testing.TB
	o     clusterOptions
	nodes []*node
}

// startCluster starts one node and lets the others join it, each with a token of
// its own made by the real command. It returns when all see all alive and as many
// as should vote do.
func startCluster(t testing.TB, size int, o clusterOptions) *cluster {
	t.Helper()
	if o.regions == nil {
		o.regions = threeRegions
	}
	c := &cluster{t: t, o: o}
	c.add(c.options(0, "serve"))
	for i := 1; i < size; i++ {
		c.join()
	}
	c.waitFormed()
	return c
}

// options of node number i.
func (c *cluster) options(i int, command ...string) options {
	region := c.o.regions[i%len(c.o.regions)]
	o := options{command: command, env: c.o.env}
	if c.o.wire == nil {
		o.cluster = freePort(c.t)
		o.listen = freePort(c.t)
	} else {
		o.host = c.o.wire.Host(fmt.Sprintf("%s-%d", region, i+1))
		o.cluster = o.host.Addr() + ":7946"
		o.listen = o.host.Addr() + ":4000"
	}
	if i == 0 {
		o.config = c.o.config
	}
	o.args = append([]string{"--name", nameOf(i), "--region", region, "--advertise", o.cluster}, c.o.args...)
	return o
}

func nameOf(i int) string { return fmt.Sprintf("node-%d", i+1) }

func (c *cluster) add(o options) *node {
	c.t.Helper()
	n := start(c.t, o)
	// From now on the directory says what it is: a restart is a plain serve.
	n.o.command = nil
	c.nodes = append(c.nodes, n)
	return n
}

// join adds a node, through any living node's cluster port.
func (c *cluster) join() *node {
	c.t.Helper()
	door := c.living()[0]
	token := door.token(c.t)
	return c.add(c.options(len(c.nodes), "join", door.o.cluster, "--token", token))
}

// token makes a join token by the command, on the machine of a node.
func (n *node) token(t testing.TB, args ...string) string {
	t.Helper()
	status, out := run(t, options{host: n.o.host}, append([]string{"token", "create", "--addr", n.url}, args...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if status != 0 || last == "" || strings.Contains(last, " ") {
		t.Fatalf("token create ended with %d:\n%s", status, out)
	}
	return last
}

// alive reports whether the process runs.
func (n *node) alive() bool {
	select {
	case <-n.dead:
		return false
	default:
		return true
	}
}

// living are the nodes whose processes run.
func (c *cluster) living() []*node {
	var out []*node
	for _, n := range c.nodes {
		if n.alive() {
			out = append(out, n)
		}
	}
	return out
}

// status is what a node says of itself and the cluster.
func (n *node) status() (clusterapi.Status, error) {
	var s clusterapi.Status
	a, err := n.call("GET", "/cluster/status", masterKey, "")
	if err != nil {
		return s, err
	}
	if a.status != 200 {
		return s, fmt.Errorf("/cluster/status: %d %s", a.status, tail(a.body, 300))
	}
	return s, json.Unmarshal([]byte(a.body), &s)
}

// members is how the cluster seems from a node.
func (n *node) members() ([]clusterapi.Member, error) {
	a, err := n.call("GET", "/cluster/members", masterKey, "")
	if err != nil {
		return nil, err
	}
	if a.status != 200 {
		return nil, fmt.Errorf("/cluster/members: %d %s", a.status, tail(a.body, 300))
	}
	var list struct {
		Members []clusterapi.Member `json:"members"`
	}
	return list.Members, json.Unmarshal([]byte(a.body), &list)
}

// leader waits until the living nodes agree who leads, and returns that one.
func (c *cluster) leader() *node {
	c.t.Helper()
	var leader *node
	eventually(c.t, formWithin, "the living nodes agree on a leader", func() error {
		leader = nil
		named := ""
		for _, n := range c.living() {
			s, err := n.status()
			if err != nil {
				return err
			}
			if s.LeaderID == "" || named != "" && s.LeaderID != named {
				return fmt.Errorf("%s names %q, another %q", s.Name, s.LeaderID, named)
			}
			named = s.LeaderID
			if s.NodeID == named && s.State == "leader" {
				leader = n
			}
		}
		if leader == nil {
			return fmt.Errorf("%q is named by all and leads not", named)
		}
		return nil
	})
	return leader
}

// followers are the living nodes that do not lead.
func (c *cluster) followers() []*node {
	c.t.Helper()
	leader := c.leader()
	var out []*node
	for _, n := range c.living() {
		if n != leader {
			out = append(out, n)
		}
	}
	return out
}

// waitFormed waits until every living node sees all living nodes alive and ready,
// an odd number of them votes, and all have the same config.
func (c *cluster) waitFormed() {
	c.t.Helper()
	eventually(c.t, formWithin, "the cluster is whole", func() error {
		living := c.living()
		want := 1
		if len(living) >= 3 {
			want = 3
		}
		if len(living) >= 7 {
			want = 5
		}
		for _, n := range living {
			s, err := n.status()
			if err != nil {
				return err
			}
			if !s.Ready || s.Alive != len(living) || s.Voters < want || !s.Quorum || !s.ConfigAlike {
				return fmt.Errorf("%s says %+v", s.Name, s)
			}
		}
		return nil
	})
}

// find is a node's row in another's list, by name.
func find(list []clusterapi.Member, name string) (clusterapi.Member, bool) {
	for _, m := range list {
		if m.Name == name {
			return m, true
		}
	}
	return clusterapi.Member{}, false
}

// index is a node's number in the cluster.
func (c *cluster) index(n *node) int {
	for i, other := range c.nodes {
		if n == other {
			return i
		}
	}
	c.t.Fatal("that node is not of this cluster")
	return 0
}

// providerOn is an address at which every node of the cluster reaches a listener of
// the test: the loopback device, or a host of its own in the network.
func providerOn(t testing.TB, wire *network.Network) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	if wire == nil {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	} else {
		h := wire.Host("provider")
		ln, err = h.Listen("tcp", h.Addr()+":0")
	}
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
