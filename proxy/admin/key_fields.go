package admin

import (
	stdjson "encoding/json"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// keyExtras are the fields of keys that are kept and shown only.
var keyExtras = extras{
	"guardrails": listShape, "policies": listShape, "prompts": listShape,
	"allowed_cache_controls": listShape, "enforced_params": listShape, "object_permission": objectShape,
	"object_permission_id": stringShape, "access_group_ids": listShape, "router_settings": objectShape,
	"tpm_limit_type": stringShape, "rpm_limit_type": stringShape, "auto_rotate": boolShape,
	"rotation_interval": stringShape, "logging": anyShape, "allowed_passthrough_routes": listShape,
	"allowed_tools": listShape, "allowed_vector_store_indexes": listShape, "rotation_count": numberShape,
	"last_rotation_at": stringShape, "service_account_id": stringShape,
}

// inMetadata are extra fields that LiteLLM shows inside metadata.
var inMetadata = []string{"guardrails", "policies", "prompts", "enforced_params", "tpm_limit_type", "rpm_limit_type",
	"logging", "allowed_passthrough_routes", "allowed_tools", "allowed_vector_store_indexes", "service_account_id"}

// keyFields are the fields that making and changing a key have in common.
type keyFields struct {
	limitFields
	spendingFields
	alias, user, team, organization, project, agent, budgetID field[string]
	lifetime, homeRegion                                      field[string]
	models, tags, routes, regions                             field[[]string]
	aliases                                                   field[map[string]string]
	config, permissions, metadata                             field[jsontext.Value]
	modelMax                                                  field[map[string]model.ModelBudget]
	modelRPM, modelTPM                                        field[map[string]int64]
	windows                                                   field[[]model.BudgetWindow]
	blocked                                                   field[bool]
	extra                                                     map[string]field[jsontext.Value]
}

// neverExpires is what a duration of an update may say instead of null.
const neverExpires = "-1"

func readKey(f *form) keyFields {
	x := keyFields{
		limitFields: readLimits(f), spendingFields: readSpending(f),
		alias: f.id("key_alias"), user: f.id("user_id"), team: f.id("team_id"), organization: f.id("organization_id"),
		project: f.id("project_id"), agent: f.id("agent_id"), budgetID: f.id("budget_id"),
		lifetime: f.str("duration"), homeRegion: f.str("home_region"),
		models: f.strs("models"), tags: f.strs("tags"), routes: f.strs("allowed_routes"), regions: f.regions("data_regions"),
		aliases: f.strMap("aliases"),
		config:  f.object("config"), permissions: f.object("permissions"), metadata: f.object("metadata"),
		modelMax: f.modelBudgets("model_max_budget"),
		modelRPM: f.limitMap("model_rpm_limit"), modelTPM: f.limitMap("model_tpm_limit"), windows: f.windows("budget_limits"),
		blocked: f.bool("blocked"), extra: keyExtras.read(f),
	}
	if x.lifetime.set && x.lifetime.v != neverExpires {
		f.checkWindow("duration", x.lifetime.v)
	}
	if kind := f.choice("key_type", "default", "llm_api", "management", "read_only"); kind.set && !x.routes.set {
		if preset := routePresets[kind.v]; preset != nil {
			x.routes = field[[]string]{true, true, preset}
		}
	}
	x.absorb(f)
	return x
}

// routePresets are the allowed_routes that a key_type stands for.
var routePresets = map[string][]string{
	"llm_api":    {"llm_api_routes"},
	"management": {"management_routes"},
	"read_only":  {"info_routes"},
}

// absorb takes out of metadata what has a field of its own: LiteLLM shows these
// inside metadata, so clients send them back there.
func (x *keyFields) absorb(f *form) {
	if !x.metadata.set {
		return
	}
	in := &form{where: "body", raw: map[string]jsontext.Value{}}
	if json.Unmarshal(x.metadata.v, &in.raw) != nil {
		return
	}
	if tags := in.strs("tags"); tags.set && !x.tags.given {
		x.tags = tags
	}
	if rpm := in.limitMap("model_rpm_limit"); rpm.set && !x.modelRPM.given {
		x.modelRPM = rpm
	}
	if tpm := in.limitMap("model_tpm_limit"); tpm.set && !x.modelTPM.given {
		x.modelTPM = tpm
	}
	for _, name := range inMetadata {
		if _, given := x.extra[name]; !given {
			if v, ok := (extras{name: keyExtras[name]}).read(in)[name]; ok {
				x.extra[name] = v
			}
		}
	}
	for _, wrong := range in.faults {
		wrong.Loc = append([]string{"body", "metadata"}, wrong.Loc[1:]...)
		f.faults = append(f.faults, wrong)
	}
	x.metadata.v = withoutFields(x.metadata.v, append([]string{"tags", "model_rpm_limit", "model_tpm_limit",
		"temp_budget_increase", "temp_budget_expiry"}, inMetadata...)...)
}

// into lays the given fields over a key. Its maps and slices are replaced,
// never written: the old key is still somebody's snapshot.
func (x *keyFields) into(k *model.Key, now time.Time) {
	x.limitFields.into(&k.Limits)
	x.spendingFields.into(&k.Spending)
	x.alias.into(&k.Alias)
	x.user.into(&k.UserID)
	x.team.into(&k.TeamID)
	x.organization.into(&k.OrganizationID)
	x.project.into(&k.ProjectID)
	x.agent.into(&k.AgentID)
	x.budgetID.into(&k.BudgetID)
	home := k.HomeRegion
	x.homeRegion.into(&k.HomeRegion)
	if k.CreatedIndex > 0 && k.HomeRegion != home {
		k.HomeMoves++
	}
	x.models.into(&k.Models)
	x.tags.into(&k.Tags)
	x.routes.into(&k.AllowedRoutes)
	x.regions.into(&k.DataRegions)
	x.aliases.into(&k.Aliases)
	intoRaw(x.config, &k.Config)
	intoRaw(x.permissions, &k.Permissions)
	intoRaw(x.metadata, &k.Metadata)
	x.modelMax.into(&k.ModelMaxBudget)
	x.windows.into(&k.BudgetWindows)
	x.modelRPM.into(&k.ModelRPM)
	x.modelTPM.into(&k.ModelTPM)
	x.blocked.into(&k.Blocked)
	k.Extra = keep(k.Extra, x.extra)
	if x.lifetime.given {
		k.Expires = expiry(x.lifetime, now)
	}
}

// expiry is when a key of this lifetime ends; nil: never.
func expiry(lifetime field[string], now time.Time) *time.Time {
	w, err := unit.ParseWindow(lifetime.v)
	if !lifetime.set || err != nil || w.Endless() {
		return nil
	}
	t := w.Add(now)
	return &t
}

func intoRaw(f field[jsontext.Value], dst *stdjson.RawMessage) {
	if f.given {
		*dst = stdjson.RawMessage(slices.Clone(f.v))
	}
}

// limiting reports whether fields were given that bound what a key may do.
func (x *keyFields) limiting() bool {
	return x.limitFields.given() || x.spendingFields.given() || x.models.given || x.routes.given || x.regions.given ||
		x.homeRegion.given || x.budgetID.given || x.team.given || x.user.given || x.organization.given || x.project.given ||
		x.lifetime.given || x.modelMax.given || x.modelRPM.given || x.modelTPM.given || x.aliases.given || x.windows.given
}
