package store

import (
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// retainStep bounds how many entries one batch of the retention drops.
const retainStep = 2000

// Retain drops entries that are older than KeepFor and that every cursor has
// passed, and rollups older than KeepRollups. Run calls it once an hour.
func (l *Ledger) Retain(now time.Time) error {
	if err := l.CatchUp(); err != nil {
		return err
	}
	bound, err := l.retainBound(now.Add(-l.cfg.KeepFor))
	if err != nil {
		return err
	}
	for {
		more, err := l.dropEntries(bound)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if err := l.dropAnswers(now); err != nil {
		return err
	}
	return l.dropRollups(DayOf(now.Add(-l.cfg.KeepRollups)))
}

// retainBound is the first entry that must stay.
func (l *Ledger) retainBound(before time.Time) (uint64, error) {
	bound := l.index.done.Load() + 1
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: minuteKey(before.Unix() / 60), UpperBound: []byte{kMinute + 1}})
	if err != nil {
		return 0, fmt.Errorf("read time index: %w", err)
	}
	if it.First() {
		m, err := readMinute(it.Key(), it.Value())
		if err != nil {
			it.Close()
			return 0, err
		}
		bound = min(bound, m.first)
	}
	if err := it.Close(); err != nil {
		return 0, fmt.Errorf("read time index: %w", err)
	}
	cursors, err := l.Cursors()
	if err != nil {
		return 0, err
	}
	for _, seq := range cursors {
		bound = min(bound, seq+1)
	}
	return bound, nil
}

// dropEntries deletes the oldest entries below bound with all that points to
// them, in one batch; more says that some are left.
func (l *Ledger) dropEntries(bound uint64) (more bool, err error) {
	b := l.db.NewBatch()
	defer b.Close()
	n, last := 0, uint64(0)
	var seq [8]byte
	for e, err := range l.Between(0, bound-1) {
		if n == retainStep {
			more = true
			break
		}
		n++
		if err != nil {
			continue // damaged: it has no index rows, and goes with the range
		}
		last = e.Seq
		if err := b.Delete(callKey(nil, kLookup, e.CallID), nil); err != nil {
			return false, fmt.Errorf("drop old entries: %w", err)
		}
		if e.RequestID != "" {
			copy(seq[:], seqKey(nil, kEntry, e.Seq)[1:])
			if err := b.Delete(append(requestKey(nil, e.RequestID), seq[:]...), nil); err != nil {
				return false, fmt.Errorf("drop old entries: %w", err)
			}
		}
	}
	if last == 0 {
		return false, nil
	}
	for _, kind := range [...]byte{kEntry, kBody, kAnswer} {
		if err := b.DeleteRange([]byte{kind}, seqKey(nil, kind, last+1), nil); err != nil {
			return false, fmt.Errorf("drop old entries: %w", err)
		}
	}
	if err := l.dropMinutes(b, last); err != nil {
		return false, err
	}
	if err := l.apply(b, false); err != nil {
		return false, fmt.Errorf("drop old entries: %w", err)
	}
	l.cfg.Logger.Info("old entries dropped", "count", n)
	return more, nil
}

// dropMinutes deletes the rows of minutes that end at or before last. The
// newest row stays: the indexer goes on from it.
func (l *Ledger) dropMinutes(b *pebble.Batch, last uint64) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kMinute}, UpperBound: []byte{kMinute + 1}})
	if err != nil {
		return fmt.Errorf("read time index: %w", err)
	}
	defer it.Close()
	var end []byte
	for it.First(); it.Valid(); it.Next() {
		m, err := readMinute(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if m.first > last {
			break
		}
		end = append(end[:0], it.Key()...)
	}
	if end == nil {
		return it.Error()
	}
	// The row named by end may reach beyond last, so it stays.
	if err := b.DeleteRange([]byte{kMinute}, end, nil); err != nil {
		return fmt.Errorf("drop time index: %w", err)
	}
	return nil
}

func (l *Ledger) dropRollups(day int32) error {
	b := l.db.NewBatch()
	defer b.Close()
	for _, dim := range [...]RollupDim{ByCaller, ByEndUser, ByTag} {
		if err := b.DeleteRange(rollupPrefix(dim, math.MinInt32), rollupPrefix(dim, day), nil); err != nil {
			return fmt.Errorf("drop old rollups: %w", err)
		}
	}
	return l.dropSums(b)
}

// dropBodies gives up the oldest quarter of the bodies.
func (l *Ledger) dropBodies() error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kBody}, UpperBound: []byte{kBody + 1}})
	if err != nil {
		return fmt.Errorf("look for bodies: %w", err)
	}
	var first, last uint64
	if it.First() {
		first = seqOf(it.Key())
		it.Last()
		last = seqOf(it.Key())
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("look for bodies: %w", err)
	}
	if last == 0 {
		return nil
	}
	end := first + (last-first)/4 + 1
	if Incarnation(first) != Incarnation(last) {
		end = Seq(Incarnation(first)+1, 0) // numbers are dense within one only
	}
	b := l.db.NewBatch()
	defer b.Close()
	for _, kind := range [...]byte{kBody, kAnswer} {
		if err := b.DeleteRange([]byte{kind}, seqKey(nil, kind, end), nil); err != nil {
			return fmt.Errorf("drop bodies: %w", err)
		}
	}
	if err := l.apply(b, false); err != nil {
		return fmt.Errorf("drop bodies: %w", err)
	}
	l.counts.bodiesDropped.Add(1)
	l.cfg.Logger.Warn("bodies dropped for space", "before_seq", end)
	return nil
}
