package run

import (
	"maps"
	"slices"

	"tollgate/config/model"
	"tollgate/config/state"
)

// budgetScopes lists the budgets that changes have made or changed, and those
// whose owner is gone. A budget that was taken off an owner that is still there
// is in neither: what was spent counts when it is set again.
func budgetScopes(old, now *state.Snapshot, changes []model.Change) (made, gone []model.Scope) {
	for _, c := range changes {
		for _, sc := range scopesOf(now, c) {
			if _, ok := now.BudgetOf(sc); ok {
				made = append(made, sc)
			}
		}
		if len(c.Value) != 0 && string(c.Value) != "null" {
			continue
		}
		for _, sc := range scopesOf(old, c) {
			if _, ok := now.BudgetOf(sc); !ok {
				gone = append(gone, sc)
			}
		}
	}
	return made, gone
}

// scopesOf are the scopes whose budgets an entity states, as s has it. Their
// order reaches the bank and must be alike on every node.
func scopesOf(s *state.Snapshot, c model.Change) []model.Scope {
	one := func(dim model.Dim) []model.Scope { return []model.Scope{{Dim: dim, ID: c.ID}} }
	switch c.Table {
	case model.Keys:
		out := one(model.DimKey)
		if k, ok := s.Keys.Get(c.ID); ok {
			out = append(out, parts(model.DimModelPerKey, c.ID, k.ModelMaxBudget)...)
			out = append(out, windows(model.DimKeyWindow, c.ID, k.BudgetWindows)...)
		}
		return out
	case model.Teams:
		out := one(model.DimTeam)
		if t, ok := s.Teams.Get(c.ID); ok {
			out = append(out, parts(model.DimModelPerTeam, c.ID, t.ModelMaxBudget)...)
			out = append(out, windows(model.DimTeamWindow, c.ID, t.BudgetWindows)...)
		}
		return out
	case model.Users:
		out := one(model.DimUser)
		if u, ok := s.Users.Get(c.ID); ok {
			out = append(out, parts(model.DimModelPerUser, c.ID, u.ModelMaxBudget)...)
		}
		return out
	case model.Members:
		return one(model.DimMember)
	case model.EndUsers:
		out := one(model.DimEndUser)
		if b, ok := s.EndUserRow(c.ID); ok {
			out = append(out, parts(model.DimModelPerEndUser, c.ID, b.ModelMaxBudget)...)
		}
		return out
	case model.Organizations:
		return one(model.DimOrganization)
	case model.OrgMembers:
		return one(model.DimOrgMember)
	case model.Tags:
		return one(model.DimTag)
	case model.Models:
		return one(model.DimDeployment)
	case model.Configs:
		return configScopes(s)
	}
	return nil
}

// configScopes are the budgets that the active config states.
func configScopes(s *state.Snapshot) []model.Scope {
	v := s.ActiveConfig()
	if v == nil {
		return nil
	}
	out := []model.Scope{model.ProxyScope()}
	for _, name := range slices.Sorted(maps.Keys(v.Config.Router.ProviderBudgets)) {
		out = append(out, model.Scope{Dim: model.DimProvider, ID: name})
	}
	for _, tag := range slices.Sorted(maps.Keys(v.Config.LiteLLM.TagBudgets)) {
		out = append(out, model.Scope{Dim: model.DimTag, ID: tag})
	}
	for _, id := range s.BudgetedDeployments() {
		out = append(out, model.Scope{Dim: model.DimDeployment, ID: id})
	}
	return out
}

func parts(dim model.Dim, owner string, m map[string]model.ModelBudget) []model.Scope {
	var out []model.Scope
	for _, group := range slices.Sorted(maps.Keys(m)) {
		out = append(out, model.ModelScope(dim, owner, group))
	}
	return out
}

func windows(dim model.Dim, owner string, list []model.BudgetWindow) []model.Scope {
	var out []model.Scope
	for _, w := range list {
		out = append(out, model.WindowScope(dim, owner, w.Duration))
	}
	return out
}
