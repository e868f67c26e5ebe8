package flush

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tollgate/config/unit"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// Sink writes one node's calls, in the order of its ledger.
type Sink struct {
	d    *Database
	node string

	mu   sync.Mutex // guards rows: a sink writes one batch at a time
	rows rows

	last atomic.Uint64 // as last heard from the database
}

var _ reader.Positioned = (*Sink)(nil)

// Sink gives the sink of a node. A node has one, and who takes over a lost
// node's calls opens the same.
func (d *Database) Sink(node string) *Sink {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sinks[node]
	if s == nil {
		s = &Sink{d: d, node: node}
		d.sinks[node] = s
	}
	return s
}

// Position is the number of the last entry that stands in the database.
func (s *Sink) Position(ctx context.Context) (uint64, error) {
	if err := s.d.Ready(ctx); err != nil {
		return 0, err
	}
	ctx, end := context.WithTimeout(ctx, s.d.cfg.Batch)
	defer end()
	var last int64
	err := s.d.flush.QueryRow(ctx, "SELECT coalesce((SELECT last_seq FROM gateway_flush_cursor WHERE node_id = $1), 0)", s.node).Scan(&last)
	if err != nil {
		return 0, s.d.saw(fmt.Errorf("read the flush cursor: %w", err))
	}
	s.last.Store(uint64(last))
	return uint64(last), s.d.saw(nil)
}

