package flush

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tollgate/ledger/store"
)

// TakeOver books the calls that were in flight on a node that is lost, at what
// the entries say. at is the node's last entry that the caller has and has
// delivered: when more stands here the node, or somebody with more of its
// ledger, got further and knows better what became of these calls; then nothing
// is written and done is false.
//
// The node may come back and book the same calls by itself. Their ids are kept
// with its cursor, and its own flush passes over them.
func (s *Sink) TakeOver(ctx context.Context, at uint64, calls []*store.Entry) (done bool, err error) {
	if err := s.d.Ready(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for part := range slices.Chunk(calls, s.d.cfg.Rows) {
		for try := 1; ; try++ {
			done, err = s.takeOver(ctx, at, part)
			if s.d.saw(err) == nil || ClassOf(err) != Conflict || try == triesInConflict || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			return false, fmt.Errorf("book the calls that node %s left: %w", s.node, err)
		}
		if !done {
			return false, nil
		}
	}
	return true, nil
}

func (s *Sink) takeOver(ctx context.Context, at uint64, calls []*store.Entry) (bool, error) {
	ctx, end := context.WithTimeout(ctx, s.d.cfg.Batch)
	defer end()
	tables := s.d.daily.Load()
	if tables == nil {
		return false, errors.New("the schema is being made anew")
	}
	begun, err := s.d.flush.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	t := tx{begun, s.d}
	defer func() {
		// After a commit it does nothing.
		within, end := context.WithTimeout(context.WithoutCancel(ctx), s.d.cfg.Lock)
		_ = t.Rollback(within)
		end()
	}()
	if err := t.bound(ctx); err != nil {
		return false, fmt.Errorf("bound the transaction: %w", err)
	}
	last, err := t.cursor(ctx, s.node)
	if err != nil {
		return false, fmt.Errorf("lock the cursor: %w", err)
	}
	if last > at {
		return false, nil
	}
	taken, err := t.taken(ctx, s.node)
	if err != nil {
		return false, err
	}
	calls, _ = without(calls, taken)
	if len(calls) == 0 {
		return true, nil
	}
	set := s.d.cfg.Settings()
	s.rows.reset()
	ids := slices.Clone(taken)
	for _, e := range calls {
		ids = append(ids, callText(e))
		if set.NoSpendLogs {
			continue
		}
		if err := s.rows.add(e, set.UserColumn); err != nil {
			return false, err
		}
	}
	if err := t.fill(ctx, &s.rows, calls, *tables); err != nil {
		return false, err
	}
	if err := t.setTaken(ctx, s.node, ids); err != nil {
		return false, err
	}
	if err := t.Commit(ctx); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	return true, nil
}

// without leaves out the calls that were booked for the node while it was away,
// each once, and gives those ids that have not come by yet.
func without(part []*store.Entry, taken []string) (rest []*store.Entry, left []string) {
	if len(taken) == 0 {
		return part, taken
	}
	booked := make(map[string]bool, len(taken))
	for _, id := range taken {
		booked[id] = true
	}
	for _, e := range part {
		if id := callText(e); booked[id] {
			delete(booked, id)
		} else {
			rest = append(rest, e)
		}
	}
	for _, id := range taken {
		if booked[id] {
			left = append(left, id)
		}
	}
	return rest, left
}

// taken are the calls that were booked for a node while it was away. The node's
// row is locked before: a statement that had waited for the lock would still see
// what was there before it waited.
func (t tx) taken(ctx context.Context, node string) (ids []string, err error) {
	err = t.QueryRow(ctx, "SELECT taken_calls FROM gateway_flush_cursor WHERE node_id = $1", node).Scan(&ids)
	if err != nil {
		return nil, fmt.Errorf("read the calls booked for the node: %w", err)
	}
	return ids, nil
}

func (t tx) setTaken(ctx context.Context, node string, ids []string) error {
	if ids == nil {
		ids = []string{}
	}
	if _, err := t.Exec(ctx, "UPDATE gateway_flush_cursor SET taken_calls = $2, updated_at = now() WHERE node_id = $1", node, ids); err != nil {
		return fmt.Errorf("note the calls booked for the node: %w", err)
	}
	return nil
}

// passOver leaves out of a batch what was booked for the node while it was away.
func (s *Sink) passOver(ctx context.Context, t tx, part []*store.Entry) ([]*store.Entry, error) {
	taken, err := t.taken(ctx, s.node)
	if err != nil || len(taken) == 0 {
		return part, err
	}
	rest, left := without(part, taken)
	if len(rest) == len(part) {
		return part, nil
	}
	if err := t.setTaken(ctx, s.node, left); err != nil {
		return nil, err
	}
	s.d.cfg.Logger.Info("calls passed over that were booked while the node was away", "node", s.node, "calls", len(part)-len(rest))
	if len(s.rows.ids) > 0 {
		_, err = s.prepare(rest)
	}
	return rest, err
}
