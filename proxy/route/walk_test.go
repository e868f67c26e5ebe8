package route_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// cooled is a health that knows for how many seconds deployments cool, by id. A
// deployment that is told of in then cools from its failure on.
type cooled struct {
	now  map[string]int
	then map[string]bool
}

func (c cooled) Cooling(d *state.Deployment) (time.Time, string, bool) {
	s, ok := c.now[d.ID]
	return noon.Add(time.Duration(s) * time.Second), "rate_limited", ok
}

func (cooled) Report(*state.Deployment, route.Outcome) {}

// trip is how a walk went.
type trip struct {
	steps []string // "id", or "id reason"
	waits []time.Duration
	plan  route.Plan
	way   *route.Walk
}

// journey walks until a deployment does not fail, by errs: the failures of each
// deployment in their order, the last of them for ever.
func journey(t testing.TB, s *state.Routing, cfg route.Config, q *route.Request, errs map[string][]*provider.Error) *trip {
	t.Helper()
	if cfg.Random == nil {
		cfg.Random = func() float64 { return 0 }
	}
	r := router(cfg)
	j := &trip{way: &route.Walk{}}
	if !r.Plan(&j.plan, s, q) {
		return j
	}
	j.way.Begin(r, s, &j.plan, q)
	met := map[string]int{}
	for step, ok := j.way.Next(); ok; step, ok = j.way.Next() {
		id := step.Deployment.ID
		j.steps = append(j.steps, strings.TrimSpace(id+" "+step.Reason))
		j.waits = append(j.waits, step.Wait)
		require.Less(t, len(j.steps), 100, "it never ends")
		list := errs[id]
		if len(list) == 0 {
			return j
		}
		f := list[min(met[id], len(list)-1)]
		met[id]++
		if f == nil {
			return j
		}
		if h, ok := cfg.Health.(cooled); ok && h.then[id] {
			h.now[id] = 5
		}
		j.way.Failed(f)
	}
	return j
}

func fails(classes ...provider.Class) []*provider.Error {
	var out []*provider.Error
	for _, c := range classes {
		f := provider.NewError(c, "it failed")
		f.Upstream = f.Status
		out = append(out, f)
	}
	return out
}

