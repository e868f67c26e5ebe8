package state

import (
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
		return s.userBudget(sc.ID)
	case model.DimTeam:
		if t, ok := s.Teams.Get(sc.ID); ok {
			return s.own(&t.Spending, t.CreatedAt)
		}
	case model.DimMember:
		return s.memberBudget(sc.ID)
	case model.DimEndUser:
		return s.endUserBudget(sc.ID)
	case model.DimOrganization:
		if o, ok := s.Organizations.Get(sc.ID); ok {
			return s.rowBudget(o.BudgetID, &o.Spending, o.CreatedAt)
		}
	case model.DimOrgMember:
		if m, ok := s.OrgMembers.Get(sc.ID); ok {
			return s.rowBudget(m.BudgetID, &m.Spending, m.CreatedAt)
		}
	case model.DimTag:
		return s.tagBudget(sc.ID)
	case model.DimProxy:
		l := s.settings()
		return s.plain(l.ProxyBudget, l.ProxyBudgetDuration, time.Time{}, "")
	default:
		return s.partBudget(sc)
	}
	return model.BudgetDef{}, false
}

func (s *Snapshot) keyBudget(k *model.Key) (model.BudgetDef, bool) {
	if d, ok := s.hard(&k.Spending, k.CreatedAt); ok {
		if t := k.TempBudget; t != nil && s.Now.Before(t.Expires) {
			d.Limit = d.Limit.Add(t.Increase)
		}
		return d, true
	}
	if b, ok := s.Budgets.Get(k.BudgetID); ok {
		if d, ok := s.own(&b.Spending, k.CreatedAt); ok {
			offset(&d, &k.Spending)
			return d, ok
		}
	}
	if k.UserID == "" {
		if d, ok := s.callerBudget(); ok {
			offset(&d, &k.Spending)
			return d, ok
		}
	}
	return s.watched(&k.Spending, k.CreatedAt)
}

func (s *Snapshot) userBudget(id string) (model.BudgetDef, bool) {
	u, ok := s.Users.Get(id)
	if !ok {
		return s.callerBudget()
	}
	if d, ok := s.hard(&u.Spending, u.CreatedAt); ok {
		return d, ok
	}
	if d, ok := s.callerBudget(); ok {
		offset(&d, &u.Spending)
		return d, ok
	}
	return s.watched(&u.Spending, u.CreatedAt)
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
	return s.rowBudget(row, &m.Spending, m.CreatedAt)
}

// rowBudget is the budget that a row gives to who points at it. What was set as
// spent is the owner's, and so is the mode where it has one.
func (s *Snapshot) rowBudget(row string, owner *model.Spending, created time.Time) (model.BudgetDef, bool) {
	b, ok := s.Budgets.Get(row)
	if !ok {
		return model.BudgetDef{}, false
	}
	d, ok := s.own(&b.Spending, created)
	offset(&d, owner)
	if owner.BudgetMode != "" && b.MaxBudget != nil {
		d.Soft = owner.BudgetMode == "soft"
	}
	return d, ok
}

// tagBudget is a tag's own, or the one that the settings name for it.
func (s *Snapshot) tagBudget(tag string) (model.BudgetDef, bool) {
	t, known := s.Tags.Get(tag)
	if known {
		if d, ok := s.rowBudget(t.BudgetID, &t.Spending, t.CreatedAt); ok {
			return d, ok
		}
	}
	b, ok := s.settings().TagBudgets[tag]
	if !ok {
		return model.BudgetDef{}, false
	}
	d, ok := s.plain(&b.Max, b.Duration, time.Time{}, "")
	if known {
		offset(&d, &t.Spending)
	}
	return d, ok
}

func (s *Snapshot) endUserBudget(id string) (model.BudgetDef, bool) {
	e, known := s.EndUsers.Get(id)
	if known && e.MaxBudget != nil {
		return s.own(&e.Spending, e.CreatedAt)
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
		if d, ok := s.own(&b.Spending, created); ok {
			return d, ok
		}
	}
	return s.plain(l.EndUserBudget, "", created, "")
}

// callerBudget is the default of litellm_settings.max_budget without a
// duration of its own: per caller and month.
func (s *Snapshot) callerBudget() (model.BudgetDef, bool) {
	l := s.settings()
	return s.plain(l.CallerBudget, l.CallerBudgetDuration, time.Time{}, "")
}

// settings are the replicated ones: routing is each node's own and follows
// later, and the bank must resolve alike on every node.
func (s *Snapshot) settings() *model.LiteLLMSettings {
	if v := s.ActiveConfig(); v != nil {
		return &v.Config.LiteLLM
	}
	return &model.LiteLLMSettings{}
}

// own is the budget in an entity's fields: a limit, or only a soft one.
func (s *Snapshot) own(sp *model.Spending, anchor time.Time) (model.BudgetDef, bool) {
	if d, ok := s.hard(sp, anchor); ok {
		return d, ok
	}
	return s.watched(sp, anchor)
}

// hard is the budget in an entity's fields that has a limit.
func (s *Snapshot) hard(sp *model.Spending, anchor time.Time) (model.BudgetDef, bool) {
	d, ok := s.plain(sp.MaxBudget, sp.BudgetDuration, anchor, sp.BudgetMode)
	if ok {
		offset(&d, sp)
	}
	return d, ok
}

// watched is a budget without a limit that has a soft one: it is counted over
// the cluster as any other, so that its alert comes when it is due, and refuses
// nothing.
func (s *Snapshot) watched(sp *model.Spending, anchor time.Time) (model.BudgetDef, bool) {
	if sp.SoftBudget == nil {
		return model.BudgetDef{}, false
	}
	none := unit.MaxMoney
	d, ok := amount(&none, sp.BudgetDuration, anchor)
	d.Soft = true
	offset(&d, sp)
	return d, ok
}

// plain is a budget of an amount, in the mode of the settings unless it has one
// of its own.
func (s *Snapshot) plain(limit *unit.Money, duration string, anchor time.Time, mode string) (model.BudgetDef, bool) {
	d, ok := amount(limit, duration, anchor)
	if !ok {
		return d, false
	}
	if v := s.ActiveConfig(); v != nil && mode == "" {
		mode = v.Config.Tollgate.BudgetMode
	}
	d.Soft = mode == "soft"
	return d, true
}

// offset takes over what an operator has set as spent, and from when the budget
// counts: both belong to whoever is charged, also where the limit comes from a
// shared row or a default.
func offset(d *model.BudgetDef, sp *model.Spending) {
	d.Offset, d.OffsetWindow, d.From = sp.SpendOffset, sp.SpendOffsetWindow, sp.SpendFrom
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
