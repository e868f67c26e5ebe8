package route_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

var classes = []provider.Class{
	provider.BadRequest, provider.ContextWindow, provider.ContentPolicy, provider.Authentication, provider.NotFound, provider.Timeout,
	provider.Conflict, provider.RateLimit, provider.InternalServer, provider.ServiceUnavailable, provider.APIConnection, provider.PermissionDenied,
}

// Whatever fails in whatever way: a walk asks only what its plan was bounded by,
// stays inside the caller's regions and rights, and ends within the attempts
// that are allowed.
func TestWalksKeepWithinTheirBounds(t *testing.T) {
	groups := []string{"g0", "g1", "g2", "g3"}
	rapid.Check(t, func(t *rapid.T) {
		regions := []string{"eu", "us", ""}
		var entries []string
		region := map[string]string{}
		size := map[string]int{}
		for _, g := range groups {
			size[g] = rapid.IntRange(1, 3).Draw(t, "size")
			for i := range size[g] {
				id := fmt.Sprintf("%s-%d", g, i)
				region[id] = rapid.SampledFrom(regions).Draw(t, "region")
				var params []string
				if region[id] != "" {
					params = append(params, "region_name: "+region[id])
				}
				if o := rapid.IntRange(0, 2).Draw(t, "order"); o > 0 {
					params = append(params, fmt.Sprintf("order: %d", o))
				}
				entries = append(entries, entry(g, id, strings.Join(params, ", ")))
			}
		}
		fall := func(label string) string {
			var maps []string
			for _, g := range groups {
				if targets := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(groups), "nobody", "g1-0")), 0, 3).Draw(t, label); len(targets) > 0 {
					maps = append(maps, "{"+g+": ["+strings.Join(targets, ", ")+"]}")
				}
			}
			return "[" + strings.Join(maps, ", ") + "]"
		}
		retries, depth := rapid.IntRange(0, 3).Draw(t, "retries"), rapid.IntRange(0, 5).Draw(t, "depth")
		strategy := rapid.SampledFrom([]string{"simple-shuffle", "least-busy", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing"}).Draw(t, "strategy")
		conf := list(entries...) + fmt.Sprintf("router_settings: {routing_strategy: %s, num_retries: %d, max_fallbacks: %d, fallbacks: %s, context_window_fallbacks: %s, content_policy_fallbacks: %s}\n",
			strategy, retries, depth, fall("fallbacks"), fall("context"), fall("content"))
		tt := testing.TB(ignore{})
		s := routing(tt, conf)

		q := asks("g0")
		denied := rapid.SliceOfDistinct(rapid.SampledFrom(append(groups[1:], "g1-0")), rapid.ID).Draw(t, "denied")
		q.Caller = caller{denied}
		if rapid.Bool().Draw(t, "resident") {
			q.Regions = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eu", "us"}), 1, 2, rapid.ID).Draw(t, "regions")
		}
		cool := cooled{now: map[string]int{}, then: map[string]bool{}}
		for id := range region {
			if rapid.IntRange(0, 4).Draw(t, id) == 0 {
				cool.now[id] = 9
			}
			cool.then[id] = rapid.Bool().Draw(t, "cools")
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r := router(route.Config{Health: cool, Random: random.Float64, Region: rapid.SampledFrom(regions).Draw(t, "here")})
		var p route.Plan
		var w route.Walk
		if !r.Plan(&p, s, q) {
			return
		}
		bounded := ids(p)
		w.Begin(r, s, &p, q)
		asked, at := map[string]int{}, map[string]int{}
		steps := 0
		for step, ok := w.Next(); ok; step, ok = w.Next() {
			steps++
			d := step.Deployment
			require.Contains(t, bounded, d.ID, "the plan does not know it")
			require.True(t, q.Regions == nil || slices.Contains(q.Regions, d.Region), "outside the regions")
			require.True(t, !step.Fallback || !slices.Contains(denied, step.Group) || step.Group == "g1-0" && !slices.Contains(denied, "g1"), "not the caller's")
			require.True(t, step.Group == d.ID || cool.now[d.ID] == 0, "it cools")
			if rapid.IntRange(0, 3).Draw(t, "full") == 0 {
				w.PassOver()
				continue
			}
			asked[d.ID]++
			at[step.Group]++
			// Each of the three orders begins its retries anew.
			require.LessOrEqual(t, at[step.Group], (retries+1)*3, step.Group)
			// A deployment stands in its group, and may stand in by its id.
			require.LessOrEqual(t, asked[d.ID], (retries+1)*2*3, d.ID)
			if rapid.IntRange(0, 5).Draw(t, "answers") == 0 {
				break
			}
			f := provider.NewError(rapid.SampledFrom(classes).Draw(t, "class"), "it failed")
			if cool.then[d.ID] {
				cool.now[d.ID] = 5
			}
			w.Failed(f)
		}
		first, own := w.First()
		require.True(t, first != nil || steps > 0 && !own)
	})
}

// ignore lets what is shared with other tests fail by panicking: rapid takes it.
type ignore struct{ testing.TB }

func (ignore) Helper()                   {}
func (ignore) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (ignore) FailNow()                  { panic("failed") }
