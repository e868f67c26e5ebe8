package call

import (
	"time"

	"tollgate/ledger/store"
	"tollgate/limiter/admit"
)

// refusedBy is what the books keep of a limit or budget that refused a call: the
// numbers that its message has in words. nil: it was none.
func refusedBy(no *admit.Refusal, now time.Time) *store.Refused {
	switch {
	case no == nil || no.Scope.ID == "":
		return nil
	case no.Budget:
		return &store.Refused{Scope: no.Scope, Unit: "usd", Limit: int64(no.MaxBudget), Used: int64(no.Spent), Reserved: int64(no.Reserved),
			Needed: int64(no.Need), Resets: no.Resets}
	}
	r := &store.Refused{Scope: no.Scope, Unit: no.Kind.String(), Limit: no.Limit, Used: max(0, no.Limit-no.Remaining)}
	if no.RetryAfter > 0 {
		r.Resets = now.Add(no.RetryAfter)
	}
	return r
}
