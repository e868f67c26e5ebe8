package peer_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer/peertest"
)

// preVoting keeps what the transport offers beyond its interface.
type preVoting struct{ *raft.NetworkTransport }

var _ raft.WithPreVote = preVoting{}

type counter struct{ n atomic.Int64 }

func (c *counter) Apply(*raft.Log) any                 { return c.n.Add(1) }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (c *counter) Restore(io.ReadCloser) error         { return errors.New("none") }

type raftNode struct {
	*raft.Raft
	seen *counter
}

func startRaft(t *testing.T, ids []string) ([]raftNode, []func()) {
	t.Helper()
	ports := peertest.Start(t, peertest.NewAuthority(t), ids...)
	var servers raft.Configuration
	for _, id := range ids {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	var nodes []raftNode
	var stops []func()
	for i, id := range ids {
		c := raft.DefaultConfig()
		c.LocalID = raft.ServerID(id)
		c.Logger = hclog.NewNullLogger()
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
		store, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		transport := preVoting{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: ports[i].Raft(), MaxPool: 3, Timeout: 5 * time.Second, Logger: hclog.NewNullLogger(),
		})}
		require.Equal(t, raft.ServerAddress(id), transport.LocalAddr(), "raft knows the node by its id")
		require.NoError(t, raft.BootstrapCluster(c, store, store, snaps, transport, servers))
		seen := &counter{}
		r, err := raft.NewRaft(c, seen, store, store, snaps, transport)
		require.NoError(t, err)
		port := ports[i]
		stop := func() {
			_ = port.Close() // first: raft would wait in its reads
			require.NoError(t, r.Shutdown().Error())
			_ = transport.Close()
		}
		nodes, stops = append(nodes, raftNode{r, seen}), append(stops, stop)
	}
	return nodes, stops
}

func TestRaftOfThreeAgreesAndSurvivesOneOverThePort(t *testing.T) {
	nodes, stops := startRaft(t, []string{"node-a", "node-b", "node-c"})
	leader := func() int {
		for i, n := range nodes {
			if n.State() == raft.Leader {
				return i
			}
		}
		return -1
	}
	require.Eventually(t, func() bool { return leader() >= 0 }, 10*time.Second, 5*time.Millisecond)
	first := leader()
	require.NoError(t, nodes[first].Apply([]byte("x"), time.Second).Error())
	require.Eventually(t, func() bool {
		return nodes[0].seen.n.Load() == 1 && nodes[1].seen.n.Load() == 1 && nodes[2].seen.n.Load() == 1
	}, 5*time.Second, 5*time.Millisecond)

	stops[first]()
	require.Eventually(t, func() bool { l := leader(); return l >= 0 && l != first }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, nodes[leader()].Apply([]byte("y"), time.Second).Error())
	for i, stop := range stops {
		if i != first {
			stop()
		}
	}
}

func TestRaftDialsANodeWhereTheBookSaysItIsNow(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	from, to := p[0].Raft(), p[1].Raft()
	book := p[0].Book()
	book.Set("node-b", p[0].Advertise())
	_, err := from.Dial("node-b", time.Second)
	require.ErrorContains(t, err, "node node-a is there, not node-b")
	book.Delete("node-b")
	_, err = from.Dial("node-b", time.Second)
	require.ErrorContains(t, err, "no address of it is known")
	book.Set("node-b", p[1].Advertise())
	c, err := from.Dial("node-b", time.Second)
	require.NoError(t, err)
	_, err = c.Write([]byte("!"))
	require.NoError(t, err)
	served, err := to.Accept()
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = io.ReadFull(served, b)
	require.NoError(t, err)
	require.Equal(t, "!", string(b))
	require.NoError(t, to.Close())
	_, err = to.Accept()
	require.Error(t, err)
	_, err = from.Dial("node-b", time.Second)
	require.ErrorContains(t, err, "does not serve raft")
}
