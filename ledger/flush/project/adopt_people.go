package project

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"tollgate/config/model"
)

func (a *adoption) budgets(ctx context.Context) error {
	type row struct {
		limitColumns
		budgetFields
		ID        string   `json:"budget_id"`
		ModelMax  field    `json:"model_max_budget"`
		Models    []string `json:"allowed_models"`
		CreatedAt dbTime   `json:"created_at"`
		UpdatedAt dbTime   `json:"updated_at"`
		CreatedBy string   `json:"created_by"`
	}
	return scan(ctx, a, "budget", "LiteLLM_BudgetTable", "budget_id", func(r *row) {
		if r.ID == noBudget {
			return
		}
		sp, why := r.spending()
		if why != "" {
			a.leave("budget", r.ID, why)
			return
		}
		a.take(&found{kind: "budget", table: model.Budgets, resetAt: r.ResetAt.Time, entity: &model.Budget{
			Meta: meta(r.CreatedAt, r.UpdatedAt, r.CreatedBy), Limits: r.limits(), Spending: sp, ID: r.ID,
			ModelMaxBudget: r.ModelMax.modelBudgetsIn(), AllowedModels: r.Models}})
	})
}

// resetOf is when the budget that a row points at is set back.
func (a *adoption) resetOf(budget string) *time.Time {
	if f := a.byID["budget\x00"+budget]; f != nil {
		return f.resetAt
	}
	return nil
}

func (a *adoption) organizations(ctx context.Context) error {
	type row struct {
		ID        string          `json:"organization_id"`
		Alias     string          `json:"organization_alias"`
		Budget    string          `json:"budget_id"`
		Metadata  field           `json:"metadata"`
		Models    []string        `json:"models"`
		Spend     json.Number     `json:"spend"`
		Perms     json.RawMessage `json:"object_permission_id"`
		CreatedAt dbTime          `json:"created_at"`
		UpdatedAt dbTime          `json:"updated_at"`
		CreatedBy string          `json:"created_by"`
	}
	return scan(ctx, a, organizationKind, "LiteLLM_OrganizationTable", "organization_id", func(r *row) {
		o := &model.Organization{Meta: meta(r.CreatedAt, r.UpdatedAt, r.CreatedBy), ID: r.ID, Alias: r.Alias, BudgetID: r.Budget, Models: r.Models}
		if o.BudgetID == noBudget {
			o.BudgetID = ""
		}
		m := metadataOf(r.Metadata)
		o.ModelRPM, o.ModelTPM = m.limits("model_rpm_limit"), m.limits("model_tpm_limit")
		o.Metadata = m.rest()
		more := map[string]json.RawMessage{}
		extra(more, "object_permission_id", r.Perms)
		o.Extra = orNone(more)
		a.take(&found{kind: organizationKind, table: model.Organizations, entity: o, spend: r.Spend, resetAt: a.resetOf(r.Budget)})
	})
}

func (a *adoption) users(ctx context.Context) error {
	type row struct {
		limitColumns
		budgetFields
		ID            string          `json:"user_id"`
		Alias         string          `json:"user_alias"`
		SSO           string          `json:"sso_user_id"`
		Organization  string          `json:"organization_id"`
		Password      string          `json:"password"`
		Role          string          `json:"user_role"`
		Email         string          `json:"user_email"`
		Teams         []string        `json:"teams"`
		Models        []string        `json:"models"`
		Metadata      field           `json:"metadata"`
		ModelMax      field           `json:"model_max_budget"`
		CacheControls json.RawMessage `json:"allowed_cache_controls"`
		Policies      json.RawMessage `json:"policies"`
		Perms         json.RawMessage `json:"object_permission_id"`
		CreatedAt     dbTime          `json:"created_at"`
		UpdatedAt     dbTime          `json:"updated_at"`
	}
	withPassword := 0
	err := scan(ctx, a, "user", "LiteLLM_UserTable", "user_id", func(r *row) {
		if r.ID == proxyUser {
			return // it stands for the settings
		}
		sp, why := r.spending()
		if why != "" {
			a.leave("user", r.ID, why)
			return
		}
		if r.Password != "" {
			withPassword++
		}
		u := &model.User{Meta: meta(r.CreatedAt, r.UpdatedAt, ""), Limits: r.limits(), Spending: sp, ID: r.ID, Alias: r.Alias, Email: r.Email,
			Role: r.Role, SSOUserID: r.SSO, OrganizationID: r.Organization, Teams: r.Teams, Models: r.Models,
			ModelMaxBudget: r.ModelMax.modelBudgetsIn(), Metadata: r.Metadata.raw()}
		more := map[string]json.RawMessage{}
		extra(more, "allowed_cache_controls", r.CacheControls)
		extra(more, "policies", r.Policies)
		extra(more, "object_permission_id", r.Perms)
		u.Extra = orNone(more)
		a.take(&found{kind: "user", table: model.Users, entity: u, spend: r.Spend, resetAt: r.ResetAt.Time})
	})
	if withPassword > 0 {
		a.logger.Warn("passwords are not taken over: their owners need new ones", "users", withPassword)
	}
	return err
}

