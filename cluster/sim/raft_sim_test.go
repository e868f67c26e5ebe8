package sim_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
	"tollgate/cluster/sim"
)

// seeds is how many each test runs.
func seeds() uint64 {
	if testing.Short() {
		return 3
	}
	return 10
}

func forSeeds(t *testing.T, f func(t *testing.T, seed uint64)) {
	for seed := range seeds() {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, seed) })
		})
	}
}

// tally is a state machine that counts entries.
type tally struct {
	mu      sync.Mutex // guards entries
	entries []string
}

func (c *tally) Apply(l *raft.Log) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = append(c.entries, string(l.Data))
	return nil
}

func (c *tally) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.entries)
}

func (c *tally) Snapshot() (raft.FSMSnapshot, error) {
	return nil, raft.ErrNothingNewToSnapshot
}
func (c *tally) Restore(r io.ReadCloser) error { return r.Close() }

type member struct {
	*raft.Raft
	host *sim.Host
	fsm  *tally
}

func (m *member) start(t *testing.T, bootstrap *raft.Configuration) {
	t.Helper()
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(m.host.ID)
	c.Logger = hclog.NewNullLogger()
	d, trans := m.host.Disk, m.host.Start().Transport()
	if bootstrap != nil {
		require.NoError(t, raft.BootstrapCluster(c, d.Logs, d.Stable, d.Snapshots, trans, *bootstrap))
	}
	m.fsm = &tally{}
	r, err := raft.NewRaft(c, m.fsm, d.Logs, d.Stable, d.Snapshots, trans)
	require.NoError(t, err)
	m.Raft = r
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	m.host.Stop()
	require.NoError(t, m.Shutdown().Error())
}

func group(t *testing.T, n *sim.Net, size int) []*member {
	t.Helper()
	var conf raft.Configuration
	var all []*member
	for i := range size {
		h := n.Host(fmt.Sprintf("n%d", i))
		all = append(all, &member{host: h})
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(h.ID), Address: raft.ServerAddress(h.ID)})
	}
	for _, m := range all {
		m.start(t, &conf)
	}
	return all
}

// leader waits for one leader among the hosts that are not in except.
func leader(t *testing.T, all []*member, except *member) *member {
	t.Helper()
	for range 60_000 {
		for _, m := range all {
			if m != except && m.State() == raft.Leader {
				return m
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no leader within ten minutes")
	return nil
}

func finish(t *testing.T, all []*member) {
	t.Helper()
	for _, m := range all {
		m.stop(t)
	}
	time.Sleep(10 * time.Minute)
}

func across(regions int) func(from, to string) time.Duration {
	return func(from, to string) time.Duration {
		if from[1]%byte(regions) == to[1]%byte(regions) {
			return time.Millisecond
		}
		return 60 * time.Millisecond
	}
}

func TestRaftSurvivesLeaderCutsAndRestarts(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		n := sim.New(sim.Config{Seed: seed, Delay: across(3), Jitter: 0.05, Loss: 0.01})
		defer n.Report(t)
		all := group(t, n, 5)
		acknowledged := 0
		for i := range 10 {
			was := leader(t, all, nil)
			switch n.IntN(3) {
			case 0:
				n.Isolate(sim.Everything, was.host.ID)
			case 1:
				n.Mute(sim.Raft, was.host.ID)
			case 2:
				was.stop(t)
			}
			next := leader(t, all, was)
			if next.Apply([]byte(fmt.Sprint(i)), 5*time.Second).Error() == nil {
				acknowledged++
			}
			n.HealAll()
			if !was.host.Running() {
				was.start(t, nil)
			}
			time.Sleep(30 * time.Second)
		}
		require.Greater(t, acknowledged, 5)
		l := leader(t, all, nil)
		require.NoError(t, l.Apply([]byte("last"), 5*time.Second).Error())
		time.Sleep(5 * time.Second)
		for _, m := range all {
			require.Equal(t, l.fsm.all(), m.fsm.all())
			require.Equal(t, l.CurrentTerm(), m.CurrentTerm())
		}
		finish(t, all)
	})
}

func TestReturnFromACutDoesNotRaiseTheTerm(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		n := sim.New(sim.Config{Seed: seed, Delay: across(3)})
		defer n.Report(t)
		all := group(t, n, 3)
		l := leader(t, all, nil)
		term := l.CurrentTerm()
		for _, m := range all {
			if m != l {
				n.Isolate(sim.Everything, m.host.ID)
				time.Sleep(time.Minute)
				n.HealAll()
				time.Sleep(30 * time.Second)
			}
		}
		require.Equal(t, raft.Leader, l.State())
		require.Equal(t, term, l.CurrentTerm())
		finish(t, all)
	})
}

func TestCallsProveWhatTheyCan(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		n := sim.New(sim.Config{Seed: seed, Delay: func(string, string) time.Duration { return 50 * time.Millisecond }})
		defer n.Report(t)
		a, b := n.Host("a").Start(), n.Host("b").Start()
		ran := 0
		b.Registrar().Handle("echo", func(_ context.Context, from string, request []byte) ([]byte, error) {
			ran++
			return append([]byte(from+":"), request...), nil
		})
		b.Registrar().Handle("refuse", func(context.Context, string, []byte) ([]byte, error) {
			return nil, &peer.Error{Code: "no", Message: "no", Detail: "because"}
		})
		b.Registrar().Handle("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		call := func(node, method string) ([]byte, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return a.Calls().Call(ctx, node, method, []byte("x"))
		}
		start := time.Now()
		answer, err := call("b", "echo")
		require.NoError(t, err)
		require.Equal(t, "a:x", string(answer))
		require.Equal(t, 100*time.Millisecond, time.Since(start), "a round trip")

		_, err = call("b", "refuse")
		var refused *peer.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "because", refused.Detail)
		_, err = call("b", "nothing")
		require.ErrorIs(t, err, peer.ErrUnreached)
		_, err = call("nobody", "echo")
		require.ErrorIs(t, err, peer.ErrUnreached)
		_, err = call("b", "hang")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, peer.ErrUnreached)

		ran = 0
		n.Cut("a", "b", sim.Calls)
		for range 5 {
			_, err = call("b", "echo")
			require.Error(t, err)
		}
		require.Zero(t, ran, "nothing arrives through a cut")
		n.HealAll()
		n.Cut("b", "a", sim.Calls)
		_, err = call("b", "echo")
		require.Error(t, err)
		require.NotErrorIs(t, err, peer.ErrUnreached, "it did run")
		require.Equal(t, 1, ran)
		n.HealAll()
		time.AfterFunc(time.Second, n.Host("b").Stop)
		_, err = call("b", "hang")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = call("b", "echo")
		require.ErrorIs(t, err, peer.ErrUnreached)
		n.Host("a").Stop()
		time.Sleep(time.Minute)
	})
}
