package call_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// pair makes "spare" a second deployment of the group "m", each with these
// parameters.
func pair(params ...string) option {
	return withConfig(func(c *model.Config) {
		c.Deployments[1].Group = "m"
		c.Router.Raw = model.Params{"optional_pre_call_checks": json.RawMessage(`["enforce_model_rate_limits"]`)}
		for i := range 2 {
			for j := 0; j+1 < len(params); j += 2 {
				c.Deployments[i].Params[params[j]] = json.RawMessage(params[j+1])
			}
		}
	})
}

func providerBudget(m unit.Money) option {
	return withConfig(func(c *model.Config) {
		c.Router.ProviderBudgets = map[string]model.ModelBudget{"openai": {Max: m, Duration: "1d"}}
	})
}

func TestDeploymentsLimitPassesItOverAndRefusesOnlyWhenNoneHasRoom(t *testing.T) {
	for name, params := range map[string][]string{"rpm": {"rpm", "2"}, "tpm": {"tpm", "150"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, pair(params...))
			hosts := map[string]int{}
			var mu sync.Mutex
			w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
				mu.Lock()
				hosts[host]++
				mu.Unlock()
				answers(w, host, c, r, b)
			})
			each := map[string]int{"rpm": 2, "tpm": 1}[name]
			for range 2 * each {
				got := w.post(body("m", `"max_tokens":20`))
				require.Equal(t, 200, got.status, got.body)
			}
			mu.Lock()
			require.Len(t, hosts, 2)
			for h, n := range hosts {
				require.Equal(t, each, n, h)
			}
			mu.Unlock()
			got := w.post(body("m", `"max_tokens":20`))
			require.Equal(t, 429, got.status, got.body)
			require.Contains(t, got.body, "No deployments available for selected model, Try again in ")
			require.Contains(t, got.body, "Passed model=m. Rate limit exceeded for deployment: ")
			require.NotEmpty(t, got.header.Get("retry-after"))
			require.EqualValues(t, 2*each, w.asked.Load())
		})
	}
}

func TestDeploymentsRatesOnlyWeighTheChoiceUnlessTheyAreEnforced(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*model.RouterSettings)
		status int
	}{
		"by default":      {func(*model.RouterSettings) {}, 200},
		"pre-call checks": {func(r *model.RouterSettings) { r.PreCallChecks = true }, 429},
		"usage-based":     {func(r *model.RouterSettings) { r.Strategy = "usage-based-routing-v2" }, 429},
		"enforced by name": {func(r *model.RouterSettings) {
			r.Raw = model.Params{"optional_pre_call_checks": json.RawMessage(`["enforce_model_rate_limits"]`)}
		}, 429},
		"another such name": {func(r *model.RouterSettings) {
			r.Raw = model.Params{"optional_pre_call_checks": json.RawMessage(`["router_budget_limiting"]`)}
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withConfig(func(cfg *model.Config) {
				cfg.Deployments[0].Params["rpm"] = json.RawMessage("1")
				c.change(&cfg.Router)
			}))
			w.serve(answers)
			require.Equal(t, 200, w.post(body("m", "")).status)
			require.Equal(t, c.status, w.post(body("m", "")).status)
		})
	}
}

func TestBusyDeploymentLeavesTheCallToItsSibling(t *testing.T) {
	w := newWorld(t, pair("max_parallel_requests", "1"))
	hold := make(chan struct{})
	var mu sync.Mutex
	hosts := map[string]bool{}
	w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
		mu.Lock()
		hosts[host] = true
		mu.Unlock()
		<-hold
		answers(w, host, c, r, b)
	})
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() { require.Equal(t, 200, w.post(body("m", "")).status) })
	}
	require.Eventually(t, func() bool { return w.asked.Load() == 2 }, 5*time.Second, time.Millisecond)
	require.Equal(t, 429, w.post(body("m", "")).status, "both are busy")
	close(hold)
	calls.Wait()
	require.Len(t, hosts, 2)
	require.Equal(t, 200, w.post(body("m", "")).status, "room again")
}

func TestDeploymentOverItsBudgetIsPassedOver(t *testing.T) {
	w := newWorld(t, pair(), withConfig(func(c *model.Config) { c.Deployments[0].Params["max_budget"] = json.RawMessage("0") }))
	w.serve(answers)
	for range 5 {
		require.Equal(t, 200, w.post(body("m", "")).status)
	}
	w.quiet()
	for _, e := range w.entries() {
		require.Equal(t, "second", e.ModelID)
		require.Empty(t, e.Charges)
	}
}

