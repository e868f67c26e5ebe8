package health_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/health"
	"tollgate/config/unit"
)

// world is several nodes with one time, or with clocks that disagree.
type world struct {
	t     testing.TB
	now   time.Time
	nodes []*worldNode
}

type worldNode struct {
	*health.View
	id, region string
	dead       bool
	seq        uint64
	sent       []health.Notice
}

func newWorld(t testing.TB, regions ...string) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	for i, r := range regions {
		w.add(fmt.Sprint("node", i), r, 0)
	}
	return w
}

func (w *world) add(id, region string, skew time.Duration) *worldNode {
	n := &worldNode{id: id, region: region}
	v, err := health.New(health.Config{
		Node: id, Incarnation: 1, Region: region, Peers: w.peers,
		Clock: unit.ClockFunc(func() time.Time { return w.now.Add(skew) }),
	})
	require.NoError(w.t, err)
	n.View = v
	v.OnNotice(func(x health.Notice) { n.sent = append(n.sent, x) })
	w.nodes = append(w.nodes, n)
	return n
}

func (w *world) peers() []health.Peer {
	var out []health.Peer
	for _, n := range w.nodes {
		if !n.dead {
			out = append(out, health.Peer{ID: n.id, Region: n.region})
		}
	}
	return out
}

// spread delivers what all have to say.
func (w *world) spread() {
	for _, n := range w.nodes {
		if n.dead {
			continue
		}
		n.seq++
		summaries, figures := n.Summaries(), n.Figures()
		for _, to := range w.nodes {
			if to != n && !to.dead {
				to.Merge(n.id, n.region, 1, n.seq, summaries)
				to.MergeFigures(n.id, n.region, 1, n.seq, figures)
			}
		}
		for _, x := range n.sent {
			for _, to := range w.nodes {
				if to != n && !to.dead {
					to.Adopt(x)
				}
			}
		}
		n.sent = nil
	}
}

// pass lets time go by, second by second.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		for _, n := range w.nodes {
			if !n.dead {
				n.Tick()
			}
		}
		w.spread()
	}
}

func (n *worldNode) report(deployment string, o health.Outcome, times int) {
	for range times {
		n.Report(health.Observation{Deployment: deployment, Credential: "cred", Outcome: o})
	}
}

func (n *worldNode) cooling(deployment string) bool {
	_, _, ok := n.Cooling(health.Ref{Deployment: deployment, Credential: "cred"})
	return ok
}

// closedAt is which nodes would not call the deployment.
func (w *world) closedAt(deployment string) (out []string) {
	for _, n := range w.nodes {
		if !n.dead && n.cooling(deployment) {
			out = append(out, n.id)
		}
	}
	return out
}
