package sim_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/sim"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/once"
	"tollgate/ledger/query"
	"tollgate/limiter/budget"
	"tollgate/proxy/admin"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// host is a machine of the cluster, with what survives restarts beside raft's
// disk: how often it started, and its ledger.
type host struct {
	w       *world
	id      string
	name    string
	region  string
	role    members.Role
	machine *sim.Host
	starts  uint64
	speaks  uint32 // up to which feature level

	mu    sync.Mutex // guards books
	books map[uint64]map[account]int64
	calls callBook

	*run // nil while it is down
}

// account names a sum of the ledger.
type account struct {
	scope  model.Scope
	window int64
}

// run is one start.
type run struct {
	*cluster.Node
	incarnation uint64
	parts       *parts
	bank        *budget.Account
	pool        *gossip.Pool
	desk        *once.Desk
	admin       *admin.Admin
	cancel      context.CancelFunc
	endBooks    context.CancelFunc
	booksDone   chan struct{}
	wg          sync.WaitGroup
	err         error // why the node ended by itself; guarded by mu
	mu          sync.Mutex
}

func (h *host) member() *members.Node {
	return &members.Node{ID: h.id, Name: h.name, Region: h.region, Role: h.role, Addr: h.machine.Addr, FeatureMin: 1, FeatureMax: h.speaks}
}

// start begins a run as a real node does, without sockets.
func (h *host) start(opts ...func(*cluster.Config)) {
	t := h.w.t
	t.Helper()
	h.starts++
	life := h.machine.Start()
	log := slog.New(trace{net: h.w.net, name: h.name})
	box := secret.NewBox(kek)
	r := &run{incarnation: h.starts, parts: newParts(box), booksDone: make(chan struct{})}
	if h.speaks >= cluster.FeatureClaims {
		r.parts.claims = once.NewClaims()
	}
	var err error
	r.pool, err = gossip.New(gossip.Config{
		Transport: life.Gossip(), Label: h.w.cluster, Keys: []gossip.Key{h.w.key}, Logger: slog.New(slog.DiscardHandler),
		Meta: gossip.Meta{NodeID: h.id, Incarnation: h.starts, Name: h.name, Region: h.region, Addr: h.machine.Addr,
			Witness: h.role == members.RoleWitness, FeatureMin: 1, FeatureMax: h.speaks},
		Status: func() gossip.Status {
			return gossip.Status{Applied: r.Applied(), LeaderAge: r.Staleness()}
		},
		Peers: func() []string {
			var out []string
			for _, o := range h.w.hosts {
				if o != h {
					out = append(out, o.id+"/"+o.machine.Addr)
				}
			}
			return out
		},
	})
	require.NoError(t, err)
	disk := h.machine.Disk
	cfg := cluster.Config{
		Identity: cluster.NewIdentity(h.id, h.w.cluster, h.starts), Name: h.name, Region: h.region, Role: h.role,
		Bootstrap: h == h.w.hosts[0], Appliers: r.parts.appliers(), Box: box, KeysChanged: r.parts.store.Recompile,
		Answers:   map[command.Type]cluster.AnswerCodec{command.BudgetBatch: bankAnswers, command.Claims: claimAnswers},
		Transport: life.Transport(), Storage: &cluster.Storage{Log: disk.Logs, Stable: disk.Stable, Snapshots: disk.Snapshots},
		Calls: life.Calls(), Registrar: life.Registrar(), Gossip: r.pool.Members,
		Settings: func() cluster.Settings {
			return cluster.Settings{PreferRegion: h.w.plan.prefer, FeatureAfter: h.w.plan.featureAfter}
		},
		Logger: log,
	}
	for _, o := range opts {
		o(&cfg)
	}
	r.Node, err = cluster.Open(cfg)
	require.NoError(t, err)
	r.bank, err = budget.NewAccount(budget.Config{
		Node: budget.NodeID(h.id), Incarnation: h.starts, Propose: r.proposeBudget,
		Look: func(sc model.Scope) (budget.View, bool) { return r.parts.bank.Look(sc, budget.NodeID(h.id), h.starts) },
	})
	require.NoError(t, err)
	r.parts.bank.Watch(r.bank.Observe)
	h.calls.restart()
	r.openDesk(h, life)
	r.admin, err = admin.New(admin.Deps{
		State: r.parts.store, Mutate: r.Mutate, Unavailable: unavailable, Spend: noSpend{}, Revoked: r.Spread, Consistent: r.consistent,
		SealAnswer: func(entity, plain string) (string, error) { return box.Seal(entity, "answer", plain) },
		OpenAnswer: func(entity, sealed string) (string, error) { return box.Open(entity, "answer", sealed) },
		Clock:      unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Rand: rand.Reader,
	})
	require.NoError(t, err)
	h.mu.Lock()
	h.run = r
	h.mu.Unlock()
	h.begin()
}

