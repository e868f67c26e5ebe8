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
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// reserved is what the caller's budget holds for calls in flight.
func (w *world) reserved() unit.Money { return w.account.Reserved(keyScope()) }

func TestStreamWithoutMaximumReservesLittleAndGrowsWithItsIntent(t *testing.T) {
	w := newWorld(t, withKey(limited), withConfig(func(c *model.Config) {
		c.Deployments[0].Info["max_output_tokens"] = []byte("1000000")
	}))
	steps := make(chan struct{})
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, body []byte) {
		require.NotContains(t, string(body), "max_", "no maximum is forced on a stream that can grow")
		beginStream(c)
		_ = chunk(c, delta("one"))
		<-steps
		_ = chunk(c, delta(strings.Repeat("word ", 6000)))
		<-steps
		endStream(c)
	})
	c := w.rawCall(body("m", `"stream":true`))
	defer c.Close()
	require.Eventually(t, func() bool { return w.reserved() > 0 }, 5*time.Second, time.Millisecond)
	small := w.reserved()
	require.Less(t, small, unit.Dollar/10, "the model's maximum would take two dollars")
	steps <- struct{}{}
	require.Eventually(t, func() bool { return w.reserved() > 2*small }, 5*time.Second, time.Millisecond)
	require.Equal(t, 1, w.ledger.Stats().Open, "one call has one intent")
	require.GreaterOrEqual(t, w.ledger.Stats().Aborted, uint64(1), "the intent was amended")
	steps <- struct{}{}
	require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 5*time.Second, time.Millisecond)
	e := w.only()
	require.Equal(t, store.Success, e.Status)
	require.Greater(t, e.Max, 2*small)
}

func TestStreamIsCutWhereItsBudgetEnds(t *testing.T) {
	w := newWorld(t, withBudget(unit.Dollar/100)) // 5000 output tokens
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		for chunk(c, delta(strings.Repeat("word ", 100))) == nil {
		}
	})
	got := w.post(body("m", `"stream":true`))
	require.Equal(t, 200, got.status)
	require.Contains(t, got.body, `"finish_reason":"length"`)
	require.Contains(t, got.body, "[DONE]")
	e := w.only()
	require.Equal(t, store.Success, e.Status)
	require.LessOrEqual(t, e.Cost.Total, unit.Dollar/100)
	require.Greater(t, e.Cost.Total, unit.Dollar/200)
}

func TestStreamWithAStatedMaximumIsNotCutByACoarseCount(t *testing.T) {
	// 2000 tokens of six letters reserve nearly all of the budget, and a third of
	// their bytes would be twice as many tokens.
	w := newWorld(t, withBudget(5*unit.Dollar/1000))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		for range 20 {
			_ = chunk(c, delta(strings.Repeat("wordy ", 100)))
		}
		endStream(c)
	})
	got := w.post(body("m", `"stream":true,"max_tokens":2000`))
	require.NotContains(t, got.body, `"finish_reason":"length"`)
	require.Equal(t, int64(50), w.only().Usage.OutTotal)
}

func TestCallWithoutMaximumIsClampedPerChoice(t *testing.T) {
	w := newWorld(t, withBudget(5*unit.Dollar/1000)) // 2500 output tokens at most
	var sent string
	var once sync.Once
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, body []byte) {
		once.Do(func() { sent = string(body) })
		respond(c, 200, "", wholeAnswer)
	})
	got := w.post(body("m", `"n":4`))
	require.Equal(t, 200, got.status, got.body)
	var said struct {
		Max int64 `json:"max_tokens"`
	}
	require.NoError(t, json.Unmarshal([]byte(sent), &said))
	require.Positive(t, said.Max)
	require.LessOrEqual(t, 4*said.Max*2000, int64(w.only().Max), "four choices of it fit what was reserved")
}

func TestHugeStatedMaximumDoesNotWrapIntoAFreeCall(t *testing.T) {
	for _, more := range []string{`"max_tokens":9223372036854775807,"n":2`, `"max_tokens":4611686018427387905,"n":4`, `"max_tokens":9000000000000000000,"n":128`} {
		w := newWorld(t, withBudget(unit.Dollar))
		w.serve(answers)
		got := w.post(body("m", more))
		require.Equal(t, 429, got.status, more)
		require.Contains(t, got.body, "budget_exceeded")
		require.Zero(t, w.asked.Load())
	}
}

func TestUnboundedCallIsRefusedWhereTheSettingsSaySo(t *testing.T) {
	w := newWorld(t, withBudget(unit.Dollar), withConfig(func(c *model.Config) { c.Tollgate.Unbounded = "reject" }))
	w.serve(answers)
	require.Equal(t, 400, w.post(body("m", "")).status)
	require.Equal(t, 200, w.post(body("m", `"max_tokens":100`)).status)
}

