package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
)

// wire is memberlist's own transport on a real port, aware of names.
type wire struct{ *memberlist.NetTransport }

func (w wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return w.WriteTo(b, a.Addr)
}

func (w wire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return w.DialTimeout(a.Addr, timeout)
}

func (w wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(127, 0, 0, 1), w.GetAutoBindPort(), nil
}

var _ memberlist.NodeAwareTransport = wire{}

// port binds a number that is free for both TCP and UDP.
func port(t *testing.T) wire {
	t.Helper()
	var errs []error
	for range 20 {
		n, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{"127.0.0.1"}})
		if err == nil {
			return wire{n}
		}
		errs = append(errs, err)
	}
	require.NoError(t, errors.Join(errs...))
	return wire{}
}

func TestNodesTalkOverRealPackets(t *testing.T) {
	const nodes = 3
	var pools []*gossip.Pool
	var heard, merged atomic.Int32
	ended := make(chan error, nodes)
	var addrs []string
	for i := range nodes {
		w := port(t)
		addrs = append(addrs, fmt.Sprintf("%s/127.0.0.1:%d", nodeID(i), w.GetAutoBindPort()))
		p, err := gossip.New(gossip.Config{
			Transport: w, Keys: []gossip.Key{key(1)}, Label: "01CLUSTER",
			Meta:        gossip.Meta{NodeID: nodeID(i), Incarnation: 1, Name: fmt.Sprint("n", i)},
			Status:      func() gossip.Status { return gossip.Status{InFlight: int64(i + 1)} },
			StatusEvery: 50 * time.Millisecond,
			Registerer:  prometheus.NewRegistry(),
		})
		require.NoError(t, err)
		p.Receive(gossip.KindRevoke, func(string, uint32, uint64, []byte) { heard.Add(1) })
		p.Exchange(gossip.KindCooldown, func() []byte { return []byte{1} }, func(string, []byte) { merged.Add(1) })
		pools = append(pools, p)
		go func() { ended <- p.Run(context.Background()) }()
	}
	_, err := pools[0].Join(t.Context(), []string{"no-name"})
	require.Error(t, err)
	for _, p := range pools[1:] {
		n, err := p.Join(t.Context(), addrs[:1])
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.Eventually(t, func() bool {
		for _, p := range pools {
			for i := range nodes {
				m, _ := p.Lookup(nodeID(i))
				if m.State != gossip.Alive || m.Status.InFlight != int64(i+1) {
					return false
				}
			}
		}
		return merged.Load() >= 4
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, pools[1].Relay(gossip.KindRevoke, []byte("x")))
	require.Eventually(t, func() bool { return heard.Load() == nodes-1 }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, pools[2].Leave(5*time.Second))
	require.Eventually(t, func() bool {
		m, _ := pools[0].Lookup(nodeID(2))
		return m.State == gossip.Left
	}, 10*time.Second, 5*time.Millisecond)
	for _, p := range pools {
		p.Close()
		require.NoError(t, <-ended)
	}
	_, err = pools[0].Join(t.Context(), addrs[1:2])
	require.Error(t, err)
}
