package admin

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
)

// teamExtras are the fields of teams that are kept and shown only.
var teamExtras = extras{
	"guardrails": listShape, "policies": listShape, "prompts": listShape, "object_permission": objectShape,
	"object_permission_id": stringShape, "router_settings": objectShape, "access_group_ids": listShape,
	"team_member_permissions": listShape, "team_member_key_duration": stringShape,
	"default_team_member_models": listShape, "allowed_passthrough_routes": listShape, "logging": anyShape,
	"tpm_limit_type": stringShape, "rpm_limit_type": stringShape, "allow_team_guardrail_config": boolShape,
}

// teamInMetadata are extra fields that LiteLLM shows inside a team's metadata.
var teamInMetadata = []string{"guardrails", "prompts", "team_member_key_duration", "allowed_passthrough_routes", "logging",
	"tpm_limit_type", "rpm_limit_type"}

// teamRow is a team as the API shows it.
type teamRow struct {
	ID                string                     `json:"team_id"`
	Alias             *string                    `json:"team_alias"`
	OrganizationID    *string                    `json:"organization_id"`
	Admins            []string                   `json:"admins"`
	Members           []string                   `json:"members"`
	MembersWithRoles  []memberView               `json:"members_with_roles"`
	MemberPermissions jsontext.Value             `json:"team_member_permissions"`
	Metadata          jsontext.Value             `json:"metadata"`
	MaxBudget         *float64                   `json:"max_budget"`
	SoftBudget        *float64                   `json:"soft_budget"`
	Spend             float64                    `json:"spend"`
	Models            []string                   `json:"models"`
	MaxParallel       *int64                     `json:"max_parallel_requests"`
	TPM               *int64                     `json:"tpm_limit"`
	RPM               *int64                     `json:"rpm_limit"`
	ModelRPM          map[string]int64           `json:"model_rpm_limit"`
	ModelTPM          map[string]int64           `json:"model_tpm_limit"`
	BudgetDuration    *string                    `json:"budget_duration"`
	BudgetResetAt     *time.Time                 `json:"budget_reset_at"`
	BudgetMode        string                     `json:"budget_mode,omitempty"`
	BudgetLimits      []windowView               `json:"budget_limits"`
	Limits            []limitView                `json:"limits,omitempty"`
	Blocked           bool                       `json:"blocked"`
	Tags              []string                   `json:"tags"`
	ModelAliases      map[string]string          `json:"model_aliases"`
	ModelTable        *modelTableView            `json:"litellm_model_table"`
	ModelSpend        map[string]float64         `json:"model_spend"`
	ModelMaxBudget    map[string]modelBudgetView `json:"model_max_budget"`
	RouterSettings    jsontext.Value             `json:"router_settings"`
	Policies          jsontext.Value             `json:"policies"`
	AccessGroupIDs    jsontext.Value             `json:"access_group_ids"`
	DefaultModels     jsontext.Value             `json:"default_team_member_models"`
	ObjectPermsID     jsontext.Value             `json:"object_permission_id"`
	ObjectPermission  jsontext.Value             `json:"object_permission"`
	DataRegions       []string                   `json:"data_regions,omitempty"`
	MemberBudget      *budgetRow                 `json:"team_member_budget_table"`
	CreatedAt         *time.Time                 `json:"created_at"`
	UpdatedAt         *time.Time                 `json:"updated_at"`
}

type memberView struct {
	UserID *string `json:"user_id"`
	Email  *string `json:"user_email"`
	Role   string  `json:"role"`
}

type modelTableView struct {
	Aliases map[string]string `json:"model_aliases"`
}

// membershipRow is one member's budget and spend in a team.
type membershipRow struct {
	UserID   string      `json:"user_id"`
	TeamID   string      `json:"team_id"`
	BudgetID *string     `json:"budget_id"`
	Spend    float64     `json:"spend"`
	Budget   *budgetRow  `json:"litellm_budget_table"`
	Limits   []limitView `json:"limits,omitempty"`
}

func teamScope(id string) model.Scope { return model.Scope{Dim: model.DimTeam, ID: id} }