func TestParallelCallsNeverPassTheBudget(t *testing.T) {
	long := strings.Repeat("a prompt longer than what the fake counts ", 3)
	w := newWorld(t, withBudget(unit.Dollar/1000*2))
	w.serve(answers)
	var wg sync.WaitGroup
	codes := make(chan int, 60)
	for range 60 {
		wg.Go(func() { codes <- w.post(strings.Replace(body("m", `"max_tokens":50`), "hello", long, 1)).status })
	}
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for c := range codes {
		count[c]++
	}
	require.Equal(t, 60, count[200]+count[429], count)
	require.Positive(t, count[200])
	w.quiet()
	require.LessOrEqual(t, w.ledger.SpendOf(keyScope()), unit.Dollar/1000*2)
	require.Len(t, w.entries(), 60)
}

func TestSpendSetByHandCountsInItsWindowOnly(t *testing.T) {
	now := time.Now().UTC()
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	if time.Until(today.AddDate(0, 0, 1)) < time.Minute {
		today = today.AddDate(0, 0, 1) // the test may run over midnight
	}
	for name, tc := range map[string]struct {
		duration string
		offset   unit.Money
		window   int64
		status   int
	}{
		"carried by a regenerated key":    {"", unit.Dollar, 0, 429},
		"carried within today":            {"1d", unit.Dollar, today.Unix(), 429},
		"of yesterday":                    {"1d", unit.Dollar, today.AddDate(0, 0, -1).Unix(), 200},
		"of a budget that never reset":    {"1d", unit.Dollar, 0, 200},
		"leaves a rest that is too small": {"", unit.Dollar - 1000, 0, 429},
		"leaves a rest that is enough":    {"", unit.Dollar / 2, 0, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withKey(func(k *model.Key) {
				one := unit.Dollar
				k.MaxBudget, k.BudgetDuration, k.SpendOffset, k.SpendOffsetWindow = &one, tc.duration, tc.offset, tc.window
			}))
			w.serve(answers)
			got := w.post(body("m", `"max_tokens":100`))
			require.Equal(t, tc.status, got.status, got.body)
			if tc.offset == unit.Dollar && tc.status == 429 {
				require.Contains(t, got.body, "Current cost: 1.0, Max budget: 1.0")
			}
		})
	}
}

func TestResetGivesAFreshBudgetInItsWindow(t *testing.T) {
	w := newWorld(t, withBudget(unit.Dollar/4000)) // one call's worth: 200 µ$ of 250
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", `"max_tokens":50`)).status)
	require.Equal(t, 429, w.post(body("m", `"max_tokens":50`)).status)
	spent := w.ledger.SpendOf(keyScope())
	b := state.NewBuilder(w.state.State())
	withKey(func(k *model.Key) {
		limit := unit.Dollar / 4000
		k.MaxBudget, k.SpendOffset = &limit, -spent
	})(b, nil)
	w.state.Publish(b.Snapshot())
	require.Equal(t, 200, w.post(body("m", `"max_tokens":50`)).status)
	require.Equal(t, 429, w.post(body("m", `"max_tokens":50`)).status, "once, not for ever")
}

func TestLedgerAndBudgetOfTheWholeGatewaySeeTheSameSum(t *testing.T) {
	limit := unit.Dollar
	w := newWorld(t, withConfig(func(c *model.Config) { c.LiteLLM.ProxyBudget, c.LiteLLM.ProxyBudgetDuration = &limit, "30d" }))
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", `"max_tokens":50`)).status)
	e := w.only()
	require.Equal(t, model.ProxyScope(), e.Charges[len(e.Charges)-1].Scope)
	spent, _, ok := w.account.Spent(model.ProxyScope())
	require.True(t, ok)
	require.Equal(t, e.Cost.Total, spent)
	require.Equal(t, e.Cost.Total, w.ledger.SpendOf(model.ProxyScope()))
}

func TestTheKeysSpendIsThatOfItsWindow(t *testing.T) {
	budget, carried := unit.Dollar, unit.Dollar/4
	w := newWorld(t, withKey(func(k *model.Key) {
		k.MaxBudget, k.BudgetDuration = &budget, "1d"
		k.SpendOffset, k.SpendOffsetWindow = carried, 1 // of a day long past
	}))
	w.serve(answers)
	for range 2 {
		res := w.post(body("m", `"max_tokens":50`))
		require.Equal(t, 200, res.status)
		spent, err := unit.ParseMoney(res.header.Get("X-Litellm-Key-Spend"))
		require.NoError(t, err)
		require.Equal(t, w.ledger.SpendOf(keyScope()), spent, "what was carried into another window does not count")
	}
}