func TestRetriesFollowLiteLLMsCounts(t *testing.T) {
	one := list(entry("m", "a", ""))
	three := list(entry("m", "a", "order: 1"), entry("m", "b", "order: 1"), entry("m", "c", "order: 1"))
	ise := fails(provider.InternalServer)
	permanent := provider.NewError(provider.RateLimit, "no money")
	permanent.Permanent = true
	for name, tc := range map[string]struct {
		conf   string
		change func(q *route.Request)
		errs   map[string][]*provider.Error
		want   int // attempts
	}{
		"two when nobody says":           {conf: one, want: 3},
		"the settings":                   {conf: one + "litellm_settings: {num_retries: 1}\n", want: 2},
		"the router before the settings": {conf: one + "litellm_settings: {num_retries: 1}\nrouter_settings: {num_retries: 3}\n", want: 4},
		"the request before the router":  {conf: one + "router_settings: {num_retries: 3}\n", change: func(q *route.Request) { q.Retries = 0 }, want: 1},
		"the deployment before the request": {conf: list(entry("m", "a", "num_retries: 1")) + "router_settings: {num_retries: 3}\n",
			change: func(q *route.Request) { q.Retries = 0 }, want: 2},
		"a policy before the deployment":    {conf: list(entry("m", "a", "num_retries: 1")) + "router_settings: {retry_policy: {InternalServerErrorRetries: 4}}\n", want: 5},
		"the group's policy before that":    {conf: one + "router_settings: {retry_policy: {InternalServerErrorRetries: 4}, model_group_retry_policy: {m: {InternalServerErrorRetries: 0}}}\n", want: 1},
		"another group's says nothing":      {conf: one + "router_settings: {model_group_retry_policy: {x: {InternalServerErrorRetries: 0}}}\n", want: 3},
		"a policy speaks of its class":      {conf: one + "router_settings: {retry_policy: {TimeoutErrorRetries: 5}}\n", want: 3},
		"503 is a server's error":           {conf: one + "router_settings: {retry_policy: {InternalServerErrorRetries: 1}}\n", errs: map[string][]*provider.Error{"a": fails(provider.ServiceUnavailable)}, want: 2},
		"503 by its own name":               {conf: one + "router_settings: {retry_policy: {InternalServerErrorRetries: 1, ServiceUnavailableErrorRetries: 0}}\n", errs: map[string][]*provider.Error{"a": fails(provider.ServiceUnavailable)}, want: 1},
		"default of a policy":               {conf: one + "router_settings: {retry_policy: {DefaultRetries: 1}}\n", want: 2},
		"400 is final":                      {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.BadRequest)}, want: 1},
		"422 is final":                      {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.UnprocessableEntity)}, want: 1},
		"400 unless a policy says so":       {conf: one + "router_settings: {retry_policy: {BadRequestErrorRetries: 1}}\n", errs: map[string][]*provider.Error{"a": fails(provider.BadRequest)}, want: 2},
		"404 is never retried":              {conf: three, errs: map[string][]*provider.Error{"a": fails(provider.NotFound), "b": fails(provider.NotFound), "c": fails(provider.NotFound)}, want: 1},
		"401 of the only one":               {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.Authentication)}, want: 1},
		"401 with others":                   {conf: three, errs: map[string][]*provider.Error{"a": fails(provider.Authentication), "b": fails(provider.Authentication), "c": fails(provider.Authentication)}, want: 3},
		"context window":                    {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.ContextWindow)}, want: 1},
		"content policy":                    {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.ContentPolicy)}, want: 1},
		"content policy by a policy":        {conf: one + "router_settings: {retry_policy: {ContentPolicyViolationErrorRetries: 1}}\n", errs: map[string][]*provider.Error{"a": fails(provider.ContentPolicy)}, want: 2},
		"content policy with its fallbacks": {conf: one + "router_settings: {content_policy_fallbacks: [{x: [a]}], retry_policy: {ContentPolicyViolationErrorRetries: 1}}\n", errs: map[string][]*provider.Error{"a": fails(provider.ContentPolicy)}, want: 1},
		"409 once":                          {conf: one, errs: map[string][]*provider.Error{"a": fails(provider.Conflict)}, want: 2},
		"no money, and no other":            {conf: one, errs: map[string][]*provider.Error{"a": {permanent}}, want: 1},
		"no money anywhere":                 {conf: three, errs: map[string][]*provider.Error{"a": {permanent}, "b": {permanent}, "c": {permanent}}, want: 3},
		"it answers at last":                {conf: one, errs: map[string][]*provider.Error{"a": append(fails(provider.Timeout), nil)}, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			q := asks("m")
			if tc.change != nil {
				tc.change(q)
			}
			if tc.errs == nil {
				tc.errs = map[string][]*provider.Error{"a": ise, "b": ise, "c": ise}
			}
			j := journey(t, routing(t, tc.conf), route.Config{}, q, tc.errs)
			require.Len(t, j.steps, tc.want, j.steps)
		})
	}
}

