// Package project keeps LiteLLM's tables in step with the replicated state, and
// takes over a database that LiteLLM has filled. Keys, users, teams, budgets,
// models and settings are written after they are agreed on, by one node at a
// time; no request ever waits for it or reads it. It changes no row that it has
// not read or written, does not write calls or sums (the flush does), and reads
// nothing back but once: when a cluster meets a database for the first time.
package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// Pool lends connections. One is held for as long as this node projects.
type Pool interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
}

// Config is what a projector works with.
type Config struct {
	Pool Pool
	// Ready makes the schema what it has to be; nil: it is.
	Ready func(ctx context.Context) error
	State state.Getter
	// Cluster names the cluster whose state this is. A database that another
	// cluster has written is taken over as one of LiteLLM's: read first, so that
	// an empty state never empties tables that hold the only copy.
	Cluster string
	// Leads reports whether this node should do the work; nil: whichever comes
	// first. Two that both think so do not meet: a lock in the database decides.
	Leads  func() bool
	Clock  unit.Clock
	Logger *slog.Logger
	// SigningKey encrypts and opens models' parameters as LiteLLM does: its salt
	// key, or the master key where there is none. MasterKey is tried too when
	// reading. Without a signing key models are not written.
	SigningKey, MasterKey string
	// Open is a copy of a deployment with its sealed values opened, Seal seals one
	// in place.
	Open func(*model.Deployment) (*model.Deployment, error)
	Seal func(*model.Deployment) error
	// Propose submits what was read to the cluster and returns when this node has
	// applied it. A *model.Refused says which object exists already.
	Propose func(ctx context.Context, m model.Mutation) error
	// Every is the pause between two looks at the state; 0: a second.
	Every time.Duration
	// Beside is called after each look, in the turn of whoever projects and on its
	// connection, for what is written beside the tables; nil: nothing is. An error
	// ends the turn, and the next begins with a new connection.
	Beside func(ctx context.Context, conn *pgx.Conn) error
}

// validate names everything that is missing.
func (c *Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("projection needs %s", what))
		}
	}
	need(c.Pool != nil, "a pool")
	need(c.State != nil, "a state")
	need(c.Cluster != "", "a cluster's name")
	need(c.Clock != nil, "a clock")
	need(c.Logger != nil, "a logger")
	need(c.Propose != nil, "somewhere to propose to")
	need(c.Seal != nil && c.Open != nil, "a way to seal and open secrets")
	return errors.Join(errs...)
}

// Projector writes the state into LiteLLM's tables.
type Projector struct {
	cfg    Config
	cipher atRest

	mu    sync.Mutex // guards stats
	stats Stats
}

// Stats says how far a projector has come.
type Stats struct {
	Working   bool   // this node holds the lock
	Index     uint64 // of the state that the tables show
	Rows      uint64 // written since the start
	Refused   uint64 // rows that the database would not take
	Healthy   bool   // the last pass went through
	LastError string
	Adopted   Report // what was taken over since the start
}

// New makes a projector; Run starts it.
func New(cfg Config) (*Projector, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	return &Projector{cfg: cfg, cipher: newAtRest(cfg.SigningKey, cfg.MasterKey)}, nil
}

// Stats is how far it has come.
func (p *Projector) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Projector) note(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// Pauses after a fault, and of a node that finds the lock taken.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	lockPause  = 10 * time.Second
)

var (
	// errNotMine ends a turn: another node holds the lock, or leads now.
	errNotMine = errors.New("another node projects")
	// errTakenOver proves that another cluster has taken the database over.
	errTakenOver = errors.New("another cluster has taken this database over")
)

// Run projects until the context ends. PostgreSQL may be away for as long as it
// likes: what changed meanwhile is found by comparing when it is back.
func (p *Projector) Run(ctx context.Context) error {
	pause := firstPause
	for {
		if p.leads() {
			err := p.turn(ctx, true)
			p.note(func(s *Stats) { s.Working = false })
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, errTakenOver):
				p.cfg.Logger.Error("projection ended", "error", err, "fix", "point each cluster at a database of its own and start again")
				p.failed(err)
				<-ctx.Done()
				return nil
			case errors.Is(err, errNotMine):
				pause = firstPause
			case err != nil:
				if p.failed(err) {
					p.cfg.Logger.Warn("projection interrupted", "error", err)
				}
				if !sleep(ctx, pause+rand.N(pause/2)) {
					return nil
				}
				pause = min(2*pause, lastPause)
				continue
			}
		}
		if !sleep(ctx, lockPause/2+rand.N(lockPause)) {
			return nil
		}
	}
}

// Sync brings the tables in step with the state once and returns. It is for
// commands; a node has Run.
func (p *Projector) Sync(ctx context.Context) error {
	err := p.turn(ctx, false)
	p.note(func(s *Stats) { s.Working = false })
	if err != nil {
		p.failed(err)
	}
	return err
}

func (p *Projector) leads() bool { return p.cfg.Leads == nil || p.cfg.Leads() }

// failed notes a fault; it reports whether it is news.
func (p *Projector) failed(err error) (news bool) {
	p.note(func(s *Stats) {
		news = s.Healthy || s.LastError != err.Error()
		s.Healthy, s.LastError = false, err.Error()
	})
	return news
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// lockKey is the advisory lock of whoever projects: "tollgate" and a number.
const lockKey = 0x746f6c6c67617465 ^ 4

// turn projects for as long as this node may; with stay unset, once.
func (p *Projector) turn(ctx context.Context, stay bool) error {
	if p.cfg.Ready != nil {
		if err := p.cfg.Ready(ctx); err != nil {
			return fmt.Errorf("projection: %w", err)
		}
	}
	conn, err := p.cfg.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("projection: connect: %w", err)
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockKey)).Scan(&mine); err != nil {
		return fmt.Errorf("projection: lock: %w", err)
	}
	if !mine {
		return errNotMine
	}
	defer func() {
		// A lock on a pooled connection outlives its user: give it back, or close.
		ctx, end := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer end()
		_, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(lockKey))
		if err == nil {
			_, err = conn.Exec(ctx, "RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin", pgx.QueryExecModeSimpleProtocol)
		}
		if err != nil {
			conn.Conn().Close(ctx) //nolint:errcheck // it is being thrown away
		}
	}()
	// Everything here is looked up by key. Plans made while a table is empty would
	// read all of it, and are kept when it has grown. The server would keep the
	// lock of a machine that has lost power for two hours: it asks sooner.
	if _, err := conn.Exec(ctx, `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
		SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 60000`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("projection: set up: %w", err)
	}
	p.note(func(s *Stats) { s.Working = true })
	w := &work{p: p, db: conn.Conn()}
	if err := w.findLinks(ctx); err != nil {
		return err
	}
	if err := w.adoptOnce(ctx); err != nil {
		return err
	}
	for {
		if err := w.pass(ctx, p.cfg.State.State()); err != nil {
			return err
		}
		p.note(func(s *Stats) { s.Healthy, s.LastError, s.Index = true, "", w.done.Index })
		if p.cfg.Beside != nil {
			if err := p.cfg.Beside(ctx, w.db); err != nil {
				return err
			}
		}
		if !stay {
			return nil
		}
		if !sleep(ctx, p.cfg.Every) {
			return nil
		}
		if !p.leads() {
			return errNotMine
		}
	}
}
