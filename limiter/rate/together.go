package rate

import (
	"context"
	"time"
)

// via is where the units of a hold came from.
type via uint8

const (
	viaRing  via = iota // granted by this node to itself
	viaPool             // credit
	viaShare            // the standing part
	viaLone             // the part of a node that reaches nobody who grants
)

// verdict is what a limit says to a hold.
type verdict uint8

const (
	passed verdict = iota
	wanting
	refused
)

// patience is how long a request has waited.
type patience uint8

const (
	early  patience = iota
	waited          // waitMost: for an owner that does not answer no longer
	spent           // waitSlow: for nobody any longer
)

// instant is one reading of the clock in all the measures that are in use.
type instant struct {
	elapsed time.Duration
	slot    uint32 // of rings
	use     uint32 // of own use
	at      stamp
}

func instantAt(elapsed time.Duration) instant {
	return instant{elapsed, slotAt(elapsed), uint32(elapsed / useTime), stampAt(elapsed)}
}

// TakeCtx is Take for those who can wait: where this node is short of credit it
// asks for more, a second at most. A ctx that ends is a refusal.
func (l *Limiter) TakeCtx(ctx context.Context, holds []Hold) (Short, bool) {
	if l.peers == nil {
		return l.takeAlone(holds)
	}
	return l.takeTogether(ctx, holds)
}

func (l *Limiter) takeTogether(ctx context.Context, holds []Hold) (Short, bool) {
	var fixed [inline]uint16
	locks := l.lock(holds, fixed[:0])
	elapsed := l.elapsed()
	o := l.outlook(elapsed)
	short, v := l.attempt(o, instantAt(elapsed), holds, nil, early)
	l.unlock(locks)
	if v == wanting && ctx != nil {
		return l.await(ctx, holds)
	}
	return short, v == passed
}

// attempt takes all holds or none. Those of a waiter that credit has been put
// aside for count as passed; a late attempt falls back on what a node may admit
// that nobody grants to.
func (l *Limiter) attempt(o *outlook, t instant, holds []Hold, w *waiter, late patience) (Short, verdict) {
	short, v := Short{}, passed
	for i := range holds {
		h := &holds[i]
		h.Units = max(0, h.Units)
		h.taken = false
		s, got := Short{}, passed
		if w != nil {
			x := &w.wants[i]
			switch x.state {
			case put:
				if v == passed {
					l.of(h.ID).claim(h, x, t)
				}
				continue
			case denied:
				s, got = Short{Left: x.left, RetryAfter: x.retry}, refused
			default:
				x.state = idle
			}
		}
		if got == passed {
			s, got = l.tryTogether(l.of(h.ID), o, h, t, v == passed, late)
		}
		if w != nil && got == wanting {
			w.wants[i].state = waiting
		}
		if got == passed {
			continue
		}
		if s.Index = i; v == passed || got > v || got == v && longer(s, short) {
			short = s
		}
		if v == passed {
			for j := i - 1; j >= 0; j-- {
				l.undoTogether(o, &holds[j], t, w, j)
			}
		}
		v = max(v, got)
	}
	if v == passed && w != nil {
		for i := range holds {
			if w.wants[i].state == put {
				w.wants[i].state = idle
			}
		}
	}
	return short, v
}

// tryTogether asks one limit; with take it takes.
func (l *Limiter) tryTogether(s *stripe, o *outlook, h *Hold, t instant, take bool, late patience) (Short, verdict) {
	if h.Moves > 0 || l.moving.Load() {
		home := l.homeNumber(h.Home)
		l.current(s, h.ID, &home, &h.Moves)
		h.Home = l.homeName(home)
	}
	if h.Kind == Parallel {
		return l.tryParallel(s, o, h, t, take, late)
	}
	if h.Kind == Tokens && take && h.Units > h.Limit/8 {
		// What is kept back for the others cannot be had in one piece.
		if most := o.scaled(h.Limit, h.Home) - o.shares.kept(h.Limit); most > 0 {
			h.Units = min(h.Units, most)
		}
	}
	if max(1, h.Units) > h.Limit {
		return Short{Left: max(0, h.Limit)}, refused
	}
	r := s.record(h.ID)
	i, here := s.index[h.ID]
	if here || r == nil || r.epoch != o.epoch || r.owner == o.me {
		if x := l.granted(s, o, h, t, i, here); x != nil {
			return l.tryRing(s, o, h, t, x, take)
		}
		r = s.recordOf(h, t.at)
	}
	l.resolve(r, o, h.Home)
	r.limit, r.moves = h.Limit, h.Moves
	if take {
		r.demand(t.at, h.Units)
	}
	return l.tryRecord(s, o, h, t, r, take, late)
}

