package rate

import (
	"math"
	"time"
)

const (
	// useSlots of useTime hold what this node itself has used: a use counts for
	// 60 to 67.5 s. Finer slots would cost memory for every limit ever touched.
	useSlots = 9
	useTime  = 7500 * time.Millisecond
	// fresh slots of grants are kept apart: what an owner granted just before it
	// died is known only to those who got it.
	fresh = 4
	// noSlot is of an owner whose numbering is over.
	noSlot = math.MaxUint32
	// recordIdle is when an unused record is forgotten.
	recordIdle = 120 * time.Second
)

// stamp is a time in milliseconds since the limiter was made. It wraps after
// seven weeks; only differences of minutes are taken.
type stamp uint32

func stampAt(elapsed time.Duration) stamp { return stamp(elapsed / time.Millisecond) }

// after is how long a is past b; negative if it is before.
func (a stamp) after(b stamp) time.Duration {
	return time.Duration(int32(a-b)) * time.Millisecond
}

func (a stamp) plus(d time.Duration) stamp { return a + stamp(d/time.Millisecond) }

// credit is units granted in one slot of the owner's.
type credit struct {
	units uint32
	slot  uint32
	ends  stamp
}

// uses counts what this node used in each of the last useSlots.
type uses struct {
	last   uint32
	counts [useSlots]uint32
}

// record is a limit as a node sees it that uses it: credit, own use, demand.
// For parallel requests the first credit is the lease, and held what is in use.
// It holds no pointers.
type record struct {
	id     uint64
	limit  int64
	flight uint64 // sequence number of the ask under way, 0: none
	held   int64  // parallel slots in use
	debt   int64  // used without credit, to be told to the owner
	owed   int64  // of that, what the ask under way tells

	epoch   uint32 // of the outlook that owner and backup are from
	owner   uint16 // numbers of nodes
	backup  uint16
	home    uint16
	moves   uint32 // of home
	kind    Kind
	queued  bool  // for an ask
	live    bool  // in the stripe's list of records with something to do
	bounced uint8 // from one owner to the next
	warm    bool  // used twice within a short time
	told    bool  // left and reset are an owner's word
	lost    bool  // until lostUntil
	// eager falls with each refusal: the first are asked about again after a short
	// part of refusalLife, halved so many times. At the end of a burst units come
	// back that others did not need.
	eager uint8

	source    uint16 // of which ring the credit is
	sourceInc uint32

	pool  [2]credit // older, newer
	own   uses      // everything admitted here
	share uses      // of that, from the standing part
	grant [fresh]credit

	used      stamp // last
	sent      stamp // of the ask under way, then of the last
	noUntil   stamp // an owner has refused noUnits or more
	noUnits   uint32
	passes    stamp // when the refused will pass
	left      uint32
	reset     stamp
	lostUntil stamp
	bucket    stamp // demand: start of the bucket, units in it and in the one before
	arrived   uint32
	before    uint32
	peak      uint32 // parallel: most in use since the last renewal
}

// duty is what a node knows of a ring besides the counts; it lies beside the
// ring, and a node that is alone has none.
type duty struct {
	seq     uint64 // of the last counts heard
	active  [2]uint64
	epoch   uint32
	dirty   uint32        // slots whose counts the stand-in must hear
	again   uint32        // slots to tell once more, because packets get lost
	others  [fresh]uint32 // granted to other nodes in the slots up to newest
	newest  uint32
	shift   time.Duration // the ring's clock less this node's
	inc     uint32        // of the source
	phase   uint32        // which half of active is the current one
	seen    stamp         // last use
	source  uint16        // who began the ring: the slot numbers are by its clock
	from    uint16        // of a copy: who told it
	fromInc uint32
	to      uint16 // moved to
	home    uint16
	moves   uint32 // of home
	role    role
	kind    Kind
	live    bool
	// recalled is until when idle parallel slots need not be called back again.
	recalled stamp
}

// clock is the ring's own time. A ring that is handed over goes on by the clock
// of the node that began it: cut anew into other slots each time, its units
// would seem younger and younger.
func (d *duty) clock(elapsed time.Duration) time.Duration { return max(0, elapsed+d.shift) }

func (d *duty) slot(elapsed time.Duration) uint32 { return slotAt(d.clock(elapsed)) }

// role is what a node is to a ring that it holds.
type role uint8

const (
	granting role = iota // it alone grants
	handed               // it was given the ring to grant of it
	copied               // it stands in for who grants
	moved                // another grants now
	leaving              // it is on its way to another
)

func (u *uses) slot(elapsed time.Duration) uint32 { return uint32(elapsed / useTime) }

func (u *uses) sum(now uint32) int64 {
	n := int64(0)
	for i := range u.counts {
		// slot i holds the number in (last-useSlots, last] with the same rest
		if s := u.last - (u.last-uint32(i))%useSlots; now-s < useSlots {
			n += int64(u.counts[i])
		}
	}
	return n
}

func (u *uses) add(now uint32, units int64) {
	if now > u.last {
		for s := max(u.last+1, now-min(now, useSlots-1)); s <= now; s++ {
			u.counts[s%useSlots] = 0
		}
		u.last = now
	}
	c := &u.counts[u.last%useSlots]
	*c += uint32(min(units, full-int64(*c)))
}

func (u *uses) back(slot uint32, units int64) {
	if slot > u.last || u.last-slot >= useSlots {
		return
	}
	c := &u.counts[slot%useSlots]
	*c -= uint32(min(units, int64(*c)))
}

