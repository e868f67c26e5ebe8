package state

import (
	"slices"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// partBudget is the budget of a level that is a part of another one (a model, a
// window) or that stands in the configuration (a deployment, a provider).
func (s *Snapshot) partBudget(sc model.Scope) (model.BudgetDef, bool) {
	owner, part, _ := strings.Cut(sc.ID, "\x1f")
	switch sc.Dim {
	case model.DimModelPerKey:
		if k, ok := s.Keys.Get(owner); ok {
			return since(&k.Spending)(s.modelBudget(k.ModelMaxBudget, part, k.CreatedAt, k.BudgetMode))
		}
	case model.DimModelPerTeam:
		if t, ok := s.Teams.Get(owner); ok {
			return since(&t.Spending)(s.modelBudget(t.ModelMaxBudget, part, t.CreatedAt, t.BudgetMode))
		}
	case model.DimModelPerUser:
		if u, ok := s.Users.Get(owner); ok {
			return since(&u.Spending)(s.modelBudget(u.ModelMaxBudget, part, u.CreatedAt, u.BudgetMode))
		}
	case model.DimModelPerEndUser:
		// A customer's name is whatever a client sends: the group is what stands last.
		if i := strings.LastIndexByte(sc.ID, '\x1f'); i >= 0 {
			return s.endUserModelBudget(sc.ID[:i], sc.ID[i+1:])
		}
	case model.DimKeyWindow:
		if k, ok := s.Keys.Get(owner); ok {
			return since(&k.Spending)(s.windowBudget(k.BudgetWindows, part, k.CreatedAt, k.BudgetMode))
		}
	case model.DimTeamWindow:
		if t, ok := s.Teams.Get(owner); ok {
			return since(&t.Spending)(s.windowBudget(t.BudgetWindows, part, t.CreatedAt, t.BudgetMode))
		}
	case model.DimDeployment:
		return s.deploymentBudget(sc.ID)
	case model.DimProvider:
		if v := s.ActiveConfig(); v != nil {
			return s.modelBudget(v.Config.Router.ProviderBudgets, sc.ID, time.Time{}, "")
		}
	}
	return model.BudgetDef{}, false
}

// since has a part of an owner's budgets count from when the owner's do.
func since(owner *model.Spending) func(model.BudgetDef, bool) (model.BudgetDef, bool) {
	return func(d model.BudgetDef, ok bool) (model.BudgetDef, bool) {
		d.From = owner.SpendFrom
		return d, ok
	}
}

func (s *Snapshot) modelBudget(m map[string]model.ModelBudget, name string, anchor time.Time, mode string) (model.BudgetDef, bool) {
	b, ok := m[name]
	if !ok {
		return model.BudgetDef{}, false
	}
	return s.plain(&b.Max, b.Duration, anchor, mode)
}

// EndUserRow is the budget row that an end user's limits and budgets per model
// come from: its own, or the default of the settings.
func (s *Snapshot) EndUserRow(id string) (*model.Budget, bool) {
	row := s.settings().EndUserBudgetID
	if e, ok := s.EndUsers.Get(id); ok && e.BudgetID != "" {
		row = e.BudgetID
	}
	if row == "" {
		return nil, false
	}
	return s.Budgets.Get(row)
}

// endUserModelBudget is one customer's budget for one model. Each counts for
// itself, also where many share the row.
func (s *Snapshot) endUserModelBudget(id, group string) (model.BudgetDef, bool) {
	b, ok := s.EndUserRow(id)
	if !ok {
		return model.BudgetDef{}, false
	}
	created, mode := time.Time{}, b.BudgetMode
	if e, ok := s.EndUsers.Get(id); ok {
		created = e.CreatedAt
		if e.BudgetMode != "" {
			mode = e.BudgetMode
		}
	}
	return s.modelBudget(b.ModelMaxBudget, group, created, mode)
}

func (s *Snapshot) windowBudget(windows []model.BudgetWindow, duration string, anchor time.Time, mode string) (model.BudgetDef, bool) {
	i := slices.IndexFunc(windows, func(w model.BudgetWindow) bool { return w.Duration == duration })
	if i < 0 {
		return model.BudgetDef{}, false
	}
	return s.plain(&windows[i].Max, duration, anchor, mode)
}

// deploymentBudget is max_budget of a deployment's parameters. It is read from
// the replicated config and not from Routing, which each node compiles for itself
// and later.
func (s *Snapshot) deploymentBudget(id string) (model.BudgetDef, bool) {
	if d, ok := s.idx.budgeted[id]; ok {
		return s.paramsBudget(params(d.Params), time.Time{})
	}
	if m, ok := s.Models.Get(id); ok {
		return s.paramsBudget(params(m.Params), m.CreatedAt)
	}
	return model.BudgetDef{}, false
}

func (s *Snapshot) paramsBudget(p params, anchor time.Time) (model.BudgetDef, bool) {
	t := asText(p["max_budget"])
	if t == nil {
		return model.BudgetDef{}, false
	}
	limit, err := unit.ParseMoney(strings.TrimSpace(*t))
	if err != nil || limit < 0 {
		return model.BudgetDef{}, false
	}
	return s.plain(&limit, p.text("budget_duration"), anchor, "")
}

// budgetedDeployments finds the deployments of a config that have a budget.
func budgetedDeployments(v *model.ConfigVersion) map[string]*model.Deployment {
	if v == nil {
		return nil
	}
	var out map[string]*model.Deployment
	for i := range v.Config.Deployments {
		d := &v.Config.Deployments[i]
		if asText(d.Params["max_budget"]) == nil {
			continue
		}
		if out == nil {
			out = map[string]*model.Deployment{}
		}
		out[d.ID] = d
	}
	return out
}

// BudgetedDeployments names the deployments of the active config that have a
// budget of their own, sorted.
func (s *Snapshot) BudgetedDeployments() []string {
	ids := make([]string, 0, len(s.idx.budgeted))
	for id := range s.idx.budgeted {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// SoftBudgetOf is the amount at which a scope's spend is alerted of; false when
// it has none. It is in force in the windows of the scope's budget.
func (s *Snapshot) SoftBudgetOf(sc model.Scope) (unit.Money, bool) {
	own, row := (*model.Spending)(nil), ""
	switch sc.Dim {
	case model.DimKey:
		if k, ok := s.Keys.Get(sc.ID); ok {
			own, row = &k.Spending, k.BudgetID
		}
	case model.DimUser:
		if u, ok := s.Users.Get(sc.ID); ok {
			own = &u.Spending
		}
	case model.DimTeam:
		if t, ok := s.Teams.Get(sc.ID); ok {
			own = &t.Spending
		}
	case model.DimOrganization:
		if o, ok := s.Organizations.Get(sc.ID); ok {
			row = o.BudgetID
		}
	case model.DimTag:
		if t, ok := s.Tags.Get(sc.ID); ok {
			row = t.BudgetID
		}
	case model.DimEndUser:
		row = s.settings().EndUserBudgetID
		if e, ok := s.EndUsers.Get(sc.ID); ok {
			own = &e.Spending
			if e.BudgetID != "" {
				row = e.BudgetID
			}
		}
	case model.DimMember:
		if m, ok := s.Members.Get(sc.ID); ok {
			row = m.BudgetID
			if t, ok := s.Teams.Get(m.TeamID); ok && row == "" {
				row = t.MemberBudgetID
			}
		}
	}
	if own != nil && own.SoftBudget != nil {
		return *own.SoftBudget, true
	}
	if b, ok := s.Budgets.Get(row); ok && b.SoftBudget != nil {
		return *b.SoftBudget, true
	}
	return 0, false
}
