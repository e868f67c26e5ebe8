package call

import (
	"fmt"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
)

// limits tells of the caller's budgets and limits, in the order of admission.
func (e *explainer) limits(o *admit.Outlook) {
	for i := range o.Budgets {
		e.note(e.budget(&o.Budgets[i]))
	}
	for i := range o.Rates {
		e.note(e.rate(&o.Rates[i]))
	}
	switch {
	case o.No == nil:
	case o.No.Budget:
		e.refuse("budget", e.c.notAdmitted(o.No))
	default:
		e.refuse("rate_limit", e.c.notAdmitted(o.No))
	}
}

// shownID is a scope's id as messages show it.
func shownID(sc model.Scope) string { return strings.ReplaceAll(sc.ID, "\x1f", ":") }

func (e *explainer) budget(b *admit.BudgetStanding) Check {
	free := max(0, b.Limit.Add(-b.Spent).Add(-b.Reserved))
	k := Check{Name: "budget", OK: b.No == nil, Scope: b.Scope.Dim.String(), ID: shownID(b.Scope), Unit: "usd", Limit: dollarsOf(b.Limit),
		Used: dollarsOf(b.Spent), Reserved: dollarsOf(b.Reserved), Free: dollarsOf(free), Needed: dollarsOf(b.Need)}
	resets := b.Resets
	if resets.IsZero() {
		resets = e.windowEnd(b.Scope)
	}
	if !resets.IsZero() {
		resets = resets.UTC()
		k.ResetsAt = &resets
	}
	kind := "budget"
	if b.Soft {
		kind = "soft budget"
	}
	k.What = fmt.Sprintf("%s of %s %s: $%s of $%s spent", kind, k.Scope, k.ID, dollars(b.Spent.USD()), dollars(b.Limit.USD()))
	if b.Reserved > 0 {
		k.What += ", $" + dollars(b.Reserved.USD()) + " held by calls in flight"
	}
	return e.narrowed(k, b.Scope.Dim)
}

// windowEnd is when a budget that nobody has used yet begins anew.
func (e *explainer) windowEnd(sc model.Scope) time.Time {
	def, ok := e.c.snap.BudgetOf(sc)
	if !ok || def.Window.Endless() {
		return time.Time{}
	}
	where := time.UTC
	if r := e.c.snap.Routing; r != nil && r.Location != nil {
		where = r.Location
	}
	_, end := def.Window.Span(e.c.start, def.Anchor, where)
	return end
}

func (e *explainer) rate(r *admit.RateStanding) Check {
	k := Check{Name: "rate_limit", OK: r.OK, Scope: r.Scope.Dim.String(), ID: shownID(r.Scope), Unit: r.Kind.String(), Limit: number(r.Limit),
		Used: number(r.Limit - r.Remaining), Free: number(r.Remaining), Needed: number(r.Need), Uncertain: !r.Known}
	if r.Reset > 0 {
		at := e.c.start.Add(r.Reset).UTC()
		k.ResetsAt = &at
	}
	k.What = fmt.Sprintf("%s of %s %s: %d of %d used", k.Unit, k.Scope, k.ID, r.Limit-r.Remaining, r.Limit)
	return e.narrowed(k, r.Scope.Dim)
}

// narrowed takes the figures out of what is not the caller's own. A tag or an end
// user can be named by anybody, and is counted for all who name it.
func (e *explainer) narrowed(k Check, dim model.Dim) Check {
	if !e.narrow {
		return k
	}
	switch dim {
	case model.DimKey, model.DimModelPerKey, model.DimKeyWindow, model.DimUser, model.DimModelPerUser,
		model.DimTeam, model.DimMember, model.DimModelPerTeam, model.DimTeamWindow:
		return k
	}
	k.Limit, k.Used, k.Reserved, k.Free = nil, nil, nil, nil
	k.What = k.Unit + " of " + k.Scope + " " + k.ID + ": "
	if k.OK {
		k.What += "there is room"
	} else {
		k.What += "there is no room"
	}
	return k
}

func number(n int64) *float64 {
	f := float64(n)
	return &f
}

func dollarsOf(m unit.Money) *float64 {
	f := m.USD()
	return &f
}
