package run

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/health"
	"tollgate/config/file"
	"tollgate/config/price"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/registry"
	"tollgate/proxy/route"
)

// routed is a routing that stands still.
type routed struct{ *state.Routing }

func (r routed) State() *state.Snapshot { return &state.Snapshot{Routing: r.Routing} }

const restingModels = `
model_list:
  - {model_name: pair, litellm_params: {model: openai/x, api_key: sk-1}, model_info: {id: a}}
  - {model_name: pair, litellm_params: {model: openai/x, api_key: sk-2, cooldown_time: 20}, model_info: {id: b}}
  - {model_name: pair, litellm_params: {model: openai/x, api_key: sk-2, cooldown_time: 0}, model_info: {id: never}}
  - {model_name: single, litellm_params: {model: openai/x, api_key: sk-1}, model_info: {id: single}}
  - {model_name: "openai/*", litellm_params: {model: "openai/*", api_key: sk-1}, model_info: {id: wild}}
  - {model_name: "*", litellm_params: {model: "*"}, model_info: {id: any}}
`

func compiled(t *testing.T, yaml string) *state.Routing {
	t.Helper()
	env := func(string) (string, bool) { return "", false }
	loaded, err := file.Parse("config.yaml", []byte(yaml), env, nil)
	require.NoError(t, err)
	r, _ := state.Compile(loaded.Config, nil, state.CompileDeps{Book: price.Default(), Providers: registry.Defaults(), Env: env})
	return r
}

func TestRestsAreAsTheConfigurationSays(t *testing.T) {
	type policies = map[string]health.Policy
	std := health.Policy{Allowed: 3}
	alone := health.Policy{Allowed: 3, Alone: true}
	for name, tc := range map[string]struct {
		settings string
		want     policies
	}{
		"nothing": {"", policies{
			"a": std, "single": alone, "wild": alone,
			"b":     {Allowed: 3, Rest: 20 * time.Second, Fixed: true},
			"never": {Allowed: 3, Fixed: true, Never: true},
			"any":   {Allowed: 3, Alone: true, Never: true},
		}},
		"the router's time before LiteLLM's": {"router_settings: {cooldown_time: 7}\nlitellm_settings: {cooldown_time: 9}", policies{
			"a": {Allowed: 3, Rest: 7 * time.Second}, "b": {Allowed: 3, Rest: 20 * time.Second, Fixed: true}}},
		"LiteLLM's time":                   {"litellm_settings: {cooldown_time: 9}", policies{"a": {Allowed: 3, Rest: 9 * time.Second}}},
		"a time of nought":                 {"router_settings: {cooldown_time: 0}", policies{"a": {Allowed: 3, Rest: -1}}},
		"three allowed fails are none set": {"router_settings: {allowed_fails: 3}", policies{"a": std}},
		"the router's before LiteLLM's":    {"router_settings: {allowed_fails: 3}\nlitellm_settings: {allowed_fails: 8}", policies{"a": std}},
		"allowed fails":                    {"litellm_settings: {allowed_fails: 0}", policies{"a": {Counted: true}}},
		"a policy alone": {"router_settings: {allowed_fails_policy: {TimeoutErrorAllowedFails: 5}}", policies{
			"a": {Allowed: 3, Counted: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := compiled(t, restingModels+tc.settings+"\n")
			for id, want := range tc.want {
				require.Equal(t, want, policyOf(r, r.ByID[id]), id)
			}
		})
	}
}

func healthOf(t *testing.T, r *state.Routing) *upstreamHealth {
	t.Helper()
	view, err := health.New(health.Config{Node: "n", Clock: unit.SystemClock{}})
	require.NoError(t, err)
	return &upstreamHealth{view: view, state: routed{r}, box: &secret.Box{}, log: slog.New(slog.DiscardHandler), cooled: map[cooledBy]uint64{}}
}

func TestAllowedFailsAreThoseOfTheErrorsClass(t *testing.T) {
	r := compiled(t, restingModels+"router_settings: {allowed_fails: 1, allowed_fails_policy: {TimeoutErrorAllowedFails: 3, AuthenticationErrorAllowedFails: 0, InternalServerErrorAllowedFails: 2, RateLimitErrorAllowedFails: 4}}\n")
	for name, tc := range map[string]struct {
		outcome route.Outcome
		after   int
	}{
		"a class with a number of its own": {route.Outcome{Kind: route.Timeout, Class: provider.Timeout}, 4},
		"none allowed":                     {route.Outcome{Kind: route.Auth, Class: provider.Authentication}, 1},
		"a kind of server error":           {route.Outcome{Kind: route.ServerError, Class: provider.ServiceUnavailable}, 3},
		"a limit":                          {route.Outcome{Kind: route.RateLimited, Class: provider.RateLimit}, 5},
		"another class":                    {route.Outcome{Kind: route.NotFound, Class: provider.NotFound}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h, d := healthOf(t, r), r.ByID["single"]
			n := 0
			for rests := false; !rests && n < 10; n++ {
				h.Report(d, tc.outcome)
				_, _, rests = h.Cooling(d)
			}
			require.Equal(t, tc.after, n)
		})
	}
}

func TestCooldownsCanBeDisabledAndAreShownUnderLiteLLMsNames(t *testing.T) {
	shown := func(h *upstreamHealth) string {
		reg := prometheus.NewRegistry()
		reg.MustRegister(&conditions{h})
		families, err := reg.Gather()
		require.NoError(t, err)
		var out bytes.Buffer
		for _, f := range families {
			_, err := expfmt.MetricFamilyToText(io.Writer(&out), f)
			require.NoError(t, err)
		}
		return out.String()
	}
	limited := route.Outcome{Kind: route.RateLimited, Class: provider.RateLimit, Status: 429, Reset: time.Minute}
	r := compiled(t, restingModels)
	h := healthOf(t, r)
	h.Report(r.ByID["a"], limited)
	h.Report(r.ByID["single"], limited)
	_, why, rests := h.Cooling(r.ByID["a"])
	require.True(t, rests)
	require.Equal(t, "rate_limited", why)
	_, _, rests = h.Cooling(r.ByID["single"])
	require.False(t, rests)
	text := shown(h)
	const labels = `{api_base="https://api.openai.com/v1",api_provider="openai",%litellm_model_name="x",model_id="a"}`
	require.Contains(t, text, "litellm_deployment_state"+strings.Replace(labels, "%", "", 1)+" 2")
	require.Contains(t, text, "litellm_deployment_cooled_down_total"+strings.Replace(labels, "%", `exception_status="429",`, 1)+" 1")
	require.Contains(t, text, `model_id="single"} 1`)
	require.NotContains(t, text, `model_id="b"`)

	r = compiled(t, restingModels+"router_settings: {disable_cooldowns: true}\n")
	h = healthOf(t, r)
	h.Report(r.ByID["a"], limited)
	_, _, rests = h.Cooling(r.ByID["a"])
	require.False(t, rests)
	require.NotContains(t, shown(h), "cooled_down")
}

// A wildcard makes a deployment for each call; what is known of it must not
// grow with them.
func TestDeploymentsBehindWildcardsAreKnownOnce(t *testing.T) {
	r := compiled(t, restingModels)
	h := healthOf(t, r)
	for _, name := range []string{"openai/a", "openai/b", "openai/a"} {
		target, ok := r.Resolve(name)
		require.True(t, ok)
		h.Report(target.Deployments()[0].Deployment, route.Outcome{})
	}
	require.Len(t, h.facts, 1)
}
