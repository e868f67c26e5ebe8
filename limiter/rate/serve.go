package rate

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// entryKey is one node at one limit.
type entryKey struct {
	id   uint64
	node uint16
}

// entry is what an owner remembers of it: the last ask and its answer, so that
// a repeat grants nothing twice, or the parallel slots that the node holds.
type entry struct {
	seq     uint64
	inc     uint32
	granted uint32
	slot    uint32
	at      stamp
	flags   flags
}

// slotUnits is units of one slot.
type slotUnits struct {
	slot  uint32
	units int64
}

// ServeAsk answers another node.
func (l *Limiter) ServeAsk(ctx context.Context, from string, payload []byte) ([]byte, error) {
	if l.peers == nil {
		return nil, errAlone
	}
	l.hear(l.line(l.number(from)), l.elapsed())
	op, d, err := openMessage(payload)
	if err != nil {
		return nil, err
	}
	switch op {
	case opAsk:
		var m askMessage
		if err := m.decode(d); err != nil {
			return nil, err
		}
		if m.origin == "" {
			m.origin = from
		}
		return l.answer(ctx, from, &m)
	case opGather:
		return l.serveGather(from, d)
	case opPush:
		return l.servePush(ctx, from, d)
	case opRecall:
		return l.serveRecall(d)
	case opPing:
		return pong(), nil
	case opLook:
		return l.serveLook(d)
	}
	return nil, fmt.Errorf("limits message of unknown kind %d", op)
}

var errAlone = errors.New("this node is alone and grants nothing to others")

func (l *Limiter) answer(ctx context.Context, from string, m *askMessage) ([]byte, error) {
	o := l.outlook(l.elapsed())
	var reply *askReply
	switch {
	case m.mode == relay && m.owner != o.src.Self:
		raw, err := l.relay(ctx, l.line(l.number(m.owner)), m, relayWithin)
		if err == nil {
			return raw, nil
		}
		reply = &askReply{answers: make([]answer, len(m.items))}
		for i := range reply.answers {
			reply.answers[i].flags = flagUnreached
		}
	case m.mode == standIn && m.owner != o.src.Self:
		reply = l.stand(ctx, o, l.line(l.number(m.owner)), m)
	default:
		reply = l.grantAll(ctx, o, m, nil)
	}
	if reply == nil {
		reply = &askReply{answers: make([]answer, len(m.items))}
		for i := range reply.answers {
			reply.answers[i].flags = flagUnsure
		}
	}
	return reply.encode(), nil
}

// relay passes an ask on to the owner as it came.
func (l *Limiter) relay(ctx context.Context, ln *line, m *askMessage, within time.Duration) ([]byte, error) {
	on := *m
	on.mode = direct
	return l.call(ctx, ln, on.encode(), within)
}

// grantAll answers an ask as the one who grants. For limits of a node that is
// lost, this one grants too.
func (l *Limiter) grantAll(ctx context.Context, o *outlook, m *askMessage, lost *line) *askReply {
	n := &askReply{answers: make([]answer, len(m.items))}
	asker := l.number(m.origin)
	var claims []claim
	var idle []uint64
	for i := range m.items {
		it := &m.items[i]
		switch l.grant(o, it, asker, m.inc, lost, &n.answers[i]) {
		case unlearned:
			claims = append(claims, it.claim())
		case unreturned:
			idle = append(idle, it.id)
		}
	}
	if len(claims) == 0 && len(idle) == 0 {
		return n
	}
	l.gather(ctx, o, claims, lost)
	l.recall(ctx, idle, asker, recallWithin)
	for i := range m.items {
		if a := &n.answers[i]; a.flags&flagUnsure != 0 {
			*a = answer{}
			if l.grant(o, &m.items[i], asker, m.inc, lost, a) != answered {
				a.flags = flagUnsure // its asker asks again within a tick
			}
		}
	}
	return n
}

// outcome is how far an ask has come.
type outcome uint8

const (
	answered   outcome = iota
	unlearned          // this node would grant but must first learn what others have
	unreturned         // others have parallel slots that they may not need
)

