package call_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/provider"
)

// narrowly asks as the key's holder, who may not see all.
func (w *world) narrowly(text string) *call.Explanation {
	w.t.Helper()
	s := w.state.State()
	p, ref := auth.Identify(s, auth.Hash([]byte(master)), []byte(theKey), time.Now(), false)
	require.Nil(w.t, ref)
	return w.calls.Explain(w.t.Context(), call.Question{Snapshot: s, Principal: p, Op: provider.OpChat, Route: "/chat/completions", Body: []byte(text), Narrow: true})
}

func TestWhoMayNotUseAModelIsNotToldItsDeployments(t *testing.T) {
	w := newWorld(t, withKey(func(k *model.Key) { k.Models = []string{"spare"} }))
	w.serve(answers)
	all, own := w.explain(body("m", "")), w.narrowly(body("m", ""))
	require.NotEmpty(t, all.Candidates)
	require.Empty(t, own.Candidates)
	require.Nil(t, own.MaxCost)
	require.Equal(t, all.Refusal, own.Refusal)
}

func TestFiguresOfWhatIsNotTheCallersAreForThoseWhoSeeAll(t *testing.T) {
	rpm, dollar := int64(7), unit.Dollar
	w := newWorld(t, withKey(func(k *model.Key) { k.RPM, k.MaxBudget = &rpm, &dollar }), withConfig(func(c *model.Config) {
		c.LiteLLM.ProxyBudget = &dollar
		c.Deployments[0].Params["rpm"] = json.RawMessage("9")
	}))
	w.serve(answers)
	figures := func(e *call.Explanation) (names []string) {
		for _, k := range e.Checks {
			if k.Limit != nil {
				require.NotNil(t, k.Used)
				names = append(names, k.Scope+" "+k.Unit)
			} else if k.Unit != "" {
				require.Nil(t, k.Used)
				require.NotContains(t, k.What, "1", "the sum of %s", k.Scope)
				require.Contains(t, k.What, "there is room")
			}
		}
		return names
	}
	all, own := w.explain(body("m", `"max_tokens":10`)), w.narrowly(body("m", `"max_tokens":10`))
	require.Equal(t, call.Admitted, own.Verdict, own.Summary)
	require.ElementsMatch(t, []string{"api_key usd", "proxy usd", "api_key requests"}, figures(all))
	require.ElementsMatch(t, []string{"api_key usd", "api_key requests"}, figures(own))
	for _, c := range own.Candidates {
		require.Empty(t, c.Limits)
	}
	require.Equal(t, all.Chosen, own.Chosen)
}

func TestExplanationTellsWhatTheConfigurationLeavesOut(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		c.Deployments = append(c.Deployments,
			model.Deployment{ID: "unknown", Group: "m", Params: model.Params{"model": json.RawMessage(`"nobodys/x"`)}},
			model.Deployment{ID: "other", Group: "elsewhere", Params: model.Params{"model": json.RawMessage(`"nobodys/y"`)}})
	}))
	require.Equal(t, 200, w.getFrom("/health/liveliness").status)
	notes := strings.Join(w.explainFor(theKey, body("m", "")).Notes, "\n")
	require.Contains(t, notes, `the configuration warns: model m: no provider for "nobodys/x"`)
	require.NotContains(t, notes, "nobodys/y", "a group that the call cannot come to")
	require.NotContains(t, strings.Join(w.narrowly(body("m", "")).Notes, "\n"), "nobodys")
}

func TestAnAddressIsShownWithoutWhatMayBeSecretInIt(t *testing.T) {
	for base, shown := range map[string]string{
		"http://up.test/v1":                       "http://up.test/v1",
		"http://me:secret@up.test:80/v1?k=hidden": "http://up.test:80/v1",
		"http://me@with:secret@up.test":           "http://up.test",
		"http://up.test/at/@here":                 "http://up.test/at/@here",
	} {
		w := newWorld(t, withConfig(func(c *model.Config) { c.Deployments[0].Params["api_base"], _ = json.Marshal(base) }))
		require.Equal(t, 200, w.getFrom("/health/liveliness").status)
		e := w.explainFor(theKey, body("m", ""))
		require.Equal(t, shown, e.Candidates[0].APIBase)
	}
}
