package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// LastSeq is the newest committed entry's number.
func (l *Ledger) LastSeq() uint64 { return l.durable.Load() }

// Entries gives the entries after from in the order of their numbers, up to the
// last one committed when the walk began. Bodies are not loaded. The walk pins
// old files while it runs: a reader takes what it can handle and comes again.
func (l *Ledger) Entries(from uint64) iter.Seq2[*Entry, error] {
	return l.Between(from+1, l.durable.Load())
}

// Between gives the entries from first to last, both included.
func (l *Ledger) Between(first, last uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) { l.walk(first, last, false, yield) }
}

// Back gives the same entries newest first.
func (l *Ledger) Back(first, last uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) { l.walk(first, last, true, yield) }
}

func (l *Ledger) walk(first, last uint64, back bool, yield func(*Entry, error) bool) {
	last = min(last, l.durable.Load())
	if first > last {
		return
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kEntry, first), UpperBound: seqKey(nil, kEntry, last+1)})
	if err != nil {
		yield(nil, fmt.Errorf("read entries: %w", err))
		return
	}
	defer it.Close()
	ok := false
	if back {
		ok = it.Last()
	} else {
		ok = it.First()
	}
	for ok {
		seq := seqOf(it.Key())
		e, err := decodeEntry(seq, it.Value())
		if err != nil {
			err = fmt.Errorf("read entry %d: %w", seq, err)
		}
		if !yield(e, err) {
			return
		}
		if back {
			ok = it.Prev()
		} else {
			ok = it.Next()
		}
	}
	if err := it.Error(); err != nil {
		yield(nil, fmt.Errorf("read entries: %w", err))
	}
}

// Get reads one entry, nil when there is none.
func (l *Ledger) Get(seq uint64) (*Entry, error) {
	for e, err := range l.Between(seq, seq) {
		return e, err
	}
	return nil, nil
}

// ByCall finds the entry of a call, nil when there is none. It sees what the
// index sees: call CatchUp first.
func (l *Ledger) ByCall(call CallID) (*Entry, error) {
	seq, err := l.lookupCall(call)
	if err != nil || seq == 0 {
		return nil, err
	}
	return l.Get(seq)
}

// ByRequest finds the numbers of the entries with a provider's request id, the
// oldest first: that one owns the id. It sees what the index sees.
func (l *Ledger) ByRequest(id string) ([]uint64, error) {
	prefix := requestKey(nil, id)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return nil, fmt.Errorf("look up request: %w", err)
	}
	var seqs []uint64
	for it.First(); it.Valid(); it.Next() {
		if rest := it.Key()[len(prefix):]; len(rest) == 8 {
			seqs = append(seqs, binary.BigEndian.Uint64(rest))
		}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("look up request: %w", err)
	}
	return seqs, nil
}

// Span is a stretch of entries, both ends included.
type Span struct{ First, Last uint64 }

// Spans names the stretches, oldest first, in which all entries lie whose calls
// started in [from, to); they hold others too. Zero times are open ends. It
// sees what the index sees.
func (l *Ledger) Spans(from, to time.Time) ([]Span, error) {
	low := []byte{kMinute}
	if !from.IsZero() {
		// A call is settled after it started, so nothing before that minute counts.
		low = minuteKey(from.Unix() / 60)
	}
	limit := int64(math.MaxInt64)
	if !to.IsZero() {
		limit = to.Unix()
		if to.Nanosecond() > 0 {
			limit++
		}
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kMinute}, UpperBound: []byte{kMinute + 1}})
	if err != nil {
		return nil, fmt.Errorf("read time index: %w", err)
	}
	defer it.Close()
	var spans []Span
	open := false
	// Clocks may step back by less than a minute's row shows: take one row more.
	ok := it.SeekLT(low)
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		m, err := readMinute(it.Key(), it.Value())
		if err != nil {
			return nil, err
		}
		if open {
			spans[len(spans)-1].Last = m.first - 1
		}
		in := m.earliest < limit
		if in && !open {
			spans = append(spans, Span{First: m.first})
		}
		open = in
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("read time index: %w", err)
	}
	if open {
		spans[len(spans)-1].Last = l.index.done.Load()
	}
	return spans, nil
}