func (c *call) teamRow(s *state.Snapshot, t *model.Team) teamRow {
	r := teamRow{
		ID: t.ID, Alias: optional(t.Alias), OrganizationID: optional(t.OrganizationID), MembersWithRoles: []memberView{},
		MemberPermissions: raw(t.Extra["team_member_permissions"], "[]"), Metadata: teamMetadata(t),
		MaxBudget: usd(t.MaxBudget), SoftBudget: usd(t.SoftBudget), Spend: c.spent(s, teamScope(t.ID), &t.Spending).USD(),
		Models: t.Models, MaxParallel: t.Parallel, TPM: t.TPM, RPM: t.RPM, ModelRPM: t.ModelRPM, ModelTPM: t.ModelTPM,
		BudgetDuration: optional(t.BudgetDuration), BudgetResetAt: c.resetAt(s, t.BudgetDuration, t.CreatedAt), BudgetMode: t.BudgetMode,
		BudgetLimits: c.windowsView(s, model.DimTeamWindow, t.ID, t.CreatedAt, t.BudgetWindows), Limits: c.teamLimits(t), Blocked: t.Blocked, Tags: t.Tags, ModelAliases: t.ModelAliases,
		ModelMaxBudget: modelBudgetsView(t.ModelMaxBudget), RouterSettings: raw(t.Extra["router_settings"], "null"),
		Policies: raw(t.Extra["policies"], "[]"), AccessGroupIDs: raw(t.Extra["access_group_ids"], "[]"),
		DefaultModels: raw(t.Extra["default_team_member_models"], "[]"),
		ObjectPermsID: raw(t.Extra["object_permission_id"], "null"), ObjectPermission: raw(t.Extra["object_permission"], "null"),
		DataRegions: t.DataRegions, CreatedAt: moment(t.CreatedAt), UpdatedAt: moment(t.UpdatedAt),
	}
	for _, m := range t.Members {
		r.MembersWithRoles = append(r.MembersWithRoles, memberView{optional(m.UserID), optional(m.Email), m.Role})
	}
	if len(t.ModelAliases) > 0 {
		r.ModelTable = &modelTableView{t.ModelAliases}
	}
	if b, ok := s.Budgets.Get(t.MemberBudgetID); ok {
		row := c.budgetRow(s, b)
		r.MemberBudget = &row
	}
	return r
}

func teamMetadata(t *model.Team) jsontext.Value {
	fields := map[string]any{}
	if len(t.Tags) > 0 {
		fields["tags"] = t.Tags
	}
	if len(t.ModelRPM) > 0 {
		fields["model_rpm_limit"] = t.ModelRPM
	}
	if len(t.ModelTPM) > 0 {
		fields["model_tpm_limit"] = t.ModelTPM
	}
	if t.MemberBudgetID != "" {
		fields["team_member_budget_id"] = t.MemberBudgetID
	}
	for _, name := range teamInMetadata {
		if v, ok := t.Extra[name]; ok {
			fields[name] = jsontext.Value(v)
		}
	}
	return withFields(t.Metadata, fields)
}

func (c *call) membership(s *state.Snapshot, m *model.Member) membershipRow {
	row := membershipRow{UserID: m.UserID, TeamID: m.TeamID, BudgetID: optional(m.BudgetID)}
	row.Spend = c.spent(s, model.Scope{Dim: model.DimMember, ID: m.EntityID()}, &m.Spending).USD()
	row.Budget = c.budgetTable(s, m.BudgetID, m.CreatedAt)
	row.Limits = c.rowLimits(s, model.Scope{Dim: model.DimMember, ID: m.EntityID()}, memberRow(s, m))
	return row
}

// memberRow is the budget row that binds a member: its own, or its team's for
// all members.
func memberRow(s *state.Snapshot, m *model.Member) string {
	if t, ok := s.Teams.Get(m.TeamID); ok && m.BudgetID == "" {
		return t.MemberBudgetID
	}
	return m.BudgetID
}

func (c *call) memberships(s *state.Snapshot, team string) []membershipRow {
	rows := []membershipRow{}
	for m := range s.MembersOf(team) {
		rows = append(rows, c.membership(s, m))
	}
	return rows
}

// teamKeys shows the keys of a team that the caller may see.
func (c *call) teamKeys(s *state.Snapshot, team string) []tokenRow {
	rows := []tokenRow{}
	for k := range s.KeysOfTeam(team) {
		if c.sees(k) {
			rows = append(rows, c.tokenRow(s, k))
		}
	}
	return rows
}
