package gossip_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
)

func TestSlowHandlerLosesItsOwnMessagesAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		release := make(chan struct{})
		quick := make(chan struct{}, 10)
		var slow atomic.Int32
		c := newSimCluster(t, time.Millisecond, 0)
		join := func(n *simNode) {
			_, err := n.Join(t.Context(), []string{nodeID(0) + "/" + c.nodes[0].port.addr()})
			require.NoError(t, err)
		}
		c.add(nodeID(0), 1, func(cfg *gossip.Config) { cfg.Registerer = reg }, func(p *gossip.Pool) {
			p.Receive(gossip.KindUpstream, func(string, uint32, uint64, []byte) {
				<-release
				slow.Add(1)
			})
			p.Receive(gossip.KindCounts, func(string, uint32, uint64, []byte) { quick <- struct{}{} })
		})
		sender := c.add(nodeID(1), 1, nil, nil)
		join(sender)
		for range 2000 {
			require.NoError(t, sender.Send(gossip.KindUpstream, nodeID(0), []byte("x")))
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, sender.Send(gossip.KindCounts, nodeID(0), []byte("y")))
		time.Sleep(100 * time.Millisecond)
		require.Len(t, quick, 1)
		m, _ := c.nodes[0].Lookup(nodeID(1))
		require.WithinDuration(t, time.Now(), m.StatusAt, 2*time.Second)
		close(release)
		time.Sleep(time.Second)
		require.EqualValues(t, 1025, slow.Load(), "one in hand, 1024 waiting")
		families, err := reg.Gather()
		require.NoError(t, err)
		dropped := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetValue() == "dropped" {
						dropped += m.GetCounter().GetValue()
					}
				}
			}
		}
		require.Equal(t, 975.0, dropped)
	})
}

// A kind of a later release crosses a node that does not know it.
func TestUnknownEventsArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const later = gossip.Kind(200)
		heard := make(chan string, 10)
		c := newSimCluster(t, 10*time.Millisecond, 0)
		c.grow(3, func(i int, p *gossip.Pool) {
			if i == 2 {
				p.Receive(later, func(from string, _ uint32, _ uint64, body []byte) { heard <- from + string(body) })
			}
		})
		first, last := c.nodes[0].port.addr(), c.nodes[2].port.addr()
		c.net.setCut(func(from, to string) bool { return from == first && to == last })
		require.NoError(t, c.nodes[0].Relay(later, []byte(" news")))
		time.Sleep(2 * time.Second)
		require.Len(t, heard, 1)
		require.Equal(t, nodeID(0)+" news", <-heard)
	})
}

func TestLibrariesFiguresAreShown(t *testing.T) {
	reg := prometheus.NewRegistry()
	require.NoError(t, gossip.InstallLibraryMetrics(reg))
	gometrics.IncrCounter([]string{"raft", "apply"}, 1)
	families, err := reg.Gather()
	require.NoError(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	require.Contains(t, names, "raft_apply")
	require.Error(t, gossip.InstallLibraryMetrics(reg), "twice in one registry")
}
