package budget

import (
	"context"
	"errors"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// chain is the number of budgets of one call that need no allocation.
const chain = 12

// Hold is what one call has reserved in all its budgets. The zero Hold is
// ready for Reserve; it may be used again after Settle.
type Hold struct {
	parts   []part
	granted unit.Money
}

// part is the hold in one budget; m is 0 in a soft one.
type part struct {
	rec *record
	m   unit.Money
}

// Granted is what the call may cost. It may be less than asked for when the
// call stated no maximum of its own.
func (h *Hold) Granted() unit.Money { return h.granted }

// Len is the number of budgets.
func (h *Hold) Len() int { return len(h.parts) }

// Window names the i-th budget and the start of the window that admitted the
// call, for the ledger.
func (h *Hold) Window(i int) (model.Scope, int64) {
	r := h.parts[i].rec
	return r.scope, r.window
}

// verdict is what an attempt to reserve came to.
type verdict struct {
	ok    bool
	block *record    // wait here
	index int        // of the charge that refused
	no    *Exhausted // refused
	err   error      // cannot be decided
}

// Reserve takes want, but at least least, from every charged budget, or nothing.
// With least < want the hold may get less than want when credit is scarce. It
// waits while credit may yet come: for the bank's first word, or for calls in
// flight to settle.
func (a *Account) Reserve(ctx context.Context, charges []Charge, want, least unit.Money, h *Hold) error {
	h.parts, h.granted = h.parts[:0], 0
	return a.acquire(ctx, charges, max(0, want), max(0, min(least, want)), h)
}

// Grow adds more, but at least least, to what a call holds, or nothing, and
// returns what it added. A call whose window has ended moves to the current
// one with all it holds; the caller must then write its intent anew.
func (a *Account) Grow(ctx context.Context, charges []Charge, more, least unit.Money, h *Hold) (unit.Money, error) {
	before := h.granted
	err := a.acquire(ctx, charges, max(0, more), max(0, min(least, more)), h)
	return h.granted - before, err
}

func (a *Account) acquire(ctx context.Context, charges []Charge, want, least unit.Money, h *Hold) error {
	if len(charges) == 0 {
		h.granted += want
		return nil
	}
	if a.fenced.Load() {
		return ErrFenced
	}
	v := a.try(charges, want, least, h, nil)
	switch {
	case v.ok:
		return nil
	case v.err != nil:
		return v.err
	case v.no != nil:
		return a.latest(v.no)
	}
	err := a.wait(ctx, charges, want, least, h, v.block)
	var no *Exhausted
	if errors.As(err, &no) {
		return a.latest(no)
	}
	return err
}

// Check refuses a call that cannot fit any more, whatever settles: the cheap
// question to ask before anything is taken elsewhere.
func (a *Account) Check(charges []Charge, least unit.Money) error {
	if a.fenced.Load() && len(charges) > 0 {
		return ErrFenced
	}
	now := a.cfg.Clock.Now()
	for i := range charges {
		c := &charges[i]
		r := a.record(c.Scope)
		r.mu.Lock()
		no := a.refuse(r, i, c, max(0, least), now)
		r.mu.Unlock()
		if no != nil {
			return a.latest(no)
		}
	}
	return nil
}

// latest brings a refusal up to what this node's copy of the bank says that the
// others have settled: what the record knows of them is from its last ask.
func (a *Account) latest(no *Exhausted) *Exhausted {
	if a.cfg.Look == nil || no.Limit <= 0 {
		return no
	}
	v, ok := a.cfg.Look(no.Scope)
	if !ok {
		return no
	}
	r := a.record(no.Scope)
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.Window != r.window || r.gone {
		return no
	}
	before := r.spent()
	r.others = max(r.others, v.Settled-v.Spent)
	more := r.spent() - before
	no.Spent = no.Spent.Add(more)
	no.Reserved = max(r.reserved, no.Reserved-more) // it was credit out there
	return no
}

// refuse says no when settled spend alone leaves no room. It needs the lock.
func (a *Account) refuse(r *record, i int, c *Charge, least unit.Money, now time.Time) *Exhausted {
	if c.Def.Limit > 0 && (r.window == CurrentWindow || r.window < c.Def.From || r.over(now, a.cfg.Retry)) {
		return nil
	}
	spent, limit := r.spent(), c.Def.LimitIn(r.window)
	if spent < limit && (c.Def.Soft || spent.Add(least) <= limit) {
		return nil
	}
	return r.refusal(i, c, least, now)
}

func (r *record) refusal(i int, c *Charge, least unit.Money, now time.Time) *Exhausted {
	e := &Exhausted{Index: i, Scope: c.Scope, Limit: c.Def.Limit, Spent: r.spent().Add(c.Def.OffsetIn(r.window)), Reserved: r.reserved, Need: least}
	if r.end != 0 {
		e.Resets = time.Unix(r.end, 0).UTC()
		e.RetryAfter = max(time.Second, e.Resets.Sub(now))
	}
	if c.Def.Limit <= 0 {
		e.RetryAfter = 0
	}
	return e
}

// try reserves at once or says what is in the way. w is the waiter on whose
// behalf it runs, nil for a call that has not queued.
func (a *Account) try(charges []Charge, want, least unit.Money, h *Hold, w *waiter) verdict {
	var fixedRecs, fixedLocks, fixedKicks [chain]*record
	var fixedLeft [2]part
	var recs, locks []*record
	for fresh := false; !fresh; {
		recs = fixedRecs[:0]
		for i := range charges {
			recs = append(recs, a.record(charges[i].Scope))
		}
		locks = lockAll(recs, fixedLocks[:0])
		fresh = true
		for _, r := range locks {
			if r.gone {
				unlockAll(locks)
				fresh = false
				break
			}
		}
	}
	now := a.cfg.Clock.Now()
	left, kicks := fixedLeft[:0], fixedKicks[:0]
	v := a.judge(charges, recs, &want, least, h, w, now)
	if v.ok {
		left = a.take(charges, recs, want, h, now, left)
	}
	for _, r := range locks {
		if v.no == nil && a.low(r, now) {
			kicks = append(kicks, r)
		}
	}
	unlockAll(locks)
	// Only now: a record of an ended window may not be locked together with
	// others, because another call may hold it while it finds that out.
	for _, p := range left {
		p.rec.mu.Lock()
		p.rec.reserved -= p.m
		p.rec.mu.Unlock()
	}
	for _, r := range kicks {
		a.kick(r)
	}
	return v
}

// judge decides under the locks; want comes back as what can be granted.
func (a *Account) judge(charges []Charge, recs []*record, want *unit.Money, least unit.Money, h *Hold, w *waiter, now time.Time) verdict {
	var block *record
	amount := *want
	for i, r := range recs {
		c := &charges[i]
		r.limit, r.soft, r.since = c.Def.LimitIn(r.window), c.Def.Soft, max(r.since, c.Def.From)
		if now.Sub(r.unknown) < a.cfg.WaitMax && (r.window == CurrentWindow || r.window >= c.Def.From) {
			return verdict{err: ErrUnknown}
		}
		moved := a.moved(h, i, r)
		if no := a.refuse(r, i, c, least.Add(moved), now); no != nil {
			return verdict{no: no, index: i}
		}
		if !c.Def.Soft {
			r.call = max(r.call, *want)
		}
		avail := r.avail() - moved
		for _, before := range recs[:i] { // the same budget twice is charged twice
			if before == r {
				avail -= amount
			}
		}
		switch {
		case r.window == CurrentWindow || r.window < c.Def.From || r.behind(w):
			// What is held in a window from before From was another owner's: unlike
			// the credit of a window that has just ended, it is never spent.
			block = first(block, r)
		case c.Def.Soft || avail >= amount:
		case least < amount && avail >= least && r.scarce(now, a.cfg.Retry):
			// A call without a maximum of its own takes its fair part.
			amount = min(amount, max(least, avail/unit.Money(1+r.queuedBut(w))))
		default:
			block = first(block, r)
		}
	}
	*want = amount
	return verdict{ok: block == nil, block: block}
}

// moved is what a growing call brings along from a window that has ended.
func (a *Account) moved(h *Hold, i int, r *record) unit.Money {
	if i < len(h.parts) && h.parts[i].rec != r {
		return h.parts[i].m
	}
	return 0
}

// take needs the locks of recs. It returns what the hold leaves behind in
// windows that have ended.
func (a *Account) take(charges []Charge, recs []*record, amount unit.Money, h *Hold, now time.Time, left []part) []part {
	for i, r := range recs {
		if i >= len(h.parts) {
			h.parts = append(h.parts, part{rec: r})
		}
		m := amount
		p := &h.parts[i]
		if p.rec != r {
			left = append(left, *p)
			m = m.Add(p.m)
			*p = part{rec: r}
		}
		if charges[i].Def.Soft {
			m = 0
		}
		p.m += m
		r.reserved += m
		r.lastUse = now
		a.activate(r)
	}
	h.granted += amount
	return left
}

// low reports whether a record should ask, for waiting calls or ahead of need.
// It needs the lock.
func (a *Account) low(r *record, now time.Time) bool {
	if r.asking {
		return false
	}
	if r.window == CurrentWindow || r.over(now, a.cfg.Retry) || r.waiting > 0 {
		return true
	}
	return now.Sub(r.asked) >= a.cfg.Retry && a.hungry(r)
}

// hungry: under half of the credit that the horizon calls for, and more to be
// had. It needs the lock.
func (a *Account) hungry(r *record) bool {
	return !r.soft && !r.tight && !r.unmet && !r.exact() && r.avail() < a.horizon(r)/2
}

// horizon is the credit worth holding: ten seconds of demand, and ten calls for
// budgets too slow to have a demand.
func (a *Account) horizon(r *record) unit.Money {
	return unit.Money(float64(r.demand)*a.cfg.Horizon.Seconds()) + 10*min(r.call, unit.MaxMoney/20)
}

// scarce reports that asking has just shown there is no more to get.
func (r *record) scarce(now time.Time, retry time.Duration) bool {
	return r.unmet && now.Sub(r.answered) < retry+retry/2
}

// Settle ends a call at its cost. The hold is empty afterwards.
func (a *Account) Settle(h *Hold, cost unit.Money) {
	cost = max(0, cost)
	var now time.Time
	for i := range h.parts {
		p := &h.parts[i]
		r := p.rec
		r.mu.Lock()
		r.reserved -= p.m
		r.s = r.s.Add(cost)
		r.used = r.used.Add(cost)
		if p.m > 0 && cost > p.m {
			a.overage.Add(int64(cost - p.m))
		}
		wake := r.waiting > 0
		if wake && cost < p.m {
			if now.IsZero() {
				now = a.cfg.Clock.Now()
			}
			r.progress = now
		}
		kick := !r.gone && !r.soft && !r.asking && r.recalled() && r.avail() > 0
		a.activate(r)
		r.mu.Unlock()
		if wake {
			a.drain(r)
		}
		if kick {
			a.kick(r)
		}
		p.rec = nil
	}
	h.parts, h.granted = h.parts[:0], 0
}

// lockAll locks each record once, in the order of their numbers.
func lockAll(recs, locks []*record) []*record {
	for _, r := range recs {
		j := len(locks)
		for j > 0 && locks[j-1].order > r.order {
			j--
		}
		if j > 0 && locks[j-1] == r {
			continue
		}
		locks = append(locks, nil)
		copy(locks[j+1:], locks[j:])
		locks[j] = r
	}
	for _, r := range locks {
		r.mu.Lock()
	}
	return locks
}

func unlockAll(locks []*record) {
	for _, r := range locks {
		r.mu.Unlock()
	}
}

func first(a, b *record) *record {
	if a != nil {
		return a
	}
	return b
}
