package route_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/state"
	"tollgate/proxy/route"
)

// rumours closes deployments by id: true on this node's own account, false on
// other nodes' word alone.
type rumours map[string]bool

func (r rumours) Cooling(d *state.Deployment) (time.Time, string, bool) {
	_, closed := r[d.ID]
	return time.Unix(2_000_000_000, 0), "timeouts", closed
}

func (rumours) Report(*state.Deployment, route.Outcome) {}

func (r rumours) Hearsay(d *state.Deployment) bool {
	own, closed := r[d.ID]
	return closed && !own
}

func TestNoCallIsRefusedOnOtherNodesWordAlone(t *testing.T) {
	s := routing(t, list(entry("m", "a", ""), entry("m", "b", ""), entry("m", "c", "")))
	for name, tc := range map[string]struct {
		closed rumours
		first  map[string]bool // what may come first; none: nothing is called
	}{
		"nothing is closed":             {rumours{}, map[string]bool{"a": true, "b": true, "c": true}},
		"others' word counts":           {rumours{"a": false, "b": false}, map[string]bool{"c": true}},
		"but does not close the last":   {rumours{"a": false, "b": false, "c": true}, map[string]bool{"a": true, "b": true}},
		"all by others' word":           {rumours{"a": false, "b": false, "c": false}, map[string]bool{"a": true, "b": true, "c": true}},
		"all by this node's experience": {rumours{"a": true, "b": true, "c": true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				r := router(route.Config{Health: tc.closed})
				q := asks("m")
				var plan route.Plan
				require.True(t, r.Plan(&plan, s, q))
				var way route.Walk
				way.Begin(r, s, &plan, q)
				step, ok := way.Next()
				require.Equal(t, tc.first != nil, ok)
				if ok {
					require.True(t, tc.first[step.Deployment.ID], step.Deployment.ID)
				}
			}
		})
	}
}
