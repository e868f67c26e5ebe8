package route_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/provider/registry"
	"tollgate/proxy/route"
)

func routing(t testing.TB, yaml string) *state.Routing {
	t.Helper()
	env := func(string) (string, bool) { return "", false }
	loaded, err := file.Parse("config.yaml", []byte(yaml), env, nil)
	require.NoError(t, err)
	r, _ := state.Compile(loaded.Config, nil, state.CompileDeps{Book: price.Default(), Providers: registry.Defaults(), Env: env})
	return r
}

// model is one entry of a model list; params and info are more fields of each.
func entry(group, id, params string) string {
	if params != "" {
		params = ", " + params
	}
	return fmt.Sprintf("  - {model_name: %s, litellm_params: {model: openai/gpt-x, api_key: k%s}, model_info: {id: %s}}\n", group, params, id)
}

func list(entries ...string) string { return "model_list:\n" + strings.Join(entries, "") }

func anyone(string) bool { return true }

// firsts counts how often each deployment came first in n plans.
func firsts(t testing.TB, r *state.Routing, name string, n int) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for range n {
		p, ok := route.Build(r, name, nil, anyone, nil)
		require.True(t, ok)
		out[p.Candidates[0].Deployment.ID] += 1 / float64(n)
	}
	return out
}

func TestLoadFollowsWeightsThenLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b, c string
		want    [3]float64
	}{
		"alike":                       {"", "", "", [3]float64{1. / 3, 1. / 3, 1. / 3}},
		"weights":                     {"weight: 1", "weight: 2", "weight: 7", [3]float64{.1, .2, .7}},
		"weights win over rpm":        {"weight: 1, rpm: 900", "weight: 3, rpm: 1", "weight: 6", [3]float64{.1, .3, .6}},
		"rpm":                         {"rpm: 10", "rpm: 30", "rpm: 60", [3]float64{.1, .3, .6}},
		"rpm wins over tpm":           {"rpm: 10, tpm: 1", "rpm: 30, tpm: 1", "rpm: 60, tpm: 9000", [3]float64{.1, .3, .6}},
		"tpm":                         {"tpm: 100", "tpm: 300", "tpm: 600", [3]float64{.1, .3, .6}},
		"none beside one with weight": {"weight: 1", "", "", [3]float64{1, 0, 0}},
		"weight of nought":            {"weight: 0", "weight: 1", "weight: 1", [3]float64{0, .5, .5}},
		"order first":                 {"order: 2, weight: 100", "order: 1", "order: 1", [3]float64{0, .5, .5}},
	} {
		t.Run(name, func(t *testing.T) {
			r := routing(t, list(entry("m", "a", tc.a), entry("m", "b", tc.b), entry("m", "c", tc.c)))
			const n = 20_000
			got := firsts(t, r, "m", n)
			for i, id := range []string{"a", "b", "c"} {
				p := tc.want[i]
				require.InDelta(t, p, got[id], 5*math.Sqrt(p*(1-p)/n)+1e-4, id)
			}
		})
	}
}

func TestEveryPlanHasEveryDeploymentOnce(t *testing.T) {
	r := routing(t, list(entry("m", "a", "order: 2"), entry("m", "b", "order: 1"), entry("m", "c", ""), entry("m", "d", "order: 1")))
	for range 200 {
		p, ok := route.Build(r, "m", nil, anyone, nil)
		require.True(t, ok)
		var ids []string
		for _, c := range p.Candidates {
			require.False(t, c.Fallback)
			ids = append(ids, c.Deployment.ID)
		}
		require.ElementsMatch(t, []string{"b", "d"}, ids[:2], "the lowest order first")
		require.Equal(t, []string{"a", "c"}, ids[2:], "those without an order last")
	}
}

