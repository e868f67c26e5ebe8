package rate

import (
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
		ring.advance(t.slot)
		n := &o.nodes[backup]
		m := out[n.at]
		if m == nil {
			m = &countsMessage{}
			out[n.at] = m
		}
		m.add(ring, d, l.homeName(d.home))
		if len(m.e.body) >= countsBody-slots*11 {
			l.peers.Counts(n.id, m.finish(o, t))
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

func (m *countsMessage) add(ring *ring, d *duty, home string) {
	m.e.id(ring.id)
	m.e.name(home)
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
		m.e.uint(uint64(d.otherAt(slot)))
	}
	for ; n > 0; n-- { // slots from before the clock began
		m.e.byte(slots)
		m.e.uint(0)
		m.e.uint(0)
	}
}

func (m *countsMessage) finish(o *outlook, t instant) []byte {
	var e encoder
	e.names, e.list = m.e.names, m.e.list
	e.uint(uint64(t.slot))
	e.int(int64((t.elapsed - time.Duration(t.slot)*slotTime) / time.Millisecond))
	e.body = append(e.body, m.e.body...)
	return e.finish(opCounts)
}

// counted is one limit in a message of counts.
type counted struct {
	id    uint64
	home  string
	slots []slotCount // slot: how many ago
}

func decodeCounts(b []byte) (slot uint32, phase time.Duration, list []counted, err error) {
	d, err := openReply(b, opCounts)
	if err != nil {
		return 0, 0, nil, err
	}
	slot, phase = d.uint32(), d.millis()
	for d.err == nil && len(d.b) > 0 && len(list) < maxItems {
		c := counted{id: d.id(), home: d.name()}
		for range d.count(slots, 3) {
			c.slots = append(c.slots, slotCount{uint32(d.byte()), d.uint32(), d.uint32()})
		}
		list = append(list, c)
	}
	if d.err != nil {
		return 0, 0, nil, fmt.Errorf("read counts of limits: %w", d.err)
	}
	return slot, min(phase, slotTime), list, nil
}

// HearCounts takes a message of counts. Only what is newer than all that was
// heard of a limit counts: units may have been given back.
func (l *Limiter) HearCounts(from string, incarnation uint32, sequence uint64, payload []byte) {
	if l.peers == nil {
		return
	}
	slot, phase, list, err := decodeCounts(payload)
	if err != nil {
		l.stats.malformed.Add(1)
		return
	}
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	source := l.number(from)
	for i := range list {
		l.copyCounts(o, &list[i], source, incarnation, sequence, slot, phase, t)
	}
	l.hear(l.line(source), t.elapsed)
}

func (l *Limiter) copyCounts(o *outlook, c *counted, source uint16, inc uint32, seq uint64, slot uint32, phase time.Duration, t instant) {
	s := l.of(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, d := s.dutyOf(c.id)
	if ring != nil && (d.role == granting || d.role == handed) {
		return // it was overtaken by a handover
	}
	if ring == nil || d.role != copied || d.source != source || d.inc != inc {
		ring, d = s.makeDuty(c.id, t.slot)
		*d = duty{role: copied, epoch: noSlot, source: source, inc: inc, home: l.homeNumber(c.home), kind: Requests, live: d.live}
		*ring = ring0(c.id, slot)
	}
	if d.seq != 0 && seq <= d.seq {
		return
	}
	d.seq, d.seen = seq, t.at
	ring.advance(slot)
	d.ref = t.at - stamp(phase/time.Millisecond)
	slices.SortFunc(c.slots, func(a, b slotCount) int { return int(b.slot) - int(a.slot) }) // older first
	for _, x := range c.slots {
		if x.slot > slot || x.slot >= slots {
			continue
		}
		at := slot - x.slot
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
