package rate

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// countsBody bounds one message: it must fit into a packet.
const countsBody = 1100

// tellCounts sends the stand-ins what has changed in the rings of a stripe. It
// tells each change twice: a packet may be lost.
func (l *Limiter) tellCounts(s *stripe, o *outlook, t instant, out map[uint16]*countsMessage) {
	rest := s.dirty[:0]
	for _, id := range s.dirty {
		ring, d := s.dutyOf(id)
		if ring == nil {
			continue
		}
		if d.role != granting || d.kind == Parallel || d.epoch != o.epoch {
			d.live = false
			continue
		}
		owner, backup := o.owner(id, l.homeName(d.home))
		if owner != o.self || backup < 0 || backup == o.self {
			d.live, d.dirty, d.again = false, 0, 0
			continue
		}
		ring.advance(d.slot(t.elapsed))
		n := &o.nodes[backup]
		m := out[n.at]
		if m == nil {
			m = &countsMessage{}
			out[n.at] = m
		}
		m.add(ring, d, l.homeName(d.home), l.line(d.source).node)
		if len(m.e.body) >= countsBody-slots*11 {
			l.peers.Counts(n.id, m.finish(t))
			delete(out, n.at)
		}
		if d.dirty, d.again = 0, d.dirty; d.again != 0 {
			rest = append(rest, id)
		} else {
			d.live = false
		}
	}
	s.dirty = rest
}

// countsMessage gathers counts for one node.
type countsMessage struct{ e encoder }

func (m *countsMessage) add(ring *ring, d *duty, home, source string) {
	m.e.id(ring.id)
	m.e.name(home)
	m.e.name(source)
	m.e.uint(uint64(d.inc))
	shift := int64(0)
	if d.shift != 0 {
		shift = int64(d.shift/time.Millisecond) - 1 // rounded down: units look younger
	}
	m.e.body = binary.AppendVarint(m.e.body, shift)
	slotsOf := d.dirty | d.again
	n := 0
	for i := range uint32(slots) {
		if slotsOf&(1<<i) != 0 {
			n++
		}
	}
	m.e.int(int64(n))
	for ago := range uint32(slots) {
		if ago > ring.last {
			break
		}
		slot := ring.last - ago
		if slotsOf&(1<<(slot%slots)) == 0 {
			continue
		}
		n--
		m.e.byte(byte(ago))
		m.e.uint(uint64(ring.counts[slot%slots]))
		m.e.uint(uint64(d.otherAt(slot, ring.counts[slot%slots])))
	}
	for ; n > 0; n-- { // slots from before the clock began
		m.e.byte(slots)
		m.e.uint(0)
		m.e.uint(0)
	}
}

func (m *countsMessage) finish(t instant) []byte {
	var e encoder
	e.names, e.list = m.e.names, m.e.list
	e.int(int64(t.elapsed / time.Millisecond))
	e.body = append(e.body, m.e.body...)
	return e.finish(opCounts)
}

// counted is one limit in a message of counts.
type counted struct {
	id    uint64
	home  string
	ring  heritage
	shift time.Duration // of the ring's clock to the sender's
	slots []slotCount   // slot: how many ago
}

func decodeCounts(b []byte) (clock time.Duration, list []counted, err error) {
	d, err := openReply(b, opCounts)
	if err != nil {
		return 0, nil, err
	}
	clock = d.clock()
	for d.err == nil && len(d.b) > 0 && len(list) < maxItems {
		c := counted{id: d.id(), home: d.name(), ring: heritage{d.name(), d.uint32()}, shift: d.shift()}
		for range d.count(slots, 3) {
			c.slots = append(c.slots, slotCount{uint32(d.byte()), d.uint32(), d.uint32()})
		}
		list = append(list, c)
	}
	if d.err != nil {
		return 0, nil, fmt.Errorf("read counts of limits: %w", d.err)
	}
	return clock, list, nil
}

// HearCounts takes a message of counts. Only what is newer than all that was
// heard of a limit counts: units may have been given back.
func (l *Limiter) HearCounts(from string, incarnation uint32, sequence uint64, payload []byte) {
	if l.peers == nil {
		return
	}
	clock, list, err := decodeCounts(payload)
	if err != nil {
		l.stats.malformed.Add(1)
		return
	}
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	source := l.number(from)
	for i := range list {
		l.copyCounts(o, &list[i], source, incarnation, sequence, clock, t)
	}
	l.hear(l.line(source), t.elapsed)
}

func (l *Limiter) copyCounts(o *outlook, c *counted, from uint16, inc uint32, seq uint64, clock time.Duration, t instant) {
	s := l.of(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, d := s.dutyOf(c.id)
	if ring != nil && (d.kind == Parallel || d.role == granting || d.role == handed) {
		return // it was overtaken by a handover
	}
	clock = max(0, clock+c.shift)
	slot, source := slotAt(clock), l.number(c.ring.source)
	if ring == nil || d.source != source || d.inc != c.ring.inc {
		ring, d = s.makeDuty(c.id, slot)
		*d = duty{source: source, inc: c.ring.inc, shift: clock - t.elapsed, live: d.live, role: d.role, epoch: d.epoch, to: d.to,
			home: d.home, moves: d.moves}
		*ring = ring0(c.id, slot)
	}
	if d.from != from || d.fromInc != inc {
		d.seq, d.shift = 0, clock-t.elapsed
	}
	if d.seq != 0 && seq <= d.seq {
		return
	}
	if !d.away() || d.epoch != o.epoch || d.to != from {
		d.role, d.epoch = copied, noSlot
	}
	if d.kind = Requests; d.moves == 0 {
		d.home = l.homeNumber(c.home)
	}
	d.from, d.fromInc, d.seq, d.seen = from, inc, seq, t.at
	d.shift = max(d.shift, clock-t.elapsed) // the message with the least delay is right
	ring.advance(slot)
	slot = min(slot, ring.last)
	slices.SortFunc(c.slots, func(a, b slotCount) int { return int(b.slot) - int(a.slot) }) // older first
	for _, x := range c.slots {
		if x.slot > slot || x.slot >= slots {
			continue
		}
		at := slot - x.slot
		if ring.last-at >= slots {
			continue
		}
		n := &ring.counts[at%slots]
		ring.sum += int64(x.total) - int64(*n)
		*n = x.total
		if x.slot < fresh {
			d.other(at, 0)
			if d.newest-at < fresh {
				d.others[at%fresh] = x.others
			}
		}
	}
}

func (d *decoder) clock() time.Duration {
	v := d.int()
	if v > maxNow {
		d.fail(fmt.Errorf("limits message of a clock at %d ms", v))
		return 0
	}
	return time.Duration(v) * time.Millisecond
}

func (d *decoder) shift() time.Duration {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	if v > maxNow || v < -maxNow {
		d.fail(fmt.Errorf("limits message of clocks %d ms apart", v))
		return 0
	}
	return time.Duration(v) * time.Millisecond
}
