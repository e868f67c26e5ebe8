// Package admit decides whether a request may run: one reservation over all its
// rate limits and budgets, all or nothing, and one settlement at its end. It
// combines limiter/rate and limiter/budget and adds no counting of its own; it
// does not know which limits a caller has, what a call costs, or how a refusal
// is put into words for a client.
package admit

import (
	"fmt"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
)

// Kind is what a rate limit counts.
type Kind = rate.Kind

// The kinds, as they appear in headers and refusals.
const (
	Requests = rate.Requests
	Tokens   = rate.Tokens
	Parallel = rate.Parallel
)

// RateCharge is one rate limit that a request passes. LimitID is unique per
// scope and kind (Admitter.LimitID builds it).
type RateCharge struct {
	LimitID uint64
	Scope   model.Scope
	Kind    Kind
	Limit   int64
	Units   int64  // 1 for requests and parallel; reserved tokens for tokens
	Home    string // the region whose nodes grant of the limit; "": any
	Moves   uint32 // how often Home has been another before
}

// BudgetCharge is one budget that a request passes.
type BudgetCharge = budget.Charge

// Ask is one request's wish. Budgets stand in LiteLLM's order of checks, so
// that the first exhausted one is the one reported.
type Ask struct {
	Rates   []RateCharge
	Budgets []BudgetCharge
	// Max is the most the call can cost. With Clamp set (the caller stated no
	// maximum) Acquire may grant less, down to Min.
	Max   unit.Money
	Min   unit.Money
	Clamp bool
}

// Refusal says which limit or budget said no, in the numbers a caller needs.
type Refusal struct {
	Budget     bool // a budget, else a rate limit
	Scope      model.Scope
	Kind       Kind // of a rate limit
	Limit      int64
	Remaining  int64
	MaxBudget  unit.Money
	Spent      unit.Money // settled in this window
	Reserved   unit.Money // held by calls in flight
	Need       unit.Money
	RetryAfter time.Duration // until it can pass; 0: not by waiting
	Resets     time.Time     // when the window ends; zero: never
}

// Error is a short form for logs; clients get the dialect's own words.
func (r *Refusal) Error() string {
	if r.Budget {
		return fmt.Sprintf("budget of %s %q exhausted: spent %s, reserved %s, limit %s", r.Scope.Dim, r.Scope.ID, r.Spent, r.Reserved, r.MaxBudget)
	}
	return fmt.Sprintf("%s limit of %s %q reached: limit %d", r.Kind, r.Scope.Dim, r.Scope.ID, r.Limit)
}

// RateState is what the client is told about one limit after admission.
type RateState struct {
	Scope     model.Scope
	Kind      Kind
	Limit     int64
	Remaining int64
	Reset     time.Duration // until the whole limit is free again
}
