package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// settlesWithin is how long after the last call money may still be held for it:
// twice the time after which a node gives back what it does not use.
const settlesWithin = 20 * time.Second

// mishap is one way in which a call goes, well or not.
type mishap struct {
	order  string
	stream bool
	leaves time.Duration // the client goes away so long after it has sent; 0: it stays
	words  int           // of the answer after which the client goes away; 0: it reads on
}

// mishaps are what providers and clients do. One cent is the most that any costs.
var mishaps = []mishap{
	{order: "fake:words=10"},
	{order: "fake:words=7 fake:slow=80ms"},
	{order: "fake:words=10 fake:gap=5ms", stream: true},
	{order: "fake:words=10 fake:nousage", stream: true},
	{order: "fake:status=500"},
	{order: "fake:status=429 fake:retry-after=1"},
	{order: "fake:status=400"},
	{order: "fake:error200"},
	{order: "fake:error200", stream: true},
	{order: "fake:garbage"},
	{order: "fake:html"},
	{order: "fake:empty"},
	{order: "fake:nothing"},
	{order: "fake:reset"},
	{order: "fake:half"},
	{order: "fake:words=10 fake:gap=10ms fake:reset", stream: true},
	{order: "fake:words=10 fake:gap=10ms fake:cut", stream: true},
	{order: "fake:hang"},
	{order: "fake:stall", stream: true},
	{order: "fake:hang", leaves: 150 * time.Millisecond},
	{order: "fake:slow=400ms fake:words=10", leaves: 100 * time.Millisecond},
	{order: "fake:words=10 fake:gap=60ms", stream: true, words: 2},
	{order: "fake:words=10 fake:gap=60ms", stream: true, leaves: 200 * time.Millisecond},
	{order: "fake:stall", stream: true, words: 1},
}

// make has the mishap happen at a node and says how the call looked to its client.
func (m *mishap) make(hc *http.Client, url, key, more string) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if m.leaves > 0 {
		defer time.AfterFunc(m.leaves, cancel).Stop()
	}
	if m.stream {
		more += `,"stream":true`
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(chatBody("gpt", m.order, more)))
	if err != nil {
		return err.Error()
	}
	req.GetBody = nil // a POST is not sent again
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := hc.Do(req)
	if err != nil {
		return "no answer"
	}
	defer resp.Body.Close()
	if m.words > 0 && resp.StatusCode == 200 {
		var got strings.Builder
		buf := make([]byte, 512)
		for err == nil && strings.Count(got.String(), `"content":"`) < m.words {
			var n int
			n, err = resp.Body.Read(buf)
			got.Write(buf[:n])
		}
		return "left" // the deferred Close breaks the connection
	}
	_, _ = io.Copy(io.Discard, resp.Body) // how it ends shows in the books
	return fmt.Sprint(resp.StatusCode)
}

// metric sums a metric of a node over its labels.
func (n *node) metric(name string) (float64, error) {
	a, err := n.call("GET", "/metrics", "", "")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(a.body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:], &v); err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("no metric %s", name)
	}
	return sum, nil
}