// begin starts what runs.
func (h *host) begin() {
	r, recovery := h.run, h.recovery()
	ctx, cancel := context.WithCancel(context.Background())
	books, endBooks := context.WithCancel(ctx)
	r.cancel, r.endBooks = cancel, endBooks
	r.wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.err = err
		}
	})
	r.wg.Go(func() {
		if err := r.pool.Run(ctx); err != nil {
			h.w.net.Note("%s gossip ended: %s", h.name, err)
		}
	})
	r.wg.Go(func() { _ = r.desk.Run(ctx) })
	r.wg.Go(func() {
		for ctx.Err() == nil {
			_, err := r.Register(ctx, *h.member())
			if err == nil || errors.Is(err, cluster.ErrStaleStart) || errors.Is(err, cluster.ErrRemoved) {
				return
			}
			time.Sleep(time.Second)
		}
	})
	r.wg.Go(func() {
		defer close(r.booksDone)
		if h.role == members.RoleWitness {
			return
		}
		if err := r.bank.Start(books, recovery); err != nil {
			return
		}
		_ = r.bank.Run(books)
	})
}

// stop is a power cut: nobody hears anything any more. The process is then
// cleared away.
func (h *host) stop() {
	h.w.t.Helper()
	r := h.run
	h.machine.Stop()
	h.mu.Lock()
	h.run = nil
	h.mu.Unlock()
	r.cancel()
	r.pool.Close()
	require.NoError(h.w.t, r.Close())
	r.wg.Wait()
}

// current is the present run, nil while the host is down: for clients, which
// go on while hosts are stopped and started.
func (h *host) current() *run {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.run
}

// settled ends what the node proposes by itself.
func (h *host) settled() {
	h.endBooks()
	<-h.booksDone
}

// snapshot is the whole state, as bytes.
func (h *host) snapshot() string {
	t := h.w.t
	t.Helper()
	if err := h.Snapshot(soon(t, time.Minute)); err != nil {
		require.ErrorContains(t, err, "nothing new") // there is one of just this state
	}
	list, err := h.machine.Disk.Snapshots.List()
	require.NoError(t, err)
	require.NotEmpty(t, list)
	_, r, err := h.machine.Disk.Snapshots.Open(list[0].ID)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(data)
}

var errNoAnswer = errors.New("no answer of the bank")

// bankAnswers carry the bank's answers between nodes.
var bankAnswers = cluster.AnswerCodec{
	Encode: func(answer any) ([]byte, error) {
		a, ok := answer.(*budget.Answer)
		if !ok {
			return nil, errNoAnswer
		}
		return budget.AppendAnswer(nil, a), nil
	},
	Decode:     func(data []byte) (any, error) { return budget.DecodeAnswer(data) },
	Repeatable: true,
	Ahead:      true,
}

func (r *run) proposeBudget(ctx context.Context, payload []byte) (*budget.Answer, error) {
	answer, _, err := r.Submit(ctx, command.BudgetBatch, budget.Version, payload)
	if err != nil {
		return nil, err
	}
	a, ok := answer.(*budget.Answer)
	if !ok {
		return nil, errNoAnswer
	}
	return a, a.Err
}

// noSpend has no spend to tell.
type noSpend struct{ query.Query }

func (noSpend) Before(_ context.Context, scopes []model.Scope) ([]admin.Before, []string) {
	out := make([]admin.Before, len(scopes))
	for i := range out {
		out[i].Window = -1
	}
	return out, nil
}

func (noSpend) Spent(model.Scope, time.Time) unit.Money { return 0 }

func (noSpend) Everywhere(_ context.Context, asked []admin.Spending) ([]unit.Money, []string) {
	return make([]unit.Money, len(asked)), nil
}

// consistent maps what a read's error proves, as a real node does.
func (r *run) consistent(ctx context.Context, level string, index uint64) (time.Duration, error) {
	age, err := r.Wait(ctx, cluster.Consistency{Level: cluster.Level(level), MinIndex: index})
	if errors.Is(err, cluster.ErrBehind) {
		err = fmt.Errorf("%w: %w", admin.ErrStateBehind, err)
	}
	return age, err
}

// concern is the newest change that concerns a key here.
func (r *run) concern(hash string) uint64 {
	s := r.parts.store.State()
	k, ok := s.KeyFor(hash, s.Now)
	if !ok {
		return 0
	}
	return k.EntityVersion()
}

func unavailable(err error) *refusal.Refusal {
	switch {
	case errors.Is(err, cluster.ErrOutcomeUnknown):
		return refusal.Unavailable("outcome_unknown", err.Error(), time.Second)
	case errors.Is(err, cluster.ErrNoQuorum):
		return refusal.Unavailable("no_quorum", err.Error(), time.Second)
	case errors.Is(err, cluster.ErrNotLeader):
		return refusal.Unavailable("no_leader", err.Error(), time.Second)
	}
	return refusal.Unavailable("not_changed", err.Error(), time.Second)
}

