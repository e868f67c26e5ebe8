package rate

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// state of one want of a waiter.
type state uint8

const (
	idle    state = iota
	waiting       // queued
	put           // units have been put aside for it
	denied        // the owner has refused
	again         // to be tried anew
)

// waiter is a request that is short of credit of one limit or more.
type waiter struct {
	wake  chan struct{} // room for one
	open  atomic.Int32  // wants still waiting
	wants []want        // beside its holds
}

// want is one of its limits. The stripe's lock guards it.
type want struct {
	w     *waiter
	units int64
	state state
	asked bool // its units are in the ask under way
	slot  uint32
	by    uint16
	inc   uint32
	left  int64
	retry time.Duration
}

// tell ends the wait for one limit.
func (x *want) tell(s state) {
	x.state = s
	if x.w.open.Add(-1) == 0 || s == denied {
		select {
		case x.w.wake <- struct{}{}:
		default:
		}
	}
}

// await takes the holds once there is credit for all of them.
func (l *Limiter) await(ctx context.Context, holds []Hold) (Short, bool) {
	w := &waiter{wake: make(chan struct{}, 1), wants: make([]want, len(holds))}
	for i := range w.wants {
		w.wants[i].w = w
	}
	timer := time.NewTimer(waitMost)
	defer timer.Stop()
	l.stats.waited.Add(1)
	began := l.elapsed()
	late, gone := early, false
	for {
		locks := l.lock(holds, nil)
		t := instantAt(l.elapsed())
		l.dequeue(holds, w)
		o := l.outlook(t.elapsed)
		short, v := l.attempt(o, t, holds, w, late)
		if v != wanting || gone {
			l.release(holds, w, t)
			l.unlock(locks)
			return short, v == passed
		}
		n := int32(0)
		for i := range holds {
			if w.wants[i].state == waiting {
				n++
			}
		}
		w.open.Store(n)
		for i := range holds {
			if w.wants[i].state == waiting {
				l.queue(o, &holds[i], &w.wants[i], t)
			}
		}
		l.unlock(locks)
		select {
		case <-w.wake:
		case <-timer.C:
			// From now on it looks now and then whether the owner is there.
			late = waited
			if l.elapsed()-began >= waitSlow {
				late = spent
			}
			timer.Reset(waitMost / 4)
		case <-ctx.Done():
			late, gone = spent, true
		}
	}
}

// queue queues one want and has its limit asked for.
func (l *Limiter) queue(o *outlook, h *Hold, x *want, t instant) {
	s := l.of(h.ID)
	r := s.recordOf(h, t.at)
	l.resolve(r, o, h.Home)
	r.moves = h.Moves
	if _, d := s.dutyOf(h.ID); d != nil && d.role == granting && d.epoch == o.epoch {
		r.owner = o.me // also where it stands in for the owner
	}
	x.units, x.asked = max(1, h.Units), false
	s.queues[h.ID] = append(s.queues[h.ID], x)
	l.enqueue(s, r)
}

// dequeue takes out what still waits.
func (l *Limiter) dequeue(holds []Hold, w *waiter) {
	for i := range holds {
		if w.wants[i].state != waiting {
			continue
		}
		s := l.of(holds[i].ID)
		s.drop(holds[i].ID, &w.wants[i])
		w.wants[i].state = idle
	}
}

func (s *stripe) drop(id uint64, x *want) {
	list := slices.DeleteFunc(s.queues[id], func(y *want) bool { return y == x })
	if len(list) == 0 {
		delete(s.queues, id)
	} else {
		s.queues[id] = list
	}
}

// release puts back what was put aside and not used.
func (l *Limiter) release(holds []Hold, w *waiter, t instant) {
	for i := range holds {
		x := &w.wants[i]
		if x.state != put {
			continue
		}
		x.state = idle
		h := Hold{ID: holds[i].ID, Kind: holds[i].Kind, Home: holds[i].Home, Limit: holds[i].Limit}
		s := l.of(h.ID)
		s.claim(&h, x, t)
		l.giveBack(s, &h, x.units, t)
	}
}

// claim makes a hold of what was put aside for it.
func (s *stripe) claim(h *Hold, x *want, t instant) {
	h.slot, h.by, h.inc, h.use, h.via, h.taken = x.slot, x.by, x.inc, t.use, viaPool, true
	r := s.record(h.ID)
	if r == nil {
		return
	}
	if h.Kind == Parallel {
		return // counted when it was put aside
	}
	if more := x.units - h.Units; more > 0 && !r.unspend(t.at, x.slot, more) && x.by == r.source && x.inc == r.sourceInc {
		s.sendBack(r, x.slot, more) // it only needed room
	}
	x.units = h.Units
	r.own.add(t.use, h.Units)
	h.Left, h.Reset = r.figures(t.at, h.Limit)
}

// serve puts credit aside for those who wait, in the order in which they came.
func (l *Limiter) serve(s *stripe, r *record, t instant) {
	list := s.queues[r.id]
	if len(list) == 0 {
		return
	}
	rest := list[:0]
	mine := int64(0)
	if r.kind == Parallel {
		mine = l.seen.Load().shares.mine(r.limit)
	}
	for _, x := range list {
		switch {
		case r.kind == Parallel && r.spare(t.at, mine) >= x.units:
			r.held += x.units
			r.peak = max(r.peak, uint32(r.held))
			x.tell(put)
		case r.kind == Parallel:
			rest = append(rest, x)
		default:
			slot, ok := r.spend(t.at, x.units)
			if !ok {
				rest = append(rest, x)
				continue
			}
			x.slot, x.by, x.inc = slot, r.source, r.sourceInc
			x.tell(put)
		}
	}
	clear(list[len(rest):])
	if len(rest) == 0 {
		delete(s.queues, r.id)
	} else {
		s.queues[r.id] = rest
	}
}

// deny tells all who wait that the owner has nothing for them.
func (s *stripe) deny(r *record, left int64, retry time.Duration) {
	for _, x := range s.queues[r.id] {
		x.left, x.retry = left, retry
		x.tell(denied)
	}
	delete(s.queues, r.id)
}

// retry has all who wait try anew.
func (s *stripe) retry(id uint64) {
	for _, x := range s.queues[id] {
		x.tell(again)
	}
	delete(s.queues, id)
}

// need is what those who wait want in all and the least that helps one of them.
func (s *stripe) need(id uint64, mark bool) (all, least int64) {
	for _, x := range s.queues[id] {
		if x.asked && mark {
			continue // a repeat carries it
		}
		x.asked = x.asked || mark
		all += x.units
		if least == 0 || x.units < least {
			least = x.units
		}
	}
	return all, least
}
