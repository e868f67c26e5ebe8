package rate

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tickEvery is how often counts are told and unused credit is looked after.
	tickEvery = 100 * time.Millisecond
	// pingEvery is how often nodes of which nothing was heard are asked whether
	// they are there.
	pingEvery = time.Second
)

// stats count what happens between nodes.
type stats struct {
	asks, items, granted, exhausted, waited, lost, degraded atomic.Int64
	takeovers, relayed, gathers, handed, malformed, recalls atomic.Int64
}

// Stats is what has happened between this node and the others since its start.
type Stats struct {
	Asks      int64 // batches sent
	Items     int64 // limits in them
	Granted   int64 // units got
	Exhausted int64 // asks for which the owner had less than needed
	Waited    int64 // requests that had to wait for credit
	Lost      int64 // times that no owner was found in time
	Degraded  int64 // requests admitted without one
	Takeovers int64 // nodes this one has stood in for
	Relayed   int64 // asks brought to an owner on another's behalf
	Gathers   int64 // rounds of asking all for what they know
	Handed    int64 // limits handed to a new owner
	Malformed int64 // messages that could not be read
	Recalls   int64 // times that idle parallel slots were called back
}

// Stats reads the counters.
func (l *Limiter) Stats() Stats {
	s := &l.stats
	return Stats{
		Asks: s.asks.Load(), Items: s.items.Load(), Granted: s.granted.Load(), Exhausted: s.exhausted.Load(),
		Waited: s.waited.Load(), Lost: s.lost.Load(), Degraded: s.degraded.Load(), Takeovers: s.takeovers.Load(),
		Relayed: s.relayed.Load(), Gathers: s.gathers.Load(), Handed: s.handed.Load(), Malformed: s.malformed.Load(),
		Recalls: s.recalls.Load(),
	}
}

// work is the goroutines that Run has started.
type work struct{ all sync.WaitGroup }

func (w *work) start(f func()) { w.all.Go(f) }

// join makes the limiter one of several.
func (l *Limiter) join(cfg Config) {
	l.peers, l.strict = cfg.Peers, cfg.Strict
	l.kick, l.turned = make(chan struct{}, 1), make(chan struct{}, 1)
	l.numbers = map[string]uint16{}
	l.lines.Store(&[]*line{})
	l.homing.Store(&[]string{""})
	l.reigns.Store(&map[string]time.Duration{})
	l.finals.by, l.claims.by = map[uint16]final{}, map[uint32]int{}
	for i := range l.stripe {
		s := &l.stripe[i]
		s.known, s.entries = map[uint64]uint32{}, map[entryKey]entry{}
		s.queues, s.backs, s.claims = map[uint64][]*want{}, map[uint64][]slotUnits{}, map[uint64]uint16{}
	}
}

// homeNumber is a region's short name on this node.
func (l *Limiter) homeNumber(region string) uint16 {
	if region == "" {
		return 0
	}
	for {
		old := l.homing.Load()
		if i := slices.Index(*old, region); i >= 0 {
			return uint16(i)
		}
		if len(*old) >= maxNames {
			return 0
		}
		list := append(slices.Clone(*old), region)
		l.homing.CompareAndSwap(old, &list)
	}
}

func (l *Limiter) homeName(n uint16) string { return (*l.homing.Load())[n] }

// signal has the rings looked through for those that others own.
func (l *Limiter) signal() {
	select {
	case l.turned <- struct{}{}:
	default:
	}
}

func (l *Limiter) runTogether(ctx context.Context) error {
	defer l.work.all.Wait()
	l.ticked.Store(int64(max(1, l.elapsed())))
	defer l.ticked.Store(0)
	tick, sweep, ping := time.NewTicker(tickEvery), time.NewTicker(sweepEvery), time.NewTicker(pingEvery)
	defer tick.Stop()
	defer sweep.Stop()
	defer ping.Stop()
	vouch := time.NewTicker(reignEvery)
	defer vouch.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	l.work.start(func() { l.follow(ctx) })
	next := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.kick:
		case <-due.C:
		case <-tick.C:
			l.tick()
		case <-ping.C:
			l.pingAll(ctx)
		case <-vouch.C:
			l.vouchAll(ctx)
		case <-sweep.C:
			l.evictTogether(next, sweepStripes)
			next = (next + sweepStripes) % stripes
		}
		due.Reset(l.dispatch(ctx))
	}
}

// follow hands rings over whenever the outlook has changed.
func (l *Limiter) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.turned:
			l.handOver(ctx)
		}
	}
}

// tick looks after all that has something to do.
func (l *Limiter) tick() {
	elapsed := l.elapsed()
	o := l.outlook(elapsed) // before the mark is set: it sees how long this node was away
	l.ticked.Store(int64(max(1, elapsed)))
	if l.strict != nil && l.strict() != o.strict {
		l.found.Add(1)
	}
	l.renew(o, elapsed)
	o = l.outlook(elapsed)
	if l.astray.Swap(false) {
		l.signal()
	}
	t := instantAt(elapsed)
	out := map[uint16]*countsMessage{}
	for i := range l.stripe {
		s := &l.stripe[i]
		s.mu.Lock()
		if len(s.dirty) > 0 {
			l.tellCounts(s, o, t, out)
		}
		if len(s.live) > 0 {
			l.lookAfter(s, o, t)
		}
		s.mu.Unlock()
	}
	for at, m := range out {
		l.peers.Counts(l.line(at).node, m.finish(t))
	}
}

