package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
)

// Admitter admits requests. It starts nothing: whoever made the limiter and the
// account runs them.
type Admitter struct {
	rates   *rate.Limiter
	budgets *budget.Account
	learned learned
	pool    sync.Pool
}

// New makes an Admitter over this node's limiter and budget account.
func New(rates *rate.Limiter, budgets *budget.Account) *Admitter {
	a := &Admitter{rates: rates, budgets: budgets}
	a.pool.New = func() any { return &Reservation{a: a} }
	a.learned.init()
	return a
}

// LimitID is the id of the limit of a scope and kind.
func (a *Admitter) LimitID(scope model.Scope, kind Kind) uint64 { return a.rates.ID(scope, kind) }

// Learned is how many output tokens calls of a key to a model group have
// lately stayed under, 19 times of 20.
func (a *Admitter) Learned(key, group string) int64 { return a.learned.of(key, group) }

// Learn tells what one call has produced.
func (a *Admitter) Learn(key, group string, tokens int64) { a.learned.learn(key, group, tokens) }

// Spent is a budget's use in its window as this node knows it, and when that
// window began. ok is false for budgets that this node has not used yet.
func (a *Admitter) Spent(scope model.Scope) (spent unit.Money, window int64, ok bool) {
	return a.budgets.Spent(scope)
}

// Acquire reserves a request in all its limits and budgets, or nothing. A
// refusal is a *Refusal; any other error means that the answer could not be
// known, which is our fault and not the caller's. It may wait for credit until
// ctx ends: a second for rates, longer for budgets. An exhausted budget or rate
// limit refuses at once.
func (a *Admitter) Acquire(ctx context.Context, ask *Ask) (*Reservation, error) {
	least := ask.Max
	if ask.Clamp {
		least = min(ask.Min, ask.Max)
	}
	// A budget that is used up is the better answer than a rate limit that
	// clears in a minute, and it costs the rate limits nothing to know first.
	if err := a.budgets.Check(ask.Budgets, least); err != nil {
		return nil, refusal(err)
	}
	r := a.pool.Get().(*Reservation)
	r.reset()
	if err := r.takeRates(ctx, ask.Rates); err != nil {
		r.free()
		return nil, err
	}
	if len(ask.Budgets) > 0 {
		r.charges = append(r.charges, ask.Budgets...)
		if err := a.budgets.Reserve(ctx, r.charges, ask.Max, least, &r.money); err != nil {
			r.returnRates(true)
			r.free()
			return nil, refusal(err)
		}
	} else {
		r.unbudgeted = ask.Max
	}
	return r, nil
}

// Reservation is what one request holds. Settle or Cancel ends it, the first of
// them; later calls do nothing. It may be read after its end until Release.
type Reservation struct {
	a          *Admitter
	holds      []rate.Hold
	scopes     []model.Scope // of the holds
	charges    []BudgetCharge
	windows    []int64 // of the charges, kept past the settlement
	money      budget.Hold
	granted    unit.Money // at the end
	unbudgeted unit.Money
	ended      atomic.Bool

	fixedHolds   [8]rate.Hold
	fixedScopes  [8]model.Scope
	fixedCharges [4]BudgetCharge
	fixedWindows [4]int64
}

func (r *Reservation) reset() {
	if r.holds == nil {
		r.holds, r.scopes = r.fixedHolds[:], r.fixedScopes[:]
		r.charges, r.windows = r.fixedCharges[:], r.fixedWindows[:]
	}
	r.holds, r.scopes, r.charges, r.windows = r.holds[:0], r.scopes[:0], r.charges[:0], r.windows[:0]
	r.granted, r.unbudgeted = 0, 0
	r.ended.Store(false)
}

func (r *Reservation) takeRates(ctx context.Context, rates []RateCharge) error {
	if len(rates) == 0 {
		return nil
	}
	for i := range rates {
		c := &rates[i]
		units := c.Units
		if c.Kind == Tokens && c.Limit > 0 {
			// An estimate above the limit would never pass. It waits until the
			// whole limit is free instead, and settles to what was really used.
			units = min(units, c.Limit)
		}
		r.holds = append(r.holds, rate.Hold{ID: c.LimitID, Kind: c.Kind, Limit: c.Limit, Home: c.Home, Moves: c.Moves, Units: units})
		r.scopes = append(r.scopes, c.Scope)
	}
	short, ok := r.a.rates.TakeCtx(ctx, r.holds)
	if ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for rate credit: %w", err)
	}
	if short.Unsure { // to say that the limit is used up would be a guess
		return errSilent
	}
	c := &rates[short.Index]
	return &Refusal{Scope: c.Scope, Kind: c.Kind, Limit: c.Limit, Remaining: short.Left, RetryAfter: short.RetryAfter}
}

