package route_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// fleet is a router over three deployments of one group, with a chance that
// repeats.
type fleet struct {
	t      testing.TB
	s      *state.Routing
	r      *route.Router
	clock  *clock
	others others
}

// others is what other nodes tell, by deployment.
type others map[string][3]int64

func (o others) Others(id string) (requests, tokens int64, inFlight int) {
	return o[id][0], o[id][1], int(o[id][2])
}

func newFleet(t testing.TB, conf string, cfg route.Config) *fleet {
	f := &fleet{t: t, s: routing(t, conf), clock: &clock{noon}, others: others{}}
	random := rand.New(rand.NewPCG(1, 2))
	cfg.Random, cfg.Clock, cfg.Load = random.Float64, f.clock, f.others
	f.r = route.New(cfg)
	return f
}

func of(strategy, more string, entries ...string) string {
	return list(entries...) + fmt.Sprintf("router_settings: {routing_strategy: %s%s}\n", strategy, more)
}

// pick is the first deployment of a call; "" when there is none.
func (f *fleet) pick(q *route.Request) string {
	var p route.Plan
	var w route.Walk
	require.True(f.t, f.r.Plan(&p, f.s, q))
	w.Begin(f.r, f.s, &p, q)
	step, ok := w.Next()
	if !ok {
		return ""
	}
	return step.Deployment.ID
}

// shares are the parts of n picks.
func (f *fleet) shares(q *route.Request, n int) map[string]float64 {
	out := map[string]float64{}
	for range n {
		out[f.pick(q)] += 1 / float64(n)
	}
	return out
}

// called counts a call that has ended.
func (f *fleet) called(id string, took route.Took) {
	u := f.r.Begin(f.s, f.s.ByID[id])
	u.End(took)
}

const many = 20_000

// near holds what was drawn many times against its chances: within five standard
// deviations.
func near(t testing.TB, want, got map[string]float64) {
	t.Helper()
	for id, p := range want {
		require.InDelta(t, p, got[id], 5*math.Sqrt(p*(1-p)/many)+1e-4, id)
	}
	for id := range got {
		require.Contains(t, want, id)
	}
}

func TestShuffleFollowsWeightsThenLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b, c string
		want    map[string]float64
	}{
		"alike":                       {"", "", "", map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}},
		"weights":                     {"weight: 1", "weight: 2", "weight: 7", map[string]float64{"a": .1, "b": .2, "c": .7}},
		"weights win over rpm":        {"weight: 1, rpm: 900", "weight: 3, rpm: 1", "weight: 6", map[string]float64{"a": .1, "b": .3, "c": .6}},
		"rpm":                         {"rpm: 10", "rpm: 30", "rpm: 60", map[string]float64{"a": .1, "b": .3, "c": .6}},
		"rpm wins over tpm":           {"rpm: 10, tpm: 1", "rpm: 30, tpm: 1", "rpm: 60, tpm: 9000", map[string]float64{"a": .1, "b": .3, "c": .6}},
		"tpm":                         {"tpm: 100", "tpm: 300", "tpm: 600", map[string]float64{"a": .1, "b": .3, "c": .6}},
		"none beside one with weight": {"weight: 1", "", "", map[string]float64{"a": 1}},
		"weight of nought":            {"weight: 0", "weight: 1", "weight: 1", map[string]float64{"b": .5, "c": .5}},
		"order first":                 {"order: 2, weight: 100", "order: 1", "order: 1", map[string]float64{"b": .5, "c": .5}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, list(entry("m", "a", tc.a), entry("m", "b", tc.b), entry("m", "c", tc.c)), route.Config{})
			near(t, tc.want, f.shares(asks("m"), many))
		})
	}
}

func TestNamesOfAnAliasShareTheLoad(t *testing.T) {
	f := newFleet(t, list(entry("x", "a", ""), entry("y", "b", ""), entry("y", "c", ""))+"router_settings: {model_group_alias: {m: [x, y]}}\n", route.Config{})
	near(t, map[string]float64{"a": .5, "b": .25, "c": .25}, f.shares(asks("m"), many))
}

func three(strategy, more string, params ...string) string {
	params = append(params, "", "", "")
	return of(strategy, more, entry("m", "a", params[0]), entry("m", "b", params[1]), entry("m", "c", params[2]))
}

