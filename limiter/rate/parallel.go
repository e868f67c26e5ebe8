package rate

import "time"

// lease is how many parallel slots the owner has given this node, while it lasts.
func (r *record) lease(now stamp) int64 {
	if p := &r.pool[0]; p.ends.after(now) > 0 {
		return int64(p.units)
	}
	return 0
}

// spare is how many slots more may be used. It is below zero when a lease has
// ended while calls run: those run on.
func (r *record) spare(now stamp, mine int64) int64 { return r.lease(now) + mine - r.held }

// tryParallel asks a limit of calls in flight.
func (l *Limiter) tryParallel(s *stripe, o *outlook, h *Hold, t instant, take bool, late patience) (Short, verdict) {
	room := max(1, h.Units)
	if room > h.Limit {
		return Short{Left: max(0, h.Limit)}, refused
	}
	mine := o.shares.mine(h.Limit)
	i, here := s.index[h.ID]
	var ring *ring
	if r := s.record(h.ID); here || r == nil || r.epoch != o.epoch || r.owner == o.me {
		ring = l.granted(s, o, h, t, i, here)
	}
	r := s.recordOf(h, t.at)
	if take {
		r.demand(t.at, h.Units)
	}
	free := int64(0)
	if ring != nil {
		ring.last = t.slot
		most := max(0, l.allowed(o, h.Limit, h.Home, t.elapsed)-o.shares.kept(h.Limit))
		if free = mine + max(0, most-ring.sum) - r.held; room > free {
			l.lapse(s, ring, t.at)
			free = mine + max(0, most-ring.sum) - r.held
		}
		if room > free {
			if late == early && (r.noUntil.after(t.at) <= 0 || room < int64(r.noUnits)) && l.lent(s, h.ID, o.me, o.me) {
				return Short{Left: max(0, free), RetryAfter: time.Millisecond}, wanting
			}
			return Short{Left: max(0, free), RetryAfter: parallelRetry}, refused
		}
	} else {
		l.resolve(r, o, h.Home)
		r.moves = h.Moves
		if free = r.spare(t.at, mine); room > free || len(s.queues[h.ID]) > 0 {
			if r.noUntil.after(t.at) > 0 && room >= int64(r.noUnits) {
				return Short{Left: max(0, free), RetryAfter: parallelRetry}, refused
			}
			if !l.givenUp(r, t, late) {
				return Short{Left: max(0, free), RetryAfter: time.Millisecond}, wanting
			}
			l.enqueue(s, r)
			free = 0
			gone := l.line(r.owner).lost.Load()
			if gone {
				free = o.degraded(h.ID, h.Limit, h.Home) - r.held
			}
			if room > free {
				return Short{Left: max(0, free), RetryAfter: parallelRetry, Unsure: !gone}, refused
			}
			l.stats.degraded.Add(1)
		}
	}
	if take {
		r.held += h.Units
		r.peak = max(r.peak, uint32(min(r.held, full)))
		h.via, h.taken, h.Left, h.Reset = viaPool, true, max(0, free-h.Units), 0
		s.enliven(r)
	}
	return Short{}, passed
}

// leaveParallel ends the use of a slot.
func (l *Limiter) leaveParallel(s *stripe, h *Hold, t instant) {
	r := s.record(h.ID)
	if r == nil {
		return
	}
	r.held = max(0, r.held-h.Units)
	r.used = t.at
	s.enliven(r)
	l.serve(s, r, t)
}

// lapse ends the leases that were not renewed.
func (l *Limiter) lapse(s *stripe, ring *ring, now stamp) {
	for at := range *l.lines.Load() {
		k := entryKey{ring.id, uint16(at)}
		if e, ok := s.entries[k]; ok && now.after(e.at) >= leaseLife {
			ring.sum -= int64(e.granted)
			delete(s.entries, k)
		}
	}
}

// renewal is what a node tells the owner about its parallel slots: how many it
// keeps at most from now on. It keeps as many as were in use at once since the
// last time; whoever is short meanwhile has the owner call the idle ones back.
func (l *Limiter) renewal(r *record, mine int64, t instant) (hold int64, due bool) {
	beyond := max(0, r.held-mine)
	lease := r.lease(t.at)
	if lease == 0 && beyond == 0 {
		return 0, false
	}
	keep := max(beyond, int64(r.peak)-mine)
	if keep <= 0 && t.at.after(r.used) < warm && l.line(r.owner).trip() >= far {
		keep = 1
	}
	return max(beyond, min(lease, keep)), t.at.after(r.sent) >= leaseRenew
}

// grantParallel gives a node slots; what it holds in all is the answer. It is
// false when others may have slots that they do not use.
func (l *Limiter) grantParallel(s *stripe, o *outlook, ring *ring, d *duty, it *askItem, k entryKey, e entry, t instant) (entry, answer, bool) {
	if k.node == o.me { // it takes its own from the ring
		return entry{}, answer{}, true
	}
	most := max(0, l.allowed(o, it.limit, it.home, t.elapsed)-o.shares.kept(it.limit))
	own := int64(0)
	if r := s.record(it.id); r != nil {
		own = max(0, r.held-o.shares.mine(it.limit))
	}
	count := func() int64 { return most - (ring.sum - int64(e.granted)) - own - it.hold }
	free := count()
	if free < it.want {
		if l.lapse(s, ring, t.at); e.granted > 0 {
			if _, still := s.entries[k]; !still {
				e.granted = 0
			}
		}
		free = count()
	}
	free = max(0, free)
	more := min(l.portion(d, free, it), full/4)
	if more < it.need && d.recalled.after(t.at) <= 0 && l.lent(s, it.id, k.node, o.me) {
		if hold := uint32(min(it.hold, full)); hold < e.granted { // it is given up all the same
			ring.sum -= int64(e.granted - hold)
			e.granted = hold
		}
		return e, answer{}, false
	}
	ring.sum += it.hold + more - int64(e.granted)
	ring.last = t.slot
	e.granted = uint32(min(it.hold+more, full))
	a := answer{granted: e.granted, left: max(0, free-more), retry: parallelRetry}
	if more < it.need {
		a.flags |= flagExhausted
	}
	return e, a, true
}
