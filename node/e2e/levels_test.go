package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

// Three nodes: an organization's budget is one over all of them, its spend is
// the same on each, its end user is made, and its soft budget is alerted of once.
func TestOrganizationOfAClusterHasOneBudgetAndOneAlert(t *testing.T) {
	f := fake.Start(t)
	var mu sync.Mutex
	var alerts []string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		alerts = append(alerts, string(b))
	}))
	defer hook.Close()
	var told atomic.Int32
	crew := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); gjson.GetBytes(b, "text").String() != "" {
			told.Add(1)
		}
	}))
	defer crew.Close()
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "  alerting: [webhook, slack]\n  alert_to_webhook_url: {budget_alerts: os.environ/CREW_HOOK}\n"),
		env: []string{"WEBHOOK_URL=" + hook.URL, "CREW_HOOK=" + crew.URL}})
	n := c.nodes[0]
	a := n.do(t, "POST", "/organization/new", masterKey, `{"organization_id":"acme","organization_alias":"Acme","max_budget":5,"soft_budget":0.000001}`)
	if a.status != 200 {
		t.Fatalf("no organization: %d %s", a.status, a.body)
	}
	key := n.newKey(t, `"organization_id":"acme","metadata":{"tags":["blue"]}`)
	for i := range 6 {
		if a := c.nodes[i%3].chat(t, key, "gpt", "hello", `"max_tokens":20,"user":"walk-in"`); a.status != 200 {
			t.Fatalf("call %d: %d %s", i, a.status, a.body)
		}
	}
	want := rowsSum(t, c.nodes, key)
	if want <= 0 {
		t.Fatal("nothing was spent")
	}
	for _, n := range c.nodes {
		eventually(t, soon, "the organization shows what its key has spent", func() error {
			a, err := n.call("GET", "/organization/info?organization_id=acme", masterKey, "")
			if err != nil {
				return err
			}
			if got := a.get("spend").Float(); a.status != 200 || got < want*0.999999 || got > want*1.000001 {
				return fmt.Errorf("%d: %v is shown as spent, the rows say %v: %s", a.status, got, want, tail(a.body, 300))
			}
			return nil
		})
	}
	eventually(t, soon, "the alert", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(alerts) == 0 {
			return errors.New("none came")
		}
		return nil
	})
	eventually(t, soon, "the alert at the address for its kind", func() error {
		if told.Load() == 0 {
			return errors.New("none came")
		}
		return nil
	})
	eventually(t, soon, "the end user", func() error {
		if a := n.get(t, "/customer/info?end_user_id=walk-in", masterKey); a.status != 200 {
			return errors.New(string(a.body))
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if len(alerts) != 1 || gjson.Get(alerts[0], "event").String() != "soft_budget_crossed" || gjson.Get(alerts[0], "organization_id").String() != "acme" {
		t.Fatalf("alerts: %v", alerts)
	}
}
