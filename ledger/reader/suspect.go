package reader

import (
	"context"
	"errors"
	"fmt"

	"tollgate/ledger/store"
)

// aloneFaults is how often a batch of one must fail before others are tried.
const aloneFaults = 3

// suspect handles a fault that may be one entry's: a receiver that dies of it
// answers like one that is away. Batches get smaller until the first entry
// stands alone. It is put aside only when another one is taken and it is then
// refused once more; as long as nothing is taken the sink is away, and all wait.
func (w *walk) suspect(ctx context.Context, b *batch, fault error) error {
	if w.size == w.cfg.MaxEntries && w.faults+1 < w.cfg.Patience {
		return fault
	}
	if len(b.entries) > 1 {
		w.size = max(1, min(w.size, len(b.entries))/2)
		w.alone = 0
		return fault
	}
	w.size = 1
	w.alone++
	if w.alone < aloneFaults {
		return fault
	}
	other, err := w.other(b.upTo)
	if err != nil || other == nil {
		return fault
	}
	if w.deliver(ctx, []*store.Entry{other}) != nil {
		return fault
	}
	// The other comes again in its turn: sinks bear repetitions.
	again := w.deliver(ctx, b.entries)
	var refused *Rejected
	var later *Later
	switch {
	case again == nil:
		if err := w.cursor.Advance(b.upTo); err != nil {
			return err
		}
		w.done(b, 0)
		return nil
	case errors.As(again, &refused):
		return w.aside(b, refused)
	case errors.As(again, &later) || ctx.Err() != nil:
		return again
	}
	why := fmt.Errorf("failed %d times while other entries were taken: %w", w.faults+2, again)
	return w.aside(b, &Rejected{Entries: map[uint64]error{b.entries[0].Seq: why}})
}

// other is an entry after seq, each time one further on: neighbours may have the
// same fault.
func (w *walk) other(seq uint64) (*store.Entry, error) {
	far, err := w.read(seq, 1+w.probe%w.cfg.MaxEntries)
	w.probe++
	if err != nil || len(far.entries) == 0 {
		return nil, err
	}
	return far.entries[len(far.entries)-1], nil
}
