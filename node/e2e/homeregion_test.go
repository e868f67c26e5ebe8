package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// A key that is used in one place has its limits counted there: not even its first
// call waits for another region, however rarely it is used. When it moves, its
// counts move with it.
func TestAKeysLimitsLiveInItsHomeRegionAndMoveWithIt(t *testing.T) {
	t.Parallel()
	wire := network.New(t, 23)
	if wire == nil {
		return
	}
	f := fake.StartOn(t, providerOn(t, wire))
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f), wire: wire})
	oceans(wire, c)
	c.leader()
	const limit = 600
	body := chatBody("gpt", "hi", `"max_tokens":10`)
	for i, n := range c.nodes {
		// For a minute after the cluster has formed, an owner may have to look with the
		// others first: one of them may have granted while it knew of fewer nodes.
		eventually(t, 2*grown, "a key's first call at home waits for no other region", func() error {
			var took []time.Duration
			for range 12 {
				key := n.newKey(t, `"rpm_limit":600,"max_parallel_requests":50,"home_region":"`+threeRegions[i]+`"`)
				at := time.Now()
				if a := n.chat(t, key, "gpt", "hi", `"max_tokens":10`); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				took = append(took, time.Since(at))
			}
			// The least round trip to another region is 80 ms; a busy machine may make
			// some calls as slow as that.
			slices.Sort(took)
			t.Logf("first calls at home in %s: %v", threeRegions[i], took)
			if half := took[len(took)/2]; half > 70*time.Millisecond {
				return fmt.Errorf("in %s the median takes %s", threeRegions[i], half)
			}
			return nil
		})
	}

	f.Forget()
	key := c.nodes[0].newKey(t, `"rpm_limit":600,"home_region":"`+threeRegions[0]+`"`)
	first := burstOver(t, c.nodes, key, 400, 60, body)
	for i := range 4 { // on and on, through all regions
		a := c.nodes[i%3].do(t, "POST", "/key/update", masterKey, `{"key":"`+key+`","home_region":"`+threeRegions[(i+1)%3]+`"}`)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		burstOver(t, c.nodes, key, 300, 60, body)
	}
	t.Logf("before the moves %v, %d in all", first, f.Count())
	// What nodes held when the key moved counts as used until its window ends.
	if f.Count() < limit*80/100 {
		t.Errorf("%d calls passed through four moves, the limit is %d", f.Count(), limit)
	}
	if worst, _ := worstMinute(f, ""); worst > limit {
		t.Errorf("%d calls passed within a minute through four moves, the limit is %d", worst, limit)
	}
}
