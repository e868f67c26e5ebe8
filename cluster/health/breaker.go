package health

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// breaker is a deployment closed for failures on the way to it.
type breaker struct {
	born, opened time.Time
	reason       Outcome
	rest         time.Duration // 0: as the reader's policy says
	// own: this node's window was bad. Otherwise the region said so.
	own bool
	// released: others have succeeded since; this node may try at once.
	released bool
	next     *atomic.Int64 // nanoseconds after born: when the next probe may pass
}

// gate is a breaker as requests see it.
type gate struct {
	born   time.Time // what next counts from: a wall clock may be set back
	from   time.Time // when it was closed
	rest   time.Duration
	extra  time.Duration // how much longer it is left to others to try
	reason Outcome
	hint   bool
	next   *atomic.Int64
}

// opens is from when on one call a second is let through.
func (g *gate) opens(p *Policy, otherwise time.Duration) time.Time {
	if g.rest != 0 {
		return g.from.Add(max(g.rest, 0) + g.extra)
	}
	return g.from.Add(p.lasts(0, otherwise) + g.extra)
}

// pass tells whether this call may try, and if not, when one may.
func (g *gate) pass(now, opens time.Time) (until time.Time, pass bool) {
	if now.Before(opens) {
		return opens, false
	}
	next, age := g.next.Load(), now.Sub(g.born)
	if int64(age) < next || !g.next.CompareAndSwap(next, int64(age+probeLease)) {
		return now.Add(probeLease), false
	}
	return time.Time{}, true
}

// gateOf sets when this node may try: the region's prober as soon as the rest is
// over, the others when its verdict has been overdue for two probes more.
func (v *View) gateOf(id ID, b *breaker, region []string) *gate {
	g := &gate{born: b.born, from: b.opened, rest: b.rest, reason: b.reason, hint: !b.own, next: b.next}
	switch {
	case b.released:
		g.rest = -1 // at once
	case prober(id, region) != v.cfg.Node:
		g.extra = min(2*v.cfg.ProbeEvery, max(maxLife-v.rested(b), 0))
	}
	return g
}

// region is the ids of the nodes alive in this node's region, itself included.
func (v *View) region() []string {
	out := []string{v.cfg.Node}
	for _, p := range v.cfg.Peers() {
		if p.Region == v.cfg.Region && p.ID != v.cfg.Node {
			out = append(out, p.ID)
		}
	}
	return out
}

// prober is the node of a region that tries a deployment first: the one with the
// highest score for it, so that different deployments have different ones.
func prober(id ID, region []string) string {
	var best string
	var top uint64
	for _, node := range region {
		if score := mix(xxhash.Sum64String(node) ^ uint64(id)); best == "" || score > top || score == top && node > best {
			best, top = node, score
		}
	}
	return best
}

// mix spreads the bits of what has been combined (the finisher of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// failed takes in a failure on the way: it may be one too many, or a probe may
// have failed. lasts is how long the deployment rests then.
func (v *View) failed(id ID, reason Outcome, started time.Time, bad bool, lasts time.Duration) (closed bool) {
	if lasts <= 0 || !bad && v.snap.Load().gates[id] == nil {
		return false
	}
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	b := v.breakers[id]
	switch {
	case b == nil && bad:
		b = &breaker{born: now, next: new(atomic.Int64)}
		v.breakers[id] = b
	case b == nil:
		return false
	case started.Before(b.opened.Add(v.rested(b))) && !b.released && (b.own || !bad):
		return false // it was under way when the breaker opened
	}
	b.opened, b.rest, b.own, b.released, b.reason = now, lasts, true, false, reason
	b.next.Store(0)
	v.publish(now)
	v.hurry()
	return true
}

// rested is how long a breaker's rest is, as far as it knows.
func (v *View) rested(b *breaker) time.Duration {
	if b.rest > 0 {
		return b.rest
	}
	return v.cfg.ProbeEvery
}

