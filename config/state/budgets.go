package state

import (
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// BudgetOf is the budget of a scope as the state has it now, or false when the
// scope has none. The budget bank and the proxy path both ask here, so that a
// limit means the same to who grants and to who spends.
func (s *Snapshot) BudgetOf(sc model.Scope) (model.BudgetDef, bool) {
	switch sc.Dim {
	case model.DimKey:
		if k, ok := s.Keys.Get(sc.ID); ok {
			return s.keyBudget(k)
		}
	case model.DimUser:
		u, ok := s.Users.Get(sc.ID)
		if ok && u.MaxBudget != nil {
			return s.def(&u.Spending, u.CreatedAt)
		}
		d, has := s.callerBudget()
		if ok {
			offset(&d, &u.Spending)
		}
		return d, has
	case model.DimTeam:
		if t, ok := s.Teams.Get(sc.ID); ok {
			return s.def(&t.Spending, t.CreatedAt)
		}
	case model.DimMember:
		return s.memberBudget(sc.ID)
	case model.DimEndUser:
		return s.endUserBudget(sc.ID)
	case model.DimModelPerKey:
		hash, group, _ := strings.Cut(sc.ID, "\x1f")
		if k, ok := s.Keys.Get(hash); ok {
			if b, ok := k.ModelMaxBudget[group]; ok {
				return amount(&b.Max, b.Duration, k.CreatedAt)
			}
		}
	case model.DimProxy:
		l := s.settings()
		return amount(l.ProxyBudget, l.ProxyBudgetDuration, time.Time{})
	}
	return model.BudgetDef{}, false
}

func (s *Snapshot) keyBudget(k *model.Key) (model.BudgetDef, bool) {
	if d, ok := s.def(&k.Spending, k.CreatedAt); ok {
		if t := k.TempBudget; t != nil && s.Now.Before(t.Expires) {
			d.Limit = d.Limit.Add(t.Increase)
		}
		return d, true
	}
	if b, ok := s.Budgets.Get(k.BudgetID); ok && b.MaxBudget != nil {
		d, ok := s.def(&b.Spending, k.CreatedAt)
		offset(&d, &k.Spending)
		return d, ok
	}
	if k.UserID == "" {
		d, ok := s.callerBudget()
		offset(&d, &k.Spending)
		return d, ok
	}
	return model.BudgetDef{}, false
}

func (s *Snapshot) memberBudget(id string) (model.BudgetDef, bool) {
	m, ok := s.Members.Get(id)
	if !ok {
		return model.BudgetDef{}, false
	}
	row := m.BudgetID
	if row == "" {
		if t, ok := s.Teams.Get(m.TeamID); ok {
			row = t.MemberBudgetID
		}
	}
	if b, ok := s.Budgets.Get(row); ok {
		return s.def(&b.Spending, m.CreatedAt)
	}
	return model.BudgetDef{}, false
}

func (s *Snapshot) endUserBudget(id string) (model.BudgetDef, bool) {
	e, known := s.EndUsers.Get(id)
	if known && e.MaxBudget != nil {
		return s.def(&e.Spending, e.CreatedAt)
	}
	d, ok := s.endUserDefault(e)
	if known {
		offset(&d, &e.Spending)
	}
	return d, ok
}

// endUserDefault is the budget of an end user without one of its own; e is nil
// for one that nobody has made.
func (s *Snapshot) endUserDefault(e *model.EndUser) (model.BudgetDef, bool) {
	l := s.settings()
	row, created := l.EndUserBudgetID, time.Time{}
	if e != nil && e.BudgetID != "" {
		row, created = e.BudgetID, e.CreatedAt
	}
	if b, ok := s.Budgets.Get(row); ok {
		return s.def(&b.Spending, created)
	}
	return amount(l.EndUserBudget, "", created)
}

// callerBudget is the default of litellm_settings.max_budget without a
// duration of its own: per caller and month.
func (s *Snapshot) callerBudget() (model.BudgetDef, bool) {
	l := s.settings()
	return amount(l.CallerBudget, l.CallerBudgetDuration, time.Time{})
}

// settings are the replicated ones: routing is each node's own and follows
// later, and the bank must resolve alike on every node.
func (s *Snapshot) settings() *model.LiteLLMSettings {
	if v := s.ActiveConfig(); v != nil {
		return &v.Config.LiteLLM
	}
	return &model.LiteLLMSettings{}
}

func (s *Snapshot) def(sp *model.Spending, anchor time.Time) (model.BudgetDef, bool) {
	d, ok := amount(sp.MaxBudget, sp.BudgetDuration, anchor)
	if !ok {
		return d, false
	}
	mode := sp.BudgetMode
	if v := s.ActiveConfig(); v != nil && mode == "" {
		mode = v.Config.Tollgate.BudgetMode
	}
	d.Soft = mode == "soft"
	offset(&d, sp)
	return d, true
}

// offset takes over what an operator has set as spent: it belongs to whoever is
// charged, also where the limit comes from a shared row or a default.
func offset(d *model.BudgetDef, sp *model.Spending) {
	d.Offset, d.OffsetWindow = sp.SpendOffset, sp.SpendOffsetWindow
}

func amount(limit *unit.Money, duration string, anchor time.Time) (model.BudgetDef, bool) {
	if limit == nil {
		return model.BudgetDef{}, false
	}
	w, err := unit.ParseWindow(duration)
	if err != nil { // checked when it was accepted; an endless window is the strict reading
		w = unit.Window{}
	}
	return model.BudgetDef{Limit: *limit, Window: w, Anchor: anchor}, true
}