func TestLeastBusyTakesTheOneWithTheFewestCalls(t *testing.T) {
	f := newFleet(t, three("least-busy", ""), route.Config{})
	near(t, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, f.shares(asks("m"), many))
	a := f.r.Begin(f.s, f.s.ByID["a"])
	near(t, map[string]float64{"b": .5, "c": .5}, f.shares(asks("m"), many))
	b := f.r.Begin(f.s, f.s.ByID["b"])
	near(t, map[string]float64{"c": 1}, f.shares(asks("m"), 1))
	c := f.r.Begin(f.s, f.s.ByID["c"])
	c2 := f.r.Begin(f.s, f.s.ByID["c"])
	near(t, map[string]float64{"a": .5, "b": .5}, f.shares(asks("m"), many))
	for _, u := range []*route.Use{&a, &b, &c, &c2, &c2} {
		u.End(route.Took{})
	}
	near(t, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, f.shares(asks("m"), many))
}

func TestWhatOthersHaveAtWorkIsABestOfTwo(t *testing.T) {
	f := newFleet(t, three("least-busy", ""), route.Config{})
	f.others["a"] = [3]int64{0, 0, 5}
	f.others["b"] = [3]int64{0, 0, 1}
	// Of three pairs the least busy wins two, the next one, the busiest none.
	near(t, map[string]float64{"c": 2. / 3, "b": 1. / 3}, f.shares(asks("m"), many))
}

func TestUsageTakesTheOneWithTheFewestTokensThisMinute(t *testing.T) {
	for _, name := range []string{"usage-based-routing", "usage-based-routing-v2"} {
		f := newFleet(t, three(name, "", "tpm: 1000", "tpm: 400, rpm: 2", ""), route.Config{})
		f.called("a", route.Took{Total: 300})
		f.called("b", route.Took{Total: 100})
		f.called("c", route.Took{Total: 600})
		require.Equal(t, "b", f.pick(asks("m")))
		q := asks("m")
		q.Tokens = 301
		require.Equal(t, "a", f.pick(q), "it would be over its tokens")
		f.called("b", route.Took{})
		require.Equal(t, "a", f.pick(asks("m")), "it is over its requests")
		f.others["a"] = [3]int64{1, 400, 0}
		require.Equal(t, "c", f.pick(asks("m")), "others have sent tokens too")
		f.others["a"] = [3]int64{}
		f.clock.now = f.clock.now.Add(time.Minute)
		near(t, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, f.shares(asks("m"), many))
	}
}

func TestAllOverTheirLimitsIsToldWithTheFigures(t *testing.T) {
	f := newFleet(t, of("usage-based-routing-v2", "", entry("m", "a", "rpm: 1"), entry("m", "b", "tpm: 10")), route.Config{})
	f.called("a", route.Took{Total: 7})
	f.called("b", route.Took{Total: 10})
	f.clock.now = f.clock.now.Add(15 * time.Second)
	var p route.Plan
	var w route.Walk
	q := asks("m")
	q.Tokens = 1
	require.True(t, f.r.Plan(&p, f.s, q))
	w.Begin(f.r, f.s, &p, q)
	_, ok := w.Next()
	require.False(t, ok)
	first, own := w.First()
	require.True(t, own)
	require.Equal(t, provider.RateLimit, first.Class)
	require.Equal(t, 45*time.Second, first.RetryAfter)
	require.Equal(t, "No deployments available for selected model, Try again in 45 seconds. Passed model=m. Deployments over their limits this minute: a rpm=1 of 1, tpm=7 of none; b rpm=1 of none, tpm=10 of 10", first.Message)
}

