package rate

import (
	"fmt"
	"time"
)

// Further roles, of knowledge that is no ring.
const (
	record0  role = iota + 16 // what the node itself was granted
	claiming                  // the node wants to grant of it itself
)

// knowledge is what a node knows of a limit, in the slot numbers of whoever
// began the ring.
type knowledge struct {
	role   role
	source string
	inc    uint32
	now    time.Duration // the ring's clock, at most
	slots  []slotCount
	leases []lease // of parallel slots
}

// slotCount is what was granted in a slot.
type slotCount struct {
	slot   uint32
	total  uint32 // in all; unknown in a record
	others uint32 // to other nodes; in a record to this one
}

// lease is parallel slots that a node holds.
type lease struct {
	node  string
	inc   uint32
	seq   uint64
	units uint32
	age   time.Duration
}

// heritage names a ring by who began it.
type heritage struct {
	source string
	inc    uint32
}

// version is what all together know of one ring.
type version struct {
	now   time.Duration
	rings bool // told by who holds a ring, not only by who was granted
	slots map[uint32]*slotSum
}

type slotSum struct{ total, others, records int64 }

// units is what was granted in a slot: by the fullest word, and what others got
// since by their own word. Only what an owner granted itself after its last word
// is lost with it.
func (x *slotSum) units() int64 { return x.total + max(0, x.records-x.others) }

func (v *version) total() int64 {
	n := int64(0)
	for _, x := range v.slots {
		n += x.units()
	}
	return n
}

// merge fills an empty ring with what is known of it and says whose it is then.
// The fullest of several rings goes on. Of another, each unit counts in the slot
// of the latest moment at which it can have been granted: one that counts too
// long refuses somebody, one that counts too short breaks the limit. Per slot
// the fullest counts, not the sum: who began later knew what was granted before.
func merge(ring *ring, d *duty, known []knowledge, elapsed time.Duration) *heritage {
	all := map[heritage]*version{}
	for i := range known {
		if k := &known[i]; k.role != claiming && len(k.slots) > 0 {
			add(all, k)
		}
	}
	var base *heritage
	best := int64(-1)
	for h, v := range all {
		// A tie must fall alike everywhere.
		if n := v.total(); n > best || n == best && (h.source < base.source || h.source == base.source && h.inc > base.inc) {
			base, best = &h, n
		}
	}
	if base == nil {
		return nil
	}
	on := all[*base]
	for slot := range on.slots { // told by who was a moment ahead
		on.now = max(on.now, time.Duration(slot)*slotTime)
	}
	d.shift = on.now - elapsed
	now := slotAt(on.now)
	*ring = ring0(ring.id, now)
	for slot, x := range on.slots {
		if slot > now || now-slot >= slots {
			continue
		}
		n := min(x.units(), full)
		ring.counts[slot%slots] = uint32(n)
		ring.sum += n
	}
	d.other(now, 0)
	for slot, x := range on.slots {
		if slot <= now && now-slot < fresh {
			d.others[slot%fresh] = uint32(min(max(x.others, x.records), full))
		}
	}
	for h, v := range all {
		if h != *base {
			v.into(ring, on.now)
		}
	}
	return base
}

func add(all map[heritage]*version, k *knowledge) {
	h := heritage{k.source, k.inc}
	v := all[h]
	if v == nil {
		v = &version{slots: map[uint32]*slotSum{}}
		all[h] = v
	}
	// The clock that is furthest behind: units are never younger than it shows. A
	// record only knows that the clock was past a slot.
	switch ring := k.role != record0; {
	case ring && (!v.rings || k.now < v.now):
		v.now, v.rings = k.now, true
	case !ring && !v.rings:
		v.now = max(v.now, k.now)
	}
	for _, c := range k.slots {
		x := v.slots[c.slot]
		if x == nil {
			x = &slotSum{}
			v.slots[c.slot] = x
		}
		if k.role == record0 {
			x.records += int64(c.others)
		} else if int64(c.total) >= x.total {
			x.total, x.others = int64(c.total), int64(c.others)
		}
	}
}

// into brings a version to a ring by another clock.
func (v *version) into(ring *ring, clock time.Duration) {
	now := slotAt(clock)
	var mine [slots]int64
	for slot, x := range v.slots {
		age := max(0, v.now-time.Duration(slot+1)*slotTime)
		if at := slotAt(max(0, clock-age)); now-at < slots {
			mine[at%slots] += x.units()
		}
	}
	for i, n := range mine {
		if have := int64(ring.counts[i]); n > have {
			n = min(n, full)
			ring.sum += n - have
			ring.counts[i] = uint32(n)
		}
	}
}

