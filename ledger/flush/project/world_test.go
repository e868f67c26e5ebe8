package project_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/project"
	"tollgate/ledger/flush/schema"
)

// world is a cluster's state beside a database of its own.
type world struct {
	t       testing.TB
	url     string
	pool    *pgxpool.Pool
	store   *state.Store
	applier *state.Applier
	index   uint64
	now     time.Time
	box     *secret.Box
	leads   atomic.Bool
	propose func(context.Context, model.Mutation) error // nil: apply
}

const saltKey = "sk-salt-1234"

// newWorld makes a world; emptyDB leaves the database without a schema.
func newWorld(t testing.TB) *world {
	w := emptyWorld(t, pgtest.Start(t).NewDatabase(t))
	w.migrate()
	return w
}

func emptyWorld(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, url: url, now: time.Date(2026, 11, 18, 10, 30, 0, 0, time.UTC)}
	w.leads.Store(true)
	cfg, err := pgxpool.ParseConfig(url)
	w.must(err)
	cfg.MaxConns = 2
	w.pool, err = pgxpool.NewWithConfig(context.Background(), cfg)
	w.must(err)
	t.Cleanup(w.pool.Close)
	w.newState()
	return w
}

// newState makes the state an empty one, as that of a cluster made anew.
func (w *world) newState() {
	w.store = state.NewStore(nil)
	w.applier = state.NewApplier(w.store)
	w.index = 0
	kek, err := secret.KEKFromText("kek")
	w.must(err)
	w.box = secret.NewBox(kek)
	key, err := w.box.NewDataKey("c1")
	w.must(err)
	_, err = w.box.Install("c1", key)
	w.must(err)
}

func (w *world) migrate() {
	cfg, err := pgx.ParseConfig(w.url)
	w.must(err)
	w.must(schema.Migrate(context.Background(), cfg, quiet()))
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func isSecret(name string) bool { return strings.HasSuffix(name, "_key") }

func (w *world) config(cluster string) project.Config {
	return project.Config{
		Pool: w.pool, State: w.store, Cluster: cluster, Leads: w.leads.Load,
		Clock: unit.ClockFunc(func() time.Time { return w.now }), Logger: quiet(),
		SigningKey: saltKey, MasterKey: "sk-master",
		Open:    w.box.OpenDeployment,
		Seal:    func(d *model.Deployment) error { return w.box.SealDeployment(d, isSecret) },
		Propose: w.mutate, Every: 5 * time.Millisecond,
	}
}

// mutate applies a mutation as the cluster would.
func (w *world) mutate(ctx context.Context, m model.Mutation) error {
	if w.propose != nil {
		if err := w.propose(ctx, m); err != nil {
			return err
		}
	}
	w.index++
	payload, err := json.Marshal(m)
	if err != nil {
		return err
	}
	switch r := w.applier.Apply(w.index, w.now, state.MutationVersion, payload).(type) {
	case model.Result:
		w.applier.Publish()
		if r.Conflict != nil {
			return r.Conflict
		}
		return nil
	case error:
		return r
	default:
		return fmt.Errorf("answer %v", r)
	}
}

func (w *world) put(changes ...model.Change) {
	w.t.Helper()
	w.must(w.mutate(context.Background(), model.Mutation{ID: fmt.Sprint("m", w.index), Changes: changes}))
}

func (w *world) projector(cluster string) *project.Projector {
	w.t.Helper()
	p, err := project.New(w.config(cluster))
	w.must(err)
	return p
}

// sync projects once with a projector of its own: as a node that starts does.
func (w *world) sync() *project.Projector {
	w.t.Helper()
	p := w.projector("c1")
	w.must(p.Sync(context.Background()))
	return p
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(context.Background(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// one is the single value of a query, as text.
func (w *world) one(sql string, args ...any) string {
	w.t.Helper()
	var v *string
	if err := w.pool.QueryRow(context.Background(), "SELECT ("+sql+")::text", args...).Scan(&v); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	if v == nil {
		return "<null>"
	}
	return *v
}

func (w *world) wants(want, sql string, args ...any) {
	w.t.Helper()
	if got := w.one(sql, args...); got != want {
		w.t.Errorf("%s\n got %s\nwant %s", sql, got, want)
	}
}

// rows is a table's content by row, without some columns.
func (w *world) rows(table, key string, without ...string) []string {
	if without == nil {
		without = []string{}
	}
	w.t.Helper()
	r, err := w.pool.Query(context.Background(), fmt.Sprintf(`SELECT (to_jsonb(t) - $1::text[])::text FROM %q t ORDER BY %s`, table, key), without)
	w.must(err)
	all, err := pgx.CollectRows(r, pgx.RowTo[string])
	w.must(err)
	return all
}

func (w *world) sameRows(what string, before, after []string) {
	w.t.Helper()
	if !slices.Equal(before, after) {
		w.t.Errorf("%s changed:\n%s\nto\n%s", what, strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func usd(f float64) *unit.Money {
	m, err := unit.MoneyFromUSD(f)
	if err != nil {
		panic(err)
	}
	return &m
}

func num(n int64) *int64 { return &n }
