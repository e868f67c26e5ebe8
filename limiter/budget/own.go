package budget

import (
	"tollgate/config/model"
	"tollgate/config/unit"
)

// Own is what this start of the node has itself settled in a budget's current
// window, reported or not. ok is false when it has not used the budget lately;
// what it once did then stands in the bank.
func (a *Account) Own(scope model.Scope) (spent unit.Money, window int64, ok bool) {
	sh := &a.shelf[shelfOf(scope)]
	sh.mu.RLock()
	r := sh.m[scope]
	sh.mu.RUnlock()
	if r == nil {
		return 0, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s, r.window, r.window != CurrentWindow
}

// Use is a budget that calls of this node have lately been charged to.
type Use struct {
	Scope  model.Scope
	Window int64
	Spent  unit.Money // by all nodes, as far as known here
}

// InFlight is what calls in flight hold on this node, summed over the budgets
// that each is charged to, ended windows included.
func (a *Account) InFlight() unit.Money {
	a.askMu.Lock()
	recs := make([]*record, 0, len(a.active))
	for r := range a.active {
		recs = append(recs, r)
	}
	a.askMu.Unlock()
	sum := unit.Money(0)
	for _, r := range recs {
		r.mu.Lock()
		sum = sum.Add(r.reserved)
		r.mu.Unlock()
	}
	return sum
}

// Uses lists the budgets that are in use on this node, in no order.
func (a *Account) Uses() []Use {
	a.askMu.Lock()
	recs := make([]*record, 0, len(a.active))
	for r := range a.active {
		recs = append(recs, r)
	}
	a.askMu.Unlock()
	out := make([]Use, 0, len(recs))
	for _, r := range recs {
		r.mu.Lock()
		if !r.gone && r.window != CurrentWindow {
			out = append(out, Use{r.scope, r.window, r.spent()})
		}
		r.mu.Unlock()
	}
	return out
}
