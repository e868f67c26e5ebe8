package peer_test

import (
	"context"
	"crypto/tls"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
)

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

func TestOneAddressDoesNotTakeAllJoins(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := peertest.Listen(t, peer.Config{MaxJoining: 8, Registerer: reg, JoinTimeout: time.Minute})
	entered := make(chan struct{}, 8)
	p.OnJoin(func(ctx context.Context, _ *tls.Conn) {
		entered <- struct{}{}
		<-ctx.Done()
	})
	peertest.Run(t, p)
	for range 2 {
		c, err := p.DialJoin(within(t), p.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		<-entered
	}
	c, err := p.DialJoin(within(t), p.Addr())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 1, total(t, reg, "tollgate_peer_refusals_total", "too_many"))
}

func TestJoinTakesBoundedTime(t *testing.T) {
	p := peertest.Listen(t, peer.Config{JoinTimeout: 50 * time.Millisecond})
	p.OnJoin(func(ctx context.Context, c *tls.Conn) {
		_, err := c.Read(make([]byte, 1))
		if err != nil {
			<-ctx.Done()
		}
	})
	peertest.Run(t, p)
	c, err := p.DialJoin(within(t), p.Addr())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
}
