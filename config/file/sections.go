package file

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// sections reads the whole tree into the configuration.
func (p *parser) sections(root *value) {
	list := root.take("model_list")
	p.collect(root, "", Fault)
	for _, f := range root.fields {
		// Sections of a leading dot or x- hold anchors; they need no notice.
		if !contains(knownTop, f.name) && !strings.HasPrefix(f.name, ".") && !strings.HasPrefix(f.name, "x-") {
			p.warn(f.key, f.name, "unknown section", suggestion(f.name, "", knownTop))
		}
	}
	p.callbackSettings(root)
	if s := p.section(root, "litellm_settings"); s != nil {
		p.litellm(s)
	}
	p.topLevelParams(root)
	p.joinCallbacks(root)
	if s := p.section(root, "router_settings"); s != nil {
		p.router(s)
	}
	if s := p.section(root, "general_settings"); s != nil {
		p.general(s)
	}
	if s := p.section(root, "tollgate_settings"); s != nil {
		p.tollgate(s)
	}
	p.finishCache()
	p.credentials(root.get("credential_list"))
	p.models(list)
	p.other(root)
	p.environmentDefaults()
	p.references(root)
}

func (p *parser) section(root *value, name string) *section {
	v := root.get(name)
	if v == nil || v.kind == kindNull {
		return nil
	}
	if v.kind != kindMap {
		p.fault(v, name, "want a map of settings, found "+kindNames[v.kind], "indent the settings under "+name+":")
		return nil
	}
	return newSection(&p.sink, v, name, Fault)
}

func (p *parser) litellm(s *section) {
	c := &p.out.Config.LiteLLM
	s.Bool("drop_params", &c.DropParams)
	s.Bool("modify_params", &c.ModifyParams)
	s.Int("num_retries", &c.NumRetries)
	s.Float("request_timeout", &c.RequestTimeout)
	s.Int("allowed_fails", &c.AllowedFails)
	s.FloatPtr("cooldown_time", &c.CooldownTime)
	p.fallbacks(s, &c.Fallbacks, &c.ContextFallbacks, &c.ContentFallbacks)
	p.callbackLists(s)
	p.litellmCache(s)
	s.Bool("turn_off_message_logging", &c.TurnOffMessageLogging)
	p.budget(s, c)
	s.Money("max_end_user_budget", &c.EndUserBudget)
	s.Text("max_end_user_budget_id", &c.EndUserBudgetID)
	p.namedBudgets(s, "tag_budget_config", &c.TagBudgets)
	p.keyParams(s, "default_key_generate_params", &c.DefaultKeyParams)
	p.keyParams(s, "upperbound_key_generate_params", &c.UpperboundKeyParams)
	p.keyParams(s, "default_internal_user_params", &c.DefaultInternalUser)
	s.Money("default_max_internal_user_budget", &c.InternalUserBudget)
	s.Money("max_internal_user_budget", &c.InternalUserBudget)
	s.Duration("internal_user_budget_duration", &c.InternalUserDuration)
	s.Bool("require_auth_for_metrics_endpoint", &c.RequireMetricsAuth)
	s.Bool("enable_end_user_cost_tracking_prometheus_only", &c.PrometheusEndUser)
	audit := true
	s.Bool("store_audit_logs", &audit)
	c.NoAuditLogs = !audit
	s.Text("timezone", &c.Timezone)
	if _, err := time.LoadLocation(c.Timezone); err != nil {
		s.bad(s.v.get("timezone"), "timezone", "unknown time zone "+quote(c.Timezone), "write for example Europe/Berlin or UTC")
	}
	p.pythonHooks(s, "custom_provider_map", "post_call_rules", "guardrails")
	p.withoutEffect(s, "litellm_settings")
	c.Raw = s.Rest(knownLiteLLM)
}

// budget tells the two meanings of max_budget apart: with a duration it is
// LiteLLM's budget of the whole proxy, without one (where LiteLLM refuses to
// start) it is every caller's, month by month. rpm and tpm are every caller's.
func (p *parser) budget(s *section, c *model.LiteLLMSettings) {
	var amount *unit.Money
	var duration string
	s.Money("max_budget", &amount)
	s.Duration("budget_duration", &duration)
	s.Int64("rpm", &c.CallerRPM)
	s.Int64("tpm", &c.CallerTPM)
	switch {
	case amount == nil && duration != "":
		p.warn(s.v.get("budget_duration"), join(s.path, "budget_duration"), "a duration without max_budget has no effect", "add max_budget")
	case amount == nil:
	case duration != "":
		c.ProxyBudget, c.ProxyBudgetDuration = amount, duration
	default:
		c.CallerBudget, c.CallerBudgetDuration = amount, "1mo"
	}
}

// keyParams checks the amounts and durations inside maps of defaults, so that
// a slip shows at start and not at the first key.
func (p *parser) keyParams(s *section, name string, into *json.RawMessage) {
	v := s.field(name)
	if v == nil {
		return
	}
	if v.kind != kindMap {
		s.want(v, name, "a map")
		return
	}
	in := newSection(s.s, v, join(s.path, name), s.level)
	var m *unit.Money
	var d string
	var n *int64
	in.Money("max_budget", &m)
	in.Duration("budget_duration", &d)
	in.Duration("duration", &d)
	for _, k := range []string{"max_parallel_requests", "tpm_limit", "rpm_limit"} {
		in.Int64(k, &n)
	}
	*into = v.json()
}

