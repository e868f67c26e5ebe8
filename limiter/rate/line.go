package rate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lineCalls bounds the asks under way to one node; behind them, asks gather
	// into larger batches.
	lineCalls = 32
	lineItems = 1024
	// relayWithin is how long a stand-in tries to reach the owner itself.
	relayWithin = 350 * time.Millisecond
	// sureFor is how long a confirmed loss needs no further confirmation.
	sureFor = 3 * time.Second
)

// line is what waits to be asked of one node.
type line struct {
	node    string
	at      uint16
	lost    atomic.Bool  // it does not answer this node
	sure    atomic.Int64 // when another node has last confirmed that
	rtt     atomic.Int64 // smoothed, of asks
	last    atomic.Int64 // when it was last heard
	vouched atomic.Int64 // when it was asked what it last answered

	mu    sync.Mutex // guards what follows
	queue []uint64
	since time.Duration
	calls int
}

// trip is how long an answer takes.
func (ln *line) trip() time.Duration { return time.Duration(ln.rtt.Load()) }

func (ln *line) took(d time.Duration) {
	if old := ln.rtt.Load(); old > 0 {
		d = (time.Duration(old)*7 + d) / 8
	}
	ln.rtt.Store(int64(max(1, d)))
}

// enqueue has a limit asked for soon. The stripe is locked.
func (l *Limiter) enqueue(s *stripe, r *record) {
	if r.flight != 0 || r.queued {
		return
	}
	r.queued = true
	ln := l.line(r.owner)
	ln.mu.Lock()
	if len(ln.queue) == 0 {
		ln.since = l.elapsed()
	}
	ln.queue = append(ln.queue, r.id)
	ln.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// dispatch starts the asks that are due and says when the next will be.
func (l *Limiter) dispatch(ctx context.Context) time.Duration {
	next := time.Hour
	for _, ln := range *l.lines.Load() {
		for {
			ids, wait := ln.due(l.elapsed())
			if wait > 0 {
				next = min(next, wait)
			}
			if ids == nil {
				break
			}
			l.work.start(func() {
				l.flush(ctx, ln, ids)
				ln.mu.Lock()
				ln.calls--
				more := len(ln.queue) > 0
				ln.mu.Unlock()
				if more {
					select {
					case l.kick <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	return next
}

// due takes what is to be asked now.
func (ln *line) due(now time.Duration) (ids []uint64, wait time.Duration) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if len(ln.queue) == 0 || ln.calls >= lineCalls {
		return nil, 0
	}
	if ln.calls > 0 && len(ln.queue) < lineItems {
		if wait := ln.since + coalesce - now; wait > 0 {
			return nil, wait
		}
	}
	n := min(len(ln.queue), lineItems)
	ids = ln.queue[:n:n]
	ln.queue = append([]uint64(nil), ln.queue[n:]...)
	ln.since = now
	ln.calls++
	return ids, 0
}

// flush asks a node for what its limits want.
func (l *Limiter) flush(ctx context.Context, ln *line, ids []uint64) {
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	var items []askItem
	for _, id := range ids {
		s := l.of(id)
		s.mu.Lock()
		if r := s.record(id); r != nil && r.queued {
			r.queued = false
			l.current(s, id, &r.home, &r.moves)
			home := l.homeName(r.home)
			if l.resolve(r, o, home); r.owner != ln.at {
				l.enqueue(s, r)
			} else if it, ok := l.item(s, o, r, home, t); ok {
				items = append(items, it)
			}
		}
		s.mu.Unlock()
	}
	if len(items) == 0 {
		return
	}
	l.stats.asks.Add(1)
	l.stats.items.Add(int64(len(items)))
	if ln.at == o.me {
		l.own(ctx, o, items, t)
		return
	}
	l.send(ctx, o, ln, items, t)
}

// item is what a record asks for, if it has anything to ask or to give back.
func (l *Limiter) item(s *stripe, o *outlook, r *record, home string, t instant) (askItem, bool) {
	if r.flight != 0 {
		return askItem{}, false
	}
	it := askItem{id: r.id, kind: r.kind, home: home, limit: r.limit, moves: r.moves, seq: l.seq.Add(1)}
	it.need, it.least = s.need(r.id, true)
	it.want = it.need
	if r.kind == Parallel {
		hold, due := l.renewal(r, o.shares.mine(r.limit), t)
		if !due && it.need == 0 {
			return askItem{}, false
		}
		it.hold = hold
		// What it gives up it must not use while the answer is under way.
		r.pool[0].units = uint32(min(hold, full))
		r.peak = uint32(min(max(0, r.held), full))
		if it.need > 0 {
			it.want += r.expected(t.at, ahead)
		}
	} else {
		l.expire(s, r, t.at)
		for i := range r.pool { // rests of which nobody here can be served
			if p := &r.pool[i]; int64(p.units) < it.least {
				s.sendBack(r, p.slot, int64(p.units))
				p.units = 0
			}
		}
		it.want += max(0, r.expected(t.at, ahead+2*l.line(r.owner).trip())-r.credit(t.at))
		if l.fading(r, t.at) {
			it.want = max(it.want, it.need+1)
		}
		if r.noUntil.after(t.at) > 0 {
			it.want = it.need
		}
		it.returns, it.source, it.inc = s.backs[r.id], l.line(r.source).node, r.sourceInc
		delete(s.backs, r.id)
		it.debt, r.owed, r.debt = r.debt, r.debt, 0
		if it.want == 0 && len(it.returns) == 0 && it.debt == 0 {
			return askItem{}, false
		}
	}
	r.flight, r.sent = it.seq, t.at
	return it, true
}

const (
	// far is from how long a trip on a miss is worth avoiding for keys of which
	// requests come seconds apart, and warm is how many seconds.
	far  = 10 * time.Millisecond
	warm = 15 * time.Second
)

// fading tells whether a limit that is in use would soon have no credit here,
// with an owner so far away that the next request would feel it.
func (l *Limiter) fading(r *record, now stamp) bool {
	trip := l.line(r.owner).trip()
	return trip >= far && (r.told || r.warm) && now.after(r.used) < warm && r.credit(now.plus(trip+2*tickEvery)) == 0
}

// expire gives back the credit whose life has ended.
func (l *Limiter) expire(s *stripe, r *record, now stamp) {
	for i := range r.pool {
		if p := &r.pool[i]; p.units > 0 && p.ends.after(now) <= 0 {
			s.sendBack(r, p.slot, int64(p.units))
			p.units = 0
		}
	}
}

// yieldCredit gives back credit for which there is no demand any more, if it is
// more than a hundredth of the limit: others may be short of it, and what a node
// holds when it dies is lost to all for a minute.
func (l *Limiter) yieldCredit(s *stripe, r *record, now stamp) {
	trip := l.line(r.owner).trip()
	if trip >= far && now.after(r.used) < time.Second {
		return // it would be missed: the next call may be here before more is
	}
	idle := r.credit(now) - max(1, 2*r.expected(now, ahead+2*trip))
	if idle <= 0 || idle < r.limit/100 {
		return
	}
	for i := range r.pool {
		if p := &r.pool[i]; p.ends.after(now) > 0 {
			n := min(int64(p.units), idle)
			s.sendBack(r, p.slot, n)
			p.units -= uint32(n)
			idle -= n
		}
	}
}

// send asks the owner, or whoever stands in for it.
func (l *Limiter) send(ctx context.Context, o *outlook, ln *line, items []askItem, t instant) {
	if !ln.lost.Load() {
		m := askMessage{mode: direct, digest: o.digest, items: items}
		reply, err := l.ask(ctx, ln, &m, askWithin)
		if err == nil {
			l.take(o, items, reply, t)
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.lose(ln)
	}
	l.turn(ctx, o, ln, items, t)
}

// turn asks the stand-ins of a node that does not answer.
func (l *Limiter) turn(ctx context.Context, o *outlook, ln *line, items []askItem, t instant) {
	by := map[int][]askItem{}
	for _, it := range items {
		_, backup := o.owner(it.id, it.home)
		by[backup] = append(by[backup], it)
	}
	var all sync.WaitGroup
	for backup, items := range by {
		all.Go(func() {
			if backup < 0 || o.nodes[backup].at == ln.at {
				l.give(items)
				return
			}
			n := &o.nodes[backup]
			m := askMessage{mode: standIn, owner: ln.node, digest: o.digest, items: items}
			if backup == o.self {
				m.origin, m.inc = n.id, n.inc
				l.take(o, items, l.stand(ctx, o, ln, &m), t)
				return
			}
			reply, err := l.ask(ctx, l.line(n.at), &m, 2*askWithin)
			if err != nil {
				l.give(items)
				return
			}
			l.take(o, items, reply, t)
		})
	}
	all.Wait()
}

// ask is one call and its answer.
func (l *Limiter) ask(ctx context.Context, ln *line, m *askMessage, within time.Duration) (*askReply, error) {
	// A new start counts its asks from one again: the owner must not take them for
	// old ones.
	if o := l.seen.Load(); m.origin == "" && o.self >= 0 {
		m.inc = o.nodes[o.self].inc
	}
	raw, err := l.call(ctx, ln, m.encode(), within)
	if err != nil {
		return nil, err
	}
	return decodeReply(raw, len(m.items))
}

func (l *Limiter) call(ctx context.Context, ln *line, payload []byte, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	sent := l.elapsed()
	raw, err := l.peers.Ask(ctx, ln.node, payload)
	if err != nil {
		return nil, err
	}
	now := l.elapsed()
	ln.took(now - sent)
	ln.vouch(sent)
	l.hear(ln, now)
	return raw, nil
}

func (ln *line) vouch(sent time.Duration) {
	for old := ln.vouched.Load(); int64(sent) > old && !ln.vouched.CompareAndSwap(old, int64(sent)); {
		old = ln.vouched.Load()
	}
}

// hear notes that a node is there.
func (l *Limiter) hear(ln *line, now time.Duration) {
	ln.last.Store(int64(now))
	if ln.lost.CompareAndSwap(true, false) {
		ln.sure.Store(0)
		l.found.Add(1)
		l.signal() // rings that were held for it go back
	}
}

// lose notes that a node does not answer.
func (l *Limiter) lose(ln *line) {
	if ln.lost.CompareAndSwap(false, true) {
		l.found.Add(1)
	}
}

// take brings the answers of an ask to their records.
func (l *Limiter) take(o *outlook, items []askItem, reply *askReply, sent instant) {
	if reply == nil {
		l.give(items)
		return
	}
	t := instantAt(l.elapsed())
	for i := range items {
		it, a := &items[i], &reply.answers[i]
		s := l.of(it.id)
		s.mu.Lock()
		if r := s.record(it.id); r != nil && r.flight == it.seq {
			switch {
			case a.flags&flagNotOwner != 0:
				l.elsewhere(s, o, r, it, a)
			case a.flags&flagUnsure != 0:
				s.unanswered(r)
			default:
				r.flight = 0
				l.receive(s, r, it, a, sent, t)
			}
		}
		s.mu.Unlock()
	}
}

// receive takes what an owner has granted.
func (l *Limiter) receive(s *stripe, r *record, it *askItem, a *answer, sent, t instant) {
	r.lost, r.bounced, r.told, r.owed = false, 0, true, 0
	r.left = uint32(min(max(0, a.left), full))
	r.reset = t.at.plus(min(a.reset, memory))
	l.stats.granted.Add(int64(a.granted))
	if a.granted > 0 && r.kind != Parallel {
		r.eager = eagerness
	}
	if _, d := s.dutyOf(r.id); r.kind == Parallel && d != nil && d.role == granting {
		s.retry(r.id) // by now this node grants itself
		return
	}
	if r.kind == Parallel {
		r.pool[0] = credit{units: a.granted, ends: sent.at.plus(leaseLife)}
	} else {
		if a.source != "" {
			s.from(r, l.number(a.source), a.inc)
		}
		if a.granted > 0 {
			ends := sent.at.plus(creditLife)
			if out := r.store(t.at, a.slot, int64(a.granted), ends); out.units > 0 {
				s.sendBack(r, out.slot, int64(out.units))
			}
		}
	}
	s.enliven(r)
	l.serve(s, r, t)
	if a.flags&flagExhausted != 0 {
		l.stats.exhausted.Add(1)
		retry := max(time.Millisecond, a.retry)
		r.noUntil = t.at.plus(max(time.Millisecond, min(retry, refusalLife>>r.eager)))
		r.eager -= min(r.eager, 1)
		r.noUnits = uint32(min(max(1, it.least), full))
		r.passes = t.at.plus(min(retry, memory))
		s.deny(r, a.left, retry)
	}
	if len(s.queues[r.id]) > 0 || r.debt > 0 || len(s.backs[r.id]) > 0 {
		l.enqueue(s, r)
	}
}

// elsewhere follows an answer that another node grants.
func (l *Limiter) elsewhere(s *stripe, o *outlook, r *record, it *askItem, a *answer) {
	s.unanswered(r)
	if _, d := s.dutyOf(r.id); d != nil && d.role == moved {
		d.role, d.epoch = copied, noSlot // who was to have it does not: claim it anew
	}
	if r.bounced++; a.owner == "" || a.owner == o.src.Self || r.bounced > 3 {
		r.bounced = 0
		r.epoch = noSlot // the views will agree soon; the ticking asks again
		return
	}
	r.owner = l.number(a.owner)
	l.enqueue(s, r)
}

// unanswered takes back what an ask carried. Returned units are not: they may
// have arrived, and counting them twice would admit too much.
func (s *stripe) unanswered(r *record) {
	r.land()
	for _, x := range s.queues[r.id] {
		x.asked = false
	}
	s.enliven(r)
}

// land ends an ask of which nobody knows how far it has come. What it told is
// still to be told: twice refuses somebody, never breaks the limit.
func (r *record) land() {
	r.flight = 0
	r.debt += r.owed
	r.owed = 0
}

// give gives up asks for now.
func (l *Limiter) give(items []askItem) {
	for i := range items {
		it := &items[i]
		s := l.of(it.id)
		s.mu.Lock()
		if r := s.record(it.id); r != nil && r.flight == it.seq {
			s.unanswered(r)
		}
		s.mu.Unlock()
	}
}