// After any mix of errors, aborts, timeouts and kills nothing stays reserved, and
// each budget says that it has used what its rows add up to.
func TestAfterAnyMixOfErrorsAbortsTimeoutsAndAKillNothingIsReservedAndBudgetsSayTheSumOfTheirRows(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	config := strings.Replace(budgetConfig(f), "{num_retries: 0}", "{num_retries: 0, timeout: 1.5, stream_timeout: 1.5}", 1)
	c := startCluster(t, 3, clusterOptions{config: config})
	door := c.nodes[0]
	for _, made := range [][2]string{
		{"/team/new", `{"team_id":"crew","max_budget":20,"budget_duration":"30d","model_max_budget":{"gpt":{"budget_limit":20,"time_period":"1mo"}}}`},
		{"/customer/new", `{"user_id":"walk-in","max_budget":20,"budget_duration":"30d","model_max_budget":{"gpt":{"budget_limit":20,"time_period":"1mo"}}}`},
	} {
		if a := door.do(t, "POST", made[0], masterKey, made[1]); a.status != 200 {
			t.Fatalf("%s: %d %s", made[0], a.status, a.body)
		}
	}
	key := door.newKey(t, `"team_id":"crew","max_budget":20,"budget_duration":"30d"`)
	const more = oneCent + `,"user":"walk-in"`

	stop := make(chan struct{})
	var crew sync.WaitGroup
	var mu sync.Mutex // guards seen
	seen := map[string]int{}
	for i := range 24 {
		crew.Go(func() {
			hc := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0, MaxIdleConnsPerHost: 4}}
			defer hc.CloseIdleConnections()
			tick := time.NewTicker(40 * time.Millisecond) // leaves processor time for the nodes
			defer tick.Stop()
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				how := mishaps[rng.IntN(len(mishaps))].make(hc, c.nodes[i%3].url, key, more)
				mu.Lock()
				seen[how]++
				mu.Unlock()
			}
		})
	}
	reached := func(calls int) {
		t.Helper()
		want := f.Count() + calls
		eventually(t, 60*time.Second, "the load goes on", func() error {
			if f.Count() < want {
				return fmt.Errorf("%d of %d calls", f.Count(), want)
			}
			return nil
		})
	}
	reached(300)
	dead := c.nodes[1+rand.IntN(2)]
	dead.kill()
	reached(150)
	dead.begin()
	dead.ready()
	reached(300)
	close(stop)
	crew.Wait()
	ended := time.Now()
	t.Logf("%d calls at the provider, seen by clients: %v", f.Count(), seen)
	for _, kind := range []string{"200", "500", "no answer", "left"} {
		if seen[kind] == 0 {
			t.Errorf("no call ended with %q", kind)
		}
	}

	c.waitFormed()
	for i, n := range c.nodes {
		eventually(t, settlesWithin, "nothing is reserved", func() error {
			for _, name := range []string{"tollgate_budget_reserved_usd", "tollgate_ledger_intents_open"} {
				if v, err := n.metric(name); err != nil || v != 0 {
					return fmt.Errorf("node %d: %s is %v, %v", i, name, v, err)
				}
			}
			return nil
		})
	}
	if took := time.Since(ended); took > settlesWithin {
		t.Errorf("it took %s until nothing was reserved", took)
	}
	sum := rowsSum(t, c.nodes, key)
	t.Logf("%v USD", sum)
	if sum <= 0 || sum > 20 {
		t.Errorf("%v of 20 USD is spent", sum)
	}
	for _, n := range c.nodes {
		for _, r := range n.rowsOfKey(t, key) {
			if r.Get("spend").Float() > 0.01 {
				t.Errorf("a call that stated a cent as its maximum cost more: %s", r)
			}
		}
	}
	want := int64(sum*1e9 + 0.5)
	for i, n := range c.nodes {
		for _, at := range [][2]string{{"/team/info?team_id=crew", "team_info.spend"}, {"/customer/info?end_user_id=walk-in", "spend"}} {
			a := n.get(t, at[0], masterKey)
			if got := nanosOf(a.get(at[1])); a.status != 200 || got != want {
				t.Errorf("node %d: %s says %d nano-dollars, the rows %d", i, at[0], got, want)
			}
		}
		// What a refusal names is what the budget counts by.
		eventually(t, soon, "a refusal says the same", func() error {
			a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", `"max_tokens":90000`))
			if err != nil {
				return err
			}
			if said := a.get("error.message").String(); a.status != 429 || !strings.Contains(said, fmt.Sprintf("Current cost: %v,", sum)) || strings.Contains(said, "Reserved") {
				return fmt.Errorf("node %d: want %v as current cost and nothing reserved: %d %s", i, sum, a.status, a.body)
			}
			return nil
		})
		if v, err := n.metric("tollgate_budget_overage_usd_total"); err != nil || v != 0 {
			t.Errorf("node %d: %v USD above what was reserved, %v", i, v, err)
		}
	}
}
