package health

import "time"

// snapshot is what requests read.
type snapshot struct {
	cools    map[ID]closed
	gates    map[ID]*gate
	regional map[ID]Latency
}

// closed is one cooldown.
type closed struct {
	until  time.Time
	reason Outcome
}

// Cooling tells whether a deployment rests, by its own or its credential's
// account, until when and why. While a breaker is half open, one caller a second
// is told that it does not: that call is the probe.
func (v *View) Cooling(deployment, credential string) (until time.Time, reason string, ok bool) {
	s := v.snap.Load()
	if len(s.cools) == 0 && len(s.gates) == 0 {
		return time.Time{}, "", false
	}
	c := s.judge(deployment, credential, v.clock.Now())
	if !c.closed {
		return time.Time{}, "", false
	}
	return c.until, c.reason.String(), true
}

// judgement is whether and why a deployment rests. hint tells that nothing but
// the region's word closes it.
type judgement struct {
	closed, hint bool
	until        time.Time
	reason       Outcome
}

func (s *snapshot) judge(deployment, credential string, now time.Time) judgement {
	id := deploymentID(deployment)
	var j judgement
	if c, known := s.cools[id]; known && now.Before(c.until) {
		j = judgement{closed: true, until: c.until, reason: c.reason}
	}
	if credential != "" {
		if c, known := s.cools[credentialID(credential)]; known && now.Before(c.until) && c.until.After(j.until) {
			j = judgement{closed: true, until: c.until, reason: c.reason}
		}
	}
	if j.closed {
		return j
	}
	if g, known := s.gates[id]; known {
		if until, pass := g.pass(now); !pass {
			return judgement{closed: true, hint: g.hint, until: until, reason: g.reason}
		}
	}
	return j
}

// Ref is one deployment of a group.
type Ref struct{ Deployment, Credential string }

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
		j := s.judge(r.Deployment, r.Credential, now)
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

// Latency is how long a deployment takes: by this node's own experience when it
// has enough, else by the region's.
func (v *View) Latency(deployment string) Latency {
	id := deploymentID(deployment)
	var own Latency
	if l := v.lookup(id); l != nil {
		own = l.latencyAt(v.clock.Now())
	}
	if own.Samples >= enoughSamples {
		return own
	}
	if regional, known := v.snap.Load().regional[id]; known {
		return regional
	}
	return own
}
