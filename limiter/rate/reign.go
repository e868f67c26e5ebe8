package rate

import (
	"context"
	"math"
	"slices"
	"time"
)

const (
	// reignFor is how long a node that must have a majority behind it may grant
	// after it has asked them: they may have lost it since.
	reignFor = time.Second
	// reignEvery is how often it asks.
	reignEvery = 300 * time.Millisecond
)

// allowed is how much of a limit the owner may grant now. By the strict rule that
// is all of it with a fresh word of a majority, and nothing without: the standing
// shares are all that a minority has.
func (l *Limiter) allowed(o *outlook, limit int64, home string, now time.Duration) int64 {
	if !o.strict {
		return o.scaled(limit, home)
	}
	if now < (*l.reigns.Load())[o.electorate(home).name] {
		return limit
	}
	return 0
}

// renew reckons until when this node may grant by the strict rule. One that comes
// to it anew must ask before it grants: another may have had its place.
func (l *Limiter) renew(o *outlook, now time.Duration) {
	if !o.strict {
		return
	}
	old, next := *l.reigns.Load(), map[string]time.Duration{"": l.until(o, nil, now)}
	for i := range o.areas {
		next[o.areas[i].name] = l.until(o, &o.areas[i], now)
	}
	for name, until := range next {
		if until > now && old[name] <= now {
			l.doubted.Store(true)
			l.found.Add(1)
			l.outlook(now)
			break
		}
	}
	l.reigns.Store(&next)
}

// until is the end of what a majority of an area, nil: of all, has agreed to.
func (l *Limiter) until(o *outlook, in *area, now time.Duration) time.Duration {
	var heard []time.Duration
	for i := range o.nodes {
		n := &o.nodes[i]
		if in != nil && n.region != in.name {
			continue
		}
		at := time.Duration(l.line(n.at).vouched.Load())
		if i == o.self {
			at = math.MaxInt64 - reignFor
		}
		heard = append(heard, at)
	}
	slices.Sort(heard)
	if len(heard) == 0 {
		return 0
	}
	// All of the later half, and one more, are behind it.
	at := heard[len(heard)-len(heard)/2-1]
	if at == 0 {
		return 0
	}
	return at + reignFor
}

// vouchAll asks the others for their word.
func (l *Limiter) vouchAll(ctx context.Context) {
	o := l.outlook(l.elapsed())
	if !o.strict {
		return
	}
	for i := range o.nodes {
		if n := &o.nodes[i]; i != o.self && n.alive {
			l.work.start(func() {
				_, _ = l.call(ctx, l.line(n.at), (&encoder{}).finish(opPing), askWithin)
			})
		}
	}
}

// bar closes a ring for as long as unknown grants may count: by the strict rule,
// what an owner that cannot be asked has granted is taken for everything.
func (s *stripe) bar(ring *ring, d *duty) {
	ring.add(full)
	s.mark(ring.id, d, ring.last)
}
