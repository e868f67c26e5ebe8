// Package flush writes finished calls to PostgreSQL: a row for each, LiteLLM's
// daily sums and the spend of whom they count for, in one transaction with how
// far it has come, so that a call is written exactly once whatever ends in the
// middle. It keeps the schema, removes what is past its time, and knows how the
// database is. It decides nothing about calls, and no call waits for it.
package flush

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tollgate/config/unit"
	"tollgate/ledger/flush/schema"
	"tollgate/ledger/query"
)

const (
	connectTimeout = 10 * time.Second
	// execWithoutNames prepares nothing by name: behind a pooler the name would
	// be in another session.
	execWithoutNames = pgx.QueryExecModeExec
)

// Settings may change while the gateway runs.
type Settings struct {
	// UserColumn says what the user column of the rows holds.
	UserColumn query.UserColumn
	// NoSpendLogs writes no rows of calls; sums move all the same.
	NoSpendLogs bool
	// NoErrorLogs writes no rows of errors beside the rows of failed calls.
	NoErrorLogs bool
	// KeepLogs is how long rows of calls stay, 0 for ever; KeepBodies how long
	// they keep messages, response and request.
	KeepLogs, KeepBodies time.Duration
	// RetainEvery is the pause between two clean-ups, default 1 h.
	RetainEvery time.Duration
}

// Config is what a Database works with.
type Config struct {
	// Address is LiteLLM's DATABASE_URL.
	Address string
	// Settings are asked for each batch; nil gives the zero Settings.
	Settings func() Settings
	// Statement bounds one statement of a flush, default 30 s; Lock the wait for
	// another's lock, default 10 s; Batch a whole transaction, default 60 s.
	Statement, Lock, Batch time.Duration
	// Project and Migrate bound a statement of the projection and of a migration
	// on this side, default 2 min and 6 min.
	Project, Migrate time.Duration
	// Rows and Bytes bound one transaction, default 5,000 and 8 MiB.
	Rows, Bytes int
	// RetainRows bounds one step of a clean-up, default 1,000, and RetainPause
	// the rest after it, default 200 ms.
	RetainRows  int
	RetainPause time.Duration
	Clock       unit.Clock
	Logger      *slog.Logger
}

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	if c.Settings == nil {
		c.Settings = func() Settings { return Settings{} }
	}
	def(&c.Statement, 30*time.Second)
	def(&c.Lock, 10*time.Second)
	def(&c.Batch, time.Minute)
	def(&c.Project, projectWithin)
	def(&c.Migrate, migrateWithin)
	def(&c.Rows, 5000)
	def(&c.Bytes, 8<<20)
	def(&c.RetainRows, 1000)
	def(&c.RetainPause, 200*time.Millisecond)
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Database is a PostgreSQL that the books are flushed to. A node with all that
// uses it holds five connections at most: one each for the flush, the
// projection and upkeep, two for questions.
type Database struct {
	cfg                        Config
	conn                       *pgx.ConnConfig
	flush, projection, queries *pgxpool.Pool

	prepare chan struct{} // holds a token while nobody prepares the schema
	daily   atomic.Pointer[[]dailyTable]

	counts  counters
	health  healthState
	returns returns
	fault   chan struct{} // holds a token when one has come

	mu    sync.Mutex // guards sinks
	sinks map[string]*Sink
}

