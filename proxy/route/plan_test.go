package route_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/provider"
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

// entry is one entry of a model list; params are more fields of its parameters.
func entry(group, id, params string) string {
	if params != "" {
		params = ", " + params
	}
	return fmt.Sprintf("  - {model_name: %s, litellm_params: {model: openai/gpt-x, api_key: k%s}, model_info: {id: %s}}\n", group, params, id)
}

func list(entries ...string) string { return "model_list:\n" + strings.Join(entries, "") }

// caller may reach every group but those denied.
type caller struct{ denied []string }

func (c caller) MayReach(group string) bool { return !slices.Contains(c.denied, group) }

func (c caller) NoRoom() *provider.Error { return provider.NewError(provider.RateLimit, "no room") }

// names makes fallbacks of names; none is a list that is empty, not nil.
func names(list ...string) []route.Fallback {
	out := []route.Fallback{}
	for _, n := range list {
		out = append(out, route.Fallback{Name: n})
	}
	return out
}

func asks(name string) *route.Request {
	return &route.Request{Name: name, Caller: caller{}, Retries: -1}
}

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// clock stands still unless it is moved.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func router(cfg route.Config) *route.Router {
	if cfg.Clock == nil {
		cfg.Clock = &clock{noon}
	}
	return route.New(cfg)
}

func planOf(s *state.Routing, q *route.Request) (p route.Plan, ok bool) {
	ok = router(route.Config{}).Plan(&p, s, q)
	return p, ok
}

func ids(p route.Plan) []string {
	var out []string
	for _, c := range p.Candidates {
		out = append(out, c.Deployment.ID)
	}
	return out
}

func TestPlanHasEverythingThatACallMayComeTo(t *testing.T) {
	models := list(entry("m", "m1", ""), entry("m", "m2", ""), entry("x", "x1", ""), entry("y", "y1", ""), entry("z", "z1", ""))
	for name, tc := range map[string]struct {
		settings string
		asked    string
		change   func(q *route.Request)
		want     []string
	}{
		"no fallbacks":               {asked: "m", want: []string{"m1", "m2"}},
		"router's":                   {settings: "router_settings: {fallbacks: [{m: [x, y]}]}", want: []string{"m1", "m2", "x1", "y1"}},
		"litellm's":                  {settings: "litellm_settings: {fallbacks: [{m: [y]}]}", want: []string{"m1", "m2", "y1"}},
		"default":                    {settings: "litellm_settings: {default_fallbacks: [z]}", want: []string{"m1", "m2", "z1"}},
		"own before default":         {settings: "litellm_settings: {default_fallbacks: [z], fallbacks: [{m: [y]}]}", want: []string{"m1", "m2", "y1", "z1"}},
		"of fallbacks":               {settings: "router_settings: {fallbacks: [{m: [x]}, {x: [y]}, {y: [m, z]}]}", want: []string{"m1", "m2", "x1", "y1", "z1"}},
		"as deep as they may lead":   {settings: "router_settings: {max_fallbacks: 2, fallbacks: [{m: [x]}, {x: [y]}, {y: [z]}]}", want: []string{"m1", "m2", "x1", "y1"}},
		"of every kind":              {settings: "litellm_settings: {context_window_fallbacks: [{m: [x]}], content_policy_fallbacks: [{m: [y]}]}", want: []string{"m1", "m2", "x1", "y1"}},
		"request's stand in place":   {settings: "router_settings: {fallbacks: [{m: [x]}]}", change: func(q *route.Request) { q.Fallbacks = names("z") }, want: []string{"m1", "m2", "z1"}},
		"request wants none":         {settings: "router_settings: {fallbacks: [{m: [x]}]}", change: func(q *route.Request) { q.NoFallbacks = true }, want: []string{"m1", "m2"}},
		"request's list is empty":    {settings: "router_settings: {fallbacks: [{m: [x]}]}", change: func(q *route.Request) { q.Fallbacks = names() }, want: []string{"m1", "m2"}},
		"itself is none":             {change: func(q *route.Request) { q.Fallbacks = names("m", "x") }, want: []string{"m1", "m2", "x1"}},
		"unknown is passed over":     {change: func(q *route.Request) { q.Fallbacks = names("nobody", "x") }, want: []string{"m1", "m2", "x1"}},
		"not allowed":                {change: func(q *route.Request) { q.Fallbacks, q.Caller = names("x", "y"), caller{[]string{"x"}} }, want: []string{"m1", "m2", "y1"}},
		"not through the forbidden":  {settings: "router_settings: {fallbacks: [{m: [x]}, {x: [y]}]}", change: func(q *route.Request) { q.Caller = caller{[]string{"x"}} }, want: []string{"m1", "m2"}},
		"a deployment by its id":     {change: func(q *route.Request) { q.Fallbacks = names("x1") }, want: []string{"m1", "m2", "x1"}},
		"its group is enough":        {change: func(q *route.Request) { q.Fallbacks, q.Caller = names("x1"), caller{[]string{"x1"}} }, want: []string{"m1", "m2", "x1"}},
		"an id is no way round":      {change: func(q *route.Request) { q.Fallbacks, q.Caller = names("x1"), caller{[]string{"x1", "x"}} }, want: []string{"m1", "m2"}},
		"default of what is nowhere": {settings: "litellm_settings: {default_fallbacks: [z]}", asked: "nobody", want: []string{"z1"}},
		"name without its provider":  {settings: "router_settings: {fallbacks: [{gpt: [x]}]}", asked: "openai/gpt", want: []string{"x1"}},
		"alias, by its own name":     {settings: "router_settings: {model_group_alias: {al: [x, y]}, fallbacks: [{al: [z]}, {x: [m]}]}", asked: "al", want: []string{"x1", "y1", "z1"}},
		"alias, by what it picked":   {settings: "router_settings: {model_group_alias: {al: [x, y]}, fallbacks: [{x: [z]}]}", asked: "al", want: []string{"x1", "y1", "z1"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := asks("m")
			if tc.asked != "" {
				q.Name = tc.asked
			}
			if tc.change != nil {
				tc.change(q)
			}
			p, ok := planOf(routing(t, models+tc.settings+"\n"), q)
			require.True(t, ok)
			require.ElementsMatch(t, tc.want, ids(p))
			for _, c := range p.Candidates {
				require.Equal(t, c.Group != q.Name, c.Fallback)
			}
		})
	}
}

