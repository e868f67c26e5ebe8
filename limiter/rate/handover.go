package rate

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// serveGather tells a node that claims limits what this one knows of them, and
// from then on grants of them no more.
func (l *Limiter) serveGather(from string, d *decoder) ([]byte, error) {
	claims, err := decodeGather(d)
	if err != nil {
		return nil, err
	}
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	taker := l.number(from)
	known := make([][]knowledge, len(claims))
	for i, c := range claims {
		known[i] = l.concede(o, c, taker, t)
	}
	return encodeKnown(known), nil
}

func (l *Limiter) concede(o *outlook, c claim, taker uint16, t instant) (known []knowledge) {
	s := l.of(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.claims[c.id]; busy {
		if o.self >= 0 && mix(c.id, o.nodes[o.self].hash) > mix(c.id, l.hash(l.line(taker).node)) {
			known = append(known, knowledge{role: claiming})
		} else {
			s.claims[c.id] = taker
		}
	}
	l.heard(s, c)
	if r := s.record(c.id); r != nil {
		if k, ok := l.tellRecord(r, o, t); ok {
			known = append(known, k)
		}
		// What another is granting at this moment the taker does not hear of.
		if r.flight != 0 {
			r.land()
			for _, x := range s.queues[c.id] {
				x.asked = false
			}
			s.enliven(r)
		}
	}
	ring, d := s.dutyOf(c.id)
	if ring != nil {
		known = append(known, l.tell(s, o, ring, d, t))
		if d.role == granting || d.role == handed {
			d.role, d.to, d.epoch = moved, taker, o.epoch
		}
		return known
	}
	if owner, _ := o.owner(c.id, c.home); owner >= 0 && owner == o.self {
		// By this node's outlook it could begin to grant itself.
		_, d = s.makeDuty(c.id, t.slot)
		d.role, d.to, d.epoch, d.seen, d.source, d.kind, d.home = moved, taker, o.epoch, t.at, o.me, c.kind, l.homeNumber(c.home)
		d.moves = c.moves
	}
	return known
}

// pushed is one ring on its way to another node.
type pushed struct {
	claim
	known knowledge
}

// pushItems bounds one message of rings.
const pushItems = 512

// handOver gives each ring to the node that owns it now, and says so when all
// that a node owns has gone there. It is called when the outlook has changed.
func (l *Limiter) handOver(ctx context.Context) {
	o := l.outlook(l.elapsed())
	if o.self < 0 {
		return
	}
	// What was claimed by an earlier outlook goes too, or this node's word that
	// all has gone would be wrong.
	for l.claims.before(o.epoch) && ctx.Err() == nil {
		wait(ctx, 10*time.Millisecond)
	}
	to := map[uint16][]pushed{}
	for i := range l.stripe {
		l.pick(&l.stripe[i], o, to)
	}
	var all sync.WaitGroup
	for i := range o.nodes {
		n := &o.nodes[i]
		if i == o.self || !n.alive {
			continue
		}
		all.Go(func() { l.pushTo(ctx, o, n, to[n.at]) })
	}
	all.Wait()
}

// pick takes the rings out of a stripe that other nodes own.
func (l *Limiter) pick(s *stripe, o *outlook, to map[uint16][]pushed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := instantAt(l.elapsed())
	for i := range s.rings {
		ring, d := &s.rings[i], &s.duties[i]
		owner, _ := o.owner(ring.id, l.homeName(d.home))
		if owner < 0 {
			continue
		}
		if owner == o.self {
			if d.role == granting {
				s.markAll(ring, d) // the stand-in may be another now
			}
			continue
		}
		n := &o.nodes[owner]
		switch {
		case !n.seen: // it is stood in for
			continue
		case d.role == granting || d.role == handed:
		case d.role == copied && (d.from != n.at || d.fromInc != n.inc):
		default:
			continue
		}
		to[n.at] = append(to[n.at], pushed{claim{ring.id, d.kind, l.homeName(d.home), d.moves}, l.tell(s, o, ring, d, t)})
		if d.role == granting || d.role == handed {
			d.role, d.to, d.epoch = leaving, n.at, o.epoch
		} else {
			d.from, d.fromInc, d.seq = n.at, n.inc, 0 // once is enough
		}
		l.stats.handed.Add(1)
	}
}

func (l *Limiter) pushTo(ctx context.Context, o *outlook, n *node, rings []pushed) {
	gone := rings
	defer l.gone(n, gone)
	for len(rings) > pushItems {
		if l.push(ctx, o, n, rings[:pushItems], false) != nil {
			return
		}
		rings = rings[pushItems:]
	}
	_ = l.push(ctx, o, n, rings, true) // without it the new owner asks for each
}

// gone notes that rings have arrived, or that nobody will know whether they did.
func (l *Limiter) gone(n *node, rings []pushed) {
	for i := range rings {
		s := l.of(rings[i].id)
		s.mu.Lock()
		if _, d := s.dutyOf(rings[i].id); d != nil && d.role == leaving && d.to == n.at {
			d.role = moved
		}
		s.mu.Unlock()
	}
}

func (l *Limiter) push(ctx context.Context, o *outlook, n *node, rings []pushed, last bool) error {
	payload := encodePush(last, o.digest, o.nodes[o.self].inc, rings)
	var err error
	for range 2 {
		if _, err = l.call(ctx, l.line(n.at), payload, 2*askWithin); err == nil {
			return nil
		}
	}
	return err
}

func encodePush(last bool, digest uint64, inc uint32, rings []pushed) []byte {
	var e encoder
	if last {
		e.byte(1)
	} else {
		e.byte(0)
	}
	e.id(digest)
	e.uint(uint64(inc))
	e.int(int64(len(rings)))
	for i := range rings {
		e.claim(&rings[i].claim)
		e.knowledge(&rings[i].known)
	}
	e.moves(len(rings), func(i int) uint32 { return rings[i].moves })
	return e.finish(opPush)
}

func (l *Limiter) servePush(ctx context.Context, from string, d *decoder) ([]byte, error) {
	last := d.byte() == 1
	digest, inc := d.id(), d.uint32()
	rings := make([]pushed, d.count(maxItems, 16))
	for i := range rings {
		rings[i] = pushed{d.claim(), d.knowledge()}
	}
	d.moves(len(rings), func(i int, v uint32) { rings[i].moves = v })
	if d.err != nil {
		return nil, fmt.Errorf("read rings handed over: %w", d.err)
	}
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	on := map[uint16][]pushed{}
	for i := range rings {
		if owner := l.accept(from, o, &rings[i], t); owner >= 0 && owner != o.self {
			l.passOn(o, owner, from, &rings[i], on)
		}
	}
	// To whoever owns them by this node's outlook, before the sender hears that
	// all has gone: the owner takes its word for that.
	for at, list := range on {
		if i := o.find(at); i >= 0 {
			_ = l.push(ctx, o, &o.nodes[i], list, false)
			l.gone(&o.nodes[i], list)
		}
	}
	if last {
		l.finals.note(l.number(from), final{digest, inc, o.epoch})
	}
	return pong(), nil
}

// passOn takes a ring that has come for another node out again.
func (l *Limiter) passOn(o *outlook, owner int, from string, p *pushed, on map[uint16][]pushed) {
	n := &o.nodes[owner]
	if n.id == from || !n.seen {
		// Two that disagree would hand it to and fro: it waits for a tick.
		l.astray.Store(true)
		return
	}
	s := l.of(p.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, d := s.dutyOf(p.id)
	if ring == nil || d.role != handed {
		return
	}
	on[n.at] = append(on[n.at], pushed{p.claim, l.tell(s, o, ring, d, instantAt(l.elapsed()))})
	d.role, d.to, d.epoch = leaving, n.at, o.epoch
}

// accept takes over one ring and says who owns it.
func (l *Limiter) accept(from string, o *outlook, p *pushed, t instant) (owner int) {
	s := l.of(p.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := []knowledge{p.known}
	l.heard(s, p.claim)
	home := l.homeNumber(p.home)
	l.current(s, p.id, &home, &p.moves)
	p.home = l.homeName(home)
	ring, d := s.dutyOf(p.id)
	if d != nil && (d.kind == Parallel) != (p.kind == Parallel) {
		return -1
	}
	to := granting
	if d == nil || d.role != granting {
		to = handed
		if p.known.role == copied {
			to = copied
		}
		if d != nil && d.role == handed {
			to = handed
		}
		if d != nil && d.away() && d.epoch == o.epoch && d.to != l.number(from) {
			to = moved // to one who has asked since, and has been told of this ring
		}
	}
	if ring != nil {
		known = append(known, l.tell(s, o, ring, d, t))
		if r := s.record(p.id); r != nil {
			if k, ok := l.tellRecord(r, o, t); ok && p.kind != Parallel {
				known = append(known, k)
			}
		}
	}
	epoch, taker := o.epoch, uint16(0)
	if d != nil {
		taker = d.to
	}
	if d != nil && to == granting {
		epoch = d.epoch
	}
	ring, d = s.makeDuty(p.id, t.slot)
	*d = duty{role: to, to: taker, epoch: epoch, seen: t.at, kind: p.kind, home: home, moves: p.moves,
		live: d.live, active: d.active, phase: d.phase}
	l.restore(s, o, ring, d, known, t)
	owner, _ = o.owner(p.id, p.home)
	return owner
}
