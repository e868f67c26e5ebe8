package rate

import "time"

// parallelRetry is what a caller without a free slot is told: when a call in
// flight will end is not known.
const parallelRetry = time.Second

// inline is the number of limits of one request that need no allocation.
const inline = 24

// Take admits a request under all its limits or none. When it refuses, Short
// names the limit that takes longest to clear. It never waits: among other nodes,
// credit that this node does not hold is missing.
func (l *Limiter) Take(holds []Hold) (Short, bool) {
	if l.peers != nil {
		return l.takeTogether(nil, holds)
	}
	return l.takeAlone(holds)
}

func (l *Limiter) takeAlone(holds []Hold) (Short, bool) {
	var fixed [inline]uint16
	locks := l.lock(holds, fixed[:0])
	defer l.unlock(locks)

	elapsed := l.elapsed()
	now := slotAt(elapsed)
	short, refused := Short{}, false
	for i := range holds {
		h := &holds[i]
		h.Units = max(0, h.Units)
		h.taken = false
		if refused {
			// Only look: a longer wait further down must not be hidden.
			if s, ok := l.try(h, now, elapsed, false); !ok && longer(s, short) {
				s.Index = i
				short = s
			}
			continue
		}
		s, ok := l.try(h, now, elapsed, true)
		if !ok {
			s.Index = i
			short, refused = s, true
			for j := i - 1; j >= 0; j-- {
				l.undo(&holds[j])
			}
		}
	}
	return short, !refused
}

// Return gives units of a hold back to where they came from: all of a call that
// was never sent, or the parallel slot of one that has ended.
func (l *Limiter) Return(h *Hold) {
	if !h.taken {
		return
	}
	s := l.of(h.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.peers != nil {
		l.giveBack(s, h, h.Units, instantAt(l.elapsed()))
		h.taken = false
		return
	}
	l.undo(h)
}

// Settle replaces the units a hold reserved by what the call used: the
// difference leaves the slot it was granted in, or joins the current one.
func (l *Limiter) Settle(h *Hold, used int64) {
	if !h.taken || h.Kind == Parallel {
		return
	}
	used = max(0, used)
	if l.peers != nil {
		l.settleTogether(h, used)
		h.Units, h.taken = 0, false
		return
	}
	s := l.of(h.ID)
	s.mu.Lock()
	r := s.ringOf(h.ID, slotAt(l.elapsed()))
	if used < h.Units {
		r.back(h.slot, h.Units-used)
	} else {
		r.add(used - h.Units)
	}
	s.mu.Unlock()
	h.Units, h.taken = 0, false
}

// State is what a limit has left and when it is wholly free again, as far as
// this node knows.
func (l *Limiter) State(id uint64, kind Kind, limit int64) (left int64, reset time.Duration) {
	s := l.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.peers != nil {
		return l.stateTogether(s, id, kind, limit)
	}
	if kind == Parallel {
		return max(0, limit-s.held[id]), 0
	}
	i, ok := s.index[id]
	if !ok {
		return max(0, limit), 0
	}
	elapsed := l.elapsed()
	s.rings[i].advance(slotAt(elapsed))
	return max(0, limit-s.rings[i].sum), s.rings[i].reset(elapsed)
}

func (l *Limiter) try(h *Hold, now uint32, elapsed time.Duration, take bool) (Short, bool) {
	s := l.of(h.ID)
	room := max(1, h.Units)
	if h.Kind == Parallel {
		have := s.held[h.ID]
		if room > h.Limit-have {
			return Short{Left: max(0, h.Limit-have), RetryAfter: later(room <= h.Limit, parallelRetry)}, false
		}
		if take {
			s.held[h.ID] = have + h.Units
			h.Left, h.Reset, h.taken = h.Limit-have-h.Units, 0, true
		}
		return Short{}, true
	}
	r := s.ringOf(h.ID, now)
	if room > h.Limit-r.sum || !r.fits(h.Units) {
		wait := later(room <= h.Limit, max(time.Millisecond, r.wait(h.Limit-room, elapsed)))
		return Short{Left: max(0, h.Limit-r.sum), RetryAfter: wait}, false
	}
	if take {
		r.add(h.Units)
		h.slot, h.taken = r.last, true
		h.Left, h.Reset = h.Limit-r.sum, leaves(r.last)-elapsed
		if h.Units == 0 {
			h.Reset = r.reset(elapsed)
		}
	}
	return Short{}, true
}

// undo needs the stripe's lock.
func (l *Limiter) undo(h *Hold) {
	if !h.taken {
		return
	}
	h.taken = false
	s := l.of(h.ID)
	if h.Kind == Parallel {
		if n := s.held[h.ID] - h.Units; n > 0 {
			s.held[h.ID] = n
		} else {
			delete(s.held, h.ID)
		}
		return
	}
	if i, ok := s.index[h.ID]; ok {
		s.rings[i].back(h.slot, h.Units)
	}
}

// lock takes each stripe of the holds once, in ascending order so that two
// requests never wait for each other, and returns which.
func (l *Limiter) lock(holds []Hold, locks []uint16) []uint16 {
	for i := range holds {
		n := uint16(holds[i].ID % stripes)
		j := len(locks)
		for j > 0 && locks[j-1] > n {
			j--
		}
		if j > 0 && locks[j-1] == n {
			continue
		}
		locks = append(locks, 0)
		copy(locks[j+1:], locks[j:])
		locks[j] = n
	}
	for _, n := range locks {
		l.stripe[n].mu.Lock()
	}
	return locks
}

func (l *Limiter) unlock(locks []uint16) {
	for _, n := range locks {
		l.stripe[n].mu.Unlock()
	}
}

func later(helps bool, d time.Duration) time.Duration {
	if helps {
		return d
	}
	return 0
}

// longer reports whether a blocks for longer than b; 0 blocks for ever.
func longer(a, b Short) bool {
	if b.RetryAfter == 0 {
		return false
	}
	return a.RetryAfter == 0 || a.RetryAfter > b.RetryAfter
}