func (r *Reservation) returnRates(requests bool) {
	for i := range r.holds {
		if requests || r.holds[i].Kind != Requests {
			r.a.rates.Return(&r.holds[i])
		}
	}
}

// Granted is the most that the call may cost. It is less than the ask's Max
// when a call without a maximum of its own was clamped: the caller must then
// lower the provider's maximum with it.
func (r *Reservation) Granted() unit.Money {
	switch {
	case r.ended.Load():
		return r.granted
	case len(r.charges) == 0:
		return r.unbudgeted
	}
	return r.money.Granted()
}

// Windows appends the start of the window in which each budget of the ask is
// charged, in the ask's order: what the ledger must write, because the bank
// closes its books by it.
func (r *Reservation) Windows(to []int64) []int64 {
	if r.ended.Load() {
		return append(to, r.windows...)
	}
	for i := range r.charges {
		_, w := r.money.Window(i)
		to = append(to, w)
	}
	return to
}

// Rates appends what the client is told about its limits, as they stood at
// admission.
func (r *Reservation) Rates(to []RateState) []RateState {
	for i := range r.holds {
		h := &r.holds[i]
		to = append(to, RateState{Scope: r.scopes[i], Kind: h.Kind, Limit: h.Limit, Remaining: h.Left, Reset: h.Reset})
	}
	return to
}

// Grow adds more to what the call may cost. It waits as Acquire does, and is
// false when the budget is exhausted or the reservation has ended. After it the
// call's intent is out of date, and its Windows may have changed.
func (r *Reservation) Grow(more unit.Money) bool {
	_, err := r.GrowBy(context.Background(), more, more)
	return err == nil
}

// GrowBy adds more, or when credit is scarce as little as least, and returns
// what it added. Its errors are those of Acquire.
func (r *Reservation) GrowBy(ctx context.Context, more, least unit.Money) (unit.Money, error) {
	if r.ended.Load() {
		return 0, errEnded
	}
	if more = max(0, more); len(r.charges) == 0 {
		r.unbudgeted = r.unbudgeted.Add(more)
		return more, nil
	}
	got, err := r.a.budgets.Grow(ctx, r.charges, more, least, &r.money)
	return got, refusal(err)
}

var errSilent = errors.New("the node that counts a rate limit of this call is there and has not answered in time")

var errEnded = errors.New("the reservation has ended")

// Settle ends the reservation at what the call has used. What it held beyond
// that is free at once.
func (r *Reservation) Settle(tokens int64, cost unit.Money) {
	if !r.end() {
		return
	}
	for i := range r.holds {
		switch h := &r.holds[i]; h.Kind {
		case Tokens:
			r.a.rates.Settle(h, tokens)
		case Parallel:
			r.a.rates.Return(h)
		}
	}
	if len(r.charges) > 0 {
		r.a.budgets.Settle(&r.money, cost)
	}
}

// Cancel ends the reservation of a call of which no provider has heard. All is
// given back but the request count: LiteLLM counts a request when it admits it.
func (r *Reservation) Cancel() {
	if !r.end() {
		return
	}
	r.returnRates(false)
	if len(r.charges) > 0 {
		r.a.budgets.Settle(&r.money, 0)
	}
}

// end keeps what may be read afterwards, once.
func (r *Reservation) end() bool {
	if r.ended.Load() {
		return false
	}
	granted, windows := r.Granted(), r.Windows(r.windows[:0])
	if r.ended.Swap(true) {
		return false
	}
	r.granted, r.windows = granted, windows
	return true
}

// Release hands an ended reservation back for reuse; it may not be touched
// afterwards. It is a saving, not a duty.
func (r *Reservation) Release() {
	if r.ended.Load() {
		r.free()
	}
}

func (r *Reservation) free() {
	clear(r.scopes)
	clear(r.charges)
	r.a.pool.Put(r)
}

// refusal turns a budget's refusal into the one shape that callers know.
func refusal(err error) error {
	var no *budget.Exhausted
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return ofBudget(no)
	}
	return fmt.Errorf("reserve budget: %w", err)
}

func ofBudget(no *budget.Exhausted) *Refusal {
	return &Refusal{Budget: true, Scope: no.Scope, MaxBudget: no.Limit, Spent: no.Spent, Reserved: no.Reserved,
		Need: no.Need, RetryAfter: no.RetryAfter, Resets: no.Resets}
}
