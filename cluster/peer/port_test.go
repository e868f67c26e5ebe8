package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
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

func TestRefusalIsOneClearLineOnBothSides(t *testing.T) {
	a := peertest.NewAuthority(t)
	for name, c := range map[string]struct {
		change func(*peer.Identity)
		forget bool
		reason peer.Reason
		says   string
	}{
		"forgotten":      {func(*peer.Identity) {}, true, peer.ReasonNotMember, "node node-b is not a member of this cluster: it was forgotten or never joined"},
		"other cluster":  {func(id *peer.Identity) { id.ClusterID = "prod" }, false, peer.ReasonOtherCluster, "node node-b is of cluster prod, this node of cluster test"},
		"old generation": {func(id *peer.Identity) { id.Generation = 0 }, false, peer.ReasonOldGeneration, "was recovered since: wipe DATA/raft and join again"},
		"stale server":   {func(id *peer.Identity) { id.Generation = 2 }, false, peer.ReasonStaleServer, "node node-a is of generation 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var here, there lines
			reg := prometheus.NewRegistry()
			server := peertest.Listen(t, peer.Config{Logger: here.logger(), Registerer: reg})
			set(t, server, a.Identity(t, "node-a"))
			server.Handle("echo", echo)
			if c.forget {
				server.SetAllow(func(id string) error { return peer.NotMember(id) })
			}
			peertest.Run(t, server)
			client := peertest.Listen(t, peer.Config{Logger: there.logger()})
			id := a.Identity(t, "node-b")
			c.change(&id)
			set(t, client, id)
			client.Book().Set("node-a", server.Advertise())
			for range 3 {
				_, err := client.Call(within(t), "node-a", "echo", nil)
				require.ErrorIs(t, err, peer.ErrUnreached)
				var refused *peer.Refused
				require.ErrorAs(t, err, &refused)
				require.Equal(t, c.reason, refused.Reason)
				require.ErrorContains(t, err, c.says)
			}
			require.Equal(t, 1, here.with(c.says))
			require.Equal(t, 1, there.with(c.says))
			require.EqualValues(t, 3, total(t, reg, "tollgate_peer_refusals_total", string(c.reason)))
		})
	}
}

func TestStrangersAreRefusedWithOneLine(t *testing.T) {
	a := peertest.NewAuthority(t)
	withCert := func(cert *tls.Certificate) func(t *testing.T, addr string) {
		return func(t *testing.T, addr string) {
			cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"tollgate-peer/1"}}
			if cert != nil {
				cfg.Certificates = []tls.Certificate{*cert}
			}
			c, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, err = io.ReadAll(c)
			require.Error(t, err)
		}
	}
	foreign := peertest.NewAuthority(t).Certificate(t, "node-b")
	expired := a.CertificateUntil(t, "node-b", time.Now().Add(-time.Minute))
	good := a.Certificate(t, "node-b")
	for name, c := range map[string]struct {
		come   func(t *testing.T, addr string)
		reason string
	}{
		"plain TCP": {func(t *testing.T, addr string) {
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			require.NoError(t, err)
			_, _ = io.ReadAll(c)
		}, "not_tls"},
		"no certificate":      {withCert(nil), "handshake"},
		"other authority":     {withCert(&foreign), "certificate"},
		"expired certificate": {withCert(&expired), "certificate"},
		"no hello": {func(t *testing.T, addr string) {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"tollgate-peer/1"}, Certificates: []tls.Certificate{good}})
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write([]byte("GET / HTTP/1.1\r\n"))
			require.NoError(t, err)
			_, _ = io.ReadAll(c)
		}, "hello"},
		"old TLS": {func(t *testing.T, addr string) {
			_, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
			require.Error(t, err)
		}, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			reg := prometheus.NewRegistry()
			p := peertest.Listen(t, peer.Config{Logger: log.logger(), Registerer: reg})
			set(t, p, a.Identity(t, "node-a"))
			peertest.Run(t, p)
			for range 3 {
				c.come(t, p.Addr())
			}
			require.Eventually(t, func() bool {
				return total(t, reg, "tollgate_peer_refusals_total", c.reason) == 3
			}, 5*time.Second, time.Millisecond)
			require.Equal(t, 1, log.with("connection refused"))
		})
	}
}

func TestSilentConnectionsAreClosedAndBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := peertest.Listen(t, peer.Config{FirstBytes: 200 * time.Millisecond, MaxPending: 8, Registerer: reg})
	peertest.Run(t, p)
	var open []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", p.Addr())
		require.NoError(t, err)
		open = append(open, c)
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "closed by the port")
		_ = c.Close()
	}
	require.EqualValues(t, 4, total(t, reg, "tollgate_peer_refusals_total", "silent")+total(t, reg, "tollgate_peer_refusals_total", "too_many"))

	slow := peertest.Listen(t, peer.Config{MaxPending: 8, Registerer: prometheus.NewRegistry()})
	peertest.Run(t, slow)
	for range 2 {
		c, err := net.Dial("tcp", slow.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	third, err := net.Dial("tcp", slow.Addr())
	require.NoError(t, err)
	defer func() { _ = third.Close() }()
	_ = third.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = third.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "one address may hold two of eight")
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

func TestJoiningWorksBeforeAndAfterThereIsAnIdentity(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Listen(t, peer.Config{})
	peertest.Run(t, p)
	_, err := p.DialJoin(within(t), "127.0.0.1:1")
	require.Error(t, err)
	c, err := peer.DialJoin(within(t), p.Addr())
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err, "nobody serves joins yet")
	_ = c.Close()

	exported := make(chan []byte, 2)
	p.OnJoin(func(_ context.Context, c *tls.Conn) {
		s := c.ConnectionState()
		key, err := s.ExportKeyingMaterial("test", nil, 32)
		if err == nil {
			exported <- key
		}
		_, _ = c.Write([]byte("welcome"))
	})
	join := func() *tls.Conn {
		c, err := peer.DialJoin(within(t), p.Addr())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		text, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "welcome", string(text))
		s := c.ConnectionState()
		key, err := s.ExportKeyingMaterial("test", nil, 32)
		require.NoError(t, err)
		require.Equal(t, key, <-exported, "both ends can bind a proof to the session")
		return c
	}
	join()

	other := peertest.Listen(t, peer.Config{})
	set(t, other, a.Identity(t, "node-b"))
	other.Book().Set("node-a", p.Addr())
	_, err = other.Call(within(t), "node-a", "echo", nil)
	require.ErrorIs(t, err, peer.ErrUnreached)
	require.ErrorContains(t, err, "has not joined a cluster yet")
	_, err = p.Call(within(t), "node-b", "echo", nil)
	require.ErrorIs(t, err, peer.ErrUnreached)

	set(t, p, a.Identity(t, "node-a"))
	p.Handle("echo", echo)
	chain := join().ConnectionState().PeerCertificates
	require.Equal(t, a.Cert.Raw, chain[len(chain)-1].Raw, "a newcomer sees the authority")
	_, err = other.Call(within(t), "node-a", "echo", nil)
	require.NoError(t, err)
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
