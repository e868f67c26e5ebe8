package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/cluster/peer/peertest"
	"tollgate/config/model"
	"tollgate/config/secret"
)

// street is a cluster of real ports on loopback, with its state on disk.
type street struct {
	t    *testing.T
	ca   *peertest.Authority
	book *peer.Book
	born time.Time

	mu  sync.Mutex // guards all
	all []*resident
}

type resident struct {
	*house
	name    string
	opened  chan struct{} // closed when house is set
	port    *peer.Port
	unplug  func()
	metrics *prometheus.Registry
	gone    bool // guarded by the street's mu
}

// open starts a node; the first one makes the cluster.
func (s *street) open(dir string) *resident {
	s.t.Helper()
	return s.openWith(dir, "salt")
}

func (s *street) openWith(dir, salt string) *resident {
	s.t.Helper()
	r := &resident{name: fmt.Sprint("n", len(s.all)), opened: make(chan struct{}), metrics: prometheus.NewRegistry()}
	r.port = peertest.Listen(s.t, peer.Config{Book: s.book})
	r.unplug = peertest.Run(s.t, r.port)
	h, err := start(s.t, dir, salt, func(c *cluster.Config) {
		require.NoError(s.t, c.Identity.SetCluster("test"))
		require.NoError(s.t, r.port.SetIdentity(s.ca.Identity(s.t, c.Identity.NodeID)))
		s.book.Set(c.Identity.NodeID, r.port.Advertise())
		c.Bootstrap = len(s.all) == 0
		c.Name = r.name
		c.Transport = cluster.NewTransport(c.Identity.NodeID, r.port.Raft(), c.Profile, c.Logger)
		c.Calls, c.Registrar, c.Registerer, c.Gossip = r.port, r.port, r.metrics, s.gossip
		c.Logger = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", c.Name)
		c.Found = func(ctx context.Context) error {
			<-r.opened
			res, err := r.SubmitMembership(ctx, &members.Command{Op: members.OpFound, Node: r.member(), Feature: 1,
				CA: &members.CA{Cert: "cert", SealedKey: "key"}, Key: &members.GossipKey{ID: "k", Sealed: "key"}})
			if err == nil && res.Refused != "" {
				err = errors.New(res.Message)
			}
			return err
		}
	})
	require.NoError(s.t, err)
	r.house = h
	close(r.opened)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r)
	return r
}

func (r *resident) member() *members.Node {
	return &members.Node{ID: r.id.NodeID, Name: r.name, Role: members.RoleNode, Addr: r.port.Advertise(), FeatureMin: 1, FeatureMax: 1}
}

func (s *street) gossip() []gossip.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []gossip.Member
	for _, r := range s.all {
		m := gossip.Member{Meta: gossip.Meta{NodeID: r.id.NodeID}, State: gossip.Dead, Since: s.born}
		if !r.gone {
			m.State = gossip.Alive
			m.Status, m.StatusAt = gossip.Status{Applied: r.Applied(), LeaderAge: r.Staleness()}, time.Now()
		}
		all = append(all, m)
	}
	return all
}

func (s *street) close(r *resident) {
	s.t.Helper()
	s.mu.Lock()
	r.gone = true
	s.mu.Unlock()
	r.unplug() // first: raft would wait in its reads
	r.shut(s.t)
}

func TestAFollowerWithTheWrongKEKDoesNotWaitForEver(t *testing.T) {
	s := &street{t: t, ca: peertest.NewAuthority(t), book: peer.NewBook(), born: time.Now().Add(-time.Minute)}
	first := s.open(t.TempDir())
	require.NoError(t, first.WaitReady(soon(t)))
	until(t, func() bool { return first.Membership().CA != nil })
	r := s.openWith(t.TempDir(), "another salt")
	res, err := first.SubmitMembership(soon(t), &members.Command{Op: members.OpAdmit, Node: r.member()})
	require.NoError(t, err)
	require.Empty(t, res.Refused, res.Message)
	err = r.WaitReady(soon(t))
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	s.close(r)
	s.close(first)
}

func TestThreeNodesOverRealPortsOutliveTheirLeader(t *testing.T) {
	s := &street{t: t, ca: peertest.NewAuthority(t), book: peer.NewBook(), born: time.Now().Add(-time.Minute)}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	first := s.open(dirs[0])
	require.NoError(t, first.WaitReady(soon(t)), "the only voter elects itself, also over the port")
	until(t, func() bool { return first.Membership().CA != nil })
	cfg := model.Config{Environment: map[string]string{"KEY": "text"}}
	require.NoError(t, first.box.SealConfig(&cfg, func(string) bool { return true }))
	_, err := first.Mutate(soon(t), model.Mutation{Changes: []model.Change{
		model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: cfg}, model.Version(0))}})
	require.NoError(t, err)
	for _, dir := range dirs[1:] {
		r := s.open(dir)
		res, err := first.SubmitMembership(soon(t), &members.Command{Op: members.OpAdmit, Node: r.member()})
		require.NoError(t, err)
		require.Empty(t, res.Refused, res.Message)
		require.NoError(t, r.WaitReady(soon(t)))
		_, err = r.Register(soon(t), *r.member())
		require.NoError(t, err)
		_, err = r.Wait(soon(t), cluster.Consistency{Level: cluster.Linearizable})
		require.NoError(t, err)
		require.Equal(t, "text", r.store.State().Routing.Config.Environment["KEY"], "it opens the cluster's secrets")
	}
	until(t, func() bool {
		for _, r := range s.all {
			if r.Status().Voters != 3 {
				return false
			}
		}
		return true
	})
	for i := range 30 {
		maker, user := s.all[i%3], s.all[(i+1)%3]
		hash := fmt.Sprint("key", i)
		_, err := maker.Mutate(soon(t), model.Mutation{Changes: []model.Change{key(hash)}})
		require.NoError(t, err)
		if _, ok := user.store.State().KeyByHash(hash); !ok {
			_, err = user.CatchUp(soon(t), hash)
			for errors.Is(err, cluster.ErrBehind) { // a busy machine; never that there is no such key
				_, err = user.CatchUp(soon(t), hash)
			}
			require.NoError(t, err)
			_, ok = user.store.State().KeyByHash(hash)
			require.True(t, ok)
		}
	}
	require.True(t, first.IsLeader())
	require.NoError(t, first.StepDown(soon(t)))
	s.close(first)
	_, err = s.all[1].Mutate(soon(t), model.Mutation{Changes: []model.Change{key("without the first")}})
	require.NoError(t, err, "a leader that stops in order is not missed")
	var leader, last *resident
	until(t, func() bool {
		leader, last = s.all[1], s.all[2]
		if last.IsLeader() {
			leader, last = last, leader
		}
		return leader.IsLeader()
	})
	again := s.open(dirs[0])
	require.NoError(t, again.WaitReady(soon(t)), "at another port, found through the book")
	_, err = again.Register(soon(t), *again.member())
	require.NoError(t, err)
	s.close(leader) // without handing over
	_, err = last.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("without the second")}})
	require.NoError(t, err)
	_, err = again.Wait(soon(t), cluster.Consistency{Level: cluster.Linearizable})
	require.NoError(t, err)
	_, ok := again.store.State().KeyByHash("without the second")
	require.True(t, ok)
	families, err := last.metrics.Gather()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(families), 7)
	s.close(last)
	s.close(again)
}

// until waits for what must come within seconds.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 5*time.Millisecond)
}