func TestLatencyTakesTheFastestByTheToken(t *testing.T) {
	sec := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	f := newFleet(t, three("latency-based-routing", ", routing_strategy_args: {lowest_latency_buffer: 0.5, max_latency_list_size: 3, ttl: 60}"), route.Config{})
	f.called("a", route.Took{Whole: sec(1), Output: 100})
	near(t, map[string]float64{"b": .5, "c": .5}, f.shares(asks("m"), many)) // nothing is known of them: they are tried first
	f.called("b", route.Took{Whole: sec(3), Output: 100})
	f.called("c", route.Took{Whole: sec(1.4), Output: 100})
	near(t, map[string]float64{"a": .5, "c": .5}, f.shares(asks("m"), many)) // within the buffer of the fastest
	for range 3 {
		f.called("b", route.Took{Whole: sec(0.1), Output: 100})
	}
	require.Equal(t, "b", f.pick(asks("m")), "only the latest count")
	f.called("b", route.Took{Kind: route.Timeout})
	near(t, map[string]float64{"a": .5, "c": .5}, f.shares(asks("m"), many)) // one time-out weighs a thousand seconds
	f.called("a", route.Took{Kind: route.ServerError})
	near(t, map[string]float64{"a": .5, "c": .5}, f.shares(asks("m"), many)) // other failures weigh nothing

	q := asks("m")
	q.Stream = true
	f.called("c", route.Took{Whole: sec(9), FirstToken: sec(0.001), Output: 100})
	require.Equal(t, "c", f.pick(q), "streams go by the first token")
	f.clock.now = f.clock.now.Add(61 * time.Second)
	near(t, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, f.shares(asks("m"), many))
}

// fast is a health that knows latencies.
type fast struct {
	cooled
	each map[string]float64
}

func (f fast) Latency(id string) (perToken, firstToken float64, ok bool) {
	v, ok := f.each[id]
	return v, v, ok
}

func TestWhatTheRegionTellsStandsInForOnesOwnSamples(t *testing.T) {
	f := newFleet(t, three("latency-based-routing", ""), route.Config{Health: fast{each: map[string]float64{"a": 3, "b": 2, "c": 1}}})
	near(t, map[string]float64{"c": 1}, f.shares(asks("m"), 10))
	f.called("c", route.Took{Whole: 5 * time.Second, Output: 1})
	near(t, map[string]float64{"b": 1}, f.shares(asks("m"), 10))
}

func TestCostTakesTheCheapest(t *testing.T) {
	price := func(in, out string) string {
		return "input_cost_per_token: " + in + ", output_cost_per_token: " + out
	}
	f := newFleet(t, three("cost-based-routing", "", price("0.000001", "0.000005"), price("0.000003", "0.000002")+", rpm: 1", ""), route.Config{})
	near(t, map[string]float64{"b": 1}, f.shares(asks("m"), 10))
	f.called("b", route.Took{})
	near(t, map[string]float64{"a": 1}, f.shares(asks("m"), 10)) // the cheapest is over its limit
	f = newFleet(t, three("cost-based-routing", "", "", price("1", "1"), price("1", "1")), route.Config{})
	near(t, map[string]float64{"b": 1}, f.shares(asks("m"), 10)) // no price is dearer than any; the first of two alike
}

func TestOwnRegionComesFirst(t *testing.T) {
	conf := list(entry("m", "eu1", "region_name: eu"), entry("m", "eu2", "region_name: eu"), entry("m", "us", "region_name: us"), entry("m", "unsaid", ""))
	first := func(cfg route.Config, full ...string) (out []string) {
		f := newFleet(t, conf, cfg)
		var p route.Plan
		var w route.Walk
		q := asks("m")
		require.True(t, f.r.Plan(&p, f.s, q))
		w.Begin(f.r, f.s, &p, q)
		for range len(full) + 1 {
			step, ok := w.Next()
			require.True(t, ok)
			out = append(out, step.Deployment.ID, step.Reason)
			w.PassOver()
		}
		return out[len(out)-2:]
	}
	near(t, map[string]float64{"eu1": 1. / 3, "eu2": 1. / 3, "unsaid": 1. / 3}, newFleet(t, conf, route.Config{Region: "eu"}).shares(asks("m"), many))
	near(t, map[string]float64{"us": .5, "unsaid": .5}, newFleet(t, conf, route.Config{Region: "us"}).shares(asks("m"), many))
	near(t, map[string]float64{"eu1": .25, "eu2": .25, "us": .25, "unsaid": .25}, newFleet(t, conf, route.Config{}).shares(asks("m"), many))
	near(t, map[string]float64{"eu1": .25, "eu2": .25, "us": .25, "unsaid": .25}, newFleet(t, conf, route.Config{Region: "ap"}).shares(asks("m"), many))
	cooling := cooled{now: map[string]int{"eu1": 5, "eu2": 5, "unsaid": 5}}
	require.Equal(t, []string{"us", "spill_over:cooling"}, first(route.Config{Region: "eu", Health: cooling}))
	require.Equal(t, []string{"us", "spill_over:full"}, first(route.Config{Region: "eu"}, "eu1", "eu2", "unsaid"))
}

