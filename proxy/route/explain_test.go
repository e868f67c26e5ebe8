package route_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/route"
)

func TestExplanationsTellWhoWouldBeAskedAndWhyOthersNot(t *testing.T) {
	conf := list(entry("m", "a", "weight: 1, region_name: eu"), entry("m", "b", "weight: 3, region_name: eu"), entry("m", "cools", "region_name: eu"),
		entry("m", "later", "order: 2, region_name: eu"), entry("m", "outside", "region_name: us"), entry("x", "c", "region_name: eu"), entry("y", "d", "")) +
		"router_settings: {num_retries: 4, fallbacks: [{m: [x, nobody]}], context_window_fallbacks: [{m: [y]}]}\n"
	s := routing(t, conf)
	q := asks("m")
	q.Regions = []string{"eu"}
	q.Caller = caller{[]string{"y"}}
	e := router(route.Config{Health: cooled{now: map[string]int{"cools": 5}}}).Explain(s, q)
	require.Equal(t, "simple-shuffle", e.Strategy)
	require.Equal(t, 4, e.Retries)
	require.Len(t, e.Stages, 4)

	own := e.Stages[0]
	require.Equal(t, "m", own.Name)
	require.Empty(t, own.Refusal)
	got := map[string]route.Verdict{}
	for _, v := range own.Verdicts {
		got[v.Deployment.ID] = v
	}
	require.Equal(t, "cooling", got["cools"].Out)
	require.Equal(t, noon.Add(5*time.Second), got["cools"].Until)
	require.Equal(t, "region_not_allowed", got["outside"].Out)
	require.Equal(t, "order", got["a"].Out, "what states an order comes before what states none")
	require.InDelta(t, 1, got["later"].Chance, 1e-9)

	require.Equal(t, "fallback", e.Stages[1].Reason)
	require.InDelta(t, 1, e.Stages[1].Verdicts[0].Chance, 1e-9)
	require.True(t, e.Stages[2].Unknown)
	require.Equal(t, "context_window_fallback", e.Stages[3].Reason)
	require.True(t, e.Stages[3].Barred)
	require.NotEmpty(t, e.Stages[3].Refusal)
}

// The chances that are told are those that are drawn by.
func TestExplainedChancesAreThoseThatAreDrawn(t *testing.T) {
	f := newFleet(t, three("least-busy", ""), route.Config{})
	f.others["a"], f.others["b"] = [3]int64{0, 0, 5}, [3]int64{0, 0, 1}
	want := map[string]float64{}
	for _, v := range f.r.Explain(f.s, asks("m")).Stages[0].Verdicts {
		if v.Chance > 0 {
			want[v.Deployment.ID] = v.Chance
		}
	}
	near(t, want, f.shares(asks("m"), many))
}