// reply is what a client of the management API got.
type reply struct {
	status int
	code   string // of a refusal
	behind string // nodes that a revocation has not reached
	body   map[string]any
}

// manage sends one management request of the master key, asking for state of a
// level; "" leaves that to the API.
func (h *host) manage(level cluster.Level, method, path string, body any) reply {
	r := h.current()
	if r == nil {
		return reply{code: "down"}
	}
	var req fasthttp.Request
	req.SetRequestURI("http://node" + path)
	req.Header.SetMethod(method)
	if level != "" {
		req.Header.Set("X-Consistency", string(level))
	}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return reply{status: 400, code: err.Error()}
		}
		req.SetBody(data)
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, nil, nil)
	ok, no := r.admin.Handle(&ctx, &auth.Principal{Master: true, Role: auth.RoleAdmin})
	switch {
	case !ok:
		return reply{status: 404, code: "no such route"}
	case no != nil:
		return reply{status: no.Status, code: no.Code, body: map[string]any{"message": no.Message}}
	}
	out := reply{status: ctx.Response.StatusCode(), behind: string(ctx.Response.Header.Peek("X-State-Behind"))}
	_ = json.Unmarshal(ctx.Response.Body(), &out.body)
	return out
}

// use presents a key as a model call does: what newer state could lift is
// refused only after newer state has been asked for.
func (h *host) use(key string) *refusal.Refusal {
	r := h.current()
	if r == nil {
		return refusal.Unavailable("down", "the node is down", time.Second)
	}
	identify := func(s *state.Snapshot) *refusal.Refusal {
		_, no := auth.Identify(s, "", []byte(key), time.Now(), false)
		return no
	}
	no := identify(r.parts.store.State())
	if no == nil || !no.Liftable {
		return no
	}
	moved, err := r.CatchUp(context.Background(), auth.Hash([]byte(key)))
	if err != nil {
		return refusal.StateBehind()
	}
	if !moved {
		return no
	}
	return identify(r.parts.store.State())
}

// local is what this node's own state says of a key.
func (r *run) local(key string) *refusal.Refusal {
	_, no := auth.Identify(r.parts.store.State(), "", []byte(key), time.Now(), false)
	return no
}

// spend makes one call against a key's budget: it reserves, writes the maximum
// into the ledger, and settles.
func (h *host) spend(key string, most, cost unit.Money) error {
	r := h.current()
	if r == nil {
		return errDown
	}
	scope := model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte(key))}
	def, ok := r.parts.store.State().BudgetOf(scope)
	if !ok {
		return budget.ErrUnknown
	}
	var hold budget.Hold
	if err := r.bank.Reserve(context.Background(), []budget.Charge{{Scope: scope, Def: def}}, most, most, &hold); err != nil {
		return err
	}
	sc, window := hold.Window(0)
	if !h.write(r, sc, window, most) {
		return errDown
	}
	time.Sleep(h.w.net.Between(10*time.Millisecond, 2*time.Second))
	if !h.write(r, sc, window, cost-most) {
		return errDown
	}
	r.bank.Settle(&hold, cost)
	return nil
}

// errDown is what a call ends with whose node has lost its power.
var errDown = errors.New("the node is down")

// write books for a run that still lives: what is open when it dies stays booked
// with its maximum.
func (h *host) write(r *run, sc model.Scope, window int64, m unit.Money) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.starts != r.incarnation || h.run != r {
		return false
	}
	b := h.books[r.incarnation]
	if b == nil {
		b = map[account]int64{}
		h.books[r.incarnation] = b
	}
	b[account{sc, window}] += int64(m)
	return true
}

// recovery is what the ledger says of earlier starts. What was in flight counts
// with its maximum from then on, as in the real ledger.
func (h *host) recovery() budget.Recovery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []budget.Settled
	for inc, sums := range h.books {
		for a, sum := range sums {
			if inc != h.starts {
				all = append(all, budget.Settled{Incarnation: inc, Scope: a.scope, Window: a.window, S: unit.Money(sum)})
			}
		}
	}
	return budget.Recovery{Settled: func(yield func(budget.Settled) bool) {
		for _, s := range all {
			if !yield(s) {
				return
			}
		}
	}}
}

// booked is everything that all ledgers of the cluster have for a key.
func (w *world) booked(key string) unit.Money {
	scope := model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte(key))}
	var sum int64
	for _, h := range w.hosts {
		h.mu.Lock()
		for _, sums := range h.books {
			for a, m := range sums {
				if a.scope == scope {
					sum += m
				}
			}
		}
		h.mu.Unlock()
	}
	return unit.Money(sum)
}
