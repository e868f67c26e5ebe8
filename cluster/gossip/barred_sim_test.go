package gossip_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
)

// A node that was taken out still holds the gossip key and may not care that it
// was. It must not be heard, nor be waited for when the key is changed.
func TestNodeTakenOutIsNoMemberHoweverMuchItTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard, between atomic.Int64
		c := newSimCluster(t, 20*time.Millisecond, 0)
		c.grow(4, func(i int, p *gossip.Pool) {
			count := func(from string, _ uint32, _ uint64, _ []byte) {
				switch {
				case i == 3:
				case from == nodeID(3):
					heard.Add(1)
				default:
					between.Add(1)
				}
			}
			p.Receive(gossip.KindUpstream, count)
			p.Receive(gossip.KindCooldown, count)
		})
		out, rest := c.nodes[3], c.nodes[:3]
		for _, n := range rest {
			n.Forget(nodeID(3))
		}
		for range 120 {
			require.NoError(t, out.SetMeta(func(m *gossip.Meta) { m.Draining = !m.Draining }))
			require.NoError(t, out.Fanout(gossip.KindUpstream, []byte("x")))
			require.NoError(t, out.Relay(gossip.KindCooldown, []byte("x")))
			for _, n := range rest {
				_, known := n.Lookup(nodeID(3))
				require.False(t, known)
				require.Len(t, n.Members(), 3)
				require.ErrorIs(t, n.Send(gossip.KindUpstream, nodeID(3), nil), gossip.ErrNotAlive)
			}
			time.Sleep(time.Second)
		}
		require.Zero(t, heard.Load())
		require.NoError(t, rest[0].Relay(gossip.KindCooldown, []byte("y")))
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 2, between.Load(), "the others go on")
	})
}
