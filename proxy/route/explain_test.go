package route_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/route"
)

func viewOf(r *route.Router, f *fleet, q *route.Request, group string) map[string]route.Option {
	var p route.Plan
	r.Plan(&p, f.s, q)
	out := map[string]route.Option{}
	for _, o := range r.View(f.s, &p, q, route.Fallback{Name: group}, nil).Options {
		out[o.Deployment.ID] = o
	}
	return out
}

func TestAViewTellsWhoWouldBeAskedAndWhyOthersNot(t *testing.T) {
	f := newFleet(t, list(entry("m", "a", "weight: 1, region_name: eu"), entry("m", "b", "weight: 3, region_name: eu"), entry("m", "cools", "region_name: eu"),
		entry("m", "outside", "region_name: us"), entry("x", "c", "order: 2, region_name: eu"), entry("x", "d", "order: 1, region_name: eu"))+
		"router_settings: {fallbacks: [{m: [x]}]}\n", route.Config{Health: cooled{now: map[string]int{"cools": 5}}})
	q := asks("m")
	q.Regions = []string{"eu"}
	got := viewOf(f.r, f, q, "m")
	require.Equal(t, "cooling", got["cools"].Out)
	require.Equal(t, noon.Add(5*time.Second), got["cools"].Until)
	require.Equal(t, "region_not_allowed", got["outside"].Out)
	require.InDelta(t, .25, got["a"].Chance, 1e-6)
	require.InDelta(t, .75, got["b"].Chance, 1e-6)

	got = viewOf(f.r, f, q, "x")
	require.Equal(t, "order", got["c"].Out)
	require.InDelta(t, 1, got["d"].Chance, 1e-9)
}

// The chances that are told are those that are drawn by.
func TestToldChancesAreThoseThatAreDrawn(t *testing.T) {
	f := newFleet(t, three("least-busy", ""), route.Config{})
	f.others["a"], f.others["b"] = [3]int64{0, 0, 5}, [3]int64{0, 0, 1}
	want := map[string]float64{}
	for id, o := range viewOf(f.r, f, asks("m"), "m") {
		if o.Chance > 0 {
			want[id] = o.Chance
		}
	}
	near(t, want, f.shares(asks("m"), many))
}