// lookAfter goes through the records of a stripe that hold something.
func (l *Limiter) lookAfter(s *stripe, o *outlook, t instant) {
	rest := s.live[:0]
	for _, id := range s.live {
		r := s.record(id)
		if r == nil {
			continue
		}
		home := r.home
		l.current(s, id, &home, &r.moves)
		l.resolve(r, o, l.homeName(home))
		more := r.flight != 0
		if r.kind == Parallel {
			_, due := l.renewal(r, o.shares.mine(r.limit), t)
			if _, d := s.dutyOf(id); d != nil && d.role == granting {
				due = false // nobody to tell
			}
			if due {
				l.enqueue(s, r)
			}
			more = more || due || r.held > 0 || r.lease(t.at) > 0
		} else {
			l.expire(s, r, t.at)
			l.yieldCredit(s, r, t.at)
			if len(s.backs[id]) > 0 || r.debt > 0 {
				l.enqueue(s, r)
				more = true
			}
			if l.fading(r, t.at) && r.noUntil.after(t.at) <= 0 {
				l.enqueue(s, r)
			}
			more = more || r.credit(t.at) > 0 || t.at.after(r.used) < warm && l.line(r.owner).trip() >= far
		}
		if len(s.queues[id]) > 0 {
			l.enqueue(s, r)
			more = true
		}
		if more {
			rest = append(rest, id)
		} else {
			r.live = false
		}
	}
	s.live = rest
}

// pingAll asks the nodes of which nothing was heard lately whether they are there.
func (l *Limiter) pingAll(ctx context.Context) {
	now := l.elapsed()
	o := l.outlook(now)
	for i := range o.nodes {
		n := &o.nodes[i]
		ln := l.line(n.at)
		if i == o.self || !n.alive || !ln.lost.Load() && now-time.Duration(ln.last.Load()) < pingEvery {
			continue
		}
		l.work.start(func() {
			if _, err := l.call(ctx, ln, (&encoder{}).finish(opPing), askWithin); err != nil && ctx.Err() == nil {
				l.lose(ln)
			}
		})
	}
}

// evictTogether forgets what is idle.
func (l *Limiter) evictTogether(from, n int) {
	now := stampAt(l.elapsed())
	for i := from; i < from+n; i++ {
		s := &l.stripe[i%stripes]
		s.mu.Lock()
		s.forgetRecords(now)
		s.forgetRings(now)
		for k, e := range s.entries {
			if now.after(e.at) > idleAfter {
				if ring, d := s.dutyOf(k.id); ring != nil && d.kind == Parallel {
					ring.sum -= int64(e.granted)
				}
				delete(s.entries, k)
			}
		}
		s.mu.Unlock()
	}
}

func (s *stripe) forgetRecords(now stamp) {
	for j := 0; j < len(s.records); {
		r := &s.records[j]
		if r.held > 0 || r.live || r.flight != 0 || r.queued || now.after(r.used) < recordIdle {
			r.rejuvenate(now)
			j++
			continue
		}
		delete(s.known, r.id)
		delete(s.backs, r.id)
		end := len(s.records) - 1
		if j != end {
			s.records[j] = s.records[end]
			s.known[s.records[j].id] = uint32(j)
		}
		s.records = s.records[:end]
	}
	if len(s.records) == 0 {
		s.records = nil
	}
}

// rejuvenate keeps stamps from so long ago that they would seem to lie ahead.
func (r *record) rejuvenate(now stamp) {
	const long = time.Hour
	for _, x := range []*stamp{&r.used, &r.sent, &r.noUntil, &r.passes, &r.reset, &r.lostUntil, &r.bucket, &r.pool[0].ends, &r.pool[1].ends} {
		if now.after(*x) > long || x.after(now) > long {
			*x = now - stamp(long/time.Millisecond)
		}
	}
	for i := range r.grant {
		if now.after(r.grant[i].ends) > long {
			r.grant[i] = credit{}
		}
	}
}

func (s *stripe) forgetRings(now stamp) {
	for j := 0; j < len(s.rings); {
		d := &s.duties[j]
		if now.after(d.seen) < idleAfter || d.kind == Parallel && s.rings[j].sum > 0 {
			j++
			continue
		}
		delete(s.index, s.rings[j].id)
		end := len(s.rings) - 1
		if j != end {
			s.rings[j], s.duties[j] = s.rings[end], s.duties[end]
			s.index[s.rings[j].id] = uint32(j)
		}
		s.rings, s.duties = s.rings[:end], s.duties[:end]
	}
	if len(s.rings) == 0 {
		s.rings, s.duties = nil, nil
	}
}