// granted is the ring of a limit if this node is the one that grants, nil else.
func (l *Limiter) granted(s *stripe, o *outlook, h *Hold, t instant, i uint32, here bool) *ring {
	if here && s.duties[i].epoch == o.epoch && s.duties[i].role == granting {
		d := &s.duties[i]
		d.seen = t.at
		if d.moves >= h.Moves || l.rehome(s, o, h.claim(), &s.rings[i], d) {
			return &s.rings[i]
		}
	}
	if owner, _ := o.owner(h.ID, h.Home); owner < 0 || owner != o.self {
		return nil
	}
	if !l.assume(s, o, h.claim(), t) {
		return nil
	}
	r, _ := s.dutyOf(h.ID)
	return r
}

func (h *Hold) claim() claim { return claim{h.ID, h.Kind, h.Home, h.Moves} }

func (it *askItem) claim() claim { return claim{it.id, it.kind, it.home, it.moves} }

// current replaces a home by a later one if this node has heard of it: nodes
// follow the log of the cluster one after the other, and two that each act by a
// home of their own would take the ring from each other again and again.
func (l *Limiter) current(s *stripe, id uint64, home *uint16, moves *uint32) {
	if !l.moving.Load() {
		if *moves == 0 {
			return
		}
		l.moving.Store(true)
	}
	if r := s.record(id); r != nil && r.moves > *moves {
		*home, *moves = r.home, r.moves
	}
	if _, d := s.dutyOf(id); d != nil && d.moves > *moves {
		*home, *moves = d.home, d.moves
	}
}

// heard notes where a limit is at home by whoever acts by it.
func (l *Limiter) heard(s *stripe, c claim) {
	if c.moves == 0 {
		return
	}
	l.moving.Store(true)
	if r := s.record(c.id); r != nil && c.moves > r.moves {
		r.home, r.moves, r.epoch = l.homeNumber(c.home), c.moves, noSlot
	}
	if _, d := s.dutyOf(c.id); d != nil && c.moves > d.moves {
		d.home, d.moves = l.homeNumber(c.home), c.moves
	}
}

// rehome notes that a limit's home is another now. Its ring goes there as on a
// change of members; until it has, this node answers what it is asked as its
// owner, but takes nothing more itself. It is true when this node owns it still.
func (l *Limiter) rehome(s *stripe, o *outlook, c claim, r *ring, d *duty) bool {
	d.home, d.moves = l.homeNumber(c.home), c.moves
	s.markAll(r, d) // another stands in
	owner, _ := o.owner(c.id, c.home)
	if owner < 0 || owner == o.self {
		return true
	}
	d.role, d.epoch = handed, noSlot
	l.astray.Store(true)
	return false
}

// tryRing is a request on the node that grants.
func (l *Limiter) tryRing(s *stripe, o *outlook, h *Hold, t instant, r *ring, take bool) (Short, verdict) {
	d := &s.duties[s.index[h.ID]]
	limit := l.allowed(o, h.Limit, h.Home, t.elapsed)
	most := max(0, limit-o.shares.kept(h.Limit))
	clock := d.clock(t.elapsed)
	r.advance(slotAt(clock))
	room := max(1, h.Units)
	if room <= most-r.sum && r.fits(h.Units) {
		if take {
			r.add(h.Units)
			d.used(o.me, t.elapsed)
			s.mark(r.id, d, r.last)
			h.slot, h.by, h.inc, h.via, h.taken = r.last, d.source, d.inc, viaRing, true
			h.Left, h.Reset = max(0, limit-r.sum), leaves(r.last)-clock
			if h.Units == 0 {
				h.Reset = r.reset(clock)
			}
		}
		return Short{}, passed
	}
	left := max(0, most-r.sum)
	wait := max(time.Millisecond, r.wait(most-room, clock))
	if mine := o.shares.mine(h.Limit); mine >= room {
		reset := r.reset(clock)
		x := s.recordOf(h, t.at)
		x.used = t.at
		free := mine - x.share.sum(t.use)
		if room <= free {
			if take {
				x.takeShare(h, t)
				h.Left, h.Reset = left+free-h.Units, max(reset, useSlots*useTime)
			}
			return Short{}, passed
		}
		left += max(0, free)
	}
	return Short{Left: left, RetryAfter: wait}, refused
}

