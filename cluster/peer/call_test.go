package peer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

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

func TestDeadlineAndCancellationReachTheHandler(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b")
	left := make(chan time.Duration, 1)
	p[1].Handle("deadline", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		d, ok := ctx.Deadline()
		if ok {
			left <- time.Until(d)
		} else {
			left <- -1
		}
		return nil, nil
	})
	entered, ended := make(chan struct{}), make(chan struct{})
	p[1].Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p[0].Call(ctx, "node-b", "deadline", nil)
	require.NoError(t, err)
	got := <-left
	require.Greater(t, got, time.Second)
	require.LessOrEqual(t, got, 5*time.Second)
	_, err = p[0].Call(context.Background(), "node-b", "deadline", nil)
	require.NoError(t, err)
	require.Equal(t, time.Duration(-1), <-left)

	ctx, stop := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := p[0].Call(ctx, "node-b", "wait", []byte("x"))
		failed <- err
	}()
	<-entered
	stop()
	err = <-failed
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, peer.ErrUnreached, "the handler ran")
	<-ended
	_, err = p[0].Call(ctx, "node-b", "deadline", nil)
	require.ErrorIs(t, err, peer.ErrUnreached, "nothing is asked after the end")
}

func TestCallReachesANodeThatWasRestarted(t *testing.T) {
	a := peertest.NewAuthority(t)
	book := peer.NewBook()
	client := peertest.Listen(t, peer.Config{Book: book})
	set(t, client, a.Identity(t, "node-a"))
	addr := "127.0.0.1:0"
	for range 3 {
		server := peertest.Listen(t, peer.Config{Addr: addr, Book: book})
		set(t, server, a.Identity(t, "node-b"))
		server.Handle("echo", echo)
		addr = server.Addr()
		book.Set("node-b", addr)
		stop := peertest.Run(t, server)
		for range 3 {
			answer, err := client.Call(within(t), "node-b", "echo", []byte("x"))
			if err != nil { // the old connection broke under it; it says that it does not know
				require.NotErrorIs(t, err, peer.ErrUnreached)
				continue
			}
			require.Equal(t, "node-a:x", string(answer))
		}
		_, err := client.Call(within(t), "node-b", "echo", []byte("x"))
		require.NoError(t, err)
		stop()
		require.Eventually(t, func() bool {
			_, err := client.Call(within(t), "node-b", "echo", nil)
			return errors.Is(err, peer.ErrUnreached)
		}, 5*time.Second, time.Millisecond, "nobody listens: nothing can have run")
	}
}

func TestCallersBytesAreTheirsAgainWhenTheCallEnds(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b")
	p[1].Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	request := make([]byte, 8<<20)
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
		_, err := p[0].Call(ctx, "node-b", "wait", request)
		require.Error(t, err)
		clear(request) // the race detector watches
		cancel()
	}
}

func TestManyCallsShareConnectionsAndKeepTheirAnswers(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b")
	p[1].Handle("echo", echo)
	var g errgroup.Group
	for i := range 64 {
		g.Go(func() error {
			for j := range 10 {
				text := fmt.Sprint(i, j)
				answer, err := p[0].Call(within(t), "node-b", "echo", []byte(text))
				if err != nil {
					return err
				}
				if string(answer) != "node-a:"+text {
					return fmt.Errorf("%q answered with %q", text, answer)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

func TestPanickingHandlerProvesNothingAndTheNodeGoesOn(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "node-a", "node-b")
	p[1].Handle("panic", func(context.Context, string, []byte) ([]byte, error) { panic("broken") })
	p[1].Handle("echo", echo)
	_, err := p[0].Call(within(t), "node-b", "panic", []byte("x"))
	require.Error(t, err)
	require.NotErrorIs(t, err, peer.ErrUnreached)
	_, err = p[0].Call(within(t), "node-b", "echo", nil)
	require.NoError(t, err)
}

func TestNodesAreCalledByTheIDsThatNodesHave(t *testing.T) {
	p := peertest.Start(t, peertest.NewAuthority(t), "01JABCDEFGHJKMNPQRSTVWXYZ0", "01JABCDEFGHJKMNPQRSTVWXYZ1")
	p[1].Handle("limits/ask.v1", echo)
	answer, err := p[0].Call(within(t), "01JABCDEFGHJKMNPQRSTVWXYZ1", "limits/ask.v1", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "01JABCDEFGHJKMNPQRSTVWXYZ0:x", string(answer))
}

// swallower forwards to a port until it is told to swallow what comes over the
// connections that are open: a node that lost its power.
type swallower struct {
	ln   net.Listener
	mu   sync.Mutex // guards all below
	mute []*atomic.Bool
	all  []net.Conn
}

func swallow(t *testing.T, to string) *swallower {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &swallower{ln: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			mute := new(atomic.Bool)
			s.mu.Lock()
			s.mute, s.all = append(s.mute, mute), append(s.all, in, out)
			s.mu.Unlock()
			pipe := func(from, to net.Conn) {
				b := make([]byte, 32<<10)
				for {
					n, err := from.Read(b)
					if err != nil {
						if !mute.Load() {
							_ = to.Close()
						}
						return
					}
					if !mute.Load() {
						_, _ = to.Write(b[:n])
					}
				}
			}
			wg.Go(func() { pipe(in, out) })
			wg.Go(func() { pipe(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		s.mu.Lock()
		for _, c := range s.all {
			_ = c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *swallower) silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mute {
		m.Store(true)
	}
}

func TestConnectionThatDiedSilentlyIsReplaced(t *testing.T) {
	a := peertest.NewAuthority(t)
	server := peertest.Start(t, a, "node-b")[0]
	server.Handle("echo", echo)
	between := swallow(t, server.Addr())
	client := peertest.Listen(t, peer.Config{Ping: 100 * time.Millisecond})
	set(t, client, a.Identity(t, "node-a"))
	client.Book().Set("node-b", between.ln.Addr().String())
	_, err := client.Call(within(t), "node-b", "echo", nil)
	require.NoError(t, err)
	between.silence()
	require.Eventually(t, func() bool {
		_, err := client.Call(within(t), "node-b", "echo", []byte("x"))
		return err == nil
	}, 5*time.Second, time.Millisecond)
}
