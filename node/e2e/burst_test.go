package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// bursting is held by the burst that runs. Tests that mostly wait run beside each
// other, and bursts among them would measure the machine.
var bursting sync.Mutex

// burst sends count calls as fast as the machine can, from many callers at
// once, and returns how many had each status. A refusal for want of credit that
// says "try again" (503) is tried again: it decides nothing.
func burst(t *testing.T, n *node, key string, count, callers int, body string) map[int]int {
	t.Helper()
	bursting.Lock()
	defer bursting.Unlock()
	var next atomic.Int64
	var mu sync.Mutex // guards statuses
	statuses := map[int]int{}
	c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer c.CloseIdleConnections()
	var crew sync.WaitGroup
	for range callers {
		crew.Go(func() {
			for next.Add(1) <= int64(count) {
				status := 503
				for tries := 0; status == 503 && tries < 5; tries++ {
					status = send(c, n.url, key, body)
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	crew.Wait()
	return statuses
}

func send(c *http.Client, url, key, body string) int {
	req, err := http.NewRequest("POST", url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return -1
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return -1
	}
	return resp.StatusCode
}

// The price is per output token only, so that one call's worst case is exact:
// ten tokens at a tenth of a cent are one cent.
func budgetConfig(f *fake.Server) string {
	return `model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: ` + f.OpenAI() + `
      api_key: sk-upstream
      input_cost_per_token: 0
      output_cost_per_token: 0.001
router_settings: {num_retries: 0}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
`
}

func TestABudgetOf400CallsTakesAtMost400Of1200AndAtLeast380(t *testing.T) {
	for name, more := range map[string]string{"maximum stated": `"max_tokens":10`, "no maximum": ""} {
		t.Run(name, func(t *testing.T) {
			f := fake.Start(t)
			n := start(t, options{config: budgetConfig(f)})
			key := n.newKey(t, `"max_budget":4`)
			got := burst(t, n, key, 1200, 200, chatBody("gpt", "fake:slow=20ms fake:words=10", more))
			t.Logf("statuses %v, %d reached the provider", got, f.Count())
			if f.Count() > 400 {
				t.Errorf("%d calls reached the provider, the budget pays for 400", f.Count())
			}
			if more != "" && f.Count() < 380 {
				t.Errorf("only %d calls reached the provider, want 380 of the 400 that the budget pays for", f.Count())
			}
			if spent := n.spendOf(t, key); spent > 4 {
				t.Errorf("spent %v of 4", spent)
			}
			if more == "" { // a clamped call takes what is free, so the burst comes in waves
				for wave := 0; wave < 40 && f.Count() < 380; wave++ {
					burst(t, n, key, 20, 4, chatBody("gpt", "fake:words=10", more))
				}
				if f.Count() < 380 || n.spendOf(t, key) > 4 {
					t.Errorf("%d calls reached the provider in all, %v spent", f.Count(), n.spendOf(t, key))
				}
			}
			if got[429] == 0 || got[-1] > 0 || got[500] > 0 {
				t.Errorf("statuses %v: want 200 and 429 only", got)
			}
		})
	}
}

func TestALimitOf600ARequestsMinuteLetsAtMost600Of3000AndAtLeast582Pass(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: budgetConfig(f)})
	key := n.newKey(t, `"rpm_limit":600`)
	began := time.Now()
	got := burst(t, n, key, 3000, 300, chatBody("gpt", "hi", `"max_tokens":10`))
	t.Logf("statuses %v in %s", got, time.Since(began))
	if worst, _ := worstMinute(f, ""); worst > 600 || f.Count() < 582 {
		t.Errorf("%d calls passed, %d of them within a minute: want 582 to 600", f.Count(), worst)
	}
	if got[429] != 3000-f.Count() {
		t.Errorf("statuses %v: every refusal should be a 429", got)
	}
	if time.Since(began) > 50*time.Second {
		return // the minute is over
	}
	a := n.chat(t, key, "gpt", "hi", "")
	want := "Rate limit exceeded for api_key: "
	if a.status != 429 || !strings.HasPrefix(a.get("error.message").String(), want) || a.header.Get("retry-after") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

func TestLivelinessIsAnsweredWithinItsTimeUnderLoad(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	stop := make(chan struct{})
	var crew sync.WaitGroup
	for i := range 32 {
		crew.Go(func() {
			c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
					send(c, n.url, masterKey, chatBody("gpt", fmt.Sprintf("call of %d", i), ""))
				}
			}
		})
	}
	var slowest time.Duration
	slow := 0
	for range 200 {
		at := time.Now()
		a := n.get(t, "/health/liveliness", "")
		took := time.Since(at)
		slowest = max(slowest, took)
		if took > time.Second {
			slow++
		}
		if a.status != 200 || a.body != `"I'm alive!"` {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	close(stop)
	crew.Wait()
	// The callers, the fake and the node share the machine's cores, so the bound
	// is loose; a health route that queues behind calls would be far over it.
	if slow > 4 {
		t.Errorf("%d of 200 answers took over a second, the slowest %s", slow, slowest)
	}
	t.Logf("slowest %s", slowest)
}
