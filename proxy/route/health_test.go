package route_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/state"
	"tollgate/proxy/route"
)

// cooled is a health that knows until when deployments cool, by id, in minutes.
type cooled map[string]int

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func (c cooled) Cooling(d *state.Deployment) (time.Time, string, bool) {
	m, ok := c[d.ID]
	return noon.Add(time.Duration(m) * time.Minute), "rate_limited", ok
}

func (cooled) Report(*state.Deployment, route.Outcome) {}

func ids(p route.Plan) []string {
	var out []string
	for _, c := range p.Candidates {
		out = append(out, c.Deployment.ID)
	}
	return out
}

func TestCoolingDeploymentsAreTriedLastAndNeverDropped(t *testing.T) {
	const settings = "router_settings: {fallbacks: [{m: [spare]}]%s}\n"
	models := list(entry("m", "a", "order: 1"), entry("m", "b", "order: 2"), entry("m", "c", "order: 3"), entry("spare", "s", ""))
	for name, tc := range map[string]struct {
		health   route.Health
		settings string
		want     []string
	}{
		"nobody keeps health":          {nil, "", []string{"a", "b", "c", "s"}},
		"none cools":                   {cooled{}, "", []string{"a", "b", "c", "s"}},
		"the first cools":              {cooled{"a": 5}, "", []string{"b", "c", "s", "a"}},
		"a whole group cools":          {cooled{"a": 5, "b": 3, "c": 9}, "", []string{"s", "b", "a", "c"}},
		"everything cools":             {cooled{"a": 5, "b": 3, "c": 9, "s": 1}, "", []string{"b", "a", "c", "s"}},
		"only the fallback cools":      {cooled{"s": 1}, "", []string{"a", "b", "c", "s"}},
		"cooldowns are switched off":   {cooled{"a": 5, "s": 1}, ", disable_cooldowns: true", []string{"a", "b", "c", "s"}},
		"what cools is over in a tick": {cooled{"a": 0}, "", []string{"b", "c", "s", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := routing(t, models+replaced(settings, tc.settings))
			p, ok := route.Build(r, "m", nil, anyone, tc.health)
			require.True(t, ok)
			require.Equal(t, tc.want, ids(p))
		})
	}
}

func replaced(format, with string) string {
	i := slices.Index([]byte(format), '%')
	return format[:i] + with + format[i+2:]
}

// Cooling changes the order alone, and only by what cools.
func TestCoolingKeepsEveryCandidate(t *testing.T) {
	r := routing(t, list(entry("m", "a", ""), entry("m", "b", ""), entry("m", "c", ""), entry("x", "d", ""), entry("x", "e", ""))+
		"router_settings: {fallbacks: [{m: [x]}]}\n")
	rapid.Check(t, func(t *rapid.T) {
		h := cooled{}
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			if rapid.Bool().Draw(t, id) {
				h[id] = rapid.IntRange(0, 10).Draw(t, id+" until")
			}
		}
		p, ok := route.Build(r, "m", nil, anyone, h)
		require.True(t, ok)
		got := ids(p)
		require.ElementsMatch(t, []string{"a", "b", "c", "d", "e"}, got)
		rank := func(c *route.Candidate) int {
			n := 0
			if _, ok := h[c.Deployment.ID]; ok {
				n = 2
			}
			if c.Fallback {
				n++
			}
			return n
		}
		for i := 1; i < len(p.Candidates); i++ {
			a, b := &p.Candidates[i-1], &p.Candidates[i]
			require.LessOrEqual(t, rank(a), rank(b), got)
			if rank(a) == rank(b) && rank(a) >= 2 {
				require.LessOrEqual(t, h[a.Deployment.ID], h[b.Deployment.ID], got)
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	r := routing(b, list(entry("m", "a", ""), entry("m", "b", ""), entry("m", "c", ""), entry("one", "d", "")))
	for name, tc := range map[string]struct {
		group  string
		health route.Health
	}{
		"one": {"one", nil}, "three": {"m", nil}, "one, health": {"one", cooled{}}, "three, health": {"m", cooled{"b": 1}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				route.Build(r, tc.group, nil, anyone, tc.health)
			}
		})
	}
}
