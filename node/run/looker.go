package run

import (
	"context"
	"time"

	"tollgate/limiter/admit"
	"tollgate/limiter/rate"
	"tollgate/proxy/admin"
)

// rateLooker answers the management API what rate limits have left.
type rateLooker struct{ rates *rate.Limiter }

var _ admin.Limits = rateLooker{}

// lookWithin bounds how long nodes that do not answer hold up a page.
const lookWithin = time.Second

// Look fills in how the limits stand in the whole cluster, as far as the other
// nodes answer.
func (l rateLooker) Look(ctx context.Context, limits []admit.RateState) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	queries := make([]rate.Query, len(limits))
	for i := range limits {
		s := &limits[i]
		queries[i] = rate.Query{ID: l.rates.ID(s.Scope, s.Kind), Kind: s.Kind, Limit: s.Limit}
	}
	for i, standing := range l.rates.Look(ctx, queries) {
		limits[i].Remaining, limits[i].Reset = standing.Left, standing.Reset
	}
}
