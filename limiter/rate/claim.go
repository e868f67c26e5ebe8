package rate

import (
	"context"
	"sync"
	"time"
)

// claim is a limit that this node wants to grant of.
type claim struct {
	id   uint64
	kind Kind
	home string
	// moves is how often home has been another before.
	moves uint32
}

// assume makes this node the one that grants of a limit that is its own by the
// outlook, if it is certain that no other grants of it or has lately.
func (l *Limiter) assume(s *stripe, o *outlook, c claim, t instant) bool {
	ring, d := s.dutyOf(c.id)
	if ring != nil && (d.role == granting || d.role == handed) && !o.doubts(d.epoch, t.elapsed) {
		// Whoever owned it meanwhile would have had to take it from here.
		d.role, d.epoch, d.seen = granting, o.epoch, t.at
		s.markAll(ring, d)
		return true
	}
	if ring != nil && d.away() && d.epoch == o.epoch {
		return false
	}
	if ring != nil && d.away() {
		return false // it can be anywhere by now
	}
	// Who knows of somebody who has had it must ask even if by all this node has
	// seen the limit was its own throughout: others have seen more. So must who
	// owns it because its home is another now: nothing else tells since when.
	if c.moves > 0 || !l.certain(o, c.id, c.home, t.elapsed, ring != nil) {
		return false
	}
	l.establish(s, o, c, nil, t)
	return true
}

// certain tells whether what other nodes may have granted of a limit is known
// here or has left every span.
func (l *Limiter) certain(o *outlook, id uint64, home string, now time.Duration, touched bool) bool {
	alone := true
	for i := range o.nodes {
		alone = alone && (i == o.self || !o.nodes[i].alive)
	}
	if alone {
		return true
	}
	// What this node holds beside a ring is a copy, or what it had before it gave
	// the ring away: somebody else has the ring, or has had it since.
	if touched || o.doubt >= 0 && now < o.doubt+memory {
		return false
	}
	mine := now >= memory
	for _, p := range o.past {
		if now >= p.until+memory {
			continue
		}
		owner, _ := p.owner(id, home)
		if owner >= 0 && owner == p.self {
			continue
		}
		mine = false
		if owner < 0 {
			continue
		}
		if i := o.byID(p.nodes[owner].id); i < 0 || !o.nodes[i].alive || o.nodes[i].inc != p.nodes[owner].inc {
			return false // it can hand over nothing any more: ask everybody
		}
	}
	if mine {
		return true
	}
	if now < memory && (o.self < 0 || !o.nodes[o.self].first) {
		return false // what an earlier start of this node has granted
	}
	return l.finals.all(o)
}

// finals is who has handed over all that this node owns by an outlook.
type finals struct {
	mu sync.Mutex
	by map[uint16]final
}

// final is one node's word. It holds for the epoch of this node in which it
// came: nodes may have changed their minds and back.
type final struct {
	digest uint64
	inc    uint32
	epoch  uint32
}

func (f *finals) all(o *outlook) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range o.nodes {
		n := &o.nodes[i]
		if i == o.self || !n.alive {
			continue
		}
		if f.by[n.at] != (final{o.digest, n.inc, o.epoch}) {
			return false
		}
	}
	return true
}

func (f *finals) note(at uint16, x final) {
	f.mu.Lock()
	f.by[at] = x
	f.mu.Unlock()
}

// own claims the limits of this node's own asks and has those who wait try anew.
func (l *Limiter) own(ctx context.Context, o *outlook, items []askItem, t instant) {
	var claims []claim
	var idle []uint64
	var mine []askItem
	away := map[uint16][]askItem{}
	for _, it := range items {
		s := l.of(it.id)
		s.mu.Lock()
		_, d := s.dutyOf(it.id)
		if d != nil && d.away() && d.epoch == o.epoch {
			// Also if this node has not heard yet that the other is there.
			away[d.to] = append(away[d.to], it)
		} else if d != nil && it.kind == Parallel && d.role == granting && d.epoch == o.epoch {
			idle = append(idle, it.id)
		} else if d != nil && d.role == granting && d.epoch == o.epoch {
			mine = append(mine, it)
		} else {
			claims = append(claims, it.claim())
		}
		s.mu.Unlock()
	}
	for to, items := range away { // others believe that it is theirs
		m := askMessage{mode: direct, digest: o.digest, items: items}
		if reply, err := l.ask(ctx, l.line(to), &m, askWithin); err == nil {
			l.take(o, items, reply, t)
			continue
		}
		for _, it := range items {
			s := l.of(it.id)
			s.mu.Lock()
			if _, d := s.dutyOf(it.id); d != nil && d.role == moved {
				d.role, d.epoch = copied, noSlot
			}
			s.mu.Unlock()
		}
		l.give(items)
	}
	if len(mine) > 0 && o.self >= 0 { // what was left over from when another granted
		m := askMessage{mode: direct, digest: o.digest, origin: o.src.Self, inc: o.nodes[o.self].inc, items: mine}
		l.take(o, mine, l.grantAll(ctx, o, &m, nil), t)
	}
	l.gather(ctx, o, claims, nil)
	l.recall(ctx, idle, o.me, askWithin)
	for i := range items {
		it := &items[i]
		s := l.of(it.id)
		s.mu.Lock()
		r := s.record(it.id)
		if r == nil || r.flight != it.seq {
			s.mu.Unlock()
			continue
		}
		s.unanswered(r)
		r.lost = false
		if ring, d := s.dutyOf(it.id); ring != nil && d.role == granting && d.epoch == o.epoch && it.kind != Parallel {
			ring.advance(d.slot(l.elapsed()))
			ring.add(r.debt)
			s.markAll(ring, d)
			r.debt = 0
		}
		if _, d := s.dutyOf(it.id); d != nil && d.role == granting && d.epoch == o.epoch {
			if it.kind == Parallel { // who is short again now is short
				now := stampAt(l.elapsed())
				r.noUntil, r.noUnits = now.plus(refusalLife), uint32(min(max(1, it.least), full))
			}
			s.retry(it.id)
		}
		s.mu.Unlock()
	}
}

