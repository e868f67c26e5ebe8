package route_test

import (
	"testing"

	"tollgate/proxy/route"
)

// BenchmarkPlanAndWalk is what a call that succeeds at once spends on routing.
func BenchmarkPlanAndWalk(b *testing.B) {
	eight := func() (out []string) {
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			out = append(out, entry("m", id, "weight: 1"))
		}
		return out
	}()
	for name, tc := range map[string]struct {
		conf string
		cfg  route.Config
	}{
		"one":               {list(entry("m", "a", "")), route.Config{}},
		"one, health":       {list(entry("m", "a", "")), route.Config{Health: cooled{}}},
		"one, fallback":     {list(entry("m", "a", ""), entry("x", "b", "")) + "router_settings: {fallbacks: [{m: [x]}]}\n", route.Config{Health: cooled{}}},
		"eight":             {list(eight...), route.Config{Health: cooled{}}},
		"eight, least busy": {of("least-busy", "", eight...), route.Config{Health: cooled{}}},
		"eight, usage":      {of("usage-based-routing-v2", "", eight...), route.Config{Health: cooled{}}},
		"eight, latency":    {of("latency-based-routing", "", eight...), route.Config{Health: cooled{}}},
	} {
		b.Run(name, func(b *testing.B) {
			s, r, q := routing(b, tc.conf), route.New(tc.cfg), asks("m")
			var p route.Plan
			var w route.Walk
			b.ReportAllocs()
			for b.Loop() {
				r.Plan(&p, s, q)
				w.Begin(r, s, &p, q)
				step, ok := w.Next()
				if !ok {
					b.Fatal("nothing to ask")
				}
				u := r.Begin(s, step.Deployment)
				u.End(route.Took{Output: 10, Total: 20})
			}
		})
	}
}
