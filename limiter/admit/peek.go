package admit

import (
	"context"

	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
)

// BudgetStanding is how one budget stands for a call.
type BudgetStanding = budget.Standing

// RateStanding is how one rate limit stands for a call, on all nodes together.
type RateStanding struct {
	RateState
	Need int64 // units that the call must be able to take
	// Known is false when not all nodes have answered: more may be used.
	Known bool
	OK    bool // the call would pass
}

// Outlook is how the limits and budgets of an ask stand.
type Outlook struct {
	Rates   []RateStanding
	Budgets []BudgetStanding
	// No is the refusal that Acquire would give now; nil: none. Credit that calls
	// in flight hold is not looked at: Acquire waits for it.
	No *Refusal
}

// Peek tells how asks stand. It takes nothing. Other nodes are asked once for all
// of them, so it is for people and takes a round trip.
func (a *Admitter) Peek(ctx context.Context, asks []Ask) []Outlook {
	var queries []rate.Query
	for i := range asks {
		for _, c := range asks[i].Rates {
			queries = append(queries, rate.Query{ID: c.LimitID, Kind: c.Kind, Limit: c.Limit})
		}
	}
	standings := a.rates.Look(ctx, queries)
	out := make([]Outlook, len(asks))
	for i := range asks {
		n := len(asks[i].Rates)
		out[i] = a.outlook(&asks[i], standings[:n])
		standings = standings[n:]
	}
	return out
}

// outlook judges in the order in which Acquire does: the budgets that this node
// knows, the rates, then the budgets of which it has to ask the bank.
func (a *Admitter) outlook(ask *Ask, standings []rate.Standing) Outlook {
	least := ask.Max
	if ask.Clamp {
		least = min(ask.Min, ask.Max)
	}
	o := Outlook{Budgets: a.budgets.Peek(ask.Budgets, least)}
	exhausted := func(known bool) {
		for i := range o.Budgets {
			if b := &o.Budgets[i]; b.No != nil && b.Known == known && o.No == nil {
				o.No = ofBudget(b.No)
			}
		}
	}
	exhausted(true)
	for i, s := range standings {
		c := ask.Rates[i]
		need := max(1, c.Units)
		if c.Kind == Tokens && c.Limit > 0 {
			need = min(need, c.Limit) // as takeRates
		}
		r := RateStanding{Need: need, Known: s.Known, OK: need <= s.Left,
			RateState: RateState{Scope: c.Scope, Kind: c.Kind, Limit: c.Limit, Remaining: s.Left, Reset: s.Reset}}
		o.Rates = append(o.Rates, r)
		if !r.OK && o.No == nil {
			o.No = &Refusal{Scope: c.Scope, Kind: c.Kind, Limit: c.Limit, Remaining: s.Left, RetryAfter: s.Reset}
		}
	}
	exhausted(false)
	return o
}
