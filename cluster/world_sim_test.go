package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/cluster/sim"
	"tollgate/config/model"
	"tollgate/config/state"
)

// world is a cluster in virtual time.
type world struct {
	t   *testing.T
	net *sim.Net
	// calls counts calls by method; spoil may break one on its way.
	mu    sync.Mutex
	calls map[string]int
	spoil func(from, to, method string) fault
	since map[string]time.Time
	nodes map[string]*inhabitant
	order []string
	more  []option
}

type fault int

const (
	whole fault = iota
	answerLost
)

type inhabitant struct {
	*cluster.Node
	id, region string
	host       *sim.Host
	store      *state.Store
	starts     uint64
	run        chan error
	stop       context.CancelFunc
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, test func(w *world), opts ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: sim.New(sim.Config{Seed: 1}), calls: map[string]int{},
			since: map[string]time.Time{}, nodes: map[string]*inhabitant{}, more: opts}
		defer func() {
			w.net.HealAll()
			for _, id := range w.order {
				w.kill(id)
			}
			time.Sleep(5 * time.Minute) // raft's last waits, in virtual time
		}()
		test(w)
	})
}

func id(i int) string { return fmt.Sprintf("01NODE%020d", i) }

// add makes an inhabitant that does not run yet.
func (w *world) add(region string) *inhabitant {
	n := &inhabitant{id: id(len(w.order)), region: region}
	n.host = w.net.Host(n.id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.id] = n
	w.order = append(w.order, n.id)
	return n
}

// member is the node as it is admitted and as it registers.
func (n *inhabitant) member() *members.Node {
	return &members.Node{ID: n.id, Name: "n" + n.id[len(n.id)-1:], Region: n.region, Role: members.RoleNode,
		Addr: n.host.Addr, KeySum: "sum of " + n.id, FeatureMin: 1, FeatureMax: 1}
}

// start runs an inhabitant. The first one makes the cluster.
func (w *world) start(n *inhabitant) {
	w.t.Helper()
	n.starts++
	life := n.host.Start()
	n.store = state.NewStore(func(*state.Snapshot) *state.Routing { return &state.Routing{} })
	cfg := cluster.Config{
		Identity: cluster.NewIdentity(n.id, "cluster", n.starts), Name: n.member().Name, Region: n.region,
		Bootstrap: n.id == w.order[0],
		Appliers:  map[command.Type]fsm.Applier{command.Mutation: state.NewApplier(n.store)},
		Transport: life.Transport(),
		Storage:   &cluster.Storage{Log: n.host.Disk.Logs, Stable: n.host.Disk.Stable, Snapshots: n.host.Disk.Snapshots},
		Calls:     &spoiled{w, n.id, life.Calls()}, Registrar: life.Registrar(),
		Gossip: w.gossip,
		ConcernIndex: func(hash string) uint64 {
			if k, ok := n.store.State().KeyByHash(hash); ok {
				return k.Version
			}
			return 0
		},
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", n.member().Name),
	}
	cfg.Found = func(ctx context.Context) error {
		r, err := n.SubmitMembership(ctx, &members.Command{Op: members.OpFound, Node: n.member(), Feature: 1,
			CA: &members.CA{Cert: "cert", SealedKey: "key"}, Key: &members.GossipKey{ID: "k", Sealed: "key"}})
		if err == nil && r.Refused != "" {
			err = errors.New(r.Message)
		}
		return err
	}
	for _, o := range w.more {
		o(&cfg)
	}
	node, err := cluster.Open(cfg)
	require.NoError(w.t, err)
	w.mu.Lock()
	n.Node = node
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.run = cancel, make(chan error, 1)
	go func() { n.run <- n.Run(ctx) }()
	w.mu.Lock()
	w.since[n.id] = time.Now()
	w.mu.Unlock()
}

// kill ends an inhabitant without a word.
func (w *world) kill(id string) {
	n := w.nodes[id]
	if n.Node == nil || !n.host.Running() {
		return
	}
	n.host.Stop()
	n.stop()
	<-n.run
	require.NoError(w.t, n.Close())
	w.mu.Lock()
	w.since[id] = time.Now()
	w.mu.Unlock()
}

// form makes a cluster with a node in each region, all voters.
func (w *world) form(regions ...string) []*inhabitant {
	w.t.Helper()
	var all []*inhabitant
	for i, r := range regions {
		n := w.add(r)
		all = append(all, n)
		if i > 0 {
			w.admit(all[0], n)
		}
		w.start(n)
		require.NoError(w.t, n.WaitReady(w.soon()))
		if i == 0 {
			w.until("founded", func() bool { return n.Membership().CA != nil })
		}
		_, err := n.Register(w.soon(), *n.member())
		require.NoError(w.t, err)
	}
	want := len(regions) - (1 - len(regions)%2)
	w.until("all vote", func() bool {
		for _, n := range all {
			// The newest configuration need not be committed; the feature level is.
			if s := n.Status(); s.Voters != want || s.Commit < all[0].Status().Last {
				return false
			}
		}
		return true
	})
	return all
}

func (w *world) admit(by, n *inhabitant) {
	w.t.Helper()
	r, err := by.SubmitMembership(w.soon(), &members.Command{Op: members.OpAdmit, Node: n.member()})
	require.NoError(w.t, err)
	require.Empty(w.t, r.Refused, r.Message)
}

func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

// until waits in virtual time for what must come within two minutes.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 12_000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("not within two minutes: %s", what)
}

// leader is the node that leads and may answer, once there is exactly one.
func (w *world) leader() *inhabitant {
	w.t.Helper()
	var found *inhabitant
	w.until("a leader", func() bool {
		found = nil
		for _, n := range w.nodes {
			if n.Node != nil && n.host.Running() && n.IsLeader() {
				if found != nil {
					return false
				}
				found = n
			}
		}
		return found != nil
	})
	return found
}

// others are the running nodes but one.
func (w *world) others(than *inhabitant) []*inhabitant {
	var all []*inhabitant
	for _, id := range w.order {
		if n := w.nodes[id]; n != than && n.Node != nil && n.host.Running() {
			all = append(all, n)
		}
	}
	return all
}

// gossip is what everybody knows of everybody: who runs.
func (w *world) gossip() []gossip.Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []gossip.Member
	for _, id := range w.order {
		n := w.nodes[id]
		since, ever := w.since[id]
		if !ever {
			continue
		}
		m := gossip.Member{Meta: gossip.Meta{NodeID: id, Name: n.member().Name, Region: n.region}, State: gossip.Dead, Since: since}
		if n.host.Running() {
			m.State = gossip.Alive
			m.Status = gossip.Status{Applied: n.Applied(), LeaderAge: n.Staleness()}
			m.StatusAt = time.Now()
		}
		all = append(all, m)
	}
	return all
}

// spoiled counts calls and loses answers.
type spoiled struct {
	w    *world
	from string
	peer.Caller
}

func (s *spoiled) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	s.w.mu.Lock()
	s.w.calls[method]++
	spoil := s.w.spoil
	s.w.mu.Unlock()
	answer, err := s.Caller.Call(ctx, node, method, request)
	if spoil != nil && spoil(s.from, node, method) == answerLost {
		return nil, errors.New("connection reset by peer")
	}
	return answer, err
}

func (w *world) called(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[method]
}

func put(key string) model.Mutation {
	return model.Mutation{Changes: []model.Change{model.Put(model.Keys, &model.Key{Hash: key, Alias: "alias of " + key}, model.Version(0))}}
}