// grant answers one item.
func (l *Limiter) grant(o *outlook, it *askItem, asker uint16, inc uint32, lost *line, a *answer) outcome {
	s := l.of(it.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := instantAt(l.elapsed())
	home := l.homeNumber(it.home)
	l.current(s, it.id, &home, &it.moves)
	it.home = l.homeName(home)
	ring, d := s.dutyOf(it.id)
	if ring != nil && d.role == granting && d.epoch == o.epoch && d.moves < it.moves {
		l.rehome(s, o, it.claim(), ring, d)
	}
	if ring == nil || d.role != granting || d.epoch != o.epoch {
		owner, _ := o.owner(it.id, it.home)
		switch {
		case owner >= 0 && owner == o.self:
			if d != nil && d.role == moved && d.epoch == o.epoch && d.to == asker {
				d.role, d.epoch = copied, noSlot // it would not ask if it had it still
			}
			if d != nil && d.away() && d.epoch == o.epoch {
				a.flags, a.owner = flagNotOwner, l.line(d.to).node
				return answered
			}
			if !l.assume(s, o, it.claim(), t) {
				a.flags = flagUnsure
				return unlearned
			}
		case owner >= 0 && lost != nil && o.nodes[owner].at == lost.at:
			if ring == nil || d.role != granting || o.doubts(d.epoch, t.elapsed) {
				a.flags = flagUnsure
				return unlearned
			}
			d.epoch = o.epoch // it stood in before
		default:
			a.flags = flagNotOwner
			if owner >= 0 {
				a.owner = o.nodes[owner].id
			}
			return answered
		}
		ring, d = s.dutyOf(it.id)
	}
	if (d.kind == Parallel) != (it.kind == Parallel) {
		return answered // no node of this cluster asks like that: nothing
	}
	d.seen = t.at
	d.used(asker, t.elapsed)
	k := entryKey{it.id, asker}
	e := s.entries[k]
	if e.inc == inc && e.seq > it.seq {
		return answered // an old ask, long answered: nothing
	}
	clock := d.clock(t.elapsed)
	if it.kind != Parallel {
		ring.advance(slotAt(clock))
	}
	if e.inc == inc && e.seq == it.seq {
		a.granted, a.slot, a.flags = e.granted, e.slot, e.flags
	} else if it.kind == Parallel {
		if e.inc != inc { // an earlier start's calls have ended with it
			ring.sum -= int64(e.granted)
			e = entry{}
		}
		var ok bool
		if e, *a, ok = l.grantParallel(s, o, ring, d, it, k, e, t); !ok {
			e.inc, e.at = inc, t.at
			s.entries[k] = e
			a.flags = flagUnsure
			return unreturned
		}
	} else {
		*a = l.grantRate(s, o, ring, d, it, t)
		e.granted, e.slot = a.granted, a.slot
	}
	e.seq, e.inc, e.at, e.flags = it.seq, inc, t.at, a.flags
	s.entries[k] = e
	a.source, a.inc = l.line(d.source).node, d.inc
	if it.kind != Parallel {
		most := max(0, l.allowed(o, it.limit, it.home, t.elapsed)-o.shares.kept(it.limit))
		a.left, a.reset = max(0, most-ring.sum), ring.reset(clock)
		if a.flags&flagExhausted != 0 {
			a.retry = max(time.Millisecond, ring.wait(most-max(1, it.least), clock))
		}
	}
	return answered
}

// grantRate gives credit of a ring.
func (l *Limiter) grantRate(s *stripe, o *outlook, ring *ring, d *duty, it *askItem, t instant) answer {
	returns := it.returns
	if it.source != l.line(d.source).node || it.inc != d.inc {
		returns = nil // of a ring that is no more
	}
	for _, b := range returns {
		ring.back(b.slot, b.units)
		if b.slot <= d.newest && d.newest-b.slot < fresh {
			d.others[b.slot%fresh] -= uint32(min(b.units, int64(d.others[b.slot%fresh])))
		}
		if b.slot <= ring.last && ring.last-b.slot < slots {
			s.mark(it.id, d, b.slot)
		}
	}
	if it.debt > 0 {
		ring.add(it.debt)
		s.mark(it.id, d, ring.last)
	}
	most := max(0, l.allowed(o, it.limit, it.home, t.elapsed)-o.shares.kept(it.limit))
	n := l.portion(d, max(0, most-ring.sum), it)
	if !ring.fits(n) {
		n = 0
	}
	if n > 0 {
		ring.add(n)
		d.other(ring.last, n)
		s.mark(it.id, d, ring.last)
	}
	a := answer{granted: uint32(n), slot: ring.last}
	if n < it.need {
		a.flags = flagExhausted
	}
	return a
}

// portion is how much of what is free a node gets: what it needs, and of what
// it would like at most its part of half of the rest. Less than helps anybody
// there stays here.
func (l *Limiter) portion(d *duty, free int64, it *askItem) int64 {
	nodes := int64(max(1, bits.OnesCount64(d.active[0]|d.active[1])))
	n := min(free, max(it.need, min(it.want, free/(2*nodes))))
	if n < it.least {
		return 0
	}
	return n
}

// other notes a grant to another node.
func (d *duty) other(slot uint32, units int64) {
	if d.newest != slot {
		for s := max(d.newest+1, slot-min(slot, fresh-1)); s <= slot; s++ {
			d.others[s%fresh] = 0
		}
		d.newest = slot
	}
	c := &d.others[slot%fresh]
	*c += uint32(min(units, full-int64(*c)))
}

// otherAt is what was granted to others in a slot, of a total. Of slots of which
// that is no longer known it is the whole: all who were granted something then
// are in the total.
func (d *duty) otherAt(slot, total uint32) uint32 {
	switch {
	case slot > d.newest:
		return 0
	case d.newest-slot >= fresh:
		return total
	}
	return d.others[slot%fresh]
}
