package admin

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// limitFields are the rate limits of a request.
type limitFields struct{ rpm, tpm, parallel field[int64] }

func readLimits(f *form) limitFields {
	return limitFields{f.limit("rpm_limit"), f.limit("tpm_limit"), f.limit("max_parallel_requests")}
}

func (x *limitFields) into(l *model.Limits) {
	x.rpm.intoPtr(&l.RPM)
	x.tpm.intoPtr(&l.TPM)
	x.parallel.intoPtr(&l.Parallel)
}

func (x *limitFields) any() bool { return x.rpm.set || x.tpm.set || x.parallel.set }

func (x *limitFields) given() bool { return x.rpm.given || x.tpm.given || x.parallel.given }

// spendingFields are the budget fields of a request.
type spendingFields struct {
	max, soft, spend field[unit.Money]
	duration, mode   field[string]
}

func readSpending(f *form) spendingFields {
	return spendingFields{
		max: f.budget("max_budget"), soft: f.budget("soft_budget"), spend: f.money("spend"),
		duration: f.window("budget_duration"), mode: f.choice("budget_mode", "", "strict", "soft"),
	}
}

// into stores what was given, but not spend: that depends on what the ledger
// has counted, see setSpend.
func (x *spendingFields) into(sp *model.Spending) {
	x.max.intoPtr(&sp.MaxBudget)
	x.soft.intoPtr(&sp.SoftBudget)
	if x.duration.given {
		// Normal form, so that "30min" is kept as the 30m that it means.
		w, _ := unit.ParseWindow(x.duration.v)
		sp.BudgetDuration = w.String()
	}
	x.mode.into(&sp.BudgetMode)
}

func (x *spendingFields) any() bool { return x.max.set || x.soft.set || x.duration.set }

func (x *spendingFields) given() bool {
	return x.max.given || x.soft.given || x.spend.given || x.duration.given || x.mode.given
}

// modelBudgets reads {model: {budget_limit|max_budget, time_period|budget_duration}}
// and the older {model: amount}.
func (f *form) modelBudgets(name string) field[map[string]model.ModelBudget] {
	return entries(f, name, func(at string, v jsontext.Value) (model.ModelBudget, bool) {
		before := len(f.faults)
		if v.Kind() != '{' {
			m, ok := f.moneyValue(at, v)
			if ok && m < 0 {
				f.invalid(at, at+" cannot be negative")
			}
			return model.ModelBudget{Max: m}, len(f.faults) == before
		}
		in := &form{where: f.where, raw: map[string]jsontext.Value{}}
		if err := json.Unmarshal(v, &in.raw); err != nil {
			f.fault(at, "dict_type", "Input should be a valid dictionary")
			return model.ModelBudget{}, false
		}
		limit, period := in.budget("budget_limit"), in.window("time_period")
		if !limit.given {
			limit = in.budget("max_budget")
		}
		if !period.given {
			period = in.window("budget_duration")
		}
		in.require("budget_limit", limit.set)
		for _, x := range in.faults {
			x.Loc = append([]string{f.where, name, at[len(name)+1:]}, x.Loc[1:]...)
			f.faults = append(f.faults, x)
		}
		w, _ := unit.ParseWindow(period.v)
		return model.ModelBudget{Max: limit.v, Duration: w.String()}, !in.wrong()
	})
}

// modelBudgetsView shows per-model budgets as they are given.
func modelBudgetsView(m map[string]model.ModelBudget) map[string]modelBudgetView {
	out := make(map[string]modelBudgetView, len(m))
	for name, b := range m {
		out[name] = modelBudgetView{b.Max.USD(), optional(b.Duration)}
	}
	return out
}

type modelBudgetView struct {
	Limit  float64 `json:"budget_limit"`
	Period *string `json:"time_period"`
}

// spent is what a scope has spent in the window of its budget that is open
// now, or ever when it has none, with the operator's correction.
func (c *call) spent(s *state.Snapshot, sc model.Scope, sp *model.Spending) unit.Money {
	start := c.window(s, sc, sp)
	return corrected(sp, start, c.shownSpent(sc, start))
}

// spentEverywhere is the same for a write that counts from it: all nodes are
// asked before it is worked out.
func (c *call) spentEverywhere(s *state.Snapshot, sc model.Scope, sp *model.Spending) unit.Money {
	start := c.window(s, sc, sp)
	return corrected(sp, start, c.countedSpent(sc, start))
}

func corrected(sp *model.Spending, start time.Time, spent unit.Money) unit.Money {
	if start.IsZero() {
		spent = spent.Add(-sp.SpendBase)
	}
	if sp.SpendOffsetWindow == windowStart(start) {
		return spent.Add(sp.SpendOffset)
	}
	return spent
}

// window is the start of the window in which a scope now spends: its budget's,
// or what its duration says where it has none; the zero time is endless.
func (c *call) window(s *state.Snapshot, sc model.Scope, sp *model.Spending) time.Time {
	start := time.Time{}
	if def, ok := s.BudgetOf(sc); ok {
		if at, _ := def.Span(c.now(), location(s)); at != 0 {
			start = time.Unix(at, 0).UTC()
		}
	} else if w, err := unit.ParseWindow(sp.BudgetDuration); err == nil {
		start, _ = w.Span(c.now(), c.now(), location(s)) // one being made counts from now
	}
	return start
}

// windowStart is a window's start as budgets count it: 0 for an endless one.
func windowStart(start time.Time) int64 {
	if start.IsZero() {
		return 0
	}
	return start.Unix()
}

// offsetSpend counts an amount as spent beside the ledger's sum, in the window
// that is open now and in no other.
func (c *call) offsetSpend(s *state.Snapshot, sc model.Scope, sp *model.Spending, by unit.Money) {
	sp.SpendOffset, sp.SpendOffsetWindow = by, windowStart(c.window(s, sc, sp))
}

// setSpend makes spent answer want from now on. The ledger is never rewritten:
// the difference is kept beside it.
func (c *call) setSpend(s *state.Snapshot, sc model.Scope, sp *model.Spending, want unit.Money) {
	if c.reset(s, sc, sp, want) {
		return
	}
	start := c.window(s, sc, sp)
	by := want.Add(-c.countedSpent(sc, start))
	if start.IsZero() {
		by = by.Add(sp.SpendBase)
	}
	c.offsetSpend(s, sc, sp, by)
}

// resetAt is when the window ends that is open now; nil when it never does.
func (c *call) resetAt(s *state.Snapshot, duration string, anchor time.Time) *time.Time {
	w, err := unit.ParseWindow(duration)
	if err != nil || w.Endless() {
		return nil
	}
	_, end := w.Span(c.now(), anchor, location(s))
	end = end.UTC()
	return &end
}

// usd shows an amount that may be missing.
func usd(m *unit.Money) *float64 {
	if m == nil {
		return nil
	}
	f := m.USD()
	return &f
}

// optional shows an empty string as null, as LiteLLM's columns do.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment shows a time in UTC, null when it is not set.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
