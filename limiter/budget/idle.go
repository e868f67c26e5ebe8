package budget

import (
	"time"

	"tollgate/config/unit"
)

// evictAfter is how long an unused record is kept.
const evictAfter = time.Minute

// second keeps the measures that run in seconds, and finds what is idle,
// unreported or forgotten.
func (a *Account) second(now time.Time, past time.Duration) {
	a.askMu.Lock()
	recs := make([]*record, 0, len(a.active))
	for r := range a.active {
		recs = append(recs, r)
	}
	a.askMu.Unlock()
	for _, r := range recs {
		r.mu.Lock()
		r.demand += (unit.Money(float64(r.used)/past.Seconds()) - r.demand) / 5
		r.used = 0
		r.call -= r.call / 512 // one giant call does not make a budget exact for ever
		due := a.due(r, now)
		still := r.asking || r.reserved != 0 || r.waiting > 0 || r.s != r.ackS || r.r != r.ackR
		old := now.Sub(r.lastUse) >= evictAfter
		r.mu.Unlock()
		if due {
			a.kick(r)
		}
		if !still && (r.isGone() || old) {
			a.evict(r, now)
		}
	}
}

// due reports whether a record has something to tell that cannot wait longer.
func (a *Account) due(r *record, now time.Time) bool {
	unsaid := r.s - r.ackS
	switch {
	case r.asking || r.window == CurrentWindow:
		return false
	case r.gone:
		return unsaid > 0 || r.r != r.ackR
	case r.soft:
		return unsaid > 0
	case unsaid > 0 && (unsaid >= (r.g-r.r)/10 || now.Sub(r.asked) >= a.cfg.Idle || r.nearing() && now.Sub(r.asked) >= a.cfg.Report), r.r != r.ackR:
		return true
	case r.recalled():
		return r.avail() > r.wanted
	}
	return r.reserved == 0 && r.waiting == 0 && r.avail() > r.share && now.Sub(r.lastUse) >= a.cfg.Idle
}

func (r *record) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

// evict forgets a record that has nothing left to say. A current one goes only
// when the local copy of the bank has its totals: they are where it starts from
// when the budget is used again, and totals too low would be credit from nowhere.
func (a *Account) evict(r *record, now time.Time) {
	var v View
	known := false
	if a.cfg.Look != nil {
		v, known = a.cfg.Look(r.scope)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	idle := !r.asking && r.reserved == 0 && r.waiting == 0 && r.s == r.ackS && r.r == r.ackR
	if !idle {
		return
	}
	if !r.gone {
		if now.Sub(r.lastUse) < evictAfter {
			return
		}
		same := known && v.Window == r.window && v.Spent == r.s && v.Given == r.r
		forgotten := !known && !r.unknown.IsZero() // the budget was deleted
		if same || forgotten {
			r.gone = true
			sh := &a.shelf[shelfOf(r.scope)]
			sh.mu.Lock()
			if sh.m[r.scope] == r {
				delete(sh.m, r.scope)
			}
			sh.mu.Unlock()
		} else if a.cfg.Look != nil {
			if !known { // ask, to learn whether it was deleted
				a.kick(r)
			}
			return
		}
	}
	r.active = false
	a.askMu.Lock()
	delete(a.active, r)
	a.askMu.Unlock()
}
