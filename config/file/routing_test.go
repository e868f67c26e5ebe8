package file_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
)

const twoModels = `
model_list:
  - {model_name: m, litellm_params: {model: openai/gpt-x, api_key: k}}
  - {model_name: spare, litellm_params: {model: openai/gpt-y, api_key: k}}
  - {model_name: groq/llama, litellm_params: {model: groq/llama, api_key: k}}
`

func TestEverySettingOfTheRouterIsCarried(t *testing.T) {
	l := parse(t, twoModels+`
router_settings:
  routing_strategy: latency-based-routing
  routing_strategy_args: {ttl: "600", lowest_latency_buffer: 0.1, max_latency_list_size: 20}
  fallbacks: [{m: [spare]}]
  default_fallbacks: [spare]
  context_window_fallbacks: [{m: [spare]}]
  content_policy_fallbacks: [{llama: [spare]}]
  max_fallbacks: 3
  num_retries: 4
  retry_policy: {RateLimitErrorRetries: 3, InternalServerErrorRetries: 1, BadRequestErrorRetries: null}
  model_group_retry_policy: {m: {TimeoutErrorRetries: 0}}
  retry_after: 0.5
  timeout: 30
  stream_timeout: 10
  allowed_fails: 7
  allowed_fails_policy: {RateLimitErrorAllowedFails: 100}
  cooldown_time: 0
  enable_pre_call_checks: true
  optional_pre_call_checks: [router_budget_limiting, enforce_model_rate_limits]
  enable_tag_filtering: true
  tag_filtering_match_any: false
`, nil)
	require.Empty(t, l.Warnings)
	r := l.Config.Router
	require.Equal(t, "latency-based-routing", r.Strategy)
	require.JSONEq(t, `{"ttl":600,"lowest_latency_buffer":0.1,"max_latency_list_size":20}`, string(r.StrategyArgs))
	require.Equal(t, map[string][]string{"m": {"spare"}, "*": {"spare"}}, r.Fallbacks)
	require.Equal(t, map[string][]string{"m": {"spare"}}, r.ContextFallbacks)
	require.Equal(t, map[string][]string{"llama": {"spare"}}, r.ContentFallbacks)
	require.Equal(t, 3, *r.MaxFallbacks)
	require.Equal(t, 4, *r.NumRetries)
	require.Equal(t, map[string]int{"RateLimitErrorRetries": 3, "InternalServerErrorRetries": 1}, r.RetryPolicy)
	require.Equal(t, map[string]map[string]int{"m": {"TimeoutErrorRetries": 0}}, r.GroupRetryPolicy)
	require.Equal(t, []float64{0.5, 30, 10}, []float64{r.RetryAfter, r.Timeout, r.StreamTimeout})
	require.Equal(t, 7, *r.AllowedFails)
	require.Equal(t, map[string]int{"RateLimitErrorAllowedFails": 100}, r.AllowedFailsPolicy)
	require.Zero(t, *r.CooldownTime)
	require.True(t, r.PreCallChecks && r.TagFiltering && r.TagMatchAll)
}

