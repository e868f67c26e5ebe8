package rate

import "time"

const (
	slots    = 32
	slotTime = 2 * time.Second
	// full is what one slot can hold; a slot at full refuses rather than wraps.
	full = 1<<32 - 1
)

// ring counts the units granted in each of the last 32 slots of 2 s. A unit
// stays counted from its grant until its slot leaves, which is 62 to 64 s: the
// oldest slot counts in full although part of it is older, and one slot more
// than the window covers credit that is spent up to one slot after its grant.
type ring struct {
	id     uint64
	sum    int64
	last   uint32 // newest slot the ring has been moved to
	_      uint32
	counts [slots]uint32
}

func slotAt(elapsed time.Duration) uint32 {
	if elapsed < 0 {
		return 0
	}
	return uint32(elapsed / slotTime)
}

// advance drops the slots that have left by now.
func (r *ring) advance(now uint32) {
	if now <= r.last {
		return
	}
	if now-r.last >= slots {
		r.counts = [slots]uint32{}
		r.sum = 0
	} else {
		for s := r.last + 1; s <= now; s++ {
			c := &r.counts[s%slots]
			r.sum -= int64(*c)
			*c = 0
		}
	}
	r.last = now
}

func (r *ring) add(units int64) {
	c := &r.counts[r.last%slots]
	units = min(units, full-int64(*c))
	*c += uint32(units)
	r.sum += units
}

// fits reports whether the newest slot can hold the units at all.
func (r *ring) fits(units int64) bool { return units <= full-int64(r.counts[r.last%slots]) }

// back takes units out of the slot they were granted in; a slot that has left
// the ring has forgotten them already.
func (r *ring) back(slot uint32, units int64) {
	if slot > r.last || r.last-slot >= slots {
		return
	}
	c := &r.counts[slot%slots]
	units = min(units, int64(*c))
	*c -= uint32(units)
	r.sum -= units
}

// wait is how long until at most room units are counted, given the time since
// the limiter started.
func (r *ring) wait(room int64, elapsed time.Duration) time.Duration {
	left := r.sum
	first := uint32(0)
	if r.last >= slots-1 {
		first = r.last - (slots - 1)
	}
	for s := first; s <= r.last; s++ {
		if left <= room {
			break
		}
		left -= int64(r.counts[s%slots])
		if left <= room {
			return leaves(s) - elapsed
		}
	}
	return 0
}

// reset is how long until nothing is counted any more.
func (r *ring) reset(elapsed time.Duration) time.Duration {
	for i := uint32(0); i < slots && i <= r.last; i++ {
		if s := r.last - i; r.counts[s%slots] > 0 {
			return leaves(s) - elapsed
		}
	}
	return 0
}

// leaves is when a slot stops counting.
func leaves(slot uint32) time.Duration { return time.Duration(slot+slots) * slotTime }

// ringOf finds or makes the ring of a limit and moves it to now.
func (s *stripe) ringOf(id uint64, now uint32) *ring {
	i, ok := s.index[id]
	if !ok {
		i = uint32(len(s.rings))
		s.rings = append(s.rings, ring{id: id, last: now})
		s.index[id] = i
	}
	r := &s.rings[i]
	r.advance(now)
	return r
}