func TestRetriesGoWhereTheCallHasNotFailedYet(t *testing.T) {
	ise := fails(provider.InternalServer)
	all := map[string][]*provider.Error{"a": ise, "b": ise, "c": ise, "d": ise}
	for name, tc := range map[string]struct {
		conf   string
		health cooled
		want   []string
	}{
		"each once, then again": {conf: list(entry("m", "a", ""), entry("m", "b", "")), want: []string{"a", "b retry", "a retry"}},
		"then the next order": {conf: list(entry("m", "a", "order: 1"), entry("m", "b", "order: 2")) + "router_settings: {num_retries: 1}\n",
			want: []string{"a", "b order"}},
		"the next order without retries left": {conf: list(entry("m", "a", "order: 1"), entry("m", "b", "order: 1"), entry("m", "c", "order: 2"), entry("m", "d", "order: 3")) +
			"router_settings: {num_retries: 0}\n", want: []string{"a", "c order", "d order"}},
		"not to what cools": {conf: list(entry("m", "a", ""), entry("m", "b", ""), entry("m", "c", "")), health: cooled{now: map[string]int{"b": 60}},
			want: []string{"a", "c retry", "a retry"}},
		"never when all has come to cool": {conf: list(entry("m", "a", "")), health: cooled{now: map[string]int{}, then: map[string]bool{"a": true}},
			want: []string{"a"}},
		"cooldowns are switched off": {conf: list(entry("m", "a", "")) + "router_settings: {disable_cooldowns: true, num_retries: 1}\n",
			health: cooled{now: map[string]int{}, then: map[string]bool{"a": true}}, want: []string{"a", "a retry"}},
		"the other name of an alias": {conf: list(entry("x", "a", ""), entry("y", "b", "")) + "router_settings: {num_retries: 1, model_group_alias: {m: [x, y]}}\n",
			want: []string{"a", "b retry"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := route.Config{}
			if tc.health.now != nil {
				cfg.Health = tc.health
			}
			require.Equal(t, tc.want, journey(t, routing(t, tc.conf), cfg, asks("m"), all).steps)
		})
	}
}

func TestWaitsAreThoseOfLiteLLM(t *testing.T) {
	after := func(d time.Duration) []*provider.Error {
		f := provider.NewError(provider.RateLimit, "slow down")
		f.RetryAfter = d
		return []*provider.Error{f}
	}
	const s = time.Second
	one := list(entry("m", "a", "")) + "router_settings: {num_retries: 6%s}\n"
	for name, tc := range map[string]struct {
		conf   string
		errs   []*provider.Error
		random float64
		want   []time.Duration
	}{
		"half a second, doubling to eight": {conf: strings.Replace(one, "%s", "", 1), errs: fails(provider.Timeout), want: []time.Duration{0, s / 2, s, 2 * s, 4 * s, 8 * s, 8 * s}},
		"with jitter":                      {conf: strings.Replace(one, "%s", "", 1), errs: fails(provider.Timeout), random: 2. / 3, want: []time.Duration{0, s, 3 * s / 2, 5 * s / 2, 9 * s / 2, 17 * s / 2, 17 * s / 2}},
		"at least retry_after":             {conf: strings.Replace(one, "%s", ", retry_after: 3", 1), errs: fails(provider.Timeout), want: []time.Duration{0, 3 * s, 3 * s, 3 * s, 4 * s, 8 * s, 8 * s}},
		"what the provider asks for":       {conf: strings.Replace(one, "%s", "", 1), errs: after(7 * s), want: []time.Duration{0, 7 * s, 7 * s, 7 * s, 7 * s, 7 * s, 7 * s}},
		"at least retry_after, too":        {conf: strings.Replace(one, "%s", ", retry_after: 9", 1), errs: after(7 * s), want: []time.Duration{0, 9 * s, 9 * s, 9 * s, 9 * s, 9 * s, 9 * s}},
		"not more than a minute":           {conf: strings.Replace(one, "%s", "", 1), errs: after(61 * s), want: []time.Duration{0, s / 2, s, 2 * s, 4 * s, 8 * s, 8 * s}},
		"none while another is healthy":    {conf: list(entry("m", "a", ""), entry("m", "b", "")), errs: fails(provider.Timeout), want: []time.Duration{0, 0, s / 2}},
	} {
		t.Run(name, func(t *testing.T) {
			j := journey(t, routing(t, tc.conf), route.Config{Random: func() float64 { return tc.random }}, asks("m"), map[string][]*provider.Error{"a": tc.errs, "b": tc.errs})
			require.Equal(t, tc.want, j.waits)
		})
	}
	t.Run("as the environment says", func(t *testing.T) {
		r := routing(t, strings.Replace(one, "%s", ", retry_after: 0.5", 1))
		r.Config.Router.RetryDelay, r.Config.Router.RetryDelayMax = 0.25, 3
		j := journey(t, r, route.Config{Random: func() float64 { return 0 }}, asks("m"), map[string][]*provider.Error{"a": fails(provider.Timeout)})
		require.Equal(t, []time.Duration{0, s / 2, s / 2, s, 2 * s, 3 * s, 3 * s}, j.waits)
	})
}