// tryRecord is a request on any other node.
func (l *Limiter) tryRecord(s *stripe, o *outlook, h *Hold, t instant, r *record, take bool, late patience) (Short, verdict) {
	room := max(1, h.Units)
	credit := r.credit(t.at)
	if room <= credit && len(s.queues[h.ID]) == 0 {
		if !take {
			return Short{}, passed
		}
		if slot, ok := r.spend(t.at, h.Units); ok {
			r.own.add(t.use, h.Units)
			h.slot, h.by, h.inc, h.use, h.via, h.taken = slot, r.source, r.sourceInc, t.use, viaPool, true
			h.Left, h.Reset = r.figures(t.at, h.Limit)
			l.askAhead(s, o, r, t)
			return Short{}, passed
		}
	}
	free := int64(0)
	if mine := o.shares.mine(h.Limit); mine > 0 {
		free = max(0, mine-r.share.sum(t.use))
	}
	if room <= free {
		if take {
			r.takeShare(h, t)
			h.Left, h.Reset = r.figures(t.at, h.Limit)
			h.Reset = max(h.Reset, useSlots*useTime)
			l.askAhead(s, o, r, t)
		}
		return Short{}, passed
	}
	if r.noUntil.after(t.at) > 0 && room >= int64(r.noUnits) {
		return Short{Left: free + credit, RetryAfter: max(time.Millisecond, r.passes.after(t.at))}, refused
	}
	if l.givenUp(r, t, late) {
		l.enqueue(s, r) // the owner may be back
		alone, gone := int64(0), l.line(r.owner).lost.Load()
		if gone {
			// Only then: where the nodes reach each other and cannot agree for a
			// moment, somebody may well be granting.
			alone = max(0, o.degraded(h.ID, h.Limit, h.Home)-r.own.sum(t.use))
		}
		if room > alone {
			return Short{Left: alone, RetryAfter: time.Second, Unsure: !gone}, refused
		}
		if take {
			r.own.add(t.use, h.Units)
			r.debt += h.Units // whoever grants next must know
			h.use, h.via, h.taken = t.use, viaLone, true
			h.Left, h.Reset = alone-h.Units, useSlots*useTime
			l.stats.degraded.Add(1)
		}
		return Short{}, passed
	}
	return Short{Left: free + credit, RetryAfter: time.Millisecond}, wanting
}

// givenUp tells whether no word of an owner is to be waited for any more. One that
// is there and slow is waited for longer: to refuse in its name would be wrong
// where it has plenty, to admit without it where it has not.
func (l *Limiter) givenUp(r *record, t instant, late patience) bool {
	gone := l.line(r.owner).lost.Load()
	r.lost = r.lost && gone && r.lostUntil.after(t.at) > 0
	if r.lost || late == early || late == waited && !gone {
		return r.lost
	}
	r.lost, r.lostUntil = gone, t.at.plus(time.Second)
	l.stats.lost.Add(1)
	return true
}

func (r *record) takeShare(h *Hold, t instant) {
	r.share.add(t.use, h.Units)
	r.own.add(t.use, h.Units)
	h.use, h.via, h.taken = t.use, viaShare, true
}

// figures is what a client is told of a limit that another node owns.
func (r *record) figures(now stamp, limit int64) (left int64, reset time.Duration) {
	if !r.told {
		return max(0, limit-r.own.sum(r.own.last)), slots * slotTime
	}
	return min(limit, int64(r.left)+r.credit(now)), max(0, r.reset.after(now))
}

// askAhead asks before the credit is used up, for limits that are warm: who
// comes once a minute would only get credit that ends unused.
func (l *Limiter) askAhead(s *stripe, o *outlook, r *record, t instant) {
	if r.flight != 0 || r.queued || r.noUntil.after(t.at) > 0 {
		return
	}
	trip := l.line(r.owner).trip()
	want := r.expected(t.at, ahead+2*trip)
	if want <= 1 {
		// One at a time, but often enough that the next comes within the life of
		// a credit.
		if again := r.told && t.at.after(r.sent) <= creditLife+trip; !again && (trip < far || !r.warm) {
			return
		}
		want = 1
	}
	if have := r.credit(t.at); have >= (want+1)/2 {
		return
	}
	l.enqueue(s, r)
}

// resolve finds who grants of a limit.
func (l *Limiter) resolve(r *record, o *outlook, home string) {
	n := l.homeNumber(home)
	if r.epoch == o.epoch && r.home == n {
		return
	}
	r.epoch, r.home = o.epoch, n
	r.owner, r.backup = o.me, o.me
	owner, backup := o.owner(r.id, home)
	if owner >= 0 {
		r.owner = o.nodes[owner].at
	}
	if r.backup = r.owner; backup >= 0 {
		r.backup = o.nodes[backup].at
	}
}
