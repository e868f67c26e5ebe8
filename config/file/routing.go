package file

import (
	"strings"

	"tollgate/config/model"
)

// The names that policies know, by LiteLLM's spelling.
var (
	retryNames = words(`BadRequestErrorRetries AuthenticationErrorRetries TimeoutErrorRetries RateLimitErrorRetries
		ContentPolicyViolationErrorRetries InternalServerErrorRetries ServiceUnavailableErrorRetries BadGatewayErrorRetries
		DefaultRetries`)

	failNames = words(`BadRequestErrorAllowedFails AuthenticationErrorAllowedFails TimeoutErrorAllowedFails
		RateLimitErrorAllowedFails ContentPolicyViolationErrorAllowedFails InternalServerErrorAllowedFails
		NotFoundErrorAllowedFails ServiceUnavailableErrorAllowedFails BadGatewayErrorAllowedFails`)

	strategyArgs = words(`ttl lowest_latency_buffer max_latency_list_size rpm tpm`)

	// preCallChecks are those of optional_pre_call_checks that are made here; the
	// first is made wherever such budgets are set.
	preCallChecks = words(`router_budget_limiting enforce_model_rate_limits`)

	otherPreCallChecks = words(`prompt_caching responses_api_deployment_check deployment_affinity session_affinity
		forward_client_headers_by_model_group encrypted_content_affinity`)
)

func (p *parser) router(s *section) {
	c := &p.out.Config.Router
	s.Choice("routing_strategy", &c.Strategy, strategies...)
	p.strategyArgs(s, c)
	c.Aliases = p.aliases(s)
	p.fallbacks(s, &c.Fallbacks, &c.ContextFallbacks, &c.ContentFallbacks)
	s.Int("max_fallbacks", &c.MaxFallbacks)
	s.Int("num_retries", &c.NumRetries)
	c.RetryPolicy = p.policy(s, s.field("retry_policy"), "retry_policy", retryNames)
	c.GroupRetryPolicy = p.groupPolicies(s)
	s.Float("retry_after", &c.RetryAfter)
	s.Float("timeout", &c.Timeout)
	s.Float("stream_timeout", &c.StreamTimeout)
	s.Int("allowed_fails", &c.AllowedFails)
	c.AllowedFailsPolicy = p.policy(s, s.field("allowed_fails_policy"), "allowed_fails_policy", failNames)
	s.FloatPtr("cooldown_time", &c.CooldownTime)
	s.Bool("disable_cooldowns", &c.DisableCooldowns)
	s.Bool("enable_pre_call_check", &c.PreCallChecks)
	s.Bool("enable_pre_call_checks", &c.PreCallChecks)
	s.Bool("enable_tag_filtering", &c.TagFiltering)
	anyTag := true
	s.Bool("tag_filtering_match_any", &anyTag)
	c.TagMatchAll = !anyTag
	s.Params("default_litellm_params", &c.DefaultParams)
	p.namedBudgets(s, "provider_budget_config", &c.ProviderBudgets)
	p.preCallChecks(s)
	p.routerCache(s)
	p.withoutEffect(s, "router_settings")
	c.Raw = s.Rest(knownRouter)
}

// policy reads a map of error classes to counts. A name that is none of them
// would be a rule that never holds.
func (p *parser) policy(s *section, v *value, name string, known []string) map[string]int {
	if v == nil {
		return nil
	}
	out := s.ints(v, name)
	if v.kind != kindMap {
		return nil
	}
	for _, f := range v.fields {
		if contains(known, f.name) {
			continue
		}
		hint := "use one of " + strings.Join(known, ", ")
		if near := nearest(f.name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.warn(f.key, join(s.path, join(name, f.name)), "nothing goes by this name: the line has no effect", hint)
	}
	return out
}

func (p *parser) groupPolicies(s *section) map[string]map[string]int {
	const name = "model_group_retry_policy"
	v := s.field(name)
	if v == nil {
		return nil
	}
	if v.kind != kindMap {
		s.want(v, name, "a map of model groups")
		return nil
	}
	out := make(map[string]map[string]int, len(v.fields))
	for _, f := range v.fields {
		if f.v.kind != kindNull {
			out[f.name] = p.policy(s, f.v, join(name, f.name), retryNames)
		}
	}
	return out
}

// strategyArgs checks the figures of a strategy; they stay as they were written.
func (p *parser) strategyArgs(s *section, c *model.RouterSettings) {
	const name = "routing_strategy_args"
	v := s.field(name)
	if v == nil {
		return
	}
	if v.kind != kindMap {
		s.want(v, name, "a map such as {ttl: 3600}")
		return
	}
	in := newSection(s.s, v, join(s.path, name), s.level)
	var f float64
	var n *int
	for _, field := range []string{"ttl", "lowest_latency_buffer"} {
		in.Float(field, &f)
		in.asNumber(field)
	}
	in.Int("max_latency_list_size", &n)
	in.asNumber("max_latency_list_size")
	in.Rest(strategyArgs)
	c.StrategyArgs = v.json()
}

// preCallChecks warns of checks that are not made: some keep calls together, and
// who relies on that is told.
func (p *parser) preCallChecks(s *section) {
	v := s.v.get("optional_pre_call_checks")
	if v == nil || v.kind == kindNull {
		return
	}
	for i, name := range s.texts(v, "optional_pre_call_checks") {
		if contains(preCallChecks, name) {
			continue
		}
		at := join(s.path, at("optional_pre_call_checks", i))
		if contains(otherPreCallChecks, name) {
			p.warn(v, at, "the check "+quote(name)+" is not made in this release", "calls are served all the same")
			continue
		}
		p.warn(v, at, "unknown check "+quote(name), suggestion(name, "", append(preCallChecks[:2:2], otherPreCallChecks...)))
	}
}
