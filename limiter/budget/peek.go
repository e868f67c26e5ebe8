package budget

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// Standing is how one budget stands for a call, as this node knows it.
type Standing struct {
	Scope    model.Scope
	Limit    unit.Money
	Spent    unit.Money // settled in this window, an operator's correction included
	Reserved unit.Money // held by calls in flight on this node
	Need     unit.Money // the least that the call must be able to reserve
	Resets   time.Time  // zero: never, or not known here yet
	Soft     bool
	// Known is false when neither this node nor its copy of the bank has seen the
	// budget used.
	Known bool
	// No is the refusal that the call would get now; nil: none.
	No *Exhausted
}

// Peek tells how budgets stand for a call that needs least of each. It takes
// nothing, asks nobody and leaves nothing behind.
func (a *Account) Peek(charges []Charge, least unit.Money) []Standing {
	now := a.cfg.Clock.Now()
	out := make([]Standing, len(charges))
	for i := range charges {
		c := &charges[i]
		r := a.glimpse(c, now)
		known := r.window != CurrentWindow
		if !known {
			r.window = max(0, c.Def.From) // nothing is spent yet; an endless budget's correction counts
		}
		s := Standing{Scope: c.Scope, Limit: c.Def.Limit, Spent: r.spent().Add(c.Def.OffsetIn(r.window)), Reserved: r.reserved,
			Need: max(0, least), Soft: c.Def.Soft, Known: known, No: a.refuse(r, i, c, max(0, least), now)}
		if r.end != 0 {
			s.Resets = time.Unix(r.end, 0).UTC()
		}
		out[i] = s
	}
	return out
}

// glimpse is a record that nobody else has: what this node knows of a budget's
// present window, with what its copy of the bank knows beyond it.
func (a *Account) glimpse(c *Charge, now time.Time) *record {
	seen := &record{scope: c.Scope, window: CurrentWindow, since: c.Def.From}
	sh := &a.shelf[shelfOf(c.Scope)]
	sh.mu.RLock()
	r := sh.m[c.Scope]
	sh.mu.RUnlock()
	if r != nil {
		r.mu.Lock()
		seen.window, seen.end, seen.s, seen.others, seen.reserved = r.window, r.end, r.s, r.others, r.reserved
		r.mu.Unlock()
	}
	if a.cfg.Look != nil {
		if v, ok := a.cfg.Look(c.Scope); ok {
			switch {
			case v.Window == seen.window:
				seen.others = max(seen.others, v.Settled-v.Spent)
			case seen.window == CurrentWindow || v.Window > seen.window:
				seen.from(v)
				seen.reserved = 0
			}
		}
	}
	if seen.over(now, a.cfg.Retry) { // nothing was asked of the window that is open now
		return &record{scope: c.Scope, window: CurrentWindow}
	}
	return seen
}
