package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/members"
	"tollgate/cluster/sim"
)

// voters are the hosts that vote, as one of them sees it.
func (w *world) voters(as *host) []*host {
	var out []*host
	for _, s := range as.Servers() {
		for _, h := range w.hosts {
			if h.id == s.ID && s.Voter {
				out = append(out, h)
			}
		}
	}
	return out
}

func regionsOf(hosts []*host) int {
	seen := map[string]bool{}
	for _, h := range hosts {
		seen[h.region] = true
	}
	return len(seen)
}

// TestVoterGoneForGoodIsReplacedAndSpreadComesBack kills the voter of a region
// for good: another node of that region takes its vote. Then the whole region
// goes: the vote moves elsewhere, and back when it returns.
func TestVoterGoneForGoodIsReplacedAndSpreadComesBack(t *testing.T) {
	forSeeds(t, 2, 8, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us", "ap"}, net: sim.Config{Jitter: 0.1, Loss: 0.01}})
		l := w.theLeader()
		time.Sleep(time.Minute)
		require.Len(t, w.voters(l), 3)
		require.Equal(t, 3, regionsOf(w.voters(l)))
		gone := w.voters(l)[w.net.IntN(3)]
		gone.stop()
		well := func(without ...*host) func() bool {
			return func() bool {
				l := w.leader()
				if l == nil || len(w.voters(l)) != 3 {
					return false
				}
				for _, v := range w.voters(l) {
					for _, o := range without {
						if v == o {
							return false
						}
					}
				}
				return regionsOf(w.voters(l)) == regionsOf(w.except(without...))
			}
		}
		w.until(2*time.Minute, "a spare has the vote", well(gone))

		gone.start()
		time.Sleep(2 * time.Minute)
		require.True(t, well()(), "votes are spread")

		region := w.theLeader().region
		if w.net.Chance(0.5) {
			region = gone.region
		}
		side := w.in(region)
		w.net.Isolate(sim.Everything, ids(side...)...)
		w.untilSeen(3*time.Minute, "the vote of the region is elsewhere", w.except(side...), func(l *host) bool {
			for _, v := range w.voters(l) {
				if v.region == region {
					return false
				}
			}
			return len(w.voters(l)) == 3
		})
		w.net.HealAll()
		w.until(5*time.Minute, "the vote came back", well())
		before := w.voters(w.theLeader())
		time.Sleep(10 * time.Minute)
		require.Equal(t, before, w.voters(w.theLeader()), "and stays")
		w.agree()
	})
}

// untilSeen waits until the leader among some hosts finds a condition.
func (w *world) untilSeen(within time.Duration, what string, among []*host, ok func(l *host) bool) {
	w.t.Helper()
	w.until(within, what, func() bool {
		for _, h := range among {
			if h.run != nil && h.IsLeader() && ok(h) {
				return true
			}
		}
		return false
	})
}

// TestLeaderGoesWhereItShouldAndStays prefers a region: leadership gets there
// within two minutes of rest, also after failures, and does not wander.
func TestLeaderGoesWhereItShouldAndStays(t *testing.T) {
	forSeeds(t, 2, 8, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, prefer: "ap", net: sim.Config{Jitter: 0.1}})
		there := func() bool { l := w.leader(); return l != nil && l.region == "ap" }
		w.until(3*time.Minute, "the preferred region leads", there)
		term := w.theLeader().Status().Term
		time.Sleep(15 * time.Minute)
		require.Equal(t, term, w.theLeader().Status().Term, "and nobody else meanwhile")

		l := w.theLeader()
		l.stop()
		w.until(time.Minute, "another one leads", func() bool { return w.leader() != nil })
		time.Sleep(20 * time.Second)
		l.start()
		w.until(15*time.Minute, "it leads again", there)
		term = w.theLeader().Status().Term
		time.Sleep(15 * time.Minute)
		require.Equal(t, term, w.theLeader().Status().Term)
		w.agree()
	})
}

// TestWitnessKeepsTheMajorityAndDoesNotLead gives two regions a witness in a
// third: the cluster outlives either region, and the witness leads no longer
// than it has to.
func TestWitnessKeepsTheMajorityAndDoesNotLead(t *testing.T) {
	forSeeds(t, 2, 6, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "eu", "us", "us", "ap"}, roles: map[int]members.Role{4: members.RoleWitness}, net: sim.Config{Jitter: 0.1}})
		witness := w.hosts[4]
		time.Sleep(time.Minute)
		for _, region := range []string{w.theLeader().region, "eu", "us"} {
			require.Contains(t, w.voters(w.theLeader()), witness)
			require.Equal(t, 3, regionsOf(w.voters(w.theLeader())))
			for _, h := range w.in(region) {
				h.stop()
			}
			w.until(time.Minute, "the others write", func() bool {
				for _, h := range w.hosts[:4] {
					if h.run != nil && h.manage("", "POST", "/key/generate", map[string]any{}).status == 200 {
						return true
					}
				}
				return false
			})
			w.until(3*time.Minute, "the witness does not lead", func() bool { l := w.leader(); return l != nil && l != witness })
			w.mend()
			time.Sleep(5 * time.Minute)
		}
		w.agree()
	})
}

// TestNodeThatWasForgottenEndsAndIsMissedNowhere takes a dead node out, then a
// live one.
func TestNodeThatWasForgottenEndsAndIsMissedNowhere(t *testing.T) {
	forSeeds(t, 2, 6, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}})
		forget := func(gone *host) {
			var by *host
			for _, h := range w.except(gone, w.theLeader()) {
				if h.run != nil {
					by = h
				}
			}
			r, err := by.SubmitMembership(soon(t, time.Minute), &members.Command{Op: members.OpRemove, ID: gone.id, Why: "forgotten"})
			require.NoError(t, err)
			require.Empty(t, r.Refused)
		}
		dead := w.except(w.theLeader())[w.net.IntN(4)]
		dead.stop()
		time.Sleep(time.Minute)
		forget(dead)
		w.until(time.Minute, "raft has four nodes", func() bool {
			l := w.leader()
			return l != nil && l.Status().Members == 4 && len(w.voters(l)) == 3
		})
		live := w.theLeader() // forgotten while it leads
		forget(live)
		w.until(time.Minute, "the forgotten one has ended", func() bool {
			live.run.mu.Lock()
			defer live.run.mu.Unlock()
			return live.run.err != nil
		})
		require.ErrorIs(t, live.run.err, cluster.ErrRemoved)
		live.stop() // as its process does then
		w.untilSeen(2*time.Minute, "another one leads three nodes", w.except(live, dead), func(l *host) bool {
			return l.Status().Members == 3 && len(w.voters(l)) == 3
		})
		w.hosts = w.except(live, dead)
		w.agree()
	})
}
