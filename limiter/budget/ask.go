package budget

import (
	"context"
	"sync"
	"time"

	"tollgate/config/model"
)

const (
	// inFlight bounds the batches under way: a far leader must not hold up the
	// next budget's first ask for a whole round trip.
	inFlight = 8
	// batchItems bounds one payload.
	batchItems = 2000
)

// sent is an item under way and the record it was made from.
type sent struct {
	rec  *record
	item Item
}

// Run asks, reports and gives back until ctx ends. Calls that wait for credit are
// served by it; those that still wait when it ends get ErrUnavailable.
func (a *Account) Run(ctx context.Context) error {
	var flying sync.WaitGroup
	defer flying.Wait()
	defer a.stop()
	slots := make(chan struct{}, inFlight)
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	second := a.cfg.Clock.Now()
	for {
		// Everything there is to do is done at most once a tick; the first
		// kick after a pause is served at once.
		busy := false
		now := a.cfg.Clock.Now()
		a.sweep(now)
		if past := now.Sub(second); past >= time.Second {
			a.second(now, past)
			second = now
		}
		select {
		case slots <- struct{}{}:
			if batch := a.collect(now); len(batch) > 0 {
				busy = true
				flying.Go(func() {
					a.send(ctx, batch)
					<-slots
				})
			} else {
				<-slots
			}
		default:
		}
		busy = a.pending() || busy
		timer.Reset(a.cfg.Tick)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if busy {
			continue
		}
		timer.Reset(time.Second)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.kicked:
		case <-timer.C:
		}
	}
}

// pending reports whether the next tick will have something to do.
func (a *Account) pending() bool {
	a.waitMu.Lock()
	waiting := len(a.queues) > 0
	a.waitMu.Unlock()
	a.askMu.Lock()
	defer a.askMu.Unlock()
	return waiting || len(a.dirty) > 0
}

// collect makes the items of the next batch.
func (a *Account) collect(now time.Time) []sent {
	a.askMu.Lock()
	dirty := a.dirty
	a.dirty = make(map[*record]struct{})
	a.askMu.Unlock()
	var batch []sent
	var later []*record
	for r := range dirty {
		a.follow(r, now)
		if len(batch) == batchItems {
			later = append(later, r)
			continue
		}
		r.mu.Lock()
		it, ok, wait := a.item(r, now)
		if ok {
			r.asking, r.asked = true, now
			batch = append(batch, sent{r, it})
		}
		r.mu.Unlock()
		if wait {
			later = append(later, r)
		}
	}
	if len(later) > 0 {
		a.askMu.Lock()
		for _, r := range later {
			a.dirty[r] = struct{}{}
		}
		a.askMu.Unlock()
	}
	return batch
}

// item says what a record has to tell and ask. wait means: not yet. It needs
// the record's lock.
func (a *Account) item(r *record, now time.Time) (it Item, ok, wait bool) {
	if r.asking { // the answer will look again
		return it, false, false
	}
	short := r.waiting > 0 || r.window == CurrentWindow || r.over(now, a.cfg.Retry)
	pause := a.cfg.Retry
	if r.backoff && r.waiting == 0 { // a leader that is away is not told ten times a second
		pause *= 10
	}
	if now.Sub(r.asked) < pause && (!short || r.unmet || r.backoff) {
		return it, false, true
	}
	if !r.gone && !r.soft {
		a.giveBack(r, now)
	}
	it = Item{Scope: r.scope, Window: r.window, S: r.s, R: r.r, Want: r.g, Call: r.call, Exact: r.exact()}
	if !r.gone && !r.soft {
		avail := r.avail()
		it.Need = min(max(0, r.wanted-max(0, avail)), max(0, r.limit))
		it.Least = min(it.Need, max(0, r.head-max(0, avail)))
		extra := it.Need - min(0, avail)
		if !r.recalled() && (r.waiting > 0 || a.hungry(r)) {
			extra = max(extra, r.wanted.Add(a.horizon(r))-avail)
		}
		it.Want = r.g.Add(min(extra, max(0, r.limit).Add(-min(0, avail))))
	}
	tell := r.s != r.ackS || r.r != r.ackR || r.unsure || now.Sub(r.lastUse) >= evictAfter
	return it, short || it.Want > r.g || tell, false
}

// giveBack returns idle credit: all of it when others are short, and after a
// while what is above the standing share. It needs the lock.
func (a *Account) giveBack(r *record, now time.Time) {
	idle := r.avail() - r.wanted
	if r.waiting > 0 && r.avail() < r.head {
		idle = r.avail() // too little for the call whose turn it is: let it join others' rests
	}
	if !r.recalled() {
		if r.waiting > 0 || r.reserved > 0 || now.Sub(r.lastUse) < a.cfg.Idle {
			return
		}
		idle -= r.share
	}
	if idle > 0 {
		r.r += idle
	}
}

