package admin

import (
	"time"

	"tollgate/config/model"
	"tollgate/proxy/refusal"
)

// providerBudgets answers what each provider with a budget has used of it.
func providerBudgets(c *call) *refusal.Refusal {
	if !c.seesSpend() {
		return forbidden("Your role=%s may not read the budgets of providers.", c.p.Role)
	}
	type row struct {
		Limit  float64    `json:"budget_limit"`
		Period *string    `json:"time_period"`
		Spend  float64    `json:"spend"`
		Reset  *time.Time `json:"budget_reset_at"`
	}
	providers := map[string]row{}
	for name, b := range c.settings().Router.ProviderBudgets {
		sc := model.Scope{Dim: model.DimProvider, ID: name}
		spending := model.Spending{BudgetDuration: b.Duration}
		r := row{Limit: b.Max.USD(), Period: optional(b.Duration), Spend: c.shownSpent(sc, c.window(c.s, sc, &spending)).USD()}
		var anchor time.Time
		if def, ok := c.s.BudgetOf(sc); ok {
			anchor = def.Anchor
		}
		r.Reset = c.resetAt(c.s, b.Duration, anchor)
		providers[name] = r
	}
	return c.ok(struct {
		Providers map[string]row `json:"providers"`
	}{providers})
}