// Each line holds a slip; the warning or the fault names its line and what was
// meant.
func TestSlipsInRoutingAreToldWithTheirLine(t *testing.T) {
	for name, tc := range map[string]struct{ line, problem, hint string }{
		"strategy":          {"routing_strategy: least-bussy", "least-bussy", "least-busy"},
		"strategy argument": {"routing_strategy_args: {lowest_latency_bufer: 1}", "unknown key", "lowest_latency_buffer"},
		"argument's value":  {"routing_strategy_args: {ttl: long}", "want a number", ""},
		"arguments":         {"routing_strategy_args: [1]", "want a map", ""},
		"policy":            {"retry_policy: {RateLimitRetries: 3}", "no effect", "RateLimitErrorRetries"},
		"policy's value":    {"retry_policy: {RateLimitErrorRetries: many}", "want a whole number", ""},
		"negative":          {"num_retries: -1", "want a whole number from 0", ""},
		"group policy":      {"model_group_retry_policy: {m: {TimeoutRetries: 3}}", "no effect", "TimeoutErrorRetries"},
		"group of a policy": {"model_group_retry_policy: {mm: {TimeoutErrorRetries: 3}}", `"mm"`, "model_list"},
		"fails":             {"allowed_fails_policy: {TimeoutErrorAlowedFails: 3}", "no effect", "TimeoutErrorAllowedFails"},
		"target":            {"fallbacks: [{m: [spar]}]", `model "spar" is in no model_list`, "spare"},
		"context target":    {"context_window_fallbacks: [{m: [big]}]", `model "big" is in no model_list`, ""},
		"content target":    {"content_policy_fallbacks: [{m: [mild]}]", `model "mild" is in no model_list`, ""},
		"default target":    {"default_fallbacks: [nobody]", `model "nobody" is in no model_list`, ""},
		"fallback of":       {"fallbacks: [{sparre: [m]}]", `"sparre"`, "did you mean spare?"},
		"check":             {"optional_pre_call_checks: [enforce_model_rate_limit]", "unknown check", "enforce_model_rate_limits"},
		"check not made":    {"optional_pre_call_checks: [prompt_caching]", "not made in this release", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := file.Parse("config.yaml", []byte(twoModels+"router_settings:\n  "+tc.line+"\n"), env(nil), nil)
			text := ""
			if err != nil {
				text = err.Error()
			} else {
				require.NotEmpty(t, l.Warnings)
				for _, w := range l.Warnings {
					text += w.String() + "\n"
				}
			}
			require.Contains(t, text, "config.yaml:7", "the line of the slip")
			require.Contains(t, text, tc.problem)
			require.Contains(t, text, tc.hint)
		})
	}
}

func TestRoutingFromTheEnvironment(t *testing.T) {
	vars := map[string]string{"REQUEST_TIMEOUT": "90", "ROUTER_MAX_FALLBACKS": "2", "DEFAULT_COOLDOWN_TIME_SECONDS": "12.5",
		"DEFAULT_ALLOWED_FAILS": "9", "DEFAULT_MAX_RETRIES": "1", "LITELLM_MAX_STREAMING_DURATION_SECONDS": "600",
		"INITIAL_RETRY_DELAY": "0.25", "MAX_RETRY_DELAY": "2"}
	c := parse(t, twoModels, vars).Config
	require.Equal(t, 90.0, c.LiteLLM.RequestTimeout)
	require.Equal(t, 600.0, c.LiteLLM.MaxStreaming)
	require.Equal(t, 2, *c.Router.MaxFallbacks)
	require.Equal(t, 0.25, c.Router.RetryDelay)
	require.Equal(t, 2.0, c.Router.RetryDelayMax)
	require.Equal(t, 12.5, *c.LiteLLM.CooldownTime)
	require.Equal(t, 9, *c.LiteLLM.AllowedFails)
	require.Equal(t, 1, *c.LiteLLM.NumRetries)

	c = parse(t, twoModels+"router_settings: {max_fallbacks: 0, num_retries: 0, cooldown_time: 0, allowed_fails: 0}\nlitellm_settings: {request_timeout: 5}\n", vars).Config
	require.Equal(t, 5.0, c.LiteLLM.RequestTimeout)
	require.Zero(t, *c.Router.MaxFallbacks, "what the file says of nought counts")
	require.Nil(t, c.LiteLLM.CooldownTime)
	require.Nil(t, c.LiteLLM.AllowedFails)
	require.Nil(t, c.LiteLLM.NumRetries)

	_, err := file.Parse("config.yaml", []byte(twoModels), env(map[string]string{"ROUTER_MAX_FALLBACKS": "few"}), nil)
	require.ErrorContains(t, err, "ROUTER_MAX_FALLBACKS")
}

func TestFallbacksOfAModelBehindItsProviderAreNoSlip(t *testing.T) {
	l := parse(t, twoModels+"router_settings: {fallbacks: [{llama: [spare]}, {'*': [m]}], model_group_alias: {al: m}, context_window_fallbacks: [{al: [spare]}]}\n", nil)
	require.Empty(t, l.Warnings)
}
