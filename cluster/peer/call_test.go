package peer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
)

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func echo(_ context.Context, from string, request []byte) ([]byte, error) {
	return append([]byte(from+":"), request...), nil
}

func TestCallReachesTheHandlerWithTheProvenCaller(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	p[0].Handle("echo", echo)
	p[1].Handle("echo", echo)
	for _, text := range []string{"", "hello", string(make([]byte, 3<<20))} {
		answer, err := p[0].Call(within(t), "node-b", "echo", []byte(text))
		require.NoError(t, err)
		require.Equal(t, "node-a:"+text, string(answer))
		answer, err = p[0].Call(within(t), "node-a", "echo", []byte(text))
		require.NoError(t, err)
		require.Equal(t, "node-a:"+text, string(answer))
	}
}

func TestCallErrorsSayWhatTheyProve(t *testing.T) {
	a := peertest.NewAuthority(t)
	p := peertest.Start(t, a, "node-a", "node-b")
	p[1].Handle("refuse", func(context.Context, string, []byte) ([]byte, error) {
		return nil, &peer.Error{Code: "no", Message: "not today", Detail: "node-c"}
	})
	p[1].Handle("break", func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("disk on fire") })

	_, err := p[0].Call(within(t), "node-b", "refuse", nil)
	var refused *peer.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, peer.Error{Code: "no", Message: "not today", Detail: "node-c"}, *refused)
	require.NotErrorIs(t, err, peer.ErrUnreached)

	_, err = p[0].Call(within(t), "node-b", "break", nil)
	require.ErrorContains(t, err, "disk on fire")
	require.False(t, errors.As(err, &refused), "a broken handler proves nothing")
	require.NotErrorIs(t, err, peer.ErrUnreached)

	for name, call := range map[string][2]string{
		"unknown node":   {"node-x", "echo"},
		"unknown method": {"node-b", "nothing"},
		"own, unknown":   {"node-a", "nothing"},
	} {
		_, err = p[0].Call(within(t), call[0], call[1], []byte("x"))
		require.ErrorIs(t, err, peer.ErrUnreached, name)
	}
	_, err = p[0].Call(within(t), "node-b", "refuse", make([]byte, 64<<20+1))
	require.ErrorIs(t, err, peer.ErrUnreached)
}