// credit is how many granted units may still be used.
func (r *record) credit(now stamp) int64 {
	n := int64(0)
	for i := range r.pool {
		if p := &r.pool[i]; p.units > 0 && p.ends.after(now) > 0 {
			n += int64(p.units)
		}
	}
	return n
}

// spend takes units from one grant, the older first: half of them from each
// could not be given back to where they came from.
func (r *record) spend(now stamp, units int64) (slot uint32, ok bool) {
	for i := range r.pool {
		if p := &r.pool[i]; p.ends.after(now) > 0 && int64(p.units) >= max(1, units) {
			p.units -= uint32(units)
			return p.slot, true
		}
	}
	return 0, false
}

// unspend gives units back to the grant they are of, if it still lives.
func (r *record) unspend(now stamp, slot uint32, units int64) bool {
	for i := range r.pool {
		if p := &r.pool[i]; p.slot == slot && slot != noSlot && p.ends.after(now) > 0 {
			p.units += uint32(units)
			return true
		}
	}
	return false
}

// store adds a grant. All of one slot end with the last of them: the ring keeps
// a slot for a whole life past its end. It returns what the oldest grant had
// left, which has to make room.
func (r *record) store(now stamp, slot uint32, units int64, ends stamp) credit {
	var out credit
	p := &r.pool[1]
	if p.slot != slot || p.units == 0 && p.ends.after(now) <= 0 {
		out = r.pool[0]
		r.pool[0] = r.pool[1]
		r.pool[1] = credit{slot: slot, ends: ends}
	} else if ends.after(p.ends) > 0 {
		p.ends = ends
	}
	p.units += uint32(min(units, full-int64(p.units)))
	g := &r.grant[slot%fresh]
	if g.slot != slot {
		*g = credit{slot: slot, ends: now}
	}
	g.units += uint32(min(units, full-int64(g.units)))
	return out
}

// ungrant takes returned units out of the record of what was granted.
func (r *record) ungrant(slot uint32, units int64) {
	if g := &r.grant[slot%fresh]; g.slot == slot {
		g.units -= uint32(min(units, int64(g.units)))
	}
}

// from makes the record one of grants from the given ring. Slots of another's
// numbering cannot be returned any more.
func (s *stripe) from(r *record, source uint16, inc uint32) {
	if r.source == source && r.sourceInc == inc {
		return
	}
	delete(s.backs, r.id)
	r.source, r.sourceInc = source, inc
	for i := range r.pool {
		r.pool[i].slot = noSlot
	}
	r.grant = [fresh]credit{}
}

// demand counts an arrival.
func (r *record) demand(now stamp, units int64) {
	r.warm = now.after(r.used) < warm
	r.used = now
	switch d := now.after(r.bucket); {
	case d < ahead && d >= 0:
	case d < 2*ahead:
		r.before, r.arrived = r.arrived, 0
		r.bucket = r.bucket.plus(ahead)
	default:
		r.before, r.arrived = 0, 0
		r.bucket = now
	}
	r.arrived += uint32(min(max(1, units), full-int64(r.arrived)))
}

// expected is the demand of a span ahead, as far as the last moments tell.
func (r *record) expected(now stamp, span time.Duration) int64 {
	n := int64(0)
	switch d := now.after(r.bucket); {
	case d < ahead:
		n = int64(max(r.before, r.arrived))
	case d < 2*ahead:
		n = int64(r.arrived)
	}
	if n <= 1 {
		return n
	}
	return n * int64(span/time.Millisecond) / int64(ahead/time.Millisecond)
}

// recordOf finds or makes the record of a limit.
func (s *stripe) recordOf(h *Hold, now stamp) *record {
	if i, ok := s.known[h.ID]; ok {
		r := &s.records[i]
		r.limit = h.Limit
		return r
	}
	i := uint32(len(s.records))
	s.records = append(s.records, record{id: h.ID, limit: h.Limit, kind: h.Kind, epoch: noSlot,
		used: now - stamp(warm/time.Millisecond), sent: now, noUntil: now, passes: now, reset: now, lostUntil: now, bucket: now, pool: [2]credit{{ends: now}, {ends: now}}})
	s.known[h.ID] = i
	return &s.records[i]
}

func (s *stripe) record(id uint64) *record {
	if i, ok := s.known[id]; ok {
		return &s.records[i]
	}
	return nil
}

// enliven puts a record on the list of those that the ticking looks at.
func (s *stripe) enliven(r *record) {
	if !r.live {
		r.live = true
		s.live = append(s.live, r.id)
	}
}

// away tells whether this node has given the ring to another.
func (d *duty) away() bool { return d.role == moved || d.role == leaving }

// dutyOf is the ring of a limit with its duty, nil if this node has none.
func (s *stripe) dutyOf(id uint64) (*ring, *duty) {
	if i, ok := s.index[id]; ok {
		return &s.rings[i], &s.duties[i]
	}
	return nil, nil
}

// makeDuty finds or makes a ring with a duty.
func (s *stripe) makeDuty(id uint64, now uint32) (*ring, *duty) {
	i, ok := s.index[id]
	if !ok {
		i = uint32(len(s.rings))
		s.rings = append(s.rings, ring{id: id, last: now})
		s.duties = append(s.duties, duty{role: copied, epoch: noSlot})
		s.index[id] = i
	}
	return &s.rings[i], &s.duties[i]
}