// tell is what this node knows of a ring that it holds.
func (l *Limiter) tell(s *stripe, o *outlook, ring *ring, d *duty, t instant) knowledge {
	k := knowledge{role: d.role, source: l.line(d.source).node, inc: d.inc}
	if d.kind == Parallel {
		if d.role == copied {
			return k
		}
		for at, ln := range *l.lines.Load() {
			if e, ok := s.entries[entryKey{ring.id, uint16(at)}]; ok && t.at.after(e.at) < leaseLife {
				k.leases = append(k.leases, lease{ln.node, e.inc, e.seq, e.granted, max(0, t.at.after(e.at))})
			}
		}
		if r := s.record(ring.id); r != nil && o.self >= 0 { // its own stand in no lease
			if own := r.held - o.shares.mine(r.limit); own > 0 {
				k.leases = append(k.leases, lease{o.src.Self, o.nodes[o.self].inc, l.seq.Add(1), uint32(min(own, full)), 0})
			}
		}
		return k
	}
	// A copy's clock may have been set back behind what it has heard.
	k.now = max(d.clock(t.elapsed), time.Duration(ring.last)*slotTime)
	now := slotAt(k.now)
	ring.advance(now)
	for i := range uint32(slots) {
		if i > now {
			break
		}
		if n := ring.counts[(now-i)%slots]; n > 0 {
			k.slots = append(k.slots, slotCount{now - i, n, d.otherAt(now-i, n)})
		}
	}
	return k
}

// tellRecord is what this node was granted by others.
func (l *Limiter) tellRecord(r *record, o *outlook, t instant) (knowledge, bool) {
	k := knowledge{role: record0, source: l.line(r.source).node, inc: r.sourceInc}
	if r.kind == Parallel {
		mine := o.shares.mine(r.limit)
		units := max(r.lease(t.at), r.held-mine)
		if units <= 0 || o.self < 0 {
			return k, false
		}
		// Numbered like an ask: what this node has said before is out of date.
		k.leases = []lease{{o.src.Self, o.nodes[o.self].inc, l.seq.Add(1), uint32(min(units, full)), 0}}
		return k, true
	}
	for _, g := range r.grant {
		if g.units == 0 || t.at.after(g.ends) > memory {
			continue
		}
		k.slots = append(k.slots, slotCount{slot: g.slot, others: g.units})
		k.now = max(k.now, time.Duration(g.slot)*slotTime+max(0, t.at.after(g.ends)))
	}
	return k, len(k.slots) > 0
}

func (e *encoder) knowledge(k *knowledge) {
	e.byte(byte(k.role))
	e.name(k.source)
	e.uint(uint64(k.inc))
	e.int(int64(k.now / time.Millisecond)) // rounded down: looks younger
	e.int(int64(len(k.slots)))
	for _, c := range k.slots {
		e.uint(uint64(c.slot))
		e.uint(uint64(c.total))
		e.uint(uint64(c.others))
	}
	e.int(int64(len(k.leases)))
	for _, x := range k.leases {
		e.name(x.node)
		e.uint(uint64(x.inc))
		e.uint(x.seq)
		e.uint(uint64(x.units))
		e.int(int64(x.age / time.Millisecond))
	}
}

// maxNow bounds what another node may say its clock shows.
const maxNow = 1 << 40

func (d *decoder) knowledge() knowledge {
	k := knowledge{role: role(d.byte()), source: d.name(), inc: d.uint32(), now: d.clock()}
	if n := d.count(slots, 3); n > 0 {
		k.slots = make([]slotCount, n)
		for i := range k.slots {
			k.slots[i] = slotCount{d.uint32(), d.uint32(), d.uint32()}
		}
	}
	if n := d.count(maxNames, 5); n > 0 {
		k.leases = make([]lease, n)
		for i := range k.leases {
			k.leases[i] = lease{d.name(), d.uint32(), d.uint(), d.uint32(), d.millis()}
		}
	}
	return k
}

func (e *encoder) claim(c *claim) {
	e.id(c.id)
	e.byte(byte(c.kind))
	e.name(c.home)
}

func (d *decoder) claim() claim {
	c := claim{id: d.id(), kind: Kind(d.byte()), home: d.name()}
	if d.err == nil && (c.kind < Requests || c.kind > Parallel) {
		d.fail(fmt.Errorf("limit of unknown kind %d", c.kind))
	}
	return c
}

func encodeGather(claims []claim) []byte {
	var e encoder
	e.int(int64(len(claims)))
	for i := range claims {
		e.claim(&claims[i])
	}
	e.moves(len(claims), func(i int) uint32 { return claims[i].moves })
	return e.finish(opGather)
}

func decodeGather(d *decoder) ([]claim, error) {
	claims := make([]claim, d.count(maxItems, 10))
	for i := range claims {
		claims[i] = d.claim()
	}
	d.moves(len(claims), func(i int, v uint32) { claims[i].moves = v })
	if d.err != nil {
		return nil, fmt.Errorf("read claims of limits: %w", d.err)
	}
	return claims, nil
}

func encodeKnown(known [][]knowledge) []byte {
	var e encoder
	e.int(int64(len(known)))
	for _, list := range known {
		e.int(int64(len(list)))
		for i := range list {
			e.knowledge(&list[i])
		}
	}
	return e.finish(opKnown)
}

func decodeKnown(b []byte, claims int) ([][]knowledge, error) {
	d, err := openReply(b, opKnown)
	if err != nil {
		return nil, err
	}
	known := make([][]knowledge, d.count(maxItems, 1))
	for i := range known {
		for range d.count(maxWithin, 6) {
			known[i] = append(known[i], d.knowledge())
		}
	}
	if d.err == nil && len(known) != claims {
		d.fail(fmt.Errorf("%d answers to %d claims", len(known), claims))
	}
	if d.err != nil {
		return nil, fmt.Errorf("read what is known of limits: %w", d.err)
	}
	return known, nil
}