// gather learns what the others know of limits and then grants of them. With a
// lost node, this one takes its place.
func (l *Limiter) gather(ctx context.Context, o *outlook, claims []claim, lost *line) {
	if len(claims) == 0 {
		return
	}
	var open []claim
	for _, c := range claims {
		s := l.of(c.id)
		s.mu.Lock()
		if _, busy := s.claims[c.id]; !busy {
			s.claims[c.id] = o.me
			open = append(open, c)
		}
		s.mu.Unlock()
	}
	done := l.claims.begin(o.epoch)
	defer done()
	known, missing := make([][]knowledge, len(open)), false
	for round := 0; len(open) > 0; round++ {
		l.stats.gathers.Add(1)
		// A ring on its way from one node to another is with neither: once more.
		var underway bool
		if underway, missing = l.collect(ctx, o, open, lost, known); !underway || round == 5 || ctx.Err() != nil {
			break
		}
		wait(ctx, 50*time.Millisecond)
	}
	if missing = missing && o.strict && len(open) > 0; missing {
		wait(context.WithoutCancel(ctx), reignFor) // whoever it is may grant for so long
	}
	t := instantAt(l.elapsed())
	now := l.outlook(t.elapsed)
	for i, c := range open {
		s := l.of(c.id)
		s.mu.Lock()
		home := l.homeNumber(c.home)
		l.current(s, c.id, &home, &c.moves)
		c.home = l.homeName(home)
		if winner := s.claims[c.id]; winner == o.me {
			l.establish(s, now, c, known[i], t)
			if ring, d := s.dutyOf(c.id); missing && c.kind != Parallel {
				s.bar(ring, d)
			}
			l.settleClaim(s, now, c, lost)
		} else {
			_, d := s.makeDuty(c.id, t.slot)
			d.role, d.to, d.epoch, d.seen, d.home, d.kind = moved, winner, now.epoch, t.at, home, c.kind
			d.moves = c.moves
		}
		delete(s.claims, c.id)
		s.mu.Unlock()
	}
	if len(open) < len(claims) { // another goroutine is at it
		wait(ctx, 20*time.Millisecond)
	}
}

// settleClaim looks whether what was claimed is still this node's to grant of:
// the members may have changed while it asked. If it is not, it is handed on.
func (l *Limiter) settleClaim(s *stripe, o *outlook, c claim, lost *line) {
	owner, _ := o.owner(c.id, c.home)
	if owner < 0 || owner == o.self || lost != nil && o.nodes[owner].at == lost.at {
		return
	}
	_, d := s.dutyOf(c.id)
	d.role, d.epoch = handed, noSlot
	l.astray.Store(true)
}

// claimsOpen counts the claims under way by the epoch in which they began.
type claimsOpen struct {
	mu sync.Mutex
	by map[uint32]int
}

func (c *claimsOpen) begin(epoch uint32) (done func()) {
	c.mu.Lock()
	c.by[epoch]++
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		if c.by[epoch]--; c.by[epoch] == 0 {
			delete(c.by, epoch)
		}
		c.mu.Unlock()
	}
}