func TestFallbackAnswersWhenTheProviderIsOverItsBudget(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		c.Router.ProviderBudgets = map[string]model.ModelBudget{"openai": {}}
		c.Deployments[1].Params["model"] = json.RawMessage(`"groq/some-model"`)
		c.Router.Fallbacks = map[string][]string{"m": {"spare"}}
	}))
	w.serve(answers)
	got := w.post(body("m", ""))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "groq", w.only().Provider)
}

func TestProviderOverItsBudgetIsNamedWithItsFigures(t *testing.T) {
	w := newWorld(t, pair(), providerBudget(0))
	w.serve(answers)
	got := w.post(body("m", ""))
	require.Equal(t, 429, got.status, got.body)
	require.Contains(t, got.body, "No deployments available for selected model")
	require.Contains(t, got.body, "Budget has been exceeded! Provider=openai Current cost: 0.0, Max budget: 0.0")
	require.Zero(t, w.asked.Load())
	e := w.only()
	require.Equal(t, store.Failure, e.Status)
	require.Zero(t, w.ledger.Stats().Open)
}

// Bursts over a small provider budget: it is never passed, and what it says it
// used is the sum of its rows, whether the caller has a budget of its own or not.
func TestProviderBudgetIsStrictAndTheSumOfItsRows(t *testing.T) {
	for name, options := range map[string][]option{
		"caller without a budget": nil,
		"caller with a budget":    {withBudget(unit.Dollar)},
	} {
		t.Run(name, func(t *testing.T) {
			limit := 10 * unit.Dollar / 10_000 // five calls of 200 µ$
			w := newWorld(t, append(options, pair(), providerBudget(limit))...)
			w.serve(answers)
			var calls sync.WaitGroup
			for i := range 12 {
				more := `"max_tokens":50`
				if i%3 == 0 {
					more += `,"stream":true`
				}
				// Long enough for the hundred tokens that the provider says it read.
				text := strings.Replace(body("m", more), "hello there", strings.Repeat("hello ", 100), 1)
				calls.Go(func() { w.post(text) })
			}
			calls.Wait()
			w.quiet()
			var cost unit.Money
			for _, e := range w.entries() {
				cost += e.Cost.Total
			}
			require.LessOrEqual(t, cost, limit)
			require.Positive(t, cost)
			sc := model.Scope{Dim: model.DimProvider, ID: "openai"}
			spent, _, _ := w.account.Spent(sc)
			require.Equal(t, cost, spent)
			require.Zero(t, w.account.Reserved(sc))
		})
	}
}

func TestStreamIsCutWhereItsProvidersBudgetEnds(t *testing.T) {
	for name, options := range map[string][]option{
		"caller without a budget": nil,
		"caller with a larger":    {withBudget(unit.Dollar)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append(options, providerBudget(unit.Dollar/100))...)
			w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
				beginStream(c)
				for chunk(c, delta(strings.Repeat("word ", 100))) == nil {
				}
			})
			got := w.post(body("m", `"stream":true`))
			require.Equal(t, 200, got.status)
			require.Contains(t, got.body, `"finish_reason":"length"`)
			e := w.only()
			require.LessOrEqual(t, e.Cost.Total, unit.Dollar/100)
			require.Greater(t, e.Cost.Total, unit.Dollar/200)
		})
	}
}

func TestFailedAttemptChargesOnlyTheLaneThatAnswers(t *testing.T) {
	w := newWorld(t, pair("max_budget", "1", "rpm", "50"), withConfig(func(c *model.Config) { one := 1; c.Router.NumRetries = &one }))
	var once sync.Once
	w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
		failed := false
		once.Do(func() { failed = true; respond(c, 500, "", `{"error":{"message":"broken"}}`) })
		if !failed {
			answers(w, host, c, r, b)
		}
	})
	require.Equal(t, 200, w.post(body("m", `"max_tokens":50`)).status)
	e := w.only()
	require.Len(t, e.Charges, 1)
	require.Equal(t, model.Scope{Dim: model.DimDeployment, ID: e.ModelID}, e.Charges[0].Scope)
	for _, id := range []string{"first", "second"} {
		sc := model.Scope{Dim: model.DimDeployment, ID: id}
		spent, _, _ := w.account.Spent(sc)
		want := unit.Money(0)
		if id == e.ModelID {
			want = e.Cost.Total
		}
		require.Equal(t, want, spent, id)
		require.Zero(t, w.account.Reserved(sc))
	}
}
