package rate

import "time"

// undoTogether gives a hold back within an attempt; of a waiter's it stays put
// aside.
func (l *Limiter) undoTogether(o *outlook, h *Hold, t instant, w *waiter, i int) {
	if w != nil && w.wants[i].state == put {
		if r := l.of(h.ID).record(h.ID); r != nil && h.Kind != Parallel {
			r.own.back(h.use, h.Units)
		}
		h.taken = false
		return
	}
	l.giveBack(l.of(h.ID), h, h.Units, t)
	h.taken = false
}

// giveBack returns some units of a hold to where they came from. The stripe is
// locked.
func (l *Limiter) giveBack(s *stripe, h *Hold, units int64, t instant) {
	if !h.taken || units <= 0 {
		return
	}
	if h.Kind == Parallel {
		l.leaveParallel(s, h, t)
		return
	}
	if h.via == viaRing {
		r, d := s.dutyOf(h.ID)
		switch {
		case r == nil || d.source != h.by || d.inc != h.inc:
		case d.role == granting:
			r.back(h.slot, units)
			s.mark(h.ID, d, h.slot)
		default: // the ring has gone to another node since
			x := s.recordOf(h, t.at)
			x.used = t.at
			s.from(x, h.by, h.inc)
			s.sendBack(x, h.slot, units)
		}
		return
	}
	r := s.record(h.ID)
	if r == nil {
		return
	}
	r.own.back(h.use, units)
	switch h.via {
	case viaShare:
		r.share.back(h.use, units)
	case viaLone:
		r.debt = max(0, r.debt-units) // if it has been told, it stays counted
	case viaPool:
		if h.by != r.source || h.inc != r.sourceInc || h.slot == noSlot {
			return
		}
		if r.unspend(t.at, h.slot, units) {
			l.serve(s, r, t)
			return
		}
		s.sendBack(r, h.slot, units)
	}
}

// settleTogether is Settle among other nodes.
func (l *Limiter) settleTogether(h *Hold, used int64) {
	s := l.of(h.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := instantAt(l.elapsed())
	if used < h.Units {
		l.giveBack(s, h, h.Units-used, t)
		return
	}
	more := used - h.Units
	if more == 0 {
		return
	}
	if r, d := s.dutyOf(h.ID); r != nil && d.role == granting {
		r.advance(d.slot(t.elapsed))
		r.add(more)
		s.mark(h.ID, d, r.last)
		return
	}
	r := s.recordOf(h, t.at)
	r.used = t.at
	r.own.add(t.use, more)
	for i := range r.pool {
		if p := &r.pool[i]; p.ends.after(t.at) > 0 {
			n := min(int64(p.units), more)
			p.units -= uint32(n)
			more -= n
		}
	}
	if more > 0 {
		r.debt += more
		s.enliven(r)
		l.resolve(r, l.outlook(t.elapsed), h.Home)
		l.enqueue(s, r)
	}
}

// stateTogether is State among other nodes.
func (l *Limiter) stateTogether(s *stripe, id uint64, kind Kind, limit int64) (int64, time.Duration) {
	t := instantAt(l.elapsed())
	if r, d := s.dutyOf(id); r != nil && d.role == granting {
		if kind == Parallel {
			held := int64(0)
			if x := s.record(id); x != nil {
				held = x.held
			}
			return max(0, limit-r.sum-held), 0
		}
		r.advance(d.slot(t.elapsed))
		share := int64(0)
		if x := s.record(id); x != nil {
			share = x.share.sum(t.use)
		}
		return max(0, limit-r.sum-share), r.reset(d.clock(t.elapsed))
	}
	r := s.record(id)
	switch {
	case r == nil:
		return max(0, limit), 0
	case kind == Parallel:
		return max(0, limit-r.held), 0
	}
	left, reset := r.figures(t.at, limit)
	if r.own.sum(t.use) == 0 && !r.told {
		reset = 0
	}
	return left, reset
}

// mark has a slot told to the stand-in.
func (s *stripe) mark(id uint64, d *duty, slot uint32) {
	d.dirty |= 1 << (slot % slots)
	if !d.live {
		d.live = true
		s.dirty = append(s.dirty, id)
	}
}

// sendBack keeps units for the next ask to take along.
func (s *stripe) sendBack(r *record, slot uint32, units int64) {
	if units <= 0 || slot == noSlot {
		return
	}
	r.ungrant(slot, units)
	list := s.backs[r.id]
	for i := range list {
		if list[i].slot == slot {
			list[i].units += units
			return
		}
	}
	if len(list) < slots {
		s.backs[r.id] = append(list, slotUnits{slot, units})
	}
	s.enliven(r)
}

// used notes that a node has asked.
func (d *duty) used(node uint16, elapsed time.Duration) {
	d.turn(elapsed)
	d.active[0] |= 1 << (node % 64)
}

const activeHalf = 2500 * time.Millisecond

func (d *duty) turn(elapsed time.Duration) {
	switch phase := uint32(elapsed / activeHalf); {
	case phase == d.phase:
	case phase == d.phase+1:
		d.active[1], d.active[0], d.phase = d.active[0], 0, phase
	default:
		d.active[1], d.active[0], d.phase = 0, 0, phase
	}
}