// recovered takes in a success of a call that began at started: what was closed
// before that is open again.
func (v *View) recovered(id ID, credential string, started time.Time) {
	subjects := [2]ID{id, id}
	if credential != "" {
		subjects[1] = credentialID(credential)
	}
	s := v.snap.Load()
	_, cooled := s.cools[subjects[0]]
	_, cooledCredential := s.cools[subjects[1]]
	if !cooled && !cooledCredential && s.gates[id] == nil {
		return
	}
	now := v.clock.Now()
	var notices []*Notice
	v.mu.Lock()
	changed := false
	for _, subject := range subjects {
		if c := v.cools[subject]; c != nil && started.After(c.since) {
			notices = append(notices, v.lift(subject, c, now))
			changed = true
		}
	}
	if b := v.breakers[id]; b != nil && started.After(b.opened) {
		delete(v.breakers, id)
		v.immune[id] = now.Add(immunity)
		changed = true
		v.hurry()
	}
	if changed {
		v.publish(now)
	}
	v.mu.Unlock()
	for _, n := range notices {
		v.tell(n)
	}
}

// remote is what another node of the region or beyond last said.
type remote struct {
	Summary
	region string
	at     time.Time
	inc    uint32
	seq    uint64
}

// Merge takes in another node's summaries. The newest of each deployment counts,
// by the order in which the node said them.
func (v *View) Merge(node, region string, inc uint32, seq uint64, summaries []Summary) {
	if node == v.cfg.Node {
		return
	}
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	changed := false
	for _, s := range summaries {
		nodes := v.remotes[s.ID]
		if nodes == nil {
			nodes = make(map[string]*remote)
			v.remotes[s.ID] = nodes
		}
		if old := nodes[node]; old != nil && !later(inc, seq, old.inc, old.seq) {
			continue
		}
		nodes[node] = &remote{Summary: s, region: region, at: now, inc: inc, seq: seq}
		if region != v.cfg.Region {
			continue
		}
		if b := v.breakers[s.ID]; b != nil {
			changed = v.verdict(node, s, b, now) || changed
		} else if s.Bad {
			changed = v.hinted(s.ID, now) || changed
		}
	}
	if changed {
		v.publish(now)
	}
}

func later(incA uint32, seqA uint64, incB uint32, seqB uint64) bool {
	if incA != incB {
		return int32(incA-incB) > 0
	}
	return seqA > seqB
}

// verdict takes in what a node of the region found since the breaker opened. If
// the prober has failed, the rest begins again. If somebody has succeeded, what
// only the region's word closed is open, and what this node's own failures
// closed it may try at once, for its way may be another.
func (v *View) verdict(node string, s Summary, b *breaker, now time.Time) bool {
	if s.Bad {
		opened := now.Add(-s.Opened)
		// A summary is a moment old: without a margin each would count as news.
		if opened.Sub(b.opened) < time.Second || prober(s.ID, v.region()) != node {
			return false
		}
		b.opened, b.released = opened, false
		return true
	}
	if s.LastOK < 0 || !now.Add(-s.LastOK).After(b.opened) {
		return false
	}
	if !b.own {
		delete(v.breakers, s.ID)
		v.immune[s.ID] = now.Add(immunity) // others may not have heard the verdict yet
		return true
	}
	was := b.released
	b.released = true
	return !was
}

// hinted opens the breaker when two nodes of the region, or half of it, have bad
// experience.
func (v *View) hinted(id ID, now time.Time) bool {
	if now.Before(v.immune[id]) {
		return false
	}
	region := v.region()
	need := min(2, (len(region)+1)/2)
	reports, reason := 0, ServerError
	for node, r := range v.remotes[id] {
		if r.region == v.cfg.Region && r.Bad && now.Sub(r.at) <= summaryLife && contains(region, node) {
			reports++
			switch {
			case r.Connects > r.Server && r.Connects > r.Timeouts:
				reason = Connect
			case r.Timeouts > r.Server:
				reason = Timeout
			}
		}
	}
	if reports < need {
		return false
	}
	v.breakers[id] = &breaker{born: now, opened: now, reason: reason, next: new(atomic.Int64)}
	return true
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
