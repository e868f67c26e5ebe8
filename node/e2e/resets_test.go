package e2e

import (
	"net/http"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// TestABudgetIsFreeAgainAtTheMomentThatTheAPITellsAndNotBefore: on every node, for
// a key and for a team.
func TestABudgetIsFreeAgainAtTheMomentThatTheAPITellsAndNotBefore(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 2, clusterOptions{config: budgetConfig(f)})
	const budget = `"max_budget":0.02,"budget_duration":"6s"`
	if a := c.nodes[0].do(t, "POST", "/team/new", masterKey, `{"team_id":"crew",`+budget+`}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, o := range []struct{ key, route, field string }{
		{c.nodes[0].newKey(t, budget), "/key/info?key=", "info.budget_reset_at"},
		{c.nodes[0].newKey(t, `"team_id":"crew"`), "/team/info?team_id=crew&key=", "team_info.budget_reset_at"},
	} {
		resets := func(n *node) time.Time {
			t.Helper()
			at, err := time.Parse(time.RFC3339, n.get(t, o.route+o.key, masterKey).get(o.field).String())
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		call := func(n *node) int { t.Helper(); return n.chat(t, o.key, "gpt", "fake:words=10", oneCent).status }
		at := resets(c.nodes[0])
		if left := time.Until(at); left < 3*time.Second { // enough of it to be used up
			<-time.After(left)
			at = resets(c.nodes[0])
		}
		for _, n := range c.nodes {
			if other := resets(n); !other.Equal(at) {
				t.Errorf("one node says %s, another %s", at, other)
			}
			if got := call(n); got != http.StatusOK {
				t.Fatalf("a call of the window: %d", got)
			}
		}
		for i := 0; ; i++ {
			sent := time.Now()
			got := call(c.nodes[i%2])
			switch {
			case got == http.StatusTooManyRequests && sent.After(at.Add(time.Second)):
				t.Fatalf("the budget was to be free at %s and is refused %s later", at, sent.Sub(at))
			case got == http.StatusTooManyRequests:
				continue
			case got != http.StatusOK:
				t.Fatalf("%d", got)
			case time.Now().Before(at):
				t.Fatalf("the budget was to be free at %s, and was %s before", at, time.Until(at))
			}
			t.Logf("free %s after the moment told, after %d refusals", time.Since(at), i)
			break
		}
		if next := resets(c.nodes[1]); !next.Equal(at.Add(6 * time.Second)) {
			t.Errorf("the next reset is told for %s, after %s", next, at)
		}
	}
}
