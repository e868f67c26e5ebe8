package run

import (
	"context"

	"tollgate/limiter/admit"
	"tollgate/limiter/rate"
	"tollgate/proxy/admin"
)

// rateLooker answers the management API what rate limits have left.
type rateLooker struct{ rates *rate.Limiter }

var _ admin.Limits = rateLooker{}

// Look fills in what this node knows of the limits.
func (l rateLooker) Look(_ context.Context, limits []admit.RateState) {
	for i := range limits {
		s := &limits[i]
		s.Remaining, s.Reset = l.rates.State(l.rates.ID(s.Scope, s.Kind), s.Kind, s.Limit)
	}
}