// send proposes a batch and takes in the answer.
func (a *Account) send(ctx context.Context, batch []sent) {
	c := Command{Op: OpBatch, Node: a.cfg.Node, Incarnation: a.cfg.Incarnation, Items: make([]Item, len(batch))}
	for i := range batch {
		c.Items[i] = batch[i].item
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	ans, err := a.cfg.Propose(ctx, AppendCommand(nil, &c))
	cancel()
	if err == nil {
		err = ans.Err
	}
	if err != nil {
		a.cfg.Log.Debug("budget batch failed", "items", len(batch), "error", err)
	}
	now := a.cfg.Clock.Now()
	grants := map[model.Scope]*Grant{}
	if err == nil {
		for i := range ans.Grants {
			if i < len(batch) && ans.Grants[i].Scope == batch[i].item.Scope {
				continue
			}
			grants[ans.Grants[i].Scope] = &ans.Grants[i]
		}
	}
	for i := range batch {
		var g *Grant
		if err == nil {
			if i < len(ans.Grants) && ans.Grants[i].Scope == batch[i].item.Scope {
				g = &ans.Grants[i]
			} else {
				g = grants[batch[i].item.Scope]
			}
		}
		a.settleAsk(batch[i].rec, &batch[i].item, g, now)
	}
}

// settleAsk takes in the answer to one item; nil when there is none.
func (a *Account) settleAsk(r *record, it *Item, g *Grant, now time.Time) {
	r.mu.Lock()
	r.asking, r.backoff = false, g == nil
	if g != nil {
		a.hear(r, it, g, now)
	} else if it.Want > r.g {
		r.unsure = true
	}
	again := r.waiting > 0 || r.unsure
	r.mu.Unlock()
	if again {
		a.drain(r)
		a.kick(r)
	}
}

// hear needs the record's lock.
func (a *Account) hear(r *record, it *Item, g *Grant, now time.Time) {
	switch {
	case g.Closed:
		if !a.fenced.Swap(true) {
			a.cfg.Log.Error("budget books closed by the cluster", "node", string(a.cfg.Node), "incarnation", a.cfg.Incarnation)
		}
		return
	case g.Unknown:
		r.unknown, r.answered = now, now
		r.ackS, r.ackR = it.S, it.R // nobody is left to tell
		return
	}
	if it.Window == r.window && it.Window != CurrentWindow {
		r.ackS, r.ackR = it.S, it.R
	}
	r.answered, r.unsure = now, false
	if g.Window > r.window && r.window != CurrentWindow {
		a.roll(r, &View{Window: g.Window, End: g.End, Settled: g.Settled, Free: g.Free, Granted: g.G,
			Share: g.Share, Nodes: g.Nodes, Tight: g.Tight}, now)
		return
	}
	if g.Window < r.window {
		return
	}
	// The credit of a grant belongs to the window it names, and to this start
	// of the node, which is the one that asked.
	before := r.g
	if r.window == CurrentWindow {
		r.window = g.Window // once: holds read it without the lock
	}
	r.end = g.End
	r.g = max(r.g, g.G)
	r.others = max(r.others, g.Settled-it.S)
	r.share, r.free, r.nodes, r.tight = g.Share, g.Free, g.Nodes, g.Tight
	r.unmet = r.g < it.Want && r.g-before < max(1, it.Need)
	if r.g > before {
		r.progress = now
	}
	if r.end != 0 && now.Unix() >= r.end {
		r.unrolled = now
	}
}

// follow takes from the local copy of the bank what would else need an ask: a
// new window, or a grant whose answer was lost.
func (a *Account) follow(r *record, now time.Time) {
	if a.cfg.Look == nil {
		return
	}
	r.mu.Lock()
	ask := !r.gone && (r.window == CurrentWindow || r.over(now, a.cfg.Retry) || r.unsure)
	r.mu.Unlock()
	if !ask {
		return
	}
	v, ok := a.cfg.Look(r.scope)
	if !ok {
		return
	}
	r.mu.Lock()
	waiting := false
	switch {
	case r.gone || r.asking || v.Window < r.window:
	case v.Window == r.window:
		r.g, r.unsure = max(r.g, v.Granted), false
	case r.window == CurrentWindow:
		r.from(v)
	default:
		a.roll(r, &v, now)
	}
	waiting = r.waiting > 0
	r.mu.Unlock()
	if waiting {
		a.drain(r)
	}
}

// roll puts a record of the new window in this one's place. Calls in flight
// settle in the window that admitted them. It needs the lock.
func (a *Account) roll(r *record, v *View, now time.Time) {
	if r.gone {
		return
	}
	sh := &a.shelf[shelfOf(r.scope)]
	next := a.blank(r.scope)
	next.from(*v)
	next.limit, next.soft, next.since, next.call, next.demand = r.limit, r.soft, r.since, r.call, r.demand
	next.answered, next.progress = now, now
	r.gone = true
	sh.mu.Lock()
	sh.m[r.scope] = next
	sh.mu.Unlock()
}
