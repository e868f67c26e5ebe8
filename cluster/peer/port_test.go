package peer_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) with(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func set(t *testing.T, p *peer.Port, id peer.Identity) {
	t.Helper()
	require.NoError(t, p.SetIdentity(id))
}

func TestRenewedCertificateServesNewHandshakesAndKeepsOpenConnections(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	from, to := p[0].Raft(), p[1].Raft()
	c, err := from.Dial("node-b", time.Second)
	require.NoError(t, err)
	served, err := to.Accept()
	require.NoError(t, err)

	next := peertest.NewAuthority(t)
	next.Pool.AddCert(a.Cert) // both authorities are trusted while one follows the other
	for i, node := range []string{"node-a", "node-b"} {
		set(t, p[i], next.Identity(t, node))
	}
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(served, make([]byte, 1))
	require.NoError(t, err)
	again, err := from.Dial("node-b", time.Second)
	require.NoError(t, err)
	_ = again.Close()

	old := peertest.Listen(t, peer.Config{})
	set(t, old, a.Identity(t, "node-c"))
	old.Book().Set("node-b", p[1].Advertise())
	_, err = old.Call(within(t), "node-b", "echo", nil)
	require.ErrorContains(t, err, "unknown authority", "the new certificate is the one that is shown")

	id := next.Identity(t, "node-b")
	id.Generation = 2
	set(t, p[1], id)
	_, err = served.Read(make([]byte, 1))
	require.Error(t, err, "another generation cuts what is open")
}

func TestForgottenNodeIsCutOff(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b", "node-c")
	var mu sync.Mutex
	forgotten := map[string]bool{}
	p[0].SetAllow(func(id string) error {
		mu.Lock()
		defer mu.Unlock()
		if forgotten[id] {
			return peer.NotMember(id)
		}
		return nil
	})
	p[0].Handle("echo", echo)
	layer := p[0].Raft()
	dial := func(i int) net.Conn {
		c, err := p[i].Raft().Dial("node-a", time.Second)
		require.NoError(t, err)
		_, err = layer.Accept()
		require.NoError(t, err)
		return c
	}
	b, c := dial(1), dial(2)
	_, err := p[1].Call(within(t), "node-a", "echo", nil)
	require.NoError(t, err)

	p[0].Recheck()
	mu.Lock()
	forgotten["node-b"] = true
	mu.Unlock()
	p[0].Recheck()
	_, err = b.Read(make([]byte, 1))
	require.Error(t, err)
	require.Eventually(t, func() bool {
		_, err = p[1].Call(within(t), "node-a", "echo", nil)
		return strings.Contains(err.Error(), "is not a member of this cluster")
	}, 5*time.Second, time.Millisecond)
	_, err = p[2].Call(within(t), "node-a", "echo", nil)
	require.NoError(t, err, "the others stay")

	p[0].Sever("node-c")
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.Eventually(t, func() bool {
		_, err = p[2].Call(within(t), "node-a", "echo", nil)
		return err == nil
	}, 5*time.Second, time.Millisecond, "it may come again")
}

func TestIdentityMustBeConsistent(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Listen(t, peer.Config{})
	id := a.Identity(t, "node-a")
	id.NodeID = "node-b"
	require.ErrorContains(t, p.SetIdentity(id), "certificate is of node node-a")
	require.Error(t, p.SetIdentity(peer.Identity{NodeID: "node-a", ClusterID: "test"}))
	require.Error(t, p.SetIdentity(peer.Identity{}))
}

func TestRunsEndClosesEverything(t *testing.T) {
	a := peertest.NewAuthority(t)
	reg := prometheus.NewRegistry()
	book := peer.NewBook()
	server := peertest.Listen(t, peer.Config{Registerer: reg, Book: book})
	set(t, server, a.Identity(t, "node-a"))
	book.Set("node-a", server.Advertise())
	layer := server.Raft()
	entered := make(chan struct{})
	server.Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	stop := peertest.Run(t, server)
	client := peertest.Listen(t, peer.Config{Book: book})
	set(t, client, a.Identity(t, "node-b"))
	c, err := client.Raft().Dial("node-a", time.Second)
	require.NoError(t, err)
	_, err = layer.Accept()
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := client.Call(within(t), "node-a", "wait", []byte("x"))
		failed <- err
	}()
	<-entered
	stranger, err := net.Dial("tcp", server.Addr())
	require.NoError(t, err)
	defer func() { _ = stranger.Close() }()

	stop()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = stranger.Read(make([]byte, 1))
	require.Error(t, err)
	err = <-failed
	require.Error(t, err)
	require.NotErrorIs(t, err, peer.ErrUnreached, "the handler ran")
	require.Zero(t, total(t, reg, "tollgate_peer_connections", ""))
	again := peertest.Listen(t, peer.Config{Addr: server.Addr()})
	require.Equal(t, server.Addr(), again.Addr(), "both sockets are free")
}

func TestClosedLayerEndsConnectionsThatNobodyFetched(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b")
	layer := p[0].Raft()
	c, err := p[1].Raft().Dial("node-a", time.Second)
	require.NoError(t, err)
	require.NoError(t, layer.Close())
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
}