func (a *adoption) teams(ctx context.Context) error {
	type row struct {
		limitColumns
		budgetFields
		ID            string          `json:"team_id"`
		Alias         string          `json:"team_alias"`
		Organization  string          `json:"organization_id"`
		Admins        []string        `json:"admins"`
		Members       []string        `json:"members"`
		WithRoles     field           `json:"members_with_roles"`
		Metadata      field           `json:"metadata"`
		Models        []string        `json:"models"`
		ModelMax      field           `json:"model_max_budget"`
		Router        json.RawMessage `json:"router_settings"`
		Limits        field           `json:"budget_limits"`
		Blocked       bool            `json:"blocked"`
		Permissions   json.RawMessage `json:"team_member_permissions"`
		AccessGroups  json.RawMessage `json:"access_group_ids"`
		Policies      json.RawMessage `json:"policies"`
		DefaultModels json.RawMessage `json:"default_team_member_models"`
		Perms         json.RawMessage `json:"object_permission_id"`
		Guardrails    json.RawMessage `json:"allow_team_guardrail_config"`
		ModelID       *int64          `json:"model_id"`
		CreatedAt     dbTime          `json:"created_at"`
		UpdatedAt     dbTime          `json:"updated_at"`
	}
	aliases, err := a.teamAliases(ctx)
	if err != nil {
		return err
	}
	return scan(ctx, a, teamKind, "LiteLLM_TeamTable", "team_id", func(r *row) {
		sp, why := r.spending()
		if why != "" {
			a.leave(teamKind, r.ID, why)
			return
		}
		t := &model.Team{Meta: meta(r.CreatedAt, r.UpdatedAt, ""), Limits: r.limitColumns.limits(), Spending: sp, ID: r.ID, Alias: r.Alias,
			OrganizationID: r.Organization, Models: r.Models, ModelMaxBudget: r.ModelMax.modelBudgetsIn(),
			BudgetWindows: r.Limits.windowsIn(), Blocked: r.Blocked}
		if r.ModelID != nil {
			t.ModelAliases = aliases[*r.ModelID]
		}
		if len(r.WithRoles) > 0 && json.Unmarshal(r.WithRoles, &t.Members) != nil {
			t.Members = nil
		}
		for _, old := range []struct {
			ids  []string
			role string
		}{{r.Admins, "admin"}, {r.Members, "user"}} { // where versions before roles have them
			for _, id := range old.ids {
				if !slices.ContainsFunc(t.Members, func(m model.TeamRole) bool { return m.UserID == id }) {
					t.Members = append(t.Members, model.TeamRole{UserID: id, Role: old.role})
				}
			}
		}
		m := metadataOf(r.Metadata)
		t.Tags = m.list("tags")
		t.ModelRPM, t.ModelTPM = m.limits("model_rpm_limit"), m.limits("model_tpm_limit")
		t.MemberBudgetID, _ = stringOf(m.take("team_member_budget_id"))
		more := map[string]json.RawMessage{}
		m.extras(more, teamInMetadata)
		t.Metadata = m.rest()
		for name, v := range map[string]json.RawMessage{"router_settings": r.Router, "team_member_permissions": r.Permissions,
			"access_group_ids": r.AccessGroups, "policies": r.Policies, "default_team_member_models": r.DefaultModels,
			"object_permission_id": r.Perms, "allow_team_guardrail_config": r.Guardrails} {
			extra(more, name, v)
		}
		t.Extra = orNone(more)
		a.take(&found{kind: teamKind, table: model.Teams, entity: t, spend: r.Spend, resetAt: r.ResetAt.Time})
	})
}

// teamAliases are the model aliases of teams by their row.
func (a *adoption) teamAliases(ctx context.Context) (map[int64]map[string]string, error) {
	type row struct {
		ID      int64 `json:"id"`
		Aliases field `json:"aliases"`
	}
	out := map[int64]map[string]string{}
	err := scan(ctx, a, "team_aliases", "LiteLLM_ModelTable", "id", func(r *row) { out[r.ID] = r.Aliases.texts() })
	return out, err
}

func (a *adoption) teamMembers(ctx context.Context) error {
	type row struct {
		Team   string      `json:"team_id"`
		User   string      `json:"user_id"`
		Budget string      `json:"budget_id"`
		Spend  json.Number `json:"spend"`
	}
	return scan(ctx, a, "team_member", "LiteLLM_TeamMembership", "team_id, user_id", func(r *row) {
		a.take(&found{kind: "team_member", table: model.Members, entity: &model.Member{Meta: meta(dbTime{}, dbTime{}, ""),
			TeamID: r.Team, UserID: r.User, BudgetID: r.Budget}, spend: r.Spend, resetAt: a.resetOf(r.Budget)})
	})
}