func TestAnotherRegionIsPreferredOnceItHasBeenFasterForAMinute(t *testing.T) {
	health := fast{each: map[string]float64{"eu": 1, "us": 0.6}}
	f := newFleet(t, list(entry("m", "eu", "region_name: eu"), entry("m", "us", "region_name: us")), route.Config{Region: "eu", Health: health})
	require.Equal(t, "eu", f.pick(asks("m")))
	f.clock.now = f.clock.now.Add(59 * time.Second)
	require.Equal(t, "eu", f.pick(asks("m")))
	f.clock.now = f.clock.now.Add(time.Second)
	require.Equal(t, "us", f.pick(asks("m")))
	health.each["us"] = 0.8
	require.Equal(t, "eu", f.pick(asks("m")))
	health.each["us"] = 0.6
	require.Equal(t, "eu", f.pick(asks("m")), "the minute begins anew")
}

func TestTagsChooseDeployments(t *testing.T) {
	const tagged = ", enable_tag_filtering: true"
	conf := func(more string) string {
		return of("simple-shuffle", more, entry("m", "free", "tags: [free, eu]"), entry("m", "paid", "tags: [paid]"), entry("m", "any", "tags: [default]"), entry("m", "bare", ""))
	}
	none := of("simple-shuffle", tagged, entry("m", "free", "tags: [free]"), entry("m", "bare", ""))
	for name, tc := range map[string]struct {
		conf string
		tags []string
		want []string
	}{
		"off":                          {conf(""), []string{"free"}, []string{"free", "paid", "any", "bare"}},
		"in common":                    {conf(tagged), []string{"free", "blue"}, []string{"free"}},
		"in common with several":       {conf(tagged), []string{"free", "paid"}, []string{"free", "paid"}},
		"no tags":                      {conf(tagged), nil, []string{"any"}},
		"no match":                     {conf(tagged), []string{"blue"}, []string{"any"}},
		"all must match":               {conf(tagged + ", tag_filtering_match_any: false"), []string{"free", "eu"}, []string{"free"}},
		"not all match":                {conf(tagged + ", tag_filtering_match_any: false"), []string{"free", "paid"}, []string{"any"}},
		"no tags, no default":          {none, nil, []string{"free", "bare"}},
		"no match, no default":         {none, []string{"blue"}, []string{""}},
		"the order that has the match": {of("simple-shuffle", tagged, entry("m", "one", "order: 1, tags: [free]"), entry("m", "two", "order: 2, tags: [paid]")), []string{"paid"}, []string{"two"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := asks("m")
			q.Tags = tc.tags
			got := newFleet(t, tc.conf, route.Config{}).shares(q, 200)
			for _, id := range tc.want {
				require.Contains(t, got, id)
			}
			require.Len(t, got, len(tc.want))
		})
	}
	q := asks("m")
	q.Tags = []string{"blue"}
	j := journey(t, routing(t, none), route.Config{}, q, nil)
	f, _ := j.way.First()
	require.Equal(t, 401, f.Status)
	require.Contains(t, f.Message, "Not allowed to access model due to tags configuration")
}

func TestPreCallChecksLeaveOutWhatDoesNotFit(t *testing.T) {
	small := "  - {model_name: m, litellm_params: {model: openai/gpt-x, api_key: k}, model_info: {id: small, max_input_tokens: 100}}\n"
	large := "  - {model_name: m, litellm_params: {model: openai/gpt-x, api_key: k}, model_info: {id: large, max_input_tokens: 1000}}\n"
	models := list(small, large, entry("long", "l", ""))
	q := asks("m")
	q.Tokens = 101
	off := newFleet(t, models, route.Config{})
	near(t, map[string]float64{"small": .5, "large": .5}, off.shares(q, many))
	const on = "router_settings: {enable_pre_call_checks: true, context_window_fallbacks: [{m: [long]}]}\n"
	near(t, map[string]float64{"large": 1}, newFleet(t, models+on, route.Config{}).shares(q, 10))
	q.Tokens = 1001
	require.Equal(t, []string{"l context_window_fallback"}, journey(t, routing(t, models+on), route.Config{}, q, nil).steps)
	q.NoFallbacks = true
	j := journey(t, routing(t, models+on), route.Config{}, q, nil)
	f, own := j.way.First()
	require.True(t, own)
	require.Equal(t, provider.ContextWindow, f.Class)
}
