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
