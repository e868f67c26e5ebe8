package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tollgate/ledger/flush/project"
)

// WriterConfig is what a writer works with.
type WriterConfig struct {
	Config
	// Pool lends the connection that this node has for the projection, while it
	// does not project itself.
	Pool interface {
		Acquire(ctx context.Context) (*pgxpool.Conn, error)
	}
	// Ready makes the schema what it has to be; nil: it is.
	Ready func(ctx context.Context) error
	// Applied is the log entry that this node's state stands at; its records, and
	// those of all entries before it, are in the ledger.
	Applied func() uint64
	// Look is how often a node that does not project looks whether rows are
	// missing, default 15 s; Stale after how long without progress it writes them,
	// default 20 s; Wait how long rows that this node lacks are left to others,
	// default 60 s.
	Look, Stale, Wait time.Duration
}

// Writer brings a node's audit records into PostgreSQL. Every node has one:
// whoever projects writes as things happen, in its turn; another writes when
// nobody has, as when the one that projects came later and lacks the records.
// Which node does is no matter: what is written moves with how far the log is
// written, in one transaction.
type Writer struct {
	cfg WriterConfig

	mu    sync.Mutex // guards the fields below
	stats Stats
	held  time.Time // when this node last wrote in the projection's turn
	gap   time.Time // since when records before this node's are missing; zero: none are
	idle  uint64    // what the state stood at when nothing was left to write, at since
	since time.Time
}

// Stats says how far a writer knows the log to be written.
type Stats struct {
	Written   uint64 // log entry that the rows stand at
	Rows      uint64 // written by this node since its start
	Refused   uint64 // records that the database would not take
	Lost      uint64 // log entries passed over because no record of them was found in time
	LastError string
}

// NewWriter makes a writer. The projection calls its Beside, and Run does the
// rest.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Pool == nil || cfg.Applied == nil {
		return nil, errors.New("audit writer needs a pool and what is applied")
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&cfg.Look, 15 * time.Second}, {&cfg.Stale, 20 * time.Second}, {&cfg.Wait, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	return &Writer{cfg: cfg}, nil
}

// Stats is how far the log is written.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

