package budget

import (
	"context"
	"slices"
	"time"

	"tollgate/config/unit"
)

// waiter is a call that is short of credit. It stands in the queue of one
// record, the first that blocks it, in the order of tickets.
type waiter struct {
	charges     []Charge
	want, least unit.Money
	h           *Hold
	ticket      uint64
	joined      time.Time
	on          *record
	done        chan error
	over        bool // done has been answered
}

func (a *Account) wait(ctx context.Context, charges []Charge, want, least unit.Money, h *Hold, block *record) error {
	w := &waiter{charges: charges, want: want, least: least, h: h, ticket: a.tickets.Add(1),
		joined: a.cfg.Clock.Now(), done: make(chan error, 1)}
	a.waitMu.Lock()
	a.place(w, block)
	a.waitMu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	a.waitMu.Lock()
	defer a.waitMu.Unlock()
	if w.over { // decided in the same moment: what was granted is the caller's to settle
		return <-w.done
	}
	a.unqueue(w)
	return ctx.Err()
}

// place queues a waiter at the record that blocks it, or finishes it. It counts
// the waiter before it tries once more, so that a settlement in between either
// is seen by the try or sees the waiter. It needs waitMu.
func (a *Account) place(w *waiter, block *record) {
	for {
		if a.ended {
			a.finish(w, verdict{err: ErrUnavailable})
			return
		}
		a.count(w, block)
		v := a.try(w.charges, w.want, w.least, w.h, w)
		if v.block == block {
			i, _ := slices.BinarySearchFunc(block.queue, w.ticket, func(x *waiter, t uint64) int { return int(int64(x.ticket) - int64(t)) })
			block.queue = slices.Insert(block.queue, i, w)
			block.rehead()
			a.queues[block] = struct{}{}
			a.kick(block)
			return
		}
		a.uncount(w)
		if v.block == nil {
			a.finish(w, v)
			return
		}
		block = v.block
	}
}

func (a *Account) finish(w *waiter, v verdict) {
	w.over = true
	switch {
	case v.ok:
		w.done <- nil
	case v.no != nil:
		w.done <- v.no
	default:
		w.done <- v.err
	}
}

func (a *Account) count(w *waiter, r *record) {
	w.on = r
	r.mu.Lock()
	r.waiting++
	r.wanted = r.wanted.Add(w.want)
	r.mu.Unlock()
}

func (a *Account) uncount(w *waiter) {
	r := w.on
	r.mu.Lock()
	r.waiting--
	r.wanted -= w.want
	if r.waiting == 0 { // also mends a sum that was capped
		r.wanted = 0
	}
	r.mu.Unlock()
	w.on = nil
}

// stop ends all waits, for good.
func (a *Account) stop() {
	a.waitMu.Lock()
	defer a.waitMu.Unlock()
	a.ended = true
	for r := range a.queues {
		for _, w := range slices.Clone(r.queue) {
			a.unqueue(w)
			a.finish(w, verdict{err: ErrUnavailable})
		}
	}
}

// unqueue takes a waiter out. It needs waitMu.
func (a *Account) unqueue(w *waiter) {
	r := w.on
	if r == nil {
		return
	}
	if i := slices.Index(r.queue, w); i >= 0 {
		r.queue = slices.Delete(r.queue, i, i+1)
		r.rehead()
	}
	if len(r.queue) == 0 {
		r.queue = nil
		delete(a.queues, r)
	}
	a.uncount(w)
}

// rehead notes what the first in the queue needs, for those without waitMu.
func (r *record) rehead() {
	r.mu.Lock()
	r.head = 0
	if len(r.queue) > 0 {
		r.head = r.queue[0].least
	}
	r.mu.Unlock()
}

// drain lets waiters of a record pass in their order until one is short.
func (a *Account) drain(r *record) {
	a.waitMu.Lock()
	defer a.waitMu.Unlock()
	a.drainLocked(r)
}

func (a *Account) drainLocked(r *record) {
	for len(r.queue) > 0 {
		w := r.queue[0]
		v := a.try(w.charges, w.want, w.least, w.h, w)
		if v.block == r {
			return
		}
		a.unqueue(w)
		if v.block != nil {
			a.place(w, v.block)
		} else {
			a.finish(w, v)
		}
	}
}

// sweep gives every waiter another look: those that settled spend has ruled
// out, and those whose patience is over, are refused.
func (a *Account) sweep(now time.Time) {
	a.waitMu.Lock()
	defer a.waitMu.Unlock()
	for r := range a.queues {
		a.drainLocked(r)
		for _, w := range slices.Clone(r.queue) {
			if w.on != r {
				continue
			}
			if a.fenced.Load() {
				a.unqueue(w)
				a.finish(w, verdict{err: ErrFenced})
				continue
			}
			v := a.try(w.charges, w.want, w.least, w.h, w)
			if v.block == r {
				v = a.patience(w, r, now)
				if v.block != nil {
					continue
				}
			}
			a.unqueue(w)
			if v.block != nil {
				a.place(w, v.block)
			} else {
				a.finish(w, v)
			}
		}
	}
}

// patience ends a wait that has seen no progress for WaitMax, or has lasted
// WaitTotal. Without a word from the bank since it began, the fault is ours.
func (a *Account) patience(w *waiter, r *record, now time.Time) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := w.joined
	if r.progress.After(since) {
		since = r.progress
	}
	if now.Sub(since) < a.cfg.WaitMax && now.Sub(w.joined) < a.cfg.WaitTotal {
		return verdict{block: r}
	}
	if r.answered.Before(w.joined) {
		return verdict{err: ErrUnavailable}
	}
	for i := range w.charges {
		if c := &w.charges[i]; c.Scope == r.scope {
			no := r.refusal(i, c, w.least, now)
			// Credit out on other nodes is not spent, but it is not there either.
			no.Reserved = max(no.Reserved, c.Def.Limit-max(0, r.free)-no.Spent)
			no.RetryAfter = time.Second
			return verdict{no: no}
		}
	}
	return verdict{err: ErrUnavailable}
}

// behind reports whether somebody has waited longer at this record. The queue
// may be read only on behalf of a waiter, who has waitMu.
func (r *record) behind(w *waiter) bool {
	if w == nil {
		return r.waiting > 0
	}
	return len(r.queue) > 0 && r.queue[0].ticket < w.ticket
}

// others is how many calls wait here besides w.
func (r *record) queuedBut(w *waiter) int {
	if w != nil && w.on == r {
		return r.waiting - 1
	}
	return r.waiting
}
