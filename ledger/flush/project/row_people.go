package project

import "tollgate/config/model"

var userColumns = []string{"user_id", "user_alias", "sso_user_id", "organization_id", "user_role", "user_email", "teams", "models",
	"max_budget", "metadata", "model_max_budget", "max_parallel_requests", "tpm_limit", "rpm_limit", "budget_duration",
	"budget_reset_at", "allowed_cache_controls", "policies", "object_permission_id", "created_at", "updated_at"}

// userRow is a user as LiteLLM_UserTable has it. Passwords are kept in another
// form than LiteLLM's and stay out.
type userRow struct {
	ID                string       `json:"user_id"`
	Alias             *string      `json:"user_alias"`
	SSO               *string      `json:"sso_user_id"`
	Organization      *string      `json:"organization_id"`
	Role              *string      `json:"user_role"`
	Email             *string      `json:"user_email"`
	Teams             []string     `json:"teams"`
	Models            []string     `json:"models"`
	MaxBudget         *float64     `json:"max_budget"`
	Metadata          rawJSON      `json:"metadata"`
	ModelMaxBudget    modelBudgets `json:"model_max_budget"`
	Parallel          *int64       `json:"max_parallel_requests"`
	TPM               *int64       `json:"tpm_limit"`
	RPM               *int64       `json:"rpm_limit"`
	BudgetDuration    *string      `json:"budget_duration"`
	BudgetResetAt     *stamp       `json:"budget_reset_at"`
	CacheControls     rawJSON      `json:"allowed_cache_controls"`
	Policies          rawJSON      `json:"policies"`
	ObjectPermissions rawJSON      `json:"object_permission_id"`
	CreatedAt         stamp        `json:"created_at"`
	UpdatedAt         stamp        `json:"updated_at"`
}

func userRowOf(v *view, u *model.User) *userRow {
	return &userRow{
		ID: u.ID, Alias: text(u.Alias), SSO: text(u.SSOUserID), Organization: text(u.OrganizationID), Role: text(u.Role),
		Email: text(u.Email), Teams: list(u.Teams), Models: list(u.Models), MaxBudget: usd(u.MaxBudget), Metadata: kept(u.Metadata, "{}"),
		ModelMaxBudget: modelBudgetsOf(u.ModelMaxBudget), Parallel: small(u.Parallel), TPM: u.TPM, RPM: u.RPM,
		BudgetDuration: text(u.BudgetDuration), BudgetResetAt: v.resetAt(u.BudgetDuration, u.CreatedAt),
		CacheControls: kept(u.Extra["allowed_cache_controls"], "[]"), Policies: kept(u.Extra["policies"], "[]"),
		ObjectPermissions: kept(u.Extra["object_permission_id"], "null"), CreatedAt: made(u.CreatedAt), UpdatedAt: made(u.UpdatedAt),
	}
}

type memberRow struct {
	Team   string  `json:"team_id"`
	User   string  `json:"user_id"`
	Budget *string `json:"budget_id"`
}

var orgMemberColumns = []string{"organization_id", "user_id", "user_role", "budget_id", "created_at", "updated_at"}

type orgMemberRow struct {
	Organization string  `json:"organization_id"`
	User         string  `json:"user_id"`
	Role         *string `json:"user_role"`
	Budget       *string `json:"budget_id"`
	CreatedAt    *stamp  `json:"created_at"`
	UpdatedAt    *stamp  `json:"updated_at"`
}

var endUserColumns = []string{"user_id", "alias", "allowed_model_region", "default_model", "budget_id", "blocked"}

type endUserRow struct {
	ID           string  `json:"user_id"`
	Alias        *string `json:"alias"`
	Region       *string `json:"allowed_model_region"`
	DefaultModel *string `json:"default_model"`
	Budget       *string `json:"budget_id"`
	Blocked      bool    `json:"blocked"`
}

var tagColumns = []string{"tag_name", "description", "models", "model_info", "budget_id", "created_at", "created_by", "updated_at"}

type tagRow struct {
	Name        string   `json:"tag_name"`
	Description *string  `json:"description"`
	Models      []string `json:"models"`
	ModelInfo   rawJSON  `json:"model_info"`
	Budget      *string  `json:"budget_id"`
	CreatedAt   stamp    `json:"created_at"`
	CreatedBy   *string  `json:"created_by"`
	UpdatedAt   stamp    `json:"updated_at"`
}

var organizationColumns = []string{"organization_id", "organization_alias", "budget_id", "metadata", "models", "object_permission_id",
	"created_at", "created_by", "updated_at", "updated_by"}

type organizationRow struct {
	ID                string   `json:"organization_id"`
	Alias             string   `json:"organization_alias"`
	Budget            string   `json:"budget_id"`
	Metadata          rawJSON  `json:"metadata"`
	Models            []string `json:"models"`
	ObjectPermissions rawJSON  `json:"object_permission_id"`
	CreatedAt         stamp    `json:"created_at"`
	CreatedBy         string   `json:"created_by"`
	UpdatedAt         stamp    `json:"updated_at"`
	UpdatedBy         string   `json:"updated_by"`
}

func organizationRowOf(v *view, o *model.Organization) *organizationRow {
	fields := map[string]any{}
	limitsInto(fields, o.ModelRPM, o.ModelTPM)
	r := &organizationRow{
		ID: o.ID, Alias: o.Alias, Budget: noBudget, Metadata: withFields(o.Metadata, fields), Models: list(o.Models),
		ObjectPermissions: kept(o.Extra["object_permission_id"], "null"),
		CreatedAt:         made(o.CreatedAt), CreatedBy: who(o.CreatedBy), UpdatedAt: made(o.UpdatedAt), UpdatedBy: who(o.UpdatedBy),
	}
	if _, ok := v.s.Budgets.Get(o.BudgetID); ok {
		r.Budget = o.BudgetID
	}
	return r
}
