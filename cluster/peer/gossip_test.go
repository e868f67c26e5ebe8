package peer_test

import (
	"io"
	"log"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
)

func startGossip(t *testing.T, p *peer.Port) *memberlist.Memberlist {
	t.Helper()
	c := memberlist.DefaultLANConfig()
	c.Name, c.Transport = p.NodeID(), p.Gossip()
	c.SecretKey, c.Label, c.RequireNodeNames = make([]byte, 32), "test", true
	c.Logger = log.New(io.Discard, "", 0)
	m, err := memberlist.Create(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Shutdown()) })
	return m
}

func TestMemberlistRunsOverThePort(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b", "node-c")
	var pools []*memberlist.Memberlist
	for _, p := range p {
		pools = append(pools, startGossip(t, p))
	}
	for i := 1; i < 3; i++ {
		n, err := pools[i].Join([]string{"node-a/" + p[0].Advertise()})
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	for _, m := range pools {
		require.Eventually(t, func() bool { return m.NumMembers() == 3 }, 10*time.Second, 5*time.Millisecond)
	}
	require.NoError(t, pools[0].SendReliable(pools[0].Members()[1], []byte("hello")))
}

func TestGossipStreamProvesTheNameAndWithoutAnyNameTheMembership(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	from := p[0].Gossip()
	p[1].Gossip()
	_, err := from.DialAddressTimeout(memberlist.Address{Addr: p[1].Advertise(), Name: "node-c"}, time.Second)
	require.ErrorContains(t, err, "node node-b is there, not node-c")
	c, err := from.DialTimeout(p[1].Advertise(), time.Second)
	require.NoError(t, err)
	require.NoError(t, c.Close())

	p[0].SetAllow(func(id string) error {
		if id == "node-b" {
			return peer.NotMember(id)
		}
		return nil
	})
	_, err = from.DialTimeout(p[1].Advertise(), time.Second)
	require.ErrorContains(t, err, "node node-b is not a member of this cluster")

	other := peertest.Start(t, peertest.NewAuthority(t), "node-z")[0]
	other.Gossip()
	_, err = from.DialTimeout(other.Advertise(), time.Second)
	require.ErrorContains(t, err, "unknown authority")
}

func TestPacketsAreDroppedAndCountedWhenGossipDoesNotKeepUp(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := peertest.Listen(t, peer.Config{Registerer: reg})
	tr := p.Gossip()
	peertest.Run(t, p)
	require.Eventually(t, func() bool {
		for range 200 {
			_, err := tr.WriteTo([]byte("packet"), p.Addr())
			require.NoError(t, err)
		}
		return total(t, reg, "tollgate_gossip_packets_dropped_total", "") > 0
	}, 10*time.Second, time.Millisecond)
	packet := <-tr.PacketCh()
	require.Equal(t, "packet", string(packet.Buf))
	require.Equal(t, p.Addr(), packet.From.String())
}

func TestAdvertisedNamesAreResolved(t *testing.T) {
	p := peertest.Listen(t, peer.Config{Advertise: "localhost:4711"})
	ip, port, err := p.Gossip().FinalAdvertiseAddr("", 0)
	require.NoError(t, err)
	require.Equal(t, 4711, port)
	require.True(t, ip.IsLoopback())
	require.NotNil(t, ip.To4())

	_, err = peer.Listen(peer.Config{Addr: "127.0.0.1:0", Advertise: "nowhere"})
	require.ErrorContains(t, err, "nowhere")
	_, err = peer.Listen(peer.Config{Addr: "127.0.0.1:0", Advertise: "localhost:gossip"})
	require.ErrorContains(t, err, "port is not a number")
	all := peertest.Listen(t, peer.Config{Addr: ":0"})
	host, _, err := net.SplitHostPort(all.Advertise())
	require.NoError(t, err)
	require.False(t, net.ParseIP(host).IsUnspecified())
	_, err = all.Gossip().WriteTo([]byte("x"), p.Addr())
	require.NoError(t, err, "a wildcard socket reaches IPv4")
}

// total sums a metric over the label sets in which some value is label; all
// when it is empty.
func total(t *testing.T, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			hit := label == ""
			for _, l := range m.GetLabel() {
				hit = hit || l.GetValue() == label
			}
			if hit {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
