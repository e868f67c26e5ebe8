package reader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tollgate/ledger/store"
)

// Filter chooses dead letters; what is not set chooses all.
type Filter struct {
	From, To time.Time // when they were refused: from From on, before To
	Reason   string    // a part of the reason
	Seqs     []uint64
	Limit    int
}

func (f *Filter) takes(d *store.DeadLetter) bool {
	if !f.From.IsZero() && d.At.Before(f.From) || !f.To.IsZero() && !d.At.Before(f.To) {
		return false
	}
	if len(f.Seqs) > 0 {
		for _, s := range f.Seqs {
			if s == d.Seq {
				return true
			}
		}
		return false
	}
	return f.Reason == "" || strings.Contains(d.Reason, f.Reason)
}

// Replayed is what became of dead letters.
type Replayed struct {
	Delivered int
	Refused   int // once more; they stay
	Withheld  int // must not leave for this sink any more; they stay
}

// Replay brings dead letters to the sink again, oldest first. What it takes is
// forgotten here, what it refuses again stays with the new reason. The error is
// a passing fault that ended it; what was delivered before stays so.
func (r *Reader) Replay(ctx context.Context, f Filter) (Replayed, error) {
	var sum Replayed
	var group []*store.DeadLetter
	send := func() error {
		if len(group) == 0 {
			return nil
		}
		err := r.replay(ctx, group, &sum)
		group = group[:0]
		return err
	}
	taken := 0
	for d, err := range r.l.Dead(r.name) {
		switch {
		case errors.Is(err, store.ErrCorrupt):
			r.log.Error("dead letter not readable", "error", err)
			continue
		case err != nil:
			return sum, err
		}
		if f.Limit > 0 && taken == f.Limit {
			break
		}
		if !f.takes(d) {
			continue
		}
		taken++
		if r.cfg.Allow != nil && !r.cfg.Allow(d.Entry) {
			sum.Withheld++
			continue
		}
		if group = append(group, d); len(group) == r.cfg.MaxEntries {
			if err := send(); err != nil {
				return sum, err
			}
		}
	}
	return sum, send()
}

func (r *Reader) replay(ctx context.Context, group []*store.DeadLetter, sum *Replayed) error {
	entries := make([]*store.Entry, len(group))
	for i, d := range group {
		entries[i] = d.Entry
		if err := r.load(d.Entry); err != nil {
			return err
		}
	}
	err := r.deliver(ctx, entries)
	var refused *Rejected
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("replay dead letters of %s: %w", r.name, err)
	}
	var gone []uint64
	var dead []store.DeadLetter
	for _, d := range group {
		if refused == nil || refused.Entries[d.Seq] == nil {
			gone = append(gone, d.Seq)
			continue
		}
		d.At, d.Reason = r.cfg.Clock.Now(), refused.Entries[d.Seq].Error()
		dead = append(dead, *d)
	}
	if err := r.l.ReplaceDead(r.name, gone, dead); err != nil {
		return err
	}
	sum.Delivered += len(gone)
	sum.Refused += len(dead)
	r.counts.replayed.Add(uint64(len(gone)))
	r.counts.dead.Add(-int64(len(gone)))
	return nil
}

// trim keeps the dead letters within their bounds.
func (r *Reader) trim() {
	dropped, left, err := r.l.TrimDead(r.name, r.cfg.KeepDead, r.cfg.Clock.Now().Add(-r.cfg.KeepDeadFor))
	if err != nil {
		r.log.Error("dead letters not trimmed", "error", err)
		return
	}
	r.counts.dead.Store(int64(left))
	if dropped > 0 {
		r.counts.deadDropped.Add(uint64(dropped))
		r.log.Error("old dead letters dropped", "count", dropped)
	}
}
