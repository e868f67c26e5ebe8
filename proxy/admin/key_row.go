package admin

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
)

// keyRow is a key as the API shows it: LiteLLM's columns without the hash.
type keyRow struct {
	KeyName             *string                    `json:"key_name"`
	KeyAlias            *string                    `json:"key_alias"`
	SoftBudgetCooldown  bool                       `json:"soft_budget_cooldown"`
	Spend               float64                    `json:"spend"`
	Expires             *time.Time                 `json:"expires"`
	Models              []string                   `json:"models"`
	Aliases             map[string]string          `json:"aliases"`
	Config              jsontext.Value             `json:"config"`
	RouterSettings      jsontext.Value             `json:"router_settings"`
	UserID              *string                    `json:"user_id"`
	TeamID              *string                    `json:"team_id"`
	AgentID             *string                    `json:"agent_id"`
	ProjectID           *string                    `json:"project_id"`
	OrganizationID      *string                    `json:"organization_id"`
	Permissions         jsontext.Value             `json:"permissions"`
	MaxParallel         *int64                     `json:"max_parallel_requests"`
	Metadata            jsontext.Value             `json:"metadata"`
	Tags                []string                   `json:"tags"`
	Blocked             bool                       `json:"blocked"`
	TPM                 *int64                     `json:"tpm_limit"`
	RPM                 *int64                     `json:"rpm_limit"`
	MaxBudget           *float64                   `json:"max_budget"`
	SoftBudget          *float64                   `json:"soft_budget"`
	BudgetDuration      *string                    `json:"budget_duration"`
	BudgetResetAt       *time.Time                 `json:"budget_reset_at"`
	BudgetLimits        []windowView               `json:"budget_limits"`
	Limits              []limitView                `json:"limits,omitempty"`
	BudgetMode          string                     `json:"budget_mode,omitempty"`
	AllowedCacheControl jsontext.Value             `json:"allowed_cache_controls"`
	AllowedRoutes       []string                   `json:"allowed_routes"`
	Policies            jsontext.Value             `json:"policies"`
	AccessGroupIDs      jsontext.Value             `json:"access_group_ids"`
	ModelSpend          map[string]float64         `json:"model_spend"`
	ModelMaxBudget      map[string]modelBudgetView `json:"model_max_budget"`
	ModelRPM            map[string]int64           `json:"model_rpm_limit"`
	ModelTPM            map[string]int64           `json:"model_tpm_limit"`
	BudgetID            *string                    `json:"budget_id"`
	DataRegions         []string                   `json:"data_regions,omitempty"`
	HomeRegion          string                     `json:"home_region,omitempty"`
	TempIncrease        *float64                   `json:"temp_budget_increase,omitempty"`
	TempExpiry          *time.Time                 `json:"temp_budget_expiry,omitempty"`
	ObjectPermissionID  jsontext.Value             `json:"object_permission_id"`
	ObjectPermission    jsontext.Value             `json:"object_permission"`
	CreatedAt           *time.Time                 `json:"created_at"`
	CreatedBy           *string                    `json:"created_by"`
	UpdatedAt           *time.Time                 `json:"updated_at"`
	UpdatedBy           *string                    `json:"updated_by"`
	LastActive          *time.Time                 `json:"last_active"`
	RotationCount       jsontext.Value             `json:"rotation_count"`
	AutoRotate          jsontext.Value             `json:"auto_rotate"`
	RotationInterval    jsontext.Value             `json:"rotation_interval"`
	LastRotationAt      jsontext.Value             `json:"last_rotation_at"`
	KeyRotationAt       *time.Time                 `json:"key_rotation_at"`
	BudgetTable         *budgetRow                 `json:"litellm_budget_table"`
}

// tokenRow is a key with its hash, as listings show it.
type tokenRow struct {
	Token string `json:"token"`
	keyRow
}

func (c *call) tokenRow(s *state.Snapshot, k *model.Key) tokenRow {
	return tokenRow{k.Hash, c.keyRow(s, k)}
}

func (c *call) tokenRows(s *state.Snapshot, keys []*model.Key) []tokenRow {
	rows := make([]tokenRow, len(keys))
	for i, k := range keys {
		rows[i] = c.tokenRow(s, k)
	}
	return rows
}

func keyScope(hash string) model.Scope { return model.Scope{Dim: model.DimKey, ID: hash} }

