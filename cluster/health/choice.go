package health

import "time"

// snapshot is what requests read.
type snapshot struct {
	cools    map[ID]closed
	gates    map[ID]*gate
	regional map[ID]Latency
	others   map[ID]Work
}

// closed is one cooldown.
type closed struct {
	until  time.Time
	reason Outcome
}

// Ref is a deployment as it is asked about.
type Ref struct {
	Deployment, Credential string
	Policy                 Policy
}

// Cooling tells whether a deployment rests, by its own or its credential's
// account, until when and why. While a breaker is half open, one caller a second
// is told that it does not: that call is the probe.
func (v *View) Cooling(r Ref) (until time.Time, reason string, ok bool) {
	s := v.snap.Load()
	if len(s.cools) == 0 && len(s.gates) == 0 {
		return time.Time{}, "", false
	}
	j := v.judge(s, &r, v.clock.Now(), true)
	if !j.closed {
		return time.Time{}, "", false
	}
	return j.until, j.reason.String(), true
}

// judgement is whether and why a deployment rests. hint tells that nothing but
// the region's word closes it.
type judgement struct {
	closed, hint bool
	until        time.Time
	reason       Outcome
}

// judge asks on behalf of a call, which may become the probe, or only looks.
func (v *View) judge(s *snapshot, r *Ref, now time.Time, call bool) judgement {
	id := deploymentID(r.Deployment)
	p := &r.Policy
	var j judgement
	if c, known := s.cools[id]; known && now.Before(c.until) && !p.excuses(c.reason, false) {
		j = judgement{closed: true, until: c.until, reason: c.reason}
	}
	if r.Credential != "" {
		if c, known := s.cools[credentialID(r.Credential)]; known && now.Before(c.until) && c.until.After(j.until) && !p.excuses(c.reason, false) {
			j = judgement{closed: true, until: c.until, reason: c.reason}
		}
	}
	if j.closed {
		return j
	}
	g, known := s.gates[id]
	if !known || p.excuses(g.reason, g.hint) {
		return j
	}
	opens := g.opens(p, v.cfg.Rest)
	if !call {
		return judgement{closed: true, hint: g.hint, until: opens, reason: g.reason}
	}
	if until, pass := g.pass(now, opens); !pass {
		return judgement{closed: true, hint: g.hint, until: until, reason: g.reason}
	}
	return j
}

// Condition is how a deployment does.
type Condition uint8

// The conditions, with LiteLLM's numbers but for the first.
const (
	Well    Condition = iota // 0
	Failing                  // its last call failed
	Resting                  // also while one call a second is let through
	Unknown                  // this node has not called it lately
)

// Condition is how a deployment does. Nothing changes by asking.
func (v *View) Condition(r Ref) Condition {
	if s := v.snap.Load(); v.judge(s, &r, v.clock.Now(), false).closed {
		return Resting
	}
	l := v.lookup(deploymentID(r.Deployment))
	if l == nil {
		return Unknown
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		return Failing
	}
	return Well
}

// Hearsay tells whether nothing but the region's word closes a deployment.
func (v *View) Hearsay(r Ref) bool {
	j := v.judge(v.snap.Load(), &r, v.clock.Now(), false)
	return j.closed && j.hint
}

// Filter appends to keep the indexes of those that may be called, in order. It
// never closes a whole group: when all rest, the region's word is passed over,
// and if that opens none, the one that rests for the shortest time is kept.
func (v *View) Filter(refs []Ref, keep []int) []int {
	s := v.snap.Load()
	if len(s.cools) == 0 && len(s.gates) == 0 {
		for i := range refs {
			keep = append(keep, i)
		}
		return keep
	}
	now := v.clock.Now()
	start, least := len(keep), -1
	var hinted []int
	var soonest time.Time
	for i, r := range refs {
		j := v.judge(s, &r, now, true)
		switch {
		case !j.closed:
			keep = append(keep, i)
		case j.hint:
			hinted = append(hinted, i)
		case least < 0 || j.until.Before(soonest):
			least, soonest = i, j.until
		}
	}
	switch {
	case len(keep) > start:
		return keep
	case len(hinted) > 0:
		return append(keep, hinted...)
	case least >= 0:
		return append(keep, least)
	}
	return keep
}
