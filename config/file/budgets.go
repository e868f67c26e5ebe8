package file

import (
	"tollgate/config/model"
	"tollgate/config/unit"
)

// namedBudgets reads a map of budgets, by provider or by tag: each an amount
// (budget_limit or max_budget) and the time it is for (time_period or
// budget_duration). Without a time it never resets.
func (p *parser) namedBudgets(s *section, name string, into *map[string]model.ModelBudget) {
	v := s.field(name)
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindMap {
		s.want(v, name, "a map of budgets by name")
		return
	}
	out := make(map[string]model.ModelBudget, len(v.fields))
	for _, f := range v.fields {
		at := join(join(s.path, name), f.name)
		if f.v.kind != kindMap {
			p.fault(f.v, at, "want a budget, found "+kindNames[f.v.kind], "write budget_limit and time_period below it")
			continue
		}
		in := newSection(s.s, f.v, at, s.level)
		var amount *unit.Money
		var duration string
		in.Money("max_budget", &amount)
		in.Money("budget_limit", &amount)
		in.Duration("budget_duration", &duration)
		in.Duration("time_period", &duration)
		in.Rest([]string{"max_budget", "budget_limit", "budget_duration", "time_period"})
		if amount == nil {
			p.fault(f.v, at, "a budget needs an amount", "add budget_limit: 100")
			continue
		}
		w, _ := unit.ParseWindow(duration) // checked above
		out[f.name] = model.ModelBudget{Max: *amount, Duration: w.String()}
	}
	if len(out) > 0 {
		*into = out
	}
}

// alertTypes are LiteLLM's kinds of alerts. Those of budgets are sent.
var alertTypes = words(`llm_exceptions llm_too_slow llm_requests_hanging budget_alerts db_exceptions daily_reports
	spend_reports cooldown_deployment new_model_added outage_alerts region_outage_alerts failed_tracking_spend
	fallback_reports new_virtual_key_created virtual_key_updated virtual_key_deleted new_team_created team_updated
	team_deleted new_internal_user_created internal_user_updated internal_user_deleted`)

// alertAddresses checks alert_to_webhook_url: an address, or several, for each
// kind of alert. It stays in the raw settings, which are sealed as a whole.
func (p *parser) alertAddresses(s *section) {
	const name = "alert_to_webhook_url"
	v := s.v.get(name)
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindMap {
		s.want(v, name, "a map of addresses by kind of alert")
		return
	}
	for _, f := range v.fields {
		at := join(join(s.path, name), f.name)
		switch {
		case !contains(alertTypes, f.name):
			p.warn(f.key, at, "unknown kind of alert", suggestion(f.name, "", alertTypes))
		case f.name != "budget_alerts":
			p.warn(f.key, at, "alerts of this kind are not sent in this release", "those of budgets are: budget_alerts")
		}
		list := []*value{f.v}
		if f.v.kind == kindList {
			list = f.v.items
		}
		for _, item := range list {
			if item.kind != kindText && item.kind != kindNull { // null: a variable that is not set, which is said elsewhere
				p.fault(item, at, "want an address, found "+kindNames[item.kind], "write a URL or a list of them")
			}
		}
	}
}

// alerting reads where alerts go. A way that is not there is said: somebody
// relies on it.
func (p *parser) alerting(s *section, into *[]string) {
	s.Texts("alerting", into)
	for _, name := range *into {
		if name != "webhook" && name != "slack" {
			p.warn(s.v.get("alerting"), join(s.path, "alerting"), "alerts by "+quote(name)+" are not sent in this release", "use webhook or slack")
		}
	}
}