func TestFallbacksFollowWhatWasAskedFor(t *testing.T) {
	models := list(entry("m", "m1", ""), entry("x", "x1", ""), entry("y", "y1", ""), entry("z", "z1", ""))
	for name, tc := range map[string]struct {
		settings string
		asked    string
		request  []string
		denied   string
		want     []string
	}{
		"none":                        {asked: "m", want: []string{"m1"}},
		"router's":                    {settings: "router_settings: {fallbacks: [{m: [x, y]}]}", asked: "m", want: []string{"m1", "x1", "y1"}},
		"litellm's":                   {settings: "litellm_settings: {fallbacks: [{m: [y]}]}", asked: "m", want: []string{"m1", "y1"}},
		"default":                     {settings: "litellm_settings: {default_fallbacks: [z]}", asked: "m", want: []string{"m1", "z1"}},
		"own before default":          {settings: "litellm_settings: {default_fallbacks: [z], fallbacks: [{m: [y]}]}", asked: "m", want: []string{"m1", "y1"}},
		"request's win":               {settings: "router_settings: {fallbacks: [{m: [x]}]}", asked: "m", request: []string{"z"}, want: []string{"m1", "z1"}},
		"request wants none":          {settings: "router_settings: {fallbacks: [{m: [x]}]}", asked: "m", request: []string{}, want: []string{"m1"}},
		"itself is none":              {asked: "m", request: []string{"m", "x"}, want: []string{"m1", "x1"}},
		"unknown is passed over":      {asked: "m", request: []string{"nobody", "x"}, want: []string{"m1", "x1"}},
		"not allowed":                 {asked: "m", request: []string{"x", "y"}, denied: "x", want: []string{"m1", "y1"}},
		"of a default, not to itself": {settings: "litellm_settings: {default_fallbacks: [z]}", asked: "z", want: []string{"z1"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := route.Build(routing(t, models+tc.settings+"\n"), tc.asked, tc.request, func(g string) bool { return g != tc.denied }, nil)
			require.True(t, ok)
			var ids []string
			for i, c := range p.Candidates {
				ids = append(ids, c.Deployment.ID)
				require.Equal(t, i > 0, c.Fallback)
			}
			require.Equal(t, tc.want, ids)
		})
	}
}

func TestUnknownModelHasNoPlan(t *testing.T) {
	_, ok := route.Build(routing(t, list(entry("m", "a", ""))), "nobody", nil, anyone, nil)
	require.False(t, ok)
}

const priced = "input_cost_per_token: 0.000001, output_cost_per_token: 0.000002"

func TestWorstCaseIsThatOfTheDearestCandidate(t *testing.T) {
	r := routing(t, list(entry("m", "cheap", priced), entry("m", "dear", "input_cost_per_token: 0.000003, output_cost_per_token: 0.000001")))
	p, _ := route.Build(r, "m", nil, anyone, nil)
	worst, ok := p.Worst(1000, 10)
	require.True(t, ok)
	require.Equal(t, 3*unit.Dollar/1000+10*unit.Dollar/1000_000, worst)
	worst, ok = p.Worst(10, 1000)
	require.True(t, ok)
	require.Equal(t, 10*unit.Dollar/1000_000+2*unit.Dollar/1000, worst)

	p, _ = route.Build(routing(t, list(entry("m", "cheap", priced), entry("m", "nobody-knows", ""))), "m", nil, anyone, nil)
	p.Candidates[1].Deployment.Price = nil
	_, ok = p.Worst(1, 1)
	require.False(t, ok, "one candidate without a price")
}

func TestAffordableOutputFitsEveryCandidate(t *testing.T) {
	r := routing(t, list(entry("m", "cheap", priced), entry("m", "dear", "input_cost_per_token: 0.000001, output_cost_per_token: 0.00001")))
	p, _ := route.Build(r, "m", nil, anyone, nil)
	for _, amount := range []unit.Money{unit.Dollar / 100, unit.Dollar / 1000, unit.Dollar} {
		n := route.Affordable(&p, 100, amount)
		worst, _ := p.Worst(100, n)
		require.LessOrEqual(t, worst, amount)
		worst, _ = p.Worst(100, n+1)
		require.Greater(t, worst, amount)
	}
	require.Equal(t, int64(1), route.Affordable(&p, 1_000_000, 1), "an admitted call may say something")
}
