package project

import (
	"encoding/json"

	"tollgate/config/model"
)

var keyColumns = []string{"token", "key_name", "key_alias", "expires", "models", "aliases", "config", "router_settings", "user_id",
	"team_id", "agent_id", "project_id", "organization_id", "budget_id", "permissions", "max_parallel_requests", "metadata",
	"blocked", "tpm_limit", "rpm_limit", "max_budget", "budget_duration", "budget_reset_at", "allowed_cache_controls",
	"allowed_routes", "policies", "access_group_ids", "model_max_budget", "budget_limits", "object_permission_id",
	"rotation_count", "auto_rotate", "rotation_interval", "last_rotation_at", "created_at", "created_by", "updated_at", "updated_by"}

// keyRow is a key as LiteLLM_VerificationToken has it.
type keyRow struct {
	Token             string            `json:"token"`
	Name              *string           `json:"key_name"`
	Alias             *string           `json:"key_alias"`
	Expires           *stamp            `json:"expires"`
	Models            []string          `json:"models"`
	Aliases           map[string]string `json:"aliases"`
	Config            rawJSON           `json:"config"`
	RouterSettings    rawJSON           `json:"router_settings"`
	User              *string           `json:"user_id"`
	Team              *string           `json:"team_id"`
	Agent             *string           `json:"agent_id"`
	Project           *string           `json:"project_id"`
	Organization      *string           `json:"organization_id"`
	Budget            *string           `json:"budget_id"`
	Permissions       rawJSON           `json:"permissions"`
	Parallel          *int64            `json:"max_parallel_requests"`
	Metadata          rawJSON           `json:"metadata"`
	Blocked           bool              `json:"blocked"`
	TPM               *int64            `json:"tpm_limit"`
	RPM               *int64            `json:"rpm_limit"`
	MaxBudget         *float64          `json:"max_budget"`
	BudgetDuration    *string           `json:"budget_duration"`
	BudgetResetAt     *stamp            `json:"budget_reset_at"`
	CacheControls     rawJSON           `json:"allowed_cache_controls"`
	Routes            []string          `json:"allowed_routes"`
	Policies          rawJSON           `json:"policies"`
	AccessGroups      rawJSON           `json:"access_group_ids"`
	ModelMaxBudget    modelBudgets      `json:"model_max_budget"`
	BudgetLimits      []budgetLimit     `json:"budget_limits"`
	ObjectPermissions rawJSON           `json:"object_permission_id"`
	RotationCount     rawJSON           `json:"rotation_count"`
	AutoRotate        rawJSON           `json:"auto_rotate"`
	RotationInterval  rawJSON           `json:"rotation_interval"`
	LastRotation      rawJSON           `json:"last_rotation_at"`
	CreatedAt         stamp             `json:"created_at"`
	CreatedBy         *string           `json:"created_by"`
	UpdatedAt         stamp             `json:"updated_at"`
	UpdatedBy         *string           `json:"updated_by"`
}

func keyRowOf(v *view, k *model.Key) *keyRow {
	return &keyRow{
		Token: k.Hash, Name: text(k.Name), Alias: text(k.Alias), Expires: momentOf(k.Expires), Models: list(k.Models),
		Aliases: texts(k.Aliases), Config: kept(k.Config, "{}"), RouterSettings: kept(k.Extra["router_settings"], "{}"),
		User: text(k.UserID), Team: text(k.TeamID), Agent: text(k.AgentID), Project: text(k.ProjectID),
		Organization: text(k.OrganizationID), Budget: text(k.BudgetID), Permissions: kept(k.Permissions, "{}"),
		Parallel: small(k.Parallel), Metadata: keyMetadata(k), Blocked: k.Blocked, TPM: k.TPM, RPM: k.RPM,
		MaxBudget: usd(k.MaxBudget), BudgetDuration: text(k.BudgetDuration), BudgetResetAt: v.resetAt(k.BudgetDuration, k.CreatedAt),
		CacheControls: kept(k.Extra["allowed_cache_controls"], "[]"), Routes: list(k.AllowedRoutes),
		Policies: kept(k.Extra["policies"], "[]"), AccessGroups: kept(k.Extra["access_group_ids"], "[]"),
		ModelMaxBudget: modelBudgetsOf(k.ModelMaxBudget), BudgetLimits: budgetLimitsOf(v, k.BudgetWindows, k.CreatedAt),
		ObjectPermissions: kept(k.Extra["object_permission_id"], "null"), RotationCount: kept(k.Extra["rotation_count"], "0"),
		AutoRotate: kept(k.Extra["auto_rotate"], "false"), RotationInterval: kept(k.Extra["rotation_interval"], "null"),
		LastRotation: kept(k.Extra["last_rotation_at"], "null"),
		CreatedAt:    made(k.CreatedAt), CreatedBy: text(k.CreatedBy), UpdatedAt: made(k.UpdatedAt), UpdatedBy: text(k.UpdatedBy),
	}
}

// keyInMetadata are fields that LiteLLM keeps inside a key's metadata.
var keyInMetadata = []string{"guardrails", "policies", "prompts", "enforced_params", "tpm_limit_type", "rpm_limit_type",
	"logging", "allowed_passthrough_routes", "allowed_tools", "allowed_vector_store_indexes", "service_account_id"}

// keyMetadata is metadata with the fields that LiteLLM keeps there.
func keyMetadata(k *model.Key) rawJSON {
	fields := map[string]any{}
	if len(k.Tags) > 0 {
		fields["tags"] = k.Tags
	}
	limitsInto(fields, k.ModelRPM, k.ModelTPM)
	if t := k.TempBudget; t != nil {
		fields["temp_budget_increase"], fields["temp_budget_expiry"] = t.Increase.USD(), t.Expires.UTC().Format("2006-01-02T15:04:05Z")
	}
	for _, name := range keyInMetadata {
		if v, ok := k.Extra[name]; ok {
			fields[name] = v
		}
	}
	return withFields(k.Metadata, fields)
}

func limitsInto(fields map[string]any, rpm, tpm map[string]int64) {
	if len(rpm) > 0 {
		fields["model_rpm_limit"] = rpm
	}
	if len(tpm) > 0 {
		fields["model_tpm_limit"] = tpm
	}
}

// withFields lays fields over a JSON object; what is no object stays as it is.
func withFields(object []byte, fields map[string]any) rawJSON {
	if len(fields) == 0 {
		return kept(object, "{}")
	}
	m := map[string]json.RawMessage{}
	if len(object) > 0 && json.Unmarshal(object, &m) != nil || m == nil {
		return kept(object, "{}")
	}
	for name, v := range fields {
		b, err := json.Marshal(v)
		if err != nil {
			continue
		}
		m[name] = b
	}
	b, err := json.Marshal(m)
	if err != nil {
		return kept(object, "{}")
	}
	return b
}

func texts(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func rawJSONOrNull(v []byte) rawJSON { return kept(v, "null") }