// Deliver writes entries; those that stand there already are left out. A row
// that the database will never take is named in a *reader.Rejected: its money
// is counted all the same.
func (s *Sink) Deliver(ctx context.Context, batch []*store.Entry) error {
	if err := s.d.Ready(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := map[uint64]error{}
	for len(batch) > 0 {
		n, err := s.prepare(batch)
		if err == nil {
			err = s.write(ctx, batch[:n], refused)
		}
		if err != nil {
			return fmt.Errorf("flush to PostgreSQL: %w", err)
		}
		batch = batch[n:]
	}
	if len(refused) > 0 {
		return &reader.Rejected{Entries: refused}
	}
	return nil
}

// prepare makes the rows of as many entries as fit one transaction, and says
// how many they are.
func (s *Sink) prepare(batch []*store.Entry) (int, error) {
	set := s.d.cfg.Settings()
	s.rows.reset()
	n := 0
	for n < len(batch) && n < s.d.cfg.Rows && (n == 0 || len(s.rows.buf) < s.d.cfg.Bytes) {
		if !set.NoSpendLogs {
			if err := s.rows.add(batch[n], set.UserColumn); err != nil {
				return 0, err
			}
		}
		n++
	}
	return n, nil
}

// triesInConflict bounds the repetitions after another node was in the way;
// then it is the reader's turn to wait.
const triesInConflict = 8

// write writes entries whose rows are prepared, and looks for the bad one when
// the database refuses some.
func (s *Sink) write(ctx context.Context, part []*store.Entry, refused map[uint64]error) error {
	err := s.attempt(ctx, part)
	if err == nil || ClassOf(err) != Data {
		return err
	}
	if len(part) > 1 {
		for _, half := range [][]*store.Entry{part[:len(part)/2], part[len(part)/2:]} {
			if _, err := s.prepare(half); err != nil { // fits, as the whole did
				return err
			}
			if err := s.write(ctx, half, refused); err != nil {
				return err
			}
		}
		return nil
	}
	// The row goes, its money stays.
	s.d.cfg.Logger.Error("PostgreSQL refuses the row of a call: it is put aside, its spend is counted", "call", callText(part[0]), "error", err)
	s.rows.reset()
	if err := s.attempt(ctx, part); err != nil {
		return err
	}
	s.d.counts.refused.Add(1)
	refused[part[0].Seq] = err
	return nil
}

func (s *Sink) attempt(ctx context.Context, part []*store.Entry) error {
	for try := 1; ; try++ {
		start := s.d.cfg.Clock.Now()
		rows, err := s.transact(ctx, part)
		if s.d.saw(err) == nil {
			s.d.flushed(rows, len(part), start)
			return nil
		}
		if ClassOf(err) != Conflict || try == triesInConflict || ctx.Err() != nil {
			return err
		}
	}
}

// errWentBack says that the database has lost what it had taken: a standby took
// over without the last commits, or a backup was put back. To go on where the
// reader stands would leave a gap, so it has to ask for the position anew.
var errWentBack = errors.New("the database stands behind what was written to it")

// transact is one transaction. It writes what the cursor has not passed.
func (s *Sink) transact(ctx context.Context, part []*store.Entry) (rows int, err error) {
	ctx, end := context.WithTimeout(ctx, s.d.cfg.Batch)
	defer end()
	tables := s.d.daily.Load()
	if tables == nil {
		return 0, errors.New("the schema is being made anew")
	}
	begun, err := s.d.flush.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	t := tx{begun, s.d}
	defer func() {
		if err != nil {
			// The connection may hang with the server; a rollback must not.
			within, end := context.WithTimeout(context.WithoutCancel(ctx), s.d.cfg.Lock)
			_ = t.Rollback(within)
			end()
		}
	}()
	if err := t.bound(ctx); err != nil {
		return 0, fmt.Errorf("bound the transaction: %w", err)
	}
	last, err := t.cursor(ctx, s.node)
	if err != nil {
		return 0, fmt.Errorf("lock the cursor: %w", err)
	}
	if last < s.last.Load() {
		return 0, errWentBack
	}
	part, err = s.after(last, part)
	if err != nil || len(part) == 0 {
		s.last.Store(last)
		_ = t.Rollback(ctx)
		return 0, err
	}
	to := part[len(part)-1].Seq
	if part, err = s.passOver(ctx, t, part); err != nil {
		return 0, err
	}
	if err := t.fill(ctx, &s.rows, part, *tables); err != nil {
		return 0, err
	}
	if err := t.move(ctx, s.node, to); err != nil {
		return 0, fmt.Errorf("move the cursor: %w", err)
	}
	if err := t.Commit(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	s.last.Store(to)
	return len(s.rows.ids), nil
}

// fill writes all that a batch changes. What other nodes write too comes last
// and in one order, so that it is locked briefly and nobody deadlocks.
func (t tx) fill(ctx context.Context, r *rows, part []*store.Entry, tables []dailyTable) error {
	if len(r.ids) > 0 {
		if err := t.logs(ctx, r); err != nil {
			return fmt.Errorf("copy rows: %w", err)
		}
	}
	if !t.d.cfg.Settings().NoErrorLogs {
		if err := t.errors(ctx, part); err != nil {
			return fmt.Errorf("write errors: %w", err)
		}
	}
	for i := range tables {
		if err := t.days(ctx, &tables[i], part); err != nil {
			return fmt.Errorf("add to %s: %w", tables[i].name, err)
		}
	}
	sums := spends{}
	for _, e := range part {
		sums.add(e)
	}
	keys := sums.sorted()
	if len(keys) == 0 {
		return nil
	}
	if err := t.spend(ctx, sums, keys); err != nil {
		return fmt.Errorf("add to sums: %w", err)
	}
	if err := t.columns(ctx, keys); err != nil {
		return fmt.Errorf("set spend columns: %w", err)
	}
	return nil
}

// after leaves out what the cursor has passed: another that writes for this
// node got further, or a commit's answer was lost.
func (s *Sink) after(last uint64, part []*store.Entry) ([]*store.Entry, error) {
	n := 0
	for n < len(part) && part[n].Seq <= last {
		n++
	}
	if n == 0 {
		return part, nil
	}
	part = part[n:]
	if len(s.rows.ids) == 0 {
		return part, nil
	}
	_, err := s.prepare(part)
	return part, err
}

// Spent is what a scope's sum in one window is in the database, for those who
// compare books.
func (d *Database) Spent(ctx context.Context, level, id string, window int64) (unit.Money, error) {
	var n int64
	err := d.queries.QueryRow(ctx, "SELECT coalesce((SELECT spend_nanos FROM gateway_spend WHERE level = $1 AND id = $2 AND window_start = $3), 0)",
		level, text(id, longestID), window).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read the sum of %s %s: %w", level, id, err)
	}
	return unit.Money(n), nil
}
