package call_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
)

// Whatever limits, budgets, lists and settings meet, the explanation comes to the
// status of the call that follows it.
func TestExplanationIsWhatHappensForAnyKey(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		c.Router.Fallbacks = map[string][]string{"m": {"spare"}, "nobody": {"spare"}}
	}))
	w.serve(answers)
	keys := 0
	rapid.Check(t, func(rt *rapid.T) {
		keys++
		key := fmt.Sprintf("sk-any-%d", keys)
		k := &model.Key{Hash: auth.Hash([]byte(key)), Name: "sk-...any"}
		k.CreatedAt = time.Now()
		maybe := func(name string, of ...int64) *int64 {
			if rapid.Bool().Draw(rt, "has "+name) {
				v := rapid.SampledFrom(of).Draw(rt, name)
				return &v
			}
			return nil
		}
		k.Models = rapid.SampledFrom([][]string{nil, {"m"}, {"spare"}, {"m", "spare"}, {"*"}}).Draw(rt, "models")
		k.DataRegions = rapid.SampledFrom([][]string{nil, nil, nil, {"here"}, {"there"}}).Draw(rt, "regions")
		k.RPM, k.TPM = maybe("rpm", 0, 1, 2, 100), maybe("tpm", 0, 10, 100_000)
		k.Blocked = rapid.IntRange(0, 9).Draw(rt, "blocked") == 0
		if money := maybe("budget", 0, 1, int64(unit.Dollar)/1000, int64(unit.Dollar)); money != nil {
			m := unit.Money(*money)
			k.MaxBudget = &m
		}
		if rapid.IntRange(0, 9).Draw(rt, "expired") == 0 {
			at := time.Now().Add(-time.Minute)
			k.Expires = &at
		}
		b := state.NewBuilder(w.state.State())
		b.Put(k)
		w.state.Publish(b.Snapshot())
		asked := rapid.SampledFrom([]string{"m", "spare", "mocked", "unpriced", "nobody"}).Draw(rt, "asked")
		more := ""
		if most := maybe("max_tokens", 1, 1000); most != nil {
			more = fmt.Sprintf(`"max_tokens":%d`, *most)
		}
		for range rapid.IntRange(1, 3).Draw(rt, "calls") {
			w.quietCalls()
			e := w.explainFor(key, body(asked, more))
			r := w.post(body(asked, more), "Authorization", "Bearer "+key)
			if r.status == 200 {
				require.Equal(rt, call.Admitted, e.Verdict, e.Summary)
				continue
			}
			require.Equal(rt, call.NotAdmitted, e.Verdict, r.body)
			require.Equal(rt, r.status, e.Refusal.Status, "%s but %s", r.body, e.Summary)
		}
	})
}
