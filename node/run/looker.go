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

// Look asks all nodes in one go.
func (l rateLooker) Look(ctx context.Context, limits []admit.RateState) {
	queries := make([]rate.Query, len(limits))
	for i, s := range limits {
		queries[i] = rate.Query{ID: l.rates.ID(s.Scope, s.Kind), Kind: s.Kind, Limit: s.Limit}
	}
	for i, standing := range l.rates.Look(ctx, queries) {
		limits[i].Remaining, limits[i].Reset = standing.Left, standing.Reset
	}
}