func (w *Writer) note(change func(*Writer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// One transaction takes this many records, or as many as fit these bytes; one
// turn of the projection lends its connection for about turnTime.
const (
	batchRecords = 500
	batchBytes   = 1 << 20
	turnTime     = time.Second
	// idleEvery is how often the cursor follows the state while nothing is written,
	// so that a node that takes over a state knows that it lacks no records.
	idleEvery = 30 * time.Second
)

// Beside writes what is due, on the connection of whoever projects. A fault of
// the log is told and tried again; it ends the projection's turn only when the
// connection is gone.
func (w *Writer) Beside(ctx context.Context, conn *pgx.Conn) error {
	start := w.cfg.Clock.Now()
	w.note(func(w *Writer) { w.held = start })
	for {
		more, err := w.step(ctx, conn, true)
		w.outcome(ctx, err)
		if err != nil && (conn.IsClosed() || ctx.Err() != nil) {
			return err
		}
		if err != nil || !more || w.cfg.Clock.Now().Sub(start) > turnTime {
			return nil
		}
	}
}

// Run writes, on a node that does not project, what nobody else has written.
func (w *Writer) Run(ctx context.Context) error {
	for {
		pause := time.NewTimer(w.cfg.Look/2 + rand.N(w.cfg.Look))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		w.mu.Lock()
		holds := w.cfg.Clock.Now().Sub(w.held) < 2*w.cfg.Look
		w.mu.Unlock()
		if !holds {
			w.outcome(ctx, w.help(ctx))
		}
	}
}

// outcome tells a fault when it is news.
func (w *Writer) outcome(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	var news bool
	w.note(func(w *Writer) { news, w.stats.LastError = text != w.stats.LastError, text })
	if news && err != nil {
		w.cfg.Logger.Warn("audit log not written to PostgreSQL, it is tried again", "error", err)
	}
}

// help writes what has been left for too long.
func (w *Writer) help(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if w.cfg.Ready != nil {
		if err := w.cfg.Ready(limit); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	conn, err := w.cfg.Pool.Acquire(limit)
	if err != nil {
		return fmt.Errorf("audit log: connect: %w", err)
	}
	defer conn.Release()
	for {
		var written int64
		var stale bool
		err := conn.QueryRow(limit, `SELECT index, updated_at < now() - make_interval(secs => $2) FROM gateway_state_cursor WHERE name = $1`,
			cursorName, w.cfg.Stale.Seconds()).Scan(&written, &stale)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil // nobody has projected yet: there is no hurry
		case err != nil:
			return fmt.Errorf("audit log: read the cursor: %w", err)
		}
		w.note(func(w *Writer) { w.stats.Written = uint64(written) })
		if !stale || w.nothingAfter(uint64(written)) {
			return nil
		}
		more, err := w.step(limit, conn.Conn(), false)
		if err != nil || !more {
			return err
		}
	}
}

func (w *Writer) nothingAfter(index uint64) bool {
	for range w.cfg.Ledger.Audits(index) {
		return false
	}
	return true
}

var (
	// errLacks says that another node should write.
	errLacks = errors.New("records before this node's are missing")
	// errNotOurs says that the database is another cluster's, or nobody's yet.
	errNotOurs = errors.New("audit log: this cluster has not taken the database over")
)

// step writes one batch. holds says that this node projects, and so is the one
// to give records up that no node brings.
func (w *Writer) step(ctx context.Context, conn *pgx.Conn, holds bool) (more bool, err error) {
	w.mu.Lock()
	known, idle, since := w.stats.Written, w.idle, w.since
	w.mu.Unlock()
	applied, now := w.cfg.Applied(), w.cfg.Clock.Now()
	if holds && known > 0 && (applied == known || now.Sub(since) < idleEvery) && w.nothingAfter(known) {
		return false, nil
	}
	batch, err := w.write(ctx, conn, holds, idle, now, 0)
	if content(err) {
		// One record at a time shows which one it is that the database refuses.
		batch, err = w.write(ctx, conn, holds, idle, now, 1)
	}
	if errors.Is(err, errLacks) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	w.note(func(w *Writer) {
		w.stats.Written, w.stats.Rows = batch.to, w.stats.Rows+uint64(batch.rows)
		w.idle, w.since = applied, now
	})
	return batch.more, nil
}

// batch is what one transaction has written.
type batch struct {
	to   uint64 // log entry that the log now stands at
	rows int
	more bool
}

// write writes the records that come next, at most so many log entries (0: as
// many as a batch has). A single entry that the database refuses is passed over.
func (w *Writer) write(ctx context.Context, conn *pgx.Conn, holds bool, idle uint64, now time.Time, most int) (batch, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return batch{}, fmt.Errorf("audit log: begin: %w", err)
	}
	defer rollback(ctx, tx)
	var one int
	err = tx.QueryRow(ctx, "SELECT 1 FROM gateway_state_cursor WHERE name = $1 FOR SHARE", project.Marker(w.cfg.Cluster)).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return batch{}, errNotOurs
	}
	if err != nil {
		return batch{}, fmt.Errorf("audit log: look whose database it is: %w", err)
	}
	if _, err := tx.Exec(ctx, "INSERT INTO gateway_state_cursor (name, index) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING", cursorName); err != nil {
		return batch{}, fmt.Errorf("audit log: make the cursor: %w", err)
	}
	var at int64
	if err := tx.QueryRow(ctx, "SELECT index FROM gateway_state_cursor WHERE name = $1 FOR UPDATE", cursorName).Scan(&at); err != nil {
		return batch{}, fmt.Errorf("audit log: read the cursor: %w", err)
	}
	out := batch{to: uint64(at)}
	rows, err := w.next(&out, most)
	if err != nil {
		return batch{}, err
	}
	if out.to == uint64(at) {
		out.to = max(out.to, idle) // a while ago already nothing was left
	}
	// Asked for after the records were read: a state that was taken over meanwhile
	// is then known to have left records out.
	lost, err := w.lacks(uint64(at), holds, now)
	if err != nil {
		return batch{}, err
	}
	if len(rows) > 0 {
		if err := w.insert(ctx, tx, rows, most == 1); err != nil {
			return batch{}, err
		}
	}
	if _, err := tx.Exec(ctx, "UPDATE gateway_state_cursor SET index = $2, updated_at = now() WHERE name = $1", cursorName, int64(out.to)); err != nil {
		return batch{}, fmt.Errorf("audit log: move the cursor: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return batch{}, fmt.Errorf("audit log: commit: %w", err)
	}
	w.note(func(w *Writer) { w.gap, w.stats.Lost = time.Time{}, w.stats.Lost+lost })
	return out, nil
}

// next reads the records after a batch's cursor and makes them rows.
func (w *Writer) next(b *batch, most int) ([]Row, error) {
	var rows []Row
	size, groups := 0, 0
	for records, err := range entries(w.cfg.Ledger, b.to) {
		if err != nil {
			return nil, err
		}
		if most > 0 && groups == most || b.rows >= batchRecords || size >= batchBytes {
			b.more = true
			break
		}
		groups++
		for _, ch := range changes(records) {
			row := w.cfg.row(&ch)
			rows, size, b.rows = append(rows, row), size+len(row.Before)+len(row.UpdatedTo), b.rows+1
		}
		b.to = records[0].Index
	}
	return rows, nil
}

// lacks finds records between the cursor and this node's first. For a while
// another node may bring them; then they are given up, which gives their number.
func (w *Writer) lacks(at uint64, holds bool, now time.Time) (lost uint64, err error) {
	from, known, err := w.cfg.Ledger.AuditsFrom()
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	if !known || from <= at+1 {
		return 0, nil
	}
	if !holds {
		return 0, errLacks
	}
	w.mu.Lock()
	first := w.gap.IsZero()
	if first {
		w.gap = now
	}
	waited := now.Sub(w.gap)
	w.mu.Unlock()
	if first {
		w.cfg.Logger.Info("audit records are missing on this node: waiting for one that has them", "from", at+1, "to", from-1)
	}
	if waited < w.cfg.Wait {
		return 0, errLacks
	}
	w.cfg.Logger.Error("audit records are missing in PostgreSQL: no node brought them", "from", at+1, "to", from-1)
	return from - 1 - at, nil
}