func TestFallbacksFollowTheFailure(t *testing.T) {
	models := list(entry("m", "m1", ""), entry("x", "x1", ""), entry("y", "y1", ""), entry("z", "z1", ""), entry("long", "l1", ""), entry("mild", "i1", ""))
	const general = "router_settings: {num_retries: 0, fallbacks: [{m: [x, y]}]"
	ise, long, bad, foul := fails(provider.InternalServer), fails(provider.ContextWindow), fails(provider.BadRequest), fails(provider.ContentPolicy)
	for name, tc := range map[string]struct {
		settings string
		change   func(q *route.Request)
		errs     map[string][]*provider.Error
		want     []string
	}{
		"in their order":               {settings: general + "}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise}, want: []string{"m1", "x1 fallback", "y1 fallback"}},
		"to the end":                   {settings: general + "}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise, "y1": ise}, want: []string{"m1", "x1 fallback", "y1 fallback"}},
		"after 404":                    {settings: general + "}", errs: map[string][]*provider.Error{"m1": fails(provider.NotFound)}, want: []string{"m1", "x1 fallback"}},
		"after 401":                    {settings: general + "}", errs: map[string][]*provider.Error{"m1": fails(provider.Authentication)}, want: []string{"m1", "x1 fallback"}},
		"not after a client's mistake": {settings: general + "}", errs: map[string][]*provider.Error{"m1": bad}, want: []string{"m1"}},
		"nor when a fallback finds it": {settings: general + "}", errs: map[string][]*provider.Error{"m1": ise, "x1": bad}, want: []string{"m1", "x1 fallback"}},
		"unless it changes the request": {change: func(q *route.Request) {
			q.Fallbacks = []route.Fallback{{Name: "x"}, {Name: "y", Fields: []byte(`{"messages":[]}`)}}
		}, errs: map[string][]*provider.Error{"m1": bad}, want: []string{"m1", "y1 fallback"}},
		"with its own retries":                  {settings: "router_settings: {num_retries: 1, fallbacks: [{m: [x]}]}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise}, want: []string{"m1", "m1 retry", "x1 fallback", "x1 retry"}},
		"too long, generic":                     {settings: general + "}", errs: map[string][]*provider.Error{"m1": long}, want: []string{"m1", "x1 fallback"}},
		"too long, its own":                     {settings: general + ", context_window_fallbacks: [{m: [long]}]}", errs: map[string][]*provider.Error{"m1": long}, want: []string{"m1", "l1 context_window_fallback"}},
		"too long, its own, none for the group": {settings: general + ", context_window_fallbacks: [{z: [long]}]}", errs: map[string][]*provider.Error{"m1": long}, want: []string{"m1"}},
		"other failures are not too long":       {settings: general + ", context_window_fallbacks: [{m: [long]}]}", errs: map[string][]*provider.Error{"m1": ise}, want: []string{"m1", "x1 fallback"}},
		"filtered, its own":                     {settings: general + ", content_policy_fallbacks: [{m: [mild]}]}", errs: map[string][]*provider.Error{"m1": foul}, want: []string{"m1", "i1 content_policy_fallback"}},
		"filtered, none for the group":          {settings: general + ", content_policy_fallbacks: [{z: [mild]}]}", errs: map[string][]*provider.Error{"m1": foul}, want: []string{"m1"}},
		"a fallback is too long":                {settings: general + ", context_window_fallbacks: [{x: [long]}]}", errs: map[string][]*provider.Error{"m1": ise, "x1": long, "l1": ise}, want: []string{"m1", "x1 fallback", "l1 context_window_fallback", "y1 fallback"}},
		"of fallbacks":                          {settings: "router_settings: {num_retries: 0, fallbacks: [{m: [x]}, {x: [m, y]}, {y: [x, z]}]}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise, "y1": ise, "z1": ise}, want: []string{"m1", "x1 fallback", "y1 fallback", "z1 fallback"}},
		"only so deep":                          {settings: "router_settings: {num_retries: 0, max_fallbacks: 1, fallbacks: [{m: [x, z]}, {x: [y]}]}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise, "y1": ise, "z1": ise}, want: []string{"m1", "x1 fallback", "z1 fallback"}},
		"a flat list may be longer":             {settings: "router_settings: {num_retries: 0, max_fallbacks: 1, fallbacks: [{m: [x, y, z, long]}]}", errs: map[string][]*provider.Error{"m1": ise, "x1": ise, "y1": ise, "z1": ise, "l1": ise}, want: []string{"m1", "x1 fallback", "y1 fallback", "z1 fallback", "l1 fallback"}},
		"none wanted":                           {settings: general + "}", change: func(q *route.Request) { q.NoFallbacks = true }, errs: map[string][]*provider.Error{"m1": ise}, want: []string{"m1"}},
		"not what the caller may not use":       {settings: general + "}", change: func(q *route.Request) { q.Caller = caller{[]string{"x"}} }, errs: map[string][]*provider.Error{"m1": ise}, want: []string{"m1", "y1 fallback"}},
		"not what is nowhere":                   {settings: "router_settings: {num_retries: 0, fallbacks: [{m: [nobody, y]}]}", errs: map[string][]*provider.Error{"m1": ise}, want: []string{"m1", "y1 fallback"}},
		"the model itself with other words":     {change: func(q *route.Request) { q.Fallbacks = []route.Fallback{{Name: "m", Fields: []byte(`{"messages":[]}`)}} }, errs: map[string][]*provider.Error{"m1": append(long, nil)}, want: []string{"m1", "m1 fallback"}},
		"a deployment that has failed already":  {settings: "router_settings: {num_retries: 0, fallbacks: [{m: [m1, x]}]}", errs: map[string][]*provider.Error{"m1": ise}, want: []string{"m1", "x1 fallback"}},
		"the request's too-long list":           {settings: general + "}", change: func(q *route.Request) { q.ContextFallbacks = names("z") }, errs: map[string][]*provider.Error{"m1": long}, want: []string{"m1", "z1 context_window_fallback"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := asks("m")
			q.Retries = -1
			if tc.change != nil {
				tc.change(q)
			}
			if tc.settings == "" {
				tc.settings = "router_settings: {num_retries: 0}"
			}
			j := journey(t, routing(t, models+tc.settings+"\n"), route.Config{}, q, tc.errs)
			require.Equal(t, tc.want, j.steps)
		})
	}
}

func TestTheFirstFailureIsTheOneThatCounts(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("x", "b", ""), entry("y", "c", ""))+"router_settings: {num_retries: 0, fallbacks: [{m: [x, y]}]}\n")
	errs := map[string][]*provider.Error{"a": fails(provider.Timeout), "b": fails(provider.RateLimit), "c": fails(provider.InternalServer)}
	j := journey(t, s, route.Config{}, asks("m"), errs)
	first, own := j.way.First()
	require.Equal(t, provider.Timeout, first.Class)
	require.False(t, own)
	last, group := j.way.Last()
	require.Equal(t, provider.InternalServer, last.Class)
	require.Equal(t, "y", group)
	require.Equal(t, 2, j.way.Depth())
	require.Equal(t, []string{"x", "y"}, j.way.Fallbacks())

	j = journey(t, s, route.Config{}, asks("y"), errs)
	last, _ = j.way.Last()
	require.Nil(t, last)
	require.Nil(t, j.way.Fallbacks())
}

func TestWhatCoolsIsLeftAlone(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("m", "b", ""), entry("x", "c", ""), entry("lone", "d", ""))+"router_settings: {num_retries: 0, fallbacks: [{m: [x]}]}\n")
	ask := func(name string, cooling map[string]int) *trip {
		return journey(t, s, route.Config{Health: cooled{now: cooling}}, asks(name), nil)
	}
	require.Equal(t, []string{"b"}, ask("m", map[string]int{"a": 60}).steps)
	require.Equal(t, []string{"c fallback"}, ask("m", map[string]int{"a": 60, "b": 9}).steps, "all of the group cools")
	require.Equal(t, []string{"d"}, ask("d", map[string]int{"d": 60}).steps, "named by its id it is meant")

	j := ask("m", map[string]int{"a": 60, "b": 9, "c": 30})
	require.Empty(t, j.steps)
	f, own := j.way.First()
	require.True(t, own)
	require.Equal(t, 429, f.Status)
	require.Equal(t, 9*time.Second, f.RetryAfter)
	require.Equal(t, "No deployments available for selected model, Try again in 9 seconds. Passed model=m. pre-call-checks=False, cooldown_list=['a', 'b']", f.Message)
}

func TestAFallbackThatIsADeploymentIsAskedAlthoughItCools(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("x", "b", ""), entry("x", "c", ""))+"router_settings: {num_retries: 0, fallbacks: [{m: [b]}]}\n")
	j := journey(t, s, route.Config{Health: cooled{now: map[string]int{"a": 9, "b": 60}}}, asks("m"), nil)
	require.Equal(t, []string{"b fallback"}, j.steps)
}

