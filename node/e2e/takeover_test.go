package e2e

import (
	"sync"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// What an owner of limits has admitted itself nobody else has asked for: only the
// counts that it sends know of it. A second after a burst they have arrived, so
// when it is killed nothing is forgotten. Nor does it take along what it holds of
// limits that others own: that has gone back.
func TestANodeKilledASecondAfterABurstTakesNoCountsWithIt(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f)})
	victim, rest := c.nodes[1], []*node{c.nodes[0], c.nodes[2]}
	const limit = 600
	bodies := make([]string, 8) // of so many keys it owns some, as good as certainly
	keys := make([]string, len(bodies))
	for i := range keys {
		keys[i] = c.nodes[0].newKey(t, `"rpm_limit":600`)
		bodies[i] = chatBody("gpt", mark(i), `"max_tokens":10`)
		if got := burstOver(t, []*node{victim}, keys[i], 400, 40, bodies[i]); got[200] < 380 {
			t.Fatalf("statuses %v of 400 calls under a limit of %d", got, limit)
		}
	}
	<-time.After(time.Second)
	victim.kill()
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			// For a second nobody grants, and calls are refused: some come later too.
			for range 4 {
				burstOver(t, rest, keys[i], 300, 10, bodies[i])
				<-time.After(2 * time.Second)
			}
		})
	}
	all.Wait()
	for i := range keys {
		worst, at := worstMinute(f, mark(i))
		t.Logf("key %d: %d calls", i, len(at))
		if worst > limit || len(at) < limit*90/100 {
			t.Errorf("key %d: %d calls passed, %d of them within 60 s; want %d to %d", i, len(at), worst, limit*90/100, limit)
		}
	}
}
