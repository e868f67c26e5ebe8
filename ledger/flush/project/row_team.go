package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tollgate/config/model"
)

var teamColumns = []string{"team_id", "team_alias", "organization_id", "members_with_roles", "metadata", "max_budget", "soft_budget",
	"models", "max_parallel_requests", "tpm_limit", "rpm_limit", "budget_duration", "budget_reset_at", "blocked", "model_max_budget",
	"router_settings", "budget_limits", "team_member_permissions", "access_group_ids", "policies", "default_team_member_models",
	"object_permission_id", "allow_team_guardrail_config", "created_at", "updated_at"}

// teamRow is a team as LiteLLM_TeamTable has it.
type teamRow struct {
	ID                string        `json:"team_id"`
	Alias             *string       `json:"team_alias"`
	Organization      *string       `json:"organization_id"`
	Members           []teamMember  `json:"members_with_roles"`
	Metadata          rawJSON       `json:"metadata"`
	MaxBudget         *float64      `json:"max_budget"`
	SoftBudget        *float64      `json:"soft_budget"`
	Models            []string      `json:"models"`
	Parallel          *int64        `json:"max_parallel_requests"`
	TPM               *int64        `json:"tpm_limit"`
	RPM               *int64        `json:"rpm_limit"`
	BudgetDuration    *string       `json:"budget_duration"`
	BudgetResetAt     *stamp        `json:"budget_reset_at"`
	Blocked           bool          `json:"blocked"`
	ModelMaxBudget    modelBudgets  `json:"model_max_budget"`
	RouterSettings    rawJSON       `json:"router_settings"`
	BudgetLimits      []budgetLimit `json:"budget_limits"`
	Permissions       rawJSON       `json:"team_member_permissions"`
	AccessGroups      rawJSON       `json:"access_group_ids"`
	Policies          rawJSON       `json:"policies"`
	DefaultModels     rawJSON       `json:"default_team_member_models"`
	ObjectPermissions rawJSON       `json:"object_permission_id"`
	GuardrailConfig   rawJSON       `json:"allow_team_guardrail_config"`
	CreatedAt         stamp         `json:"created_at"`
	UpdatedAt         stamp         `json:"updated_at"`
}

type teamMember struct {
	User  *string `json:"user_id"`
	Email *string `json:"user_email"`
	Role  string  `json:"role"`
}

func teamRowOf(v *view, t *model.Team) *teamRow {
	r := &teamRow{
		ID: t.ID, Alias: text(t.Alias), Organization: text(t.OrganizationID), Members: []teamMember{}, Metadata: teamMetadata(t),
		MaxBudget: usd(t.MaxBudget), SoftBudget: usd(t.SoftBudget), Models: list(t.Models), Parallel: small(t.Parallel),
		TPM: t.TPM, RPM: t.RPM, BudgetDuration: text(t.BudgetDuration), BudgetResetAt: v.resetAt(t.BudgetDuration, t.CreatedAt),
		Blocked: t.Blocked, ModelMaxBudget: modelBudgetsOf(t.ModelMaxBudget), RouterSettings: kept(t.Extra["router_settings"], "{}"),
		BudgetLimits: budgetLimitsOf(v, t.BudgetWindows, t.CreatedAt), Permissions: kept(t.Extra["team_member_permissions"], "[]"),
		AccessGroups: kept(t.Extra["access_group_ids"], "[]"), Policies: kept(t.Extra["policies"], "[]"),
		DefaultModels:     kept(t.Extra["default_team_member_models"], "[]"),
		ObjectPermissions: kept(t.Extra["object_permission_id"], "null"), GuardrailConfig: kept(t.Extra["allow_team_guardrail_config"], "false"),
		CreatedAt: made(t.CreatedAt), UpdatedAt: made(t.UpdatedAt),
	}
	for _, m := range t.Members {
		r.Members = append(r.Members, teamMember{text(m.UserID), text(m.Email), m.Role})
	}
	return r
}

// teamInMetadata are fields that LiteLLM keeps inside a team's metadata.
var teamInMetadata = []string{"guardrails", "prompts", "team_member_key_duration", "allowed_passthrough_routes", "logging",
	"tpm_limit_type", "rpm_limit_type"}

func teamMetadata(t *model.Team) rawJSON {
	fields := map[string]any{}
	if len(t.Tags) > 0 {
		fields["tags"] = t.Tags
	}
	limitsInto(fields, t.ModelRPM, t.ModelTPM)
	if t.MemberBudgetID != "" {
		fields["team_member_budget_id"] = t.MemberBudgetID
	}
	for _, name := range teamInMetadata {
		if v, ok := t.Extra[name]; ok {
			fields[name] = v
		}
	}
	return withFields(t.Metadata, fields)
}

// teamAliases keeps the model aliases of teams in a row of their own, as LiteLLM
// does; a team gets one with its first alias. Teams with aliases are few.
func teamAliases(ctx context.Context, tx pgx.Tx, v *view, items []item) error {
	for i := range items {
		t, ok := v.s.Teams.Get(items[i].id)
		if !ok {
			continue
		}
		var row *int
		if len(t.ModelAliases) == 0 && items[i].brief.untouched() {
			continue // it never had any
		}
		if err := tx.QueryRow(ctx, `SELECT m.id FROM "LiteLLM_TeamTable" t JOIN "LiteLLM_ModelTable" m ON m.id = t.model_id WHERE t.team_id = $1`, t.ID).Scan(&row); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("projection: find the aliases of team %s: %w", t.ID, err)
		}
		if row == nil && len(t.ModelAliases) == 0 {
			continue
		}
		aliases, err := json.Marshal(texts(t.ModelAliases))
		if err != nil {
			return fmt.Errorf("projection: compose the aliases of team %s: %w", t.ID, err)
		}
		if row != nil {
			_, err = tx.Exec(ctx, `UPDATE "LiteLLM_ModelTable" SET aliases = $2::jsonb, updated_at = now() AT TIME ZONE 'UTC', updated_by = $3
				WHERE id = $1 AND aliases IS DISTINCT FROM $2::jsonb`, *row, string(storable(aliases)), who(t.UpdatedBy))
		} else {
			_, err = tx.Exec(ctx, `WITH made AS (INSERT INTO "LiteLLM_ModelTable" (aliases, created_at, created_by, updated_at, updated_by)
				VALUES ($2::jsonb, now() AT TIME ZONE 'UTC', $3, now() AT TIME ZONE 'UTC', $3) RETURNING id)
				UPDATE "LiteLLM_TeamTable" SET model_id = (SELECT id FROM made) WHERE team_id = $1`, t.ID, string(storable(aliases)), who(t.UpdatedBy))
		}
		if err != nil {
			return fmt.Errorf("projection: write the aliases of team %s: %w", t.ID, err)
		}
	}
	return nil
}