func (c *call) keyRow(s *state.Snapshot, k *model.Key) keyRow {
	r := keyRow{
		KeyName: optional(k.Name), KeyAlias: optional(k.Alias), Spend: c.spent(s, keyScope(k.Hash), &k.Spending).USD(),
		Models: k.Models, Aliases: k.Aliases, Config: raw(k.Config, "{}"), RouterSettings: raw(k.Extra["router_settings"], "{}"),
		UserID: optional(k.UserID), TeamID: optional(k.TeamID), AgentID: optional(k.AgentID), ProjectID: optional(k.ProjectID),
		OrganizationID: optional(k.OrganizationID), Permissions: raw(k.Permissions, "{}"), Metadata: keyMetadata(k), Tags: k.Tags,
		Blocked: k.Blocked, MaxParallel: k.Parallel, TPM: k.TPM, RPM: k.RPM,
		MaxBudget: usd(k.MaxBudget), SoftBudget: usd(k.SoftBudget), BudgetDuration: optional(k.BudgetDuration), BudgetMode: k.BudgetMode,
		BudgetResetAt: c.resetAt(s, k.BudgetDuration, k.CreatedAt), BudgetLimits: c.windowsView(s, model.DimKeyWindow, k.Hash, k.CreatedAt, k.BudgetWindows), Limits: c.keyLimits(s, k),
		AllowedCacheControl: raw(k.Extra["allowed_cache_controls"], "[]"), AllowedRoutes: k.AllowedRoutes,
		Policies: raw(k.Extra["policies"], "[]"), AccessGroupIDs: raw(k.Extra["access_group_ids"], "[]"),
		ModelSpend: c.modelSpend(s, model.DimModelPerKey, k.Hash, k.ModelMaxBudget), ModelMaxBudget: modelBudgetsView(k.ModelMaxBudget), ModelRPM: k.ModelRPM, ModelTPM: k.ModelTPM,
		BudgetID: optional(k.BudgetID), DataRegions: k.DataRegions, HomeRegion: k.HomeRegion,
		ObjectPermissionID: raw(k.Extra["object_permission_id"], "null"), ObjectPermission: raw(k.Extra["object_permission"], "null"),
		CreatedAt: moment(k.CreatedAt), CreatedBy: optional(k.CreatedBy), UpdatedAt: moment(k.UpdatedAt), UpdatedBy: optional(k.UpdatedBy),
		RotationCount: raw(k.Extra["rotation_count"], "0"), AutoRotate: raw(k.Extra["auto_rotate"], "false"),
		RotationInterval: raw(k.Extra["rotation_interval"], "null"), LastRotationAt: raw(k.Extra["last_rotation_at"], "null"),
	}
	if k.Expires != nil {
		r.Expires = moment(*k.Expires)
	}
	if t := k.TempBudget; t != nil && c.now().Before(t.Expires) {
		r.TempIncrease, r.TempExpiry = usd(&t.Increase), moment(t.Expires)
	}
	r.BudgetTable = c.budgetTable(s, k.BudgetID, k.CreatedAt)
	return r
}

// modelSpend shows what counts against an owner's budgets per model.
func (c *call) modelSpend(s *state.Snapshot, dim model.Dim, owner string, budgets map[string]model.ModelBudget) map[string]float64 {
	out := make(map[string]float64, len(budgets))
	for group := range budgets {
		out[group] = c.spent(s, model.ModelScope(dim, owner, group), &model.Spending{}).USD()
	}
	return out
}

// keyMetadata shows metadata as LiteLLM does, with the fields that it keeps there.
func keyMetadata(k *model.Key) jsontext.Value {
	fields := map[string]any{}
	if len(k.Tags) > 0 {
		fields["tags"] = k.Tags
	}
	if len(k.ModelRPM) > 0 {
		fields["model_rpm_limit"] = k.ModelRPM
	}
	if len(k.ModelTPM) > 0 {
		fields["model_tpm_limit"] = k.ModelTPM
	}
	if t := k.TempBudget; t != nil {
		fields["temp_budget_increase"], fields["temp_budget_expiry"] = t.Increase.USD(), moment(t.Expires)
	}
	for _, name := range inMetadata {
		if v, ok := k.Extra[name]; ok {
			fields[name] = jsontext.Value(v)
		}
	}
	return withFields(k.Metadata, fields)
}