func TestADeploymentWithoutRoomIsPassedOver(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("m", "b", ""), entry("x", "c", ""))+"router_settings: {num_retries: 0, fallbacks: [{m: [x]}]}\n")
	r := router(route.Config{Random: func() float64 { return 0 }})
	for _, tc := range []struct {
		full []string
		want []string
	}{
		{nil, []string{"a"}},
		{[]string{"a"}, []string{"a", "b"}},
		{[]string{"a", "b"}, []string{"a", "b", "c"}},
		{[]string{"a", "b", "c"}, []string{"a", "b", "c"}},
	} {
		var p route.Plan
		var w route.Walk
		q := asks("m")
		require.True(t, r.Plan(&p, s, q))
		w.Begin(r, s, &p, q)
		var got []string
		for step, ok := w.Next(); ok; step, ok = w.Next() {
			got = append(got, step.Deployment.ID)
			require.Equal(t, len(got) == 3, step.Alone)
			if len(got) > len(tc.full) {
				break
			}
			w.PassOver()
		}
		require.Equal(t, tc.want, got)
		if len(tc.full) == 3 {
			f, own := w.First()
			require.True(t, own)
			require.Equal(t, "no room", f.Message)
		}
	}
}

func TestRaisedFailuresGoStraightToTheFallbacks(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("x", "b", ""), entry("long", "c", ""))+"router_settings: {fallbacks: [{m: [x]}], context_window_fallbacks: [{m: [long]}]}\n")
	for class, want := range map[provider.Class]string{provider.InternalServer: "b", provider.ContextWindow: "c"} {
		r := router(route.Config{})
		var p route.Plan
		var w route.Walk
		q := asks("m")
		require.True(t, r.Plan(&p, s, q))
		w.Begin(r, s, &p, q)
		w.Raise(fails(class)[0])
		step, ok := w.Next()
		require.True(t, ok)
		require.Equal(t, want, step.Deployment.ID)
	}
}

func TestOnlyFallbacksThatAreMeantForItFollowAFilteredAnswer(t *testing.T) {
	models := list(entry("m", "a", ""), entry("x", "b", ""))
	for settings, want := range map[string]bool{
		"": false,
		"router_settings: {content_policy_fallbacks: [{m: [x]}]}\n":                                             true,
		"router_settings: {content_policy_fallbacks: [{x: [m]}]}\n":                                             false,
		"router_settings: {content_policy_fallbacks: [{m: [nobody]}]}\n":                                        false,
		"router_settings: {fallbacks: [{m: [x]}]}\n":                                                            false,
		"litellm_settings: {default_fallbacks: [x]}\n":                                                          true,
		"router_settings: {max_fallbacks: 0, content_policy_fallbacks: [{m: [x]}]}\n":                           false,
		"router_settings: {content_policy_fallbacks: [{x: [m]}]}\nlitellm_settings: {default_fallbacks: [x]}\n": false,
	} {
		j := journey(t, routing(t, models+settings), route.Config{}, asks("m"), nil)
		require.Equal(t, want, j.way.Leads(provider.ContentPolicy), settings)
	}
}
