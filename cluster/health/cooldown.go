package health

import "time"

// Event is one start of a cooldown: which node said it, and the how manieth of
// its sayings it was.
type Event struct {
	Origin uint64
	Inc    uint32
	N      uint64
}

// Notice tells the other nodes that a deployment or credential rests, or no
// longer does.
type Notice struct {
	Stop      bool
	ID        ID
	Reason    Outcome
	Event     Event // the start; a stop names the one that it ends
	Remaining time.Duration
}

// cool is a deployment or credential that rests by the provider's word.
type cool struct {
	since, until time.Time
	reason       Outcome
	event        Event
	private      bool // the provider did not say until when: nobody else's business
}

const (
	// maxStopped bounds what is remembered of cooldowns that were ended early.
	maxStopped = 4096
	// maxCools bounds what others can have this node remember; requests wait while
	// it is written down. It is more than deployments and credentials there are.
	maxCools = 16384
)

// rest begins a cooldown of this node's own finding. One that is private is
// nobody else's business: the provider did not say until when.
func (v *View) rest(id ID, reason Outcome, lasts time.Duration, private bool) (begun bool) {
	if lasts <= 0 {
		return false
	}
	now := v.clock.Now()
	until := now.Add(lasts)
	v.mu.Lock()
	old := v.cools[id]
	// Each of many calls in flight brings the same news; one is enough.
	if old != nil && !until.After(old.until.Add(time.Second)) && (private || !old.private) {
		v.mu.Unlock()
		return false
	}
	v.events++
	c := &cool{since: now, until: until, reason: reason, event: Event{v.self, uint32(v.cfg.Incarnation), v.events}, private: private}
	v.cools[id] = c
	v.publish(now)
	v.mu.Unlock()
	if !private {
		v.tell(&Notice{ID: id, Reason: reason, Event: c.event, Remaining: min(lasts, maxLife)})
	}
	return true
}

// lift ends a cooldown early and gives the notice of it, nil when nobody was
// told of its start.
func (v *View) lift(id ID, c *cool, now time.Time) *Notice {
	delete(v.cools, id)
	if c.private {
		return nil
	}
	v.stop(c.event, now)
	return &Notice{Stop: true, ID: id, Reason: c.reason, Event: c.event}
}

// stop remembers an ended cooldown, or those who have not heard yet would bring
// it back.
func (v *View) stop(e Event, now time.Time) {
	if len(v.stopped) < maxStopped {
		v.stopped[e] = now.Add(maxLife)
	}
}

// Adopt takes in notices of other nodes, as they were told or from an exchange of
// states. A start that comes again changes nothing: its time would grow by the
// way it took.
func (v *View) Adopt(notices ...Notice) {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	changed := false
	for i := range notices {
		changed = v.adopt(&notices[i], now) || changed
	}
	if changed {
		v.publish(now)
	}
}

func (v *View) adopt(n *Notice, now time.Time) (changed bool) {
	if n.Event.Origin == v.self && n.Event.Inc == uint32(v.cfg.Incarnation) && !n.Stop {
		return false
	}
	old := v.cools[n.ID]
	if n.Stop {
		v.stop(n.Event, now)
		if old == nil {
			return false
		}
		if !old.private {
			v.stop(old.event, now)
		}
		delete(v.cools, n.ID)
		return true
	}
	if _, over := v.stopped[n.Event]; over || n.Remaining <= 0 || n.Reason == OK || n.Reason >= outcomes {
		return false
	}
	if old == nil && len(v.cools) >= maxCools {
		return false
	}
	until := now.Add(min(n.Remaining, maxLife))
	if old != nil {
		if same := old.event.Origin == n.Event.Origin; same && !later(n.Event.Inc, n.Event.N, old.event.Inc, old.event.N) ||
			!same && !until.After(old.until) {
			return false
		}
	}
	v.cools[n.ID] = &cool{since: now, until: until, reason: n.Reason, event: n.Event}
	return true
}

// Active are the cooldowns that hold, for an exchange of states.
func (v *View) Active() []Notice {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Notice
	for id, c := range v.cools {
		if left := c.until.Sub(now); !c.private && left > 0 {
			out = append(out, Notice{ID: id, Reason: c.reason, Event: c.event, Remaining: min(left, maxLife)})
		}
	}
	return out
}
