package admin

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// mostWindows bounds the budgets that one key or team has at once: each call is
// charged in all of them.
const mostWindows = 8

// windows reads budget_limits: several budgets at once, each over a duration of
// its own.
func (f *form) windows(name string) field[[]model.BudgetWindow] {
	return read(f, name, func(v jsontext.Value) ([]model.BudgetWindow, bool) {
		items, ok := f.items(name, v)
		if len(items) > mostWindows {
			f.invalid(name, "at most "+strconv.Itoa(mostWindows)+" budgets at once")
			return nil, false
		}
		var out []model.BudgetWindow
		seen := map[string]bool{}
		for i, it := range items {
			at := name + "." + strconv.Itoa(i)
			if it.Kind() != '{' {
				f.fault(at, "model_attributes_type", "Input should be a valid dictionary")
				ok = false
				continue
			}
			in, _ := parseForm(it)
			in.where = f.where
			limit, period := in.budget("max_budget"), in.window("budget_duration")
			if !limit.given {
				limit = in.budget("budget_limit")
			}
			if !period.given {
				period = in.window("time_period")
			}
			in.require("max_budget", limit.set)
			in.require("budget_duration", period.v != "")
			w, _ := unit.ParseWindow(period.v)
			if seen[w.String()] && period.v != "" {
				in.invalid("budget_duration", "there is another budget over "+w.String())
			}
			seen[w.String()] = true
			ok = f.adopt(in, at) && ok
			out = append(out, model.BudgetWindow{Duration: w.String(), Max: limit.v})
		}
		return out, ok
	})
}

// windowView is one of several budgets as the API shows it.
type windowView struct {
	Duration string     `json:"budget_duration"`
	Max      float64    `json:"max_budget"`
	Spend    float64    `json:"spend"`
	ResetAt  *time.Time `json:"reset_at"`
}

// windowsView shows what an owner's several budgets have used; nil when it has
// none.
func (c *call) windowsView(s *state.Snapshot, dim model.Dim, owner string, anchor time.Time, list []model.BudgetWindow) []windowView {
	var out []windowView
	for _, w := range list {
		sc := model.WindowScope(dim, owner, w.Duration)
		out = append(out, windowView{w.Duration, w.Max.USD(), c.spent(s, sc, &model.Spending{}).USD(), c.resetAt(s, w.Duration, anchor)})
	}
	return out
}
