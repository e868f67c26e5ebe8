package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
	"tollgate/ledger/store"
)

// world is a cluster's state, the ledgers of its nodes, and a database.
type world struct {
	t       testing.TB
	url     string // of the database; "" when there is none
	applier *state.Applier
	store   *state.Store
	index   uint64
	applied atomic.Uint64
	mu      sync.Mutex // guards now
	now     time.Time
	nodes   []*node
}

// node keeps what it hears, and writes it.
type node struct {
	w      *world
	ledger *store.Ledger
	pool   *pgxpool.Pool
	writer *audit.Writer
	log    *audit.Log
	logged *bytes.Buffer
	deaf   bool // it hears of no changes
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// newWorld makes one with so many nodes, on a server's new database; nil: without.
func newWorld(t testing.TB, nodes int, server *pgtest.Server) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)}
	w.store = state.NewStore(nil)
	w.applier = state.NewApplier(w.store)
	w.applier.OnChange(w.heard)
	if server != nil {
		w.url = server.NewDatabase(t)
		cfg, err := pgx.ParseConfig(w.url)
		require.NoError(t, err)
		require.NoError(t, schema.Migrate(context.Background(), cfg, slog.New(slog.DiscardHandler)))
		server.Exec(t, w.url, "INSERT INTO gateway_state_cursor (name, index) VALUES ('adopted/c1', 0)")
	}
	for range nodes {
		w.join()
	}
	return w
}

// join adds a node that has what is heard from now on.
func (w *world) join() *node {
	w.t.Helper()
	n := &node{w: w, logged: new(bytes.Buffer)}
	var err error
	n.ledger, err = store.Open(store.Config{Dir: w.t.TempDir(), Ballast: -1})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, n.ledger.Close()) })
	require.NoError(w.t, n.ledger.SetAuditsFrom(w.index+1))
	cfg := audit.Config{Ledger: n.ledger, Cluster: "c1", Clock: unit.ClockFunc(w.Now), Logger: slog.New(slog.NewTextHandler(n.logged, nil))}
	if w.url == "" {
		n.log, err = audit.NewLog(cfg, nil)
		require.NoError(w.t, err)
	} else {
		pool, err := pgxpool.ParseConfig(w.url)
		require.NoError(w.t, err)
		pool.MaxConns = 2
		n.pool, err = pgxpool.NewWithConfig(context.Background(), pool)
		require.NoError(w.t, err)
		w.t.Cleanup(n.pool.Close)
		n.writer, err = audit.NewWriter(audit.WriterConfig{Config: cfg, Pool: n.pool, Applied: w.applied.Load,
			Look: 10 * time.Millisecond, Stale: time.Millisecond})
		require.NoError(w.t, err)
		n.log, err = audit.NewLog(cfg, n.pool)
		require.NoError(w.t, err)
	}
	w.nodes = append(w.nodes, n)
	return n
}

// heard keeps records as a node does.
func (w *world) heard(m state.Applied) {
	var records []store.Audit
	for i, c := range m.Changes {
		r := store.Audit{Index: m.Index, Part: uint32(i), At: m.At, By: m.By, ByKey: m.ByKey, Table: string(c.Table), ID: c.ID}
		if e, ok := m.Old.Entity(c.Table, c.ID); ok {
			r.Before = w.json(e)
		}
		if e, ok := m.New.Entity(c.Table, c.ID); ok {
			r.After = w.json(e)
		}
		records = append(records, r)
	}
	for _, n := range w.nodes {
		if !n.deaf {
			require.NoError(w.t, n.ledger.PutAudits(records))
		}
	}
}

func (w *world) json(v any) json.RawMessage {
	data, err := json.Marshal(v)
	require.NoError(w.t, err)
	return data
}

// change applies one mutation.
func (w *world) change(changes ...model.Change) {
	w.t.Helper()
	w.pass(time.Second)
	w.index++
	payload := w.json(model.Mutation{At: w.Now(), By: "ada", ByKey: "keyhash", Changes: changes})
	r, ok := w.applier.Apply(w.index, w.Now(), state.MutationVersion, payload).(model.Result)
	require.True(w.t, ok)
	require.Nil(w.t, r.Conflict)
	w.applier.Publish()
	w.applied.Store(w.index)
}

// write is a turn of the projection on a node.
func (n *node) write() error {
	conn, err := n.pool.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer conn.Release()
	return n.writer.Beside(context.Background(), conn.Conn())
}

// writeAgain is write, repeated when a connection of before a restart fails.
func (n *node) writeAgain() {
	n.w.t.Helper()
	for range 10 {
		if n.write() == nil && n.writer.Stats().LastError == "" {
			return
		}
	}
	n.w.t.Fatal("not written: ", n.writer.Stats().LastError)
}

// list answers a filter with everything that it finds.
func (n *node) list(f audit.Filter) []audit.Row {
	n.w.t.Helper()
	if f.Max == 0 {
		f.Max = 10_000
	}
	p, err := n.log.List(context.Background(), f)
	require.NoError(n.w.t, err)
	return p.Rows
}

// actions are table, action and object of rows, oldest first.
func (n *node) actions() (out []string) {
	for _, r := range n.list(audit.Filter{Ascending: true}) {
		out = append(out, r.Table+" "+r.Action+" "+r.Object)
	}
	return out
}

// stored is the same as PostgreSQL has it.
func (n *node) stored() []string {
	n.w.t.Helper()
	rows, err := n.pool.Query(context.Background(), `SELECT table_name || ' ' || action || ' ' || object_id FROM "LiteLLM_AuditLog" ORDER BY updated_at, id`)
	require.NoError(n.w.t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(n.w.t, err)
	return all
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// everyAction makes each kind of change once, and gives what is to be found of
// it.
func (w *world) everyAction() []string {
	w.change(model.Put(model.Teams, &model.Team{ID: "t", Alias: "one"}, nil))
	w.change(model.Put(model.Teams, &model.Team{ID: "t", Alias: "one", Blocked: true}, nil))
	w.change(model.Put(model.Teams, &model.Team{ID: "t", Alias: "one"}, nil))
	w.change(model.Put(model.Teams, &model.Team{ID: "t", Alias: "two", Blocked: true}, nil))
	w.change(model.Put(model.Keys, &model.Key{Hash: "h1", UserID: "u"}, nil))
	w.change(model.Delete(model.Keys, "h1", nil), model.Put(model.Keys, &model.Key{Hash: "h2", UserID: "u", Extra: map[string]json.RawMessage{"rotation_count": json.RawMessage("1")}}, nil))
	w.change(model.Delete(model.Keys, "h2", nil), model.Delete(model.Keys, "none", nil))
	w.change(model.Put(model.Members, &model.Member{TeamID: "t", UserID: "u"}, nil))
	w.change(model.Put(model.Configs, &model.ConfigVersion{Number: 7, Hash: "abc"}, nil))
	return []string{
		"LiteLLM_TeamTable created t", "LiteLLM_TeamTable blocked t", "LiteLLM_TeamTable unblocked t", "LiteLLM_TeamTable updated t",
		"LiteLLM_VerificationToken created h1", "LiteLLM_VerificationToken rotated h1", "LiteLLM_VerificationToken deleted h2",
		"LiteLLM_TeamMembership created t:u", "LiteLLM_Config created 7",
	}
}