func (c *claimsOpen) before(epoch uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.by {
		if e < epoch {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// collect asks all other nodes at once. It reports whether some ring is on its
// way between two of them, and whether some node has not answered.
func (l *Limiter) collect(ctx context.Context, o *outlook, claims []claim, lost *line, known [][]knowledge) (underway, missing bool) {
	payload := encodeGather(claims)
	var mu sync.Mutex
	var all sync.WaitGroup
	type target struct {
		node *node
		line *line
	}
	var targets []target
	for i := range o.nodes {
		n := &o.nodes[i]
		ln := l.line(n.at)
		if i == o.self {
			continue
		}
		if !n.alive || lost != nil && n.at == lost.at || ln.lost.Load() {
			missing = true
			continue
		}
		targets = append(targets, target{n, ln})
	}
	for at := range l.strangers(o, claims) {
		ln := l.line(at)
		targets = append(targets, target{&node{at: at, id: ln.node, hash: l.hash(ln.node)}, ln})
	}
	for _, x := range targets {
		n, ln := x.node, x.line
		all.Go(func() {
			raw, err := l.call(ctx, ln, payload, askWithin)
			if err != nil {
				l.lose(ln)
				mu.Lock()
				missing = true
				mu.Unlock()
				return
			}
			list, err := decodeKnown(raw, len(claims))
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for j, k := range list {
				for _, x := range k {
					if x.role == claiming { // two claim it: all agree on who yields
						l.yield(o, claims[j], n)
						continue
					}
					underway = underway || x.role == leaving
					known[j] = append(known[j], x)
				}
			}
		})
	}
	all.Wait()
	return underway, missing
}

// strangers are nodes that have taken one of the limits from here, or tell of it,
// although this node has not heard yet that they are members.
func (l *Limiter) strangers(o *outlook, claims []claim) map[uint16]bool {
	out := map[uint16]bool{}
	for _, c := range claims {
		s := l.of(c.id)
		s.mu.Lock()
		if _, d := s.dutyOf(c.id); d != nil {
			at := d.from
			if d.away() {
				at = d.to
			}
			if d.role != granting && d.role != handed && at != o.me && o.find(at) < 0 {
				out[at] = true
			}
		}
		s.mu.Unlock()
	}
	return out
}

// yield lets another node have a limit that both claim, if it is the one that
// all would choose of the two.
func (l *Limiter) yield(o *outlook, c claim, to *node) {
	if o.self >= 0 && mix(c.id, o.nodes[o.self].hash) > mix(c.id, to.hash) {
		return
	}
	s := l.of(c.id)
	s.mu.Lock()
	if _, still := s.claims[c.id]; still {
		s.claims[c.id] = to.at
	}
	s.mu.Unlock()
}

// establish makes this node the one that grants, with all that is known.
func (l *Limiter) establish(s *stripe, o *outlook, c claim, known []knowledge, t instant) {
	if ring, d := s.dutyOf(c.id); ring != nil {
		known = append(known, l.tell(s, o, ring, d, t))
	}
	if r := s.record(c.id); r != nil && c.kind != Parallel {
		if k, ok := l.tellRecord(r, o, t); ok {
			known = append(known, k)
		}
	}
	ring, d := s.makeDuty(c.id, t.slot)
	*d = duty{epoch: o.epoch, seen: t.at, home: l.homeNumber(c.home), moves: c.moves, kind: c.kind, role: granting,
		live: d.live, active: d.active, phase: d.phase}
	l.restore(s, o, ring, d, known, t)
	if r := s.record(c.id); r != nil && r.debt+r.owed > 0 && c.kind != Parallel {
		// What this node used without an owner counts from its first grant on.
		ring.advance(d.slot(t.elapsed))
		ring.add(r.debt + r.owed)
		s.markAll(ring, d)
		r.debt, r.owed = 0, 0
	}
}

// restore makes a ring anew of what is known of it.
func (l *Limiter) restore(s *stripe, o *outlook, ring *ring, d *duty, known []knowledge, t instant) {
	*ring = ring0(ring.id, t.slot)
	d.source, d.shift = o.me, 0
	if o.self >= 0 {
		d.inc = o.nodes[o.self].inc
	}
	if d.kind == Parallel {
		l.leases(s, ring, known, o.me, t)
		return
	}
	if base := merge(ring, d, known, t.elapsed); base != nil {
		d.source, d.inc = l.number(base.source), base.inc
	}
	s.markAll(ring, d)
}

func ring0(id uint64, now uint32) ring { return ring{id: id, last: now} }

// leases takes over who holds parallel slots. What a node says of itself goes
// before what others say of it.
func (l *Limiter) leases(s *stripe, ring *ring, known []knowledge, me uint16, t instant) {
	type held struct {
		lease
		itself bool
	}
	best := map[uint16]held{}
	for _, k := range known {
		for _, x := range k.leases {
			at := l.number(x.node)
			itself := k.role == record0
			if old, ok := best[at]; at == me || ok && (old.itself && !itself || old.itself == itself && old.units >= x.units) {
				continue
			}
			best[at] = held{x, itself}
		}
	}
	for at := range *l.lines.Load() {
		delete(s.entries, entryKey{ring.id, uint16(at)})
	}
	if r := s.record(ring.id); r != nil {
		r.pool[0] = credit{ends: t.at} // from now on it takes from the ring
	}
	for at, x := range best {
		if x.units == 0 || x.age >= leaseLife {
			continue
		}
		s.entries[entryKey{ring.id, at}] = entry{granted: x.units, at: t.at - stamp(x.age/time.Millisecond), inc: x.inc, seq: x.seq}
		ring.sum += int64(x.units)
	}
}

// markAll has the whole ring told to the stand-in.
func (s *stripe) markAll(ring *ring, d *duty) {
	for i, n := range ring.counts {
		if n > 0 {
			d.dirty |= 1 << i
		}
	}
	if d.dirty != 0 && !d.live {
		d.live = true
		s.dirty = append(s.dirty, ring.id)
	}
}
