package sim_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/sim"
	"tollgate/ledger/once"
)

// TestAtMostOneCallHasAKeyThroughKillsAndCuts sends every key through two nodes at
// once, again and again, while nodes lose power and the network is hurt. No
// provider is asked twice for a key unless it gave no answer, everybody is told the
// one answer, and in the end all nodes hold the same claims, byte by byte.
func TestAtMostOneCallHasAKeyThroughKillsAndCuts(t *testing.T) {
	forSeeds(t, 2, 6, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, net: sim.Config{Jitter: 0.1, Loss: 0.005}, speaks: cluster.FeatureClaims})
		w.age()
		c := newCalling(w)
		for i := range 4 {
			w.client(200*time.Millisecond, 2*time.Second, func(n int) {
				key := fmt.Sprintf("key-%d-%d", i, n/3) // three times each
				a, b := w.hosts[w.net.IntN(len(w.hosts))], w.hosts[w.net.IntN(len(w.hosts))]
				fails, lasts := w.net.Chance(0.1), w.net.Between(0, 3*time.Second)
				var both sync.WaitGroup
				for _, h := range []*host{a, b} {
					both.Go(func() { _, _ = c.take(h, key, fails, lasts) })
				}
				both.Wait()
			})
		}
		for range 8 {
			w.hurt()
			time.Sleep(w.net.Between(0, 15*time.Second))
		}
		w.rest()
		w.agree()
		require.Empty(t, c.twice)
		require.Empty(t, c.wrong)
		require.Greater(t, c.repeats, 20)
		// With everybody back, each key is answered alike by all, or by none: its call
		// may have been answered while its node lost power.
		keys := len(c.made)
		for key, made := range c.made {
			first, err := c.take(w.hosts[0], key, false, 0)
			for _, h := range w.hosts[1:] {
				again, other := c.take(h, key, false, 0)
				require.Equal(t, string(first), string(again), key)
				require.Equal(t, err == nil, other == nil, "%s, of which %d were made: %v, then %v", key, made, err, other)
			}
			var no *once.Refused
			require.True(t, err == nil || errors.As(err, &no) && no.Why == once.Unknown, "%s: %v", key, err)
		}
		require.Empty(t, c.twice)
		require.Empty(t, c.wrong)
		w.note("%d keys, %d calls, %d repeated, %d of unknown outcome", keys, c.calls, c.repeats, c.unknown)
	})
}

// TestAnOlderNodeIsNeverStoppedByClaims: two nodes of three know claims. The third
// goes on through calls with keys, also from a snapshot of theirs, until it knows
// them too; from then on a key is everybody's.
func TestAnOlderNodeIsNeverStoppedByClaims(t *testing.T) {
	forSeeds(t, 2, 4, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap"}, featureAfter: time.Minute})
		old := w.hosts[int(seed)%3]
		for _, h := range w.except(old) {
			h.stop()
			h.speaks = cluster.FeatureClaims
			h.start()
			w.theLeader()
			time.Sleep(10 * time.Second)
		}
		if w.theLeader() == old {
			_, err := old.TransferLeadership(soon(t, 20*time.Second), "")
			require.NoError(t, err)
		}
		c := newCalling(w)
		newer := w.except(old)
		for i := range 20 {
			key := fmt.Sprintf("early-%d", i)
			for range 2 {
				got, err := c.take(newer[0], key, false, time.Second)
				require.NoError(t, err)
				require.Equal(t, "answer to "+key, string(got))
			}
			require.True(t, newer[0].desk.Alone())
		}
		require.Equal(t, 20, c.repeats)
		// The older one has to be caught up by a snapshot of a newer one.
		old.stop()
		require.Equal(t, 200, newer[0].manage("", "POST", "/key/generate", map[string]any{"key": "sk-meanwhile"}).status)
		for _, h := range newer {
			h.snapshot()
			h.stop()
			h.trim(0)
			h.start()
		}
		w.theLeader()
		old.start()
		w.until(3*time.Minute, "the older node has followed", func() bool { return old.local("sk-meanwhile") == nil })
		old.run.mu.Lock()
		require.NoError(t, old.run.err)
		old.run.mu.Unlock()

		old.stop()
		old.speaks = cluster.FeatureClaims
		old.start()
		w.until(5*time.Minute, "all know that all know claims", func() bool {
			for _, h := range w.hosts {
				if h.desk.Alone() {
					return false
				}
			}
			return true
		})
		before := c.repeats
		for _, h := range w.hosts {
			_, err := c.take(h, "late", false, 0)
			require.NoError(t, err)
		}
		require.Equal(t, before+2, c.repeats)
		require.Empty(t, c.twice)
		require.Empty(t, c.wrong)
		w.agree()
	})
}