// joinTeams brings teams and users to agree on who is a member: versions of
// LiteLLM have kept it in up to four places.
func (a *adoption) joinTeams() {
	for _, f := range slices.Clone(a.found) {
		t, ok := f.entity.(*model.Team)
		if !ok {
			continue
		}
		for i := range t.Members {
			m := &t.Members[i]
			if m.Role == "" {
				m.Role = "user"
			}
			if m.UserID == "" {
				continue
			}
			if u, ok := a.user(m.UserID); ok && !slices.Contains(u.Teams, t.ID) {
				u.Teams = append(u.Teams, t.ID)
			}
			member := &model.Member{Meta: meta(dbTime{}, dbTime{}, ""), TeamID: t.ID, UserID: m.UserID}
			if id := member.EntityID(); a.byID["team_member\x00"+id] == nil && !exists(a.base, model.Members, id) {
				a.take(&found{kind: "team_member", table: model.Members, entity: member})
			}
		}
	}
}

// user is a user that is being taken over.
func (a *adoption) user(id string) (*model.User, bool) {
	f := a.byID["user\x00"+id]
	if f == nil {
		return nil, false
	}
	u, ok := f.entity.(*model.User)
	return u, ok
}

func (a *adoption) organizationMembers(ctx context.Context) error {
	type row struct {
		Organization string      `json:"organization_id"`
		User         string      `json:"user_id"`
		Role         string      `json:"user_role"`
		Budget       string      `json:"budget_id"`
		Spend        json.Number `json:"spend"`
		CreatedAt    dbTime      `json:"created_at"`
		UpdatedAt    dbTime      `json:"updated_at"`
	}
	return scan(ctx, a, "organization_member", "LiteLLM_OrganizationMembership", "organization_id, user_id", func(r *row) {
		a.take(&found{kind: "organization_member", table: model.OrgMembers, entity: &model.OrgMember{Meta: meta(r.CreatedAt, r.UpdatedAt, ""),
			OrganizationID: r.Organization, UserID: r.User, Role: r.Role, BudgetID: r.Budget}, spend: r.Spend, resetAt: a.resetOf(r.Budget)})
	})
}

func (a *adoption) endUsers(ctx context.Context) error {
	type row struct {
		ID           string      `json:"user_id"`
		Alias        string      `json:"alias"`
		Spend        json.Number `json:"spend"`
		Region       string      `json:"allowed_model_region"`
		DefaultModel string      `json:"default_model"`
		Budget       string      `json:"budget_id"`
		Blocked      bool        `json:"blocked"`
	}
	budgeted := false
	if c := a.base.ActiveConfig(); c != nil {
		budgeted = c.Config.LiteLLM.EndUserBudget != nil || c.Config.LiteLLM.EndUserBudgetID != ""
	}
	return scan(ctx, a, "end_user", "LiteLLM_EndUserTable", "user_id", func(r *row) {
		e := &model.EndUser{Meta: meta(dbTime{}, dbTime{}, ""), ID: r.ID, Alias: r.Alias, BudgetID: r.Budget,
			AllowedRegion: strings.ToLower(r.Region), DefaultModel: r.DefaultModel, Blocked: r.Blocked}
		// Every name that a request ever carried has a row. Those of which it says
		// no more than what was spent stay where they are: there may be millions.
		if said := e.Alias + e.BudgetID + e.AllowedRegion + e.DefaultModel; said == "" && !e.Blocked && !budgeted {
			return
		}
		a.take(&found{kind: "end_user", table: model.EndUsers, entity: e, spend: r.Spend, resetAt: a.resetOf(r.Budget)})
	})
}

func (a *adoption) tags(ctx context.Context) error {
	type row struct {
		Name        string      `json:"tag_name"`
		Description string      `json:"description"`
		Models      []string    `json:"models"`
		Info        field       `json:"model_info"`
		Spend       json.Number `json:"spend"`
		Budget      string      `json:"budget_id"`
		CreatedAt   dbTime      `json:"created_at"`
		CreatedBy   string      `json:"created_by"`
		UpdatedAt   dbTime      `json:"updated_at"`
	}
	return scan(ctx, a, "tag", "LiteLLM_TagTable", "tag_name", func(r *row) {
		a.take(&found{kind: "tag", table: model.Tags, spend: r.Spend, resetAt: a.resetOf(r.Budget), entity: &model.Tag{
			Meta: meta(r.CreatedAt, r.UpdatedAt, r.CreatedBy), Name: r.Name, Description: r.Description, Models: r.Models,
			ModelInfo: r.Info.raw(), BudgetID: r.Budget}})
	})
}