// Open makes a Database. It does not connect: only an address that cannot be
// one is an error.
func Open(cfg Config) (*Database, error) {
	cfg = cfg.WithDefaults()
	parsed, err := ParseAddress(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	d := &Database{cfg: cfg, conn: parsed.ConnConfig, prepare: make(chan struct{}, 1), fault: make(chan struct{}, 1), sinks: map[string]*Sink{}}
	d.prepare <- struct{}{}
	d.health.since = cfg.Clock.Now()
	for _, p := range []struct {
		pool **pgxpool.Pool
		most int32
	}{{&d.flush, 1}, {&d.projection, 1}, {&d.queries, 2}} {
		c := parsed.Copy()
		c.MaxConns, c.MinConns = p.most, 0
		if p.pool == &d.projection {
			c.ConnConfig.Tracer = bound{cfg.Project}
		}
		c.MaxConnIdleTime, c.MaxConnLifetime, c.MaxConnLifetimeJitter = 5*time.Minute, time.Hour, 10*time.Minute
		if *p.pool, err = pgxpool.NewWithConfig(context.Background(), c); err != nil {
			d.Close()
			return nil, fmt.Errorf("open database: %w", err)
		}
	}
	return d, nil
}

// closeWithin bounds Close: the library takes leave of a server that hangs for
// 15 s and of one connection after the other, and a node that stops has no such time.
const closeWithin = 3 * time.Second

// Close ends the connections. Those of a server that hangs end by themselves
// soon after it.
func (d *Database) Close() {
	var wg sync.WaitGroup
	for _, p := range []*pgxpool.Pool{d.flush, d.projection, d.queries} {
		if p != nil {
			wg.Go(p.Close)
		}
	}
	closed := make(chan struct{})
	go func() { wg.Wait(); close(closed) }()
	t := time.NewTimer(closeWithin)
	defer t.Stop()
	select {
	case <-closed:
	case <-t.C:
		d.cfg.Logger.Warn("PostgreSQL hangs, its connections are left to end by themselves", "database", d.Name())
	}
}

// Queries lends the two connections for questions.
func (d *Database) Queries() *pgxpool.Pool { return d.queries }

// Projection lends the one connection of who projects the state.
func (d *Database) Projection() *pgxpool.Pool { return d.projection }

// Name is host and database, for messages.
func (d *Database) Name() string {
	return fmt.Sprintf("%s:%d/%s", d.conn.Host, d.conn.Port, d.conn.Database)
}

// Ready makes the schema what it has to be, once; an error means that it could
// not be reached or made, and the next call tries again.
func (d *Database) Ready(ctx context.Context) error {
	if d.daily.Load() != nil {
		return nil
	}
	select {
	case <-d.prepare:
	case <-ctx.Done():
		return fmt.Errorf("prepare the database: %w", ctx.Err())
	}
	defer func() { d.prepare <- struct{}{} }()
	if d.daily.Load() != nil {
		return nil
	}
	bounded := d.conn.Copy()
	bounded.Tracer = bound{d.cfg.Migrate}
	if err := schema.Migrate(ctx, bounded, d.cfg.Logger); err != nil {
		return d.saw(err)
	}
	tables, err := d.findDaily(ctx)
	if err != nil {
		return d.saw(fmt.Errorf("prepare the database: %w", err))
	}
	d.daily.Store(&tables)
	return d.saw(nil)
}

// Run keeps the database in order until the context ends: schema and indexes,
// a look at its health when nothing else comes by, and the clean-up.
func (d *Database) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.watch(ctx) })
	d.until(ctx, "schema", d.Ready)
	// One after the other: both use the one connection that upkeep may have. A
	// clean-up does not wait for ever for an index that cannot be built.
	indexed := false
	for ctx.Err() == nil {
		if !indexed {
			err := schema.BuildIndexes(ctx, d.conn, d.cfg.Logger)
			if indexed = err == nil; !indexed && ctx.Err() == nil {
				d.cfg.Logger.Warn("database job failed, it is tried again", "job", "indexes", "error", err, "in", time.Minute)
			}
		}
		s := d.cfg.Settings()
		def(&s.RetainEvery, time.Hour)
		if s.KeepLogs > 0 || s.KeepBodies > 0 {
			d.until(ctx, "clean-up", func(ctx context.Context) error { return d.Retain(ctx, s) })
		}
		if !indexed {
			s.RetainEvery = min(s.RetainEvery, time.Minute)
		}
		rest(ctx, s.RetainEvery)
	}
	wg.Wait()
	return nil
}

// until repeats a job, with growing pauses, until it is done.
func (d *Database) until(ctx context.Context, what string, job func(context.Context) error) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		err := job(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.cfg.Logger.Warn("database job failed, it is tried again", "job", what, "error", err, "in", pause)
		d.pause(ctx, jitter(pause))
	}
}

// lookEvery is how often the database is asked whether it is there, when no
// flush has told.
const lookEvery = 10 * time.Second

func (d *Database) watch(ctx context.Context) {
	gone := false
	for ctx.Err() == nil {
		if h := d.Health(); !h.Healthy && h.Class != "" {
			rest(ctx, jitter(probeEvery))
			if ctx.Err() == nil {
				gone = d.probe(ctx, gone)
			}
			if gone {
				continue
			}
		} else {
			gone = false
			d.restUntilFault(ctx, lookEvery)
		}
		if ctx.Err() != nil || d.cfg.Clock.Now().Sub(d.health.seen()) < lookEvery || d.daily.Load() == nil {
			continue
		}
		// A flush that is under way has the connection; its outcome will tell.
		within, end := context.WithTimeout(ctx, lookEvery)
		c, err := d.queries.Acquire(within)
		if err == nil {
			err = c.Ping(within)
			c.Release()
		} else if errors.Is(err, context.DeadlineExceeded) && d.queries.Stat().AcquiredConns() == 2 {
			err = nil // both are at work
		}
		end()
		if ctx.Err() == nil {
			_ = d.saw(err)
		}
	}
}