func TestUnknownModelHasNoPlan(t *testing.T) {
	_, ok := planOf(routing(t, list(entry("m", "a", ""))), asks("nobody"))
	require.False(t, ok)
}

func TestPlanStaysInsideTheRegions(t *testing.T) {
	s := routing(t, list(entry("m", "eu", "region_name: eu"), entry("m", "us", "region_name: us"), entry("m", "unsaid", ""), entry("x", "x-eu", "region_name: eu"),
		entry("x", "x-us", "region_name: us"))+"router_settings: {fallbacks: [{m: [x]}]}\n")
	q := asks("m")
	q.Regions = []string{"eu", "ch"}
	p, ok := planOf(s, q)
	require.True(t, ok)
	require.Equal(t, []string{"eu", "x-eu"}, ids(p))
	require.Equal(t, 3, p.Outside)
	q.Regions = []string{"mars"}
	p, ok = planOf(s, q)
	require.False(t, ok)
	require.Equal(t, 5, p.Outside)
}

const priced = "input_cost_per_token: 0.000001, output_cost_per_token: 0.000002"

func TestWorstCaseIsThatOfTheDearestCandidate(t *testing.T) {
	s := routing(t, list(entry("m", "cheap", priced), entry("m", "dear", "input_cost_per_token: 0.000003, output_cost_per_token: 0.000001")))
	p, _ := planOf(s, asks("m"))
	worst, ok := p.Worst(1000, 10)
	require.True(t, ok)
	require.Equal(t, 3*unit.Dollar/1000+10*unit.Dollar/1000_000, worst)
	worst, ok = p.Worst(10, 1000)
	require.True(t, ok)
	require.Equal(t, 10*unit.Dollar/1000_000+2*unit.Dollar/1000, worst)

	p, _ = planOf(routing(t, list(entry("m", "cheap", priced), entry("m", "nobody-knows", ""))), asks("m"))
	p.Candidates[1].Deployment.Price = nil
	_, ok = p.Worst(1, 1)
	require.False(t, ok, "one candidate without a price")
}

func TestAffordableOutputFitsEveryCandidate(t *testing.T) {
	s := routing(t, list(entry("m", "cheap", priced), entry("m", "dear", "input_cost_per_token: 0.000001, output_cost_per_token: 0.00001")))
	p, _ := planOf(s, asks("m"))
	for _, amount := range []unit.Money{unit.Dollar / 100, unit.Dollar / 1000, unit.Dollar} {
		n := route.Affordable(&p, 100, amount)
		worst, _ := p.Worst(100, n)
		require.LessOrEqual(t, worst, amount)
		worst, _ = p.Worst(100, n+1)
		require.Greater(t, worst, amount)
	}
	require.Equal(t, int64(1), route.Affordable(&p, 1_000_000, 1), "an admitted call may say something")
}