// Rollups gives the daily sums of one family from day to day, both included,
// in the order of days. It sees what the index sees.
func (l *Ledger) Rollups(dim RollupDim, from, to int32) iter.Seq2[RollupKey, Sums] {
	return func(yield func(RollupKey, Sums) bool) {
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: rollupPrefix(dim, from), UpperBound: keyAfter(rollupPrefix(dim, to))})
		if err != nil {
			l.cfg.Logger.Error("rollups not readable", "error", err)
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			k, err := readRollupKey(it.Key())
			if err != nil {
				l.cfg.Logger.Error("rollup not readable", "error", err)
				continue
			}
			s, err := readSums(it.Value())
			if err != nil {
				l.cfg.Logger.Error("rollup not readable", "error", err)
				continue
			}
			if !yield(k, s) {
				return
			}
		}
	}
}

// SettledSum is what was charged to one budget window under one incarnation.
type SettledSum struct {
	Scope  model.Scope
	Window int64
	Sum    unit.Money
}

// Settled lists what was charged under one incarnation, calls that Open booked
// at their maximum included: after a crash this is what the budgets must hear.
func (l *Ledger) Settled(incarnation uint64) ([]SettledSum, error) {
	if err := l.CatchUp(); err != nil {
		return nil, err
	}
	prefix := settledPrefix(incarnation)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return nil, fmt.Errorf("read settled sums: %w", err)
	}
	var out []SettledSum
	for it.First(); it.Valid(); it.Next() {
		s, err := readSettled(it.Key()[len(prefix):], it.Value())
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		out = append(out, s)
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read settled sums: %w", err)
	}
	return out, nil
}

func readSettled(key, value []byte) (SettledSum, error) {
	if len(key) == 0 {
		return SettledSum{}, fmt.Errorf("%w: settled sum", ErrCorrupt)
	}
	id, rest, ok := cutText(key[1:])
	v, w := binary.Varint(value)
	if !ok || len(rest) != 8 || w <= 0 {
		return SettledSum{}, fmt.Errorf("%w: settled sum", ErrCorrupt)
	}
	return SettledSum{
		Scope:  model.Scope{Dim: model.Dim(key[0]), ID: id},
		Window: int64(binary.BigEndian.Uint64(rest)), Sum: unit.Money(v),
	}, nil
}

// Incarnations lists the incarnations that settled sums are kept of, those of
// calls that Open booked at their maximum included: one whose calls were all in
// flight has no sum until then, and the budgets would never hear of it.
func (l *Ledger) Incarnations() ([]uint64, error) {
	if err := l.CatchUp(); err != nil {
		return nil, err
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kSettled}, UpperBound: []byte{kSettled + 1}})
	if err != nil {
		return nil, fmt.Errorf("read settled sums: %w", err)
	}
	var out []uint64
	for ok := it.First(); ok; {
		if len(it.Key()) < 9 {
			return nil, errors.Join(fmt.Errorf("%w: settled sum", ErrCorrupt), it.Close())
		}
		n := binary.BigEndian.Uint64(it.Key()[1:9])
		out = append(out, n)
		ok = it.SeekGE(settledPrefix(n + 1))
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read settled sums: %w", err)
	}
	return out, nil
}

// DropSettled forgets the sums of an incarnation that the budgets have closed.
func (l *Ledger) DropSettled(incarnation uint64) error {
	if incarnation >= l.incarnation {
		return fmt.Errorf("drop settled sums: incarnation %d is not over", incarnation)
	}
	b := l.db.NewBatch()
	defer b.Close()
	prefix := settledPrefix(incarnation)
	if err := b.DeleteRange(prefix, keyAfter(prefix), nil); err != nil {
		return fmt.Errorf("drop settled sums: %w", err)
	}
	return l.dropSums(b)
}

// waiters wakes readers that wait for the next entry.
type waiters struct {
	n  atomic.Int32
	mu sync.Mutex // guards ch
	ch chan struct{}
}

func (w *waiters) init() { w.ch = make(chan struct{}) }

func (w *waiters) wake() {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	close(w.ch)
	w.ch = make(chan struct{})
	w.mu.Unlock()
}

// Wait returns when an entry after the given one is committed, or with the
// context's error.
func (l *Ledger) Wait(ctx context.Context, after uint64) error {
	l.waiters.n.Add(1)
	defer l.waiters.n.Add(-1)
	for {
		l.waiters.mu.Lock()
		ch := l.waiters.ch
		l.waiters.mu.Unlock()
		if l.durable.Load() > after {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
