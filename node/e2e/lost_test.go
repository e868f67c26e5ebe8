package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// onePaid is what a call of 100 words costs: 10 tokens in, 100 out.
const onePaid = 10*0.000001 + 100*0.00001

// spendAll makes calls of 100 words with a key through nodes in turn until all of
// them refuse, and returns what was paid for those that were answered.
func spendAll(t *testing.T, key string, nodes ...*node) (paid float64) {
	t.Helper()
	open := len(nodes)
	refused := map[*node]bool{}
	for i := 0; open > 0; i++ {
		n := nodes[i%len(nodes)]
		if refused[n] {
			continue
		}
		a := n.chat(t, key, "gpt", "fake:words=100", `"max_tokens":100`)
		switch a.status {
		case 200:
			paid += onePaid
		case 429, 503: // 503: there may be more, and nobody can tell without the others
			if code := a.get("error.code").String(); a.status == 503 && code != "state_behind" && code != "admission_unavailable" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			refused[n] = true
			open--
		default:
			t.Fatalf("%d %s", a.status, a.body)
		}
		if i > 10000 {
			t.Fatal("the budget does not end")
		}
	}
	return paid
}

func TestALostMajorityIsRecoveredFromTheNodeThatIsLeft(t *testing.T) {
	t.Parallel()
	const budget = 0.1
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, fmt.Sprintf(`"max_budget":%v`, budget))
	free := c.nodes[1].newKey(t, "")
	var paid float64
	for i := range 12 {
		if a := c.nodes[i%3].chat(t, key, "gpt", "fake:words=100", `"max_tokens":100`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		paid += onePaid
	}
	ofLost := c.nodes[1].chat(t, free, "gpt", "hi", "").get("id").String()
	left, off, gone := c.nodes[0], c.nodes[1], c.nodes[2]
	off.kill()
	gone.kill()
	if err := os.RemoveAll(gone.o.dir); err != nil {
		t.Fatal(err)
	}

	// What is left serves what it knows and takes no changes.
	eventually(t, formWithin, "the node that is left knows that it is", func() error {
		s, err := left.status()
		if err == nil && s.Quorum {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	if a := left.chat(t, free, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("a known key without a majority: %d %s", a.status, a.body)
	}
	refusedForLackOfQuorum(t, left, "/key/generate", "{}")
	status, said := run(t, options{}, "recover", "--data-dir", left.o.dir)
	sentence(t, status, said, "in use")

	// The documented steps.
	left.stop()
	status, said = run(t, options{}, "recover", "--data-dir", left.o.dir)
	if status != 0 {
		t.Fatalf("recover: %d\n%s", status, said)
	}
	for _, w := range []string{"Recovered generation 1", "node-2", "node-3", "tollgate serve --data-dir " + left.o.dir, "rm -r DIR/raft DIR/cluster"} {
		if !strings.Contains(said, w) {
			t.Errorf("recover does not say %q:\n%s", w, said)
		}
	}
	left.again()
	alone := &cluster{t: t, o: c.o, nodes: []*node{left}}
	unchanged(t, alone, 1)
	if s, err := left.status(); err != nil || s.Generation != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if a := left.chat(t, free, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("a key from before: %d %s", a.status, a.body)
	}
	fresh := left.newKey(t, "")

	// A lost node that comes back with what it knew is refused, and in one line
	// hears how it may come.
	refusedLine(t, off.o, "recovered without this node")
	unchanged(t, alone, 1)
	for _, name := range []string{"raft", "cluster"} {
		if err := os.RemoveAll(filepath.Join(off.o.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	off.o.command = []string{"join", left.o.cluster, "--token", left.token(t)}
	off.again()
	off.o.command = nil
	alone.nodes = append(alone.nodes, off)
	alone.o.wire = nil
	alone.join()
	unchanged(t, alone, 3)
	off.row(t, ofLost) // its ledger was kept
	for _, n := range alone.nodes {
		if a := n.chat(t, fresh, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("a key made after the recovery: %d %s", a.status, a.body)
		}
	}
	// No cent twice: what the lost nodes held of the budget counts as spent.
	paid += spendAll(t, key, alone.nodes...)
	if paid > budget+1e-9 {
		t.Errorf("%v of %v was spent", paid, budget)
	}
	t.Logf("%.4f of %v could be spent", paid, budget)
	leader := alone.leader()
	leader.kill()
	alone.leader()
	leader.again()
	unchanged(t, alone, 3)
}
