package sim_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/sim"
)

// pool makes a member of one memberlist pool on a host.
func pool(t *testing.T, h *sim.Host, join ...string) *memberlist.Memberlist {
	t.Helper()
	c := memberlist.DefaultLANConfig()
	c.Name = h.ID
	c.Transport = h.Start().Gossip()
	c.LogOutput = io.Discard
	m, err := memberlist.Create(c)
	require.NoError(t, err)
	if len(join) > 0 {
		_, err = m.Join(join)
		require.NoError(t, err)
	}
	return m
}

func TestMemberlistNoticesCutsAndReturns(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		n := sim.New(sim.Config{Seed: seed, Delay: across(3), Jitter: 0.05, Loss: 0.01})
		defer n.Report(t)
		var all []*memberlist.Memberlist
		for i := range 5 {
			h := n.Host(fmt.Sprintf("n%d", i))
			if i == 0 {
				all = append(all, pool(t, h))
			} else {
				all = append(all, pool(t, h, n.Host("n0").Addr))
			}
		}
		settle := func(want func(i int) int, why string) {
			t.Helper()
			for range 600 {
				ok := true
				for i, m := range all {
					ok = ok && m.NumMembers() == want(i)
				}
				if ok {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Fatal(why)
		}
		settle(func(int) int { return 5 }, "they do not find each other")

		n.Isolate(sim.Gossip, "n4")
		settle(func(i int) int { return []int{4, 4, 4, 4, 1}[i] }, "the cut is not noticed")
		n.HealAll()
		_, err := all[4].Join([]string{n.Host("n1").Addr})
		require.NoError(t, err)
		settle(func(int) int { return 5 }, "the return is not noticed")

		n.Isolate(sim.Raft|sim.Calls, "n4")
		time.Sleep(time.Minute)
		settle(func(int) int { return 5 }, "cuts of other kinds are no matter of gossip")

		n.Host("n3").Stop()
		require.NoError(t, all[3].Shutdown())
		settle(func(i int) int { return []int{4, 4, 4, 5, 4}[i] }, "the stop is not noticed")
		require.Positive(t, n.Stats().Sent)
		require.Positive(t, n.Stats().Lost)
		for i, m := range all {
			n.Host(fmt.Sprintf("n%d", i)).Stop()
			require.NoError(t, m.Shutdown())
		}
		time.Sleep(10 * time.Minute)
	})
}
