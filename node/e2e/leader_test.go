package e2e

import (
	"fmt"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// replacedWithin is when a spare votes in place of a node that is gone at the
// latest: dead for 30 s, stable for 30 s, and a few rounds of the planner.
const replacedWithin = 3 * time.Minute

func TestAKilledLeaderFailsNoCallOnTheOthersAndComesBack(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	leader := c.leader()
	key := leader.newKey(t, "")
	var loads []*traffic
	for _, n := range c.followers() {
		load := traffics(t, n, key, 4, 5, 20)
		load.moves(t, 50, 5)
		loads = append(loads, load)
	}
	survivor := c.followers()[0]
	leader.kill()
	at := time.Now()
	var fresh string
	eventually(t, formWithin, "a key can be made", func() error {
		a, err := survivor.call("POST", "/key/generate", masterKey, "{}")
		if err != nil {
			return err
		}
		if a.status != 200 {
			if a.status != 503 || a.header.Get("Retry-After") == "" {
				t.Errorf("without a leader the answer is %d %s, want 503 with retry-after", a.status, a.body)
			}
			return fmt.Errorf("%d %s", a.status, tail(a.body, 200))
		}
		fresh = a.get("key").String()
		return nil
	})
	t.Logf("management calls work %s after the kill", time.Since(at))
	for _, load := range loads {
		load.moves(t, 100, 10)
	}
	leader.again()
	c.waitFormed()
	if a := leader.chat(t, fresh, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("the node that came back does not know the key made meanwhile: %d %s", a.status, a.body)
	}
	for _, load := range loads {
		load.moves(t, 50, 5)
		load.end()
		if failed := load.wrong(time.Time{}); len(failed) > 0 {
			t.Errorf("%d calls to a surviving node failed, first: %+v", len(failed), failed[0])
		}
	}
}

func TestAVoterThatIsGoneForGoodIsReplacedByASpare(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 4, clusterOptions{config: configFor(f, ""), regions: []string{"eu-west"}})
	list, err := c.leader().members()
	if err != nil {
		t.Fatal(err)
	}
	var gone, spare int
	for i, n := range c.nodes {
		m, _ := find(list, nameOf(i))
		switch {
		case m.Raft == "non-voter":
			spare = i
		case m.Raft == "voter" && n != c.leader():
			gone = i
		}
	}
	c.nodes[gone].kill()
	eventually(t, replacedWithin, "the spare votes and the dead one does not", func() error {
		list, err := c.leader().members()
		if err != nil {
			return err
		}
		s, _ := find(list, nameOf(spare))
		g, _ := find(list, nameOf(gone))
		if s.Raft != "voter" && s.Raft != "leader" || g.Raft == "voter" {
			return fmt.Errorf("the spare is %+v, the dead one %+v", s, g)
		}
		return nil
	})
	if status, out := run(t, options{}, "forget", nameOf(gone), "--yes", "--addr", c.living()[0].url); status != 0 {
		t.Errorf("forget: %d %s", status, out)
	}
	eventually(t, formWithin, "the dead one is off the list", func() error {
		list, err := c.leader().members()
		if m, ok := find(list, nameOf(gone)); err != nil || ok && m.State != "left" {
			return fmt.Errorf("%+v %v", m, err)
		}
		return nil
	})
}

func TestLeadershipIsHandedOverByCommand(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	old := c.leader()
	if status, out := run(t, options{}, "transfer-leadership", "--addr", c.followers()[0].url); status != 0 {
		t.Fatalf("%d %s", status, out)
	}
	eventually(t, formWithin, "another leads", func() error {
		if c.leader() == old {
			return fmt.Errorf("%s still leads", nameOf(c.index(old)))
		}
		return nil
	})
}