// pythonHooks refuses settings that would load Python code. Ignoring them
// would leave out checks that the operator relies on.
func (p *parser) pythonHooks(s *section, names ...string) {
	for _, name := range names {
		if v := s.field(name); v != nil {
			s.bad(v, name, "this names Python code, which cannot run here", "remove the line")
		}
	}
}

func (p *parser) general(s *section) {
	c := &p.out.Config.General
	var master string
	s.Text("master_key", &master)
	if master != "" {
		p.setMasterKey(master)
	}
	s.Text("database_url", &c.DatabaseURL)
	s.Bool("store_model_in_db", &c.StoreModelInDB)
	s.Bool("store_prompts_in_spend_logs", &c.StorePrompts)
	s.Bool("disable_spend_logs", &c.DisableSpendLogs)
	s.Bool("disable_error_logs", &c.DisableErrorLogs)
	s.Int64("global_max_parallel_requests", &c.GlobalParallel)
	s.Text("litellm_key_header_name", &c.KeyHeaderName)
	s.Text("user_header_name", &c.UserHeaderName)
	s.Bool("enforce_user_param", &c.EnforceUserParam)
	s.Bool("reject_clientside_metadata_tags", &c.RejectClientTags)
	s.Texts("allowed_routes", &c.AllowedRoutes)
	s.Texts("public_routes", &c.PublicRoutes)
	s.Texts("admin_only_routes", &c.AdminOnlyRoutes)
	s.Float("max_request_size_mb", &c.MaxRequestSizeMB)
	s.Float("max_response_size_mb", &c.MaxResponseSizeMB)
	s.Bool("always_include_stream_usage", &c.AlwaysStreamUsage)
	s.Bool("forward_client_headers_to_llm_api", &c.ForwardClientHeader)
	s.Bool("forward_openai_org_id", &c.ForwardOrgID)
	s.Choice("token_rate_limit_type", &c.TokenLimitType, "total", "input", "output")
	s.Bool("background_health_checks", &c.BackgroundHealth)
	s.Float("health_check_interval", &c.HealthInterval)
	s.Duration("maximum_spend_logs_retention_period", &c.SpendLogsRetention)
	s.Duration("maximum_spend_logs_retention_interval", &c.SpendLogsInterval)
	p.alerting(s, &c.Alerting)
	p.alertAddresses(s)
	p.pythonHooks(s, "custom_auth", "custom_sso", "custom_key_generate")
	p.withoutEffect(s, "general_settings")
	c.Raw = s.Rest(knownGeneral)
}

// setMasterKey keeps the plain key apart from the replicated settings.
func (p *parser) setMasterKey(key string) {
	sum := sha256.Sum256([]byte(key))
	p.out.MasterKey = key
	p.out.Config.General.MasterKeyHash = hex.EncodeToString(sum[:])
}

// credentials reads credential_list by name.
func (p *parser) credentials(v *value) {
	const path = "credential_list"
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindList {
		p.fault(v, path, "want a list of credentials", "begin each with - credential_name:")
		return
	}
	out := make(map[string]model.Params, len(v.items))
	for i, item := range v.items {
		if item.kind != kindMap {
			p.fault(item, at(path, i), "want a map with credential_name and credential_values", "")
			continue
		}
		s := newSection(&p.sink, item, at(path, i), Fault)
		var name string
		var values model.Params
		var info json.RawMessage
		s.Text("credential_name", &name)
		s.Params("credential_values", &values)
		s.JSON("credential_info", &info)
		s.Rest([]string{"credential_name", "credential_values", "credential_info"})
		switch {
		case name == "":
			p.fault(item, at(path, i), "a credential needs a credential_name", "")
		case values == nil:
			p.fault(item, at(path, i), "a credential needs credential_values", "add api_key and what else it takes")
		case out[name] != nil:
			p.fault(item, at(path, i), "credential "+quote(name)+" is given twice", "remove one of the two")
		default:
			out[name] = values
		}
	}
	if len(out) > 0 {
		p.out.Config.Credentials = out
	}
}

// other keeps the sections that nothing here reads.
func (p *parser) other(root *value) {
	for _, f := range root.fields {
		switch f.name {
		case "litellm_settings", "router_settings", "general_settings", "tollgate_settings", "credential_list", "litellm_params":
			continue
		}
		if f.v.kind == kindNull || !contains(knownTop, f.name) {
			continue
		}
		if f.name == "guardrails" && len(f.v.items) > 0 {
			p.warn(f.v, f.name, "guardrails do not run in this release: requests are not checked by them", "do not rely on them")
		}
		if contains(inertSections, f.name) {
			p.warn(f.key, f.name, "accepted, but without effect in this release", "calls are served all the same")
		}
		if p.out.Config.Other == nil {
			p.out.Config.Other = map[string]json.RawMessage{}
		}
		if p.out.Config.Other[f.name] = f.v.json(); f.name == "callback_settings" {
			p.otherCallbacks(f.v)
		}
	}
}
