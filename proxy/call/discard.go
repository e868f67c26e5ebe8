package call

import (
	"context"

	"tollgate/config/price"
	"tollgate/proxy/provider"
)

// discard gives up an answer that its provider's content filter has cut, for a
// fallback that may answer better. The provider bills it all the same, so the
// caller's budgets must hold its cost beside that of the answer to come; where
// they do not, the answer stays.
func (c *call) discard(a *provider.Answer) bool {
	if !c.way.Leads(provider.ContentPolicy) {
		return false
	}
	usage := c.usageOf(a)
	cost := price.Of(&usage, rowOf(c.served))
	if lane := c.lane.res; lane != nil && len(c.charges) > c.lane.own {
		return false // the deployment's own budget would not hear of it
	}
	if cost.Total > 0 && len(c.charges) > 0 {
		if _, err := c.reservation.GrowBy(context.Background(), cost.Total, cost.Total); err != nil {
			return false
		}
		if !c.amendIntent() {
			return false
		}
	}
	c.discarded.Add(&cost)
	c.discardedTokens += c.countedTokens(&usage)
	return true
}
