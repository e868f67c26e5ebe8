package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/health"
)

func TestOthersWorkIsThatOfThisMinute(t *testing.T) {
	w := newWorld(t, "eu", "eu", "us")
	for i, n := range w.nodes {
		n.UsageFrom(func(yield func(health.Usage) bool) {
			_ = yield(health.Usage{Deployment: "a", Minute: w.now.Truncate(time.Minute), Requests: int64(10 + i), Tokens: 1000, InFlight: 2}) &&
				yield(health.Usage{Deployment: "old", Minute: w.now.Add(-2 * time.Minute), Requests: 9, Tokens: 9, InFlight: 1}) &&
				yield(health.Usage{Deployment: "idle", Minute: w.now})
		})
	}
	require.Zero(t, w.nodes[0].Others("a"))
	w.pass(2 * time.Second)
	require.Equal(t, health.Work{Requests: 11 + 12, Tokens: 2000, InFlight: 4}, w.nodes[0].Others("a"))
	require.Equal(t, health.Work{InFlight: 2}, w.nodes[0].Others("old"), "counts of a minute that is over are none")
	require.Zero(t, w.nodes[0].Others("idle"))
	require.Len(t, w.nodes[0].Figures(), 2)

	w.nodes[1].dead, w.nodes[2].dead = true, true
	w.pass(7 * time.Second)
	require.Zero(t, w.nodes[0].Others("a"), "who is silent has nothing in flight")
}

func TestCountsEndWithTheirMinute(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	n := w.nodes[0]
	n.MergeFigures("node1", "eu", 1, 1, []health.Figures{{ID: w.nodes[1].figureID("a"), Requests: 5, InFlight: 1, Age: 57 * time.Second}})
	n.Tick()
	require.Equal(t, health.Work{Requests: 5, InFlight: 1}, n.Others("a"))
	w.now = w.now.Add(3 * time.Second)
	n.Tick()
	require.Equal(t, health.Work{InFlight: 1}, n.Others("a"))
	n.MergeFigures("node1", "eu", 1, 0, []health.Figures{{ID: w.nodes[1].figureID("a"), Requests: 50}})
	n.Tick()
	require.Equal(t, health.Work{InFlight: 1}, n.Others("a"), "an older word does not replace a newer one")
}

// figureID is a deployment's id as figures name it.
func (n *worldNode) figureID(deployment string) health.ID {
	n.UsageFrom(func(yield func(health.Usage) bool) { yield(health.Usage{Deployment: deployment, InFlight: 1}) })
	return n.Figures()[0].ID
}

func TestSpeedIsPerTokenAndToTheFirst(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	for range 30 {
		w.nodes[1].Report(health.Observation{Deployment: "a", Latency: 2 * time.Second, Tokens: 100})
		w.nodes[1].Report(health.Observation{Deployment: "a", FirstToken: 300 * time.Millisecond}) // a stream
	}
	w.pass(2 * time.Second)
	for _, n := range w.nodes {
		got := n.Latency("a")
		require.Equal(t, 20*time.Millisecond, got.PerToken)
		require.Equal(t, 300*time.Millisecond, got.FirstToken)
		require.Equal(t, 2*time.Second, got.Mean)
	}
	require.True(t, w.nodes[0].Latency("a").Regional)
}
