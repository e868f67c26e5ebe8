package sim_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
	"tollgate/cluster/sim"
	"tollgate/config/unit"
)

// TestRegionCutOff holds what each side of a cut can do against what is promised:
// two nodes in each of three regions, the region of the leader or another one is
// cut off, in both directions or in one, for moments or minutes.
func TestRegionCutOff(t *testing.T) {
	type cut struct {
		name string
		do   func(n *sim.Net, side ...string)
		// The side still gets what the others send; they still get what it sends.
		hears, heard bool
	}
	cuts := []cut{
		{"both ways", func(n *sim.Net, side ...string) { n.Isolate(sim.Everything, side...) }, false, false},
		{"it is not heard", func(n *sim.Net, side ...string) { n.Mute(sim.Everything, side...) }, true, false},
		{"it does not hear", func(n *sim.Net, side ...string) { n.Deafen(sim.Everything, side...) }, false, true},
	}
	for _, c := range cuts {
		for _, withLeader := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, leader inside %v", c.name, withLeader), func(t *testing.T) {
				forSeeds(t, 2, 5, func(t *testing.T, seed uint64) {
					w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us", "ap"}, net: sim.Config{Jitter: 0.1}})
					cutOff(w, c.do, c.hears, c.heard, withLeader)
				})
			})
		}
	}
}

func cutOff(w *world, do func(n *sim.Net, side ...string), hears, heard, withLeader bool) {
	t := w.t
	l := w.theLeader()
	region := l.region
	if !withLeader {
		for _, h := range w.hosts {
			if h.region != l.region {
				region = h.region
			}
		}
	}
	side := w.in(region)
	others := w.except(side...)

	// Something to work with: keys, and credit on the side.
	require.Equal(t, 200, others[0].manage("", "POST", "/key/generate", map[string]any{"key": "sk-known"}).status)
	require.Equal(t, 200, others[0].manage("", "POST", "/key/generate", map[string]any{"key": "sk-budget", "max_budget": 1}).status)
	time.Sleep(5 * time.Second)
	for range 10 {
		require.NoError(t, side[0].spend("sk-budget", 1e6, 1e6))
		require.NoError(t, others[0].spend("sk-budget", 1e6, 1e6))
	}

	do(w.net, ids(side...)...)
	w.until(20*time.Second, "the others have a leader that knows the cut", func() bool {
		for _, h := range others {
			if h.IsLeader() && h.manage("", "POST", "/key/generate", map[string]any{"key": fmt.Sprint("sk-try-", time.Now().UnixNano())}).status == 200 {
				return true
			}
		}
		return false
	})
	time.Sleep(w.net.Between(0, 3*time.Second))

	// The majority goes on.
	require.Equal(t, 200, others[1].manage("", "POST", "/key/generate", map[string]any{"key": "sk-new"}).status)
	require.Equal(t, 200, others[1].manage("", "POST", "/key/block", map[string]any{"key": "sk-new"}).status)
	require.Nil(t, others[0].use("sk-known"))
	require.NoError(t, others[0].spend("sk-budget", 1e6, 1e6))

	// The side serves what it knows, and refuses what it cannot know for a reason
	// that is not the caller's.
	for _, h := range side {
		require.Nil(t, h.use("sk-known"))
		if no := h.use("sk-unheard-of"); no != nil {
			require.Equal(t, http.StatusServiceUnavailable, no.Status, no.Message)
		} else {
			t.Errorf("%s lets an unknown key in", h.name)
		}
		r := h.manage("", "POST", "/key/generate", map[string]any{"key": "sk-refused-" + h.name})
		require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
		switch {
		case heard: // what it sends may be done, and it cannot know
			require.Contains(t, []string{"no_quorum", "outcome_unknown"}, r.code, r.body)
		case !hears:
			require.Equal(t, "no_quorum", r.code, r.body)
		}
		if !hears {
			require.Greater(t, h.Staleness(), time.Second)
		}
		require.NotNil(t, h.local("sk-refused-"+h.name), "nothing of it is seen")
	}
	// Held credit is spent, then budgeted calls are refused.
	in := 0
	for range 200 {
		if side[0].spend("sk-budget", 10e6, 10e6) != nil {
			break
		}
		in++
	}
	require.Less(t, in, 100, "the whole budget was spent on a side without the bank")
	w.net.Note("the side spent %d times after the cut", in)

	// For moments, or until the planner has given its vote away.
	time.Sleep(w.net.Between(0, 2*time.Minute))
	if !hears {
		for _, h := range others {
			for _, m := range h.pool.Members() {
				for _, s := range side {
					if m.NodeID == s.id {
						require.Equal(t, gossip.Dead, m.State, "%s of %s", s.name, h.name)
					}
				}
			}
		}
	}
	l = w.leaderOf(others)
	term := l.Status().Term
	w.net.HealAll()

	w.until(time.Minute, "the side has caught up", func() bool {
		for _, h := range side {
			if h.local("sk-new") == nil || h.Applied() < l.Applied() || h.Staleness() > 3*time.Second {
				return false
			}
		}
		return true
	})
	time.Sleep(time.Minute)
	require.Equal(t, term, l.Status().Term, "the return disturbed the leader")
	require.True(t, l.IsLeader())
	require.Equal(t, 200, side[0].manage("", "POST", "/key/generate", map[string]any{"key": "sk-after"}).status)
	for _, h := range w.hosts {
		require.Nil(t, h.use("sk-after"))
		for _, m := range h.pool.Members() {
			require.Equal(t, gossip.Alive, m.State, "%s of %s", m.Name, h.name)
		}
	}
	for range 300 {
		if w.hosts[w.net.IntN(len(w.hosts))].spend("sk-budget", 10e6, 10e6) != nil {
			break
		}
	}
	w.agree()
	require.LessOrEqual(t, w.booked("sk-budget"), unit.Money(1e9))
	require.Greater(t, w.booked("sk-budget"), unit.Money(9e8), "credit was lost")
}

// leaderOf is who leads among some.
func (w *world) leaderOf(hosts []*host) *host {
	w.t.Helper()
	for _, h := range hosts {
		if h.IsLeader() {
			return h
		}
	}
	w.t.Fatal("nobody leads")
	return nil
}
