package call_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// explain asks what would become of a call of the key.
func (w *world) explain(text string) *call.Explanation {
	w.t.Helper()
	require.Equal(w.t, 200, w.getFrom("/health/liveliness").status, "the server runs, so that it can be stopped")
	return w.explainFor(theKey, text)
}

func (w *world) explainFor(key, text string) *call.Explanation {
	w.t.Helper()
	s := w.state.State()
	p, ref := auth.Identify(s, auth.Hash([]byte(master)), []byte(key), time.Now(), false)
	q := call.Question{Snapshot: s, Principal: p, NotIdentified: ref, Op: provider.OpChat, Route: "/v1/chat/completions"}
	if text != "" {
		q.Body = []byte(text)
	}
	before := w.ledger.Stats()
	e := w.calls.Explain(w.t.Context(), q)
	require.Equal(w.t, before, w.ledger.Stats(), "an explanation was booked")
	require.Zero(w.t, w.account.Reserved(keyScope()), "an explanation reserved money")
	_, err := json.Marshal(e)
	require.NoError(w.t, err)
	return e
}

func (w *world) checkOf(e *call.Explanation, name string) call.Check {
	w.t.Helper()
	for _, k := range e.Checks {
		if k.Name == name {
			return k
		}
	}
	w.t.Fatalf("no check %s in %+v", name, e.Checks)
	return call.Check{}
}

// Whatever refuses a call, its explanation names the same: status, code and, but
// for moments, the words.
func TestExplanationAndCallComeToTheSameVerdict(t *testing.T) {
	zero, one := int64(0), int64(1)
	past := time.Now().Add(-time.Hour)
	little := unit.Money(1)
	for name, x := range map[string]struct {
		options []option
		body    string
		before  int // calls made before
		check   string
	}{
		"admitted":                  {body: body("m", "")},
		"blocked key":               {options: []option{withKey(func(k *model.Key) { k.Blocked = true })}, body: body("m", ""), check: "key"},
		"route":                     {options: []option{withKey(func(k *model.Key) { k.AllowedRoutes = []string{"/embeddings"} })}, body: body("m", ""), check: "route"},
		"region":                    {options: []option{withKey(func(k *model.Key) { k.DataRegions = []string{"there"} })}, body: body("m", ""), check: "data_regions"},
		"deployments' region":       {options: []option{withKey(func(k *model.Key) { k.DataRegions = []string{"here"} })}, body: body("m", ""), check: "deployments"},
		"broken body":               {body: `{"model":`, check: "request"},
		"model of the key":          {options: []option{withKey(func(k *model.Key) { k.Models = []string{"spare"} })}, body: body("m", ""), check: "key_models"},
		"expired":                   {options: []option{withKey(func(k *model.Key) { k.Expires = &past })}, body: body("m", ""), check: "key_expiry"},
		"model before expiry":       {options: []option{withKey(func(k *model.Key) { k.Expires, k.Models = &past, []string{"spare"} })}, body: body("m", ""), check: "key_models"},
		"unknown model":             {body: body("nobody", ""), check: "deployments"},
		"client tags":               {options: []option{withConfig(func(c *model.Config) { c.General.RejectClientTags = true })}, body: body("m", `"tags":["a"]`), check: "client_tags"},
		"user missing":              {options: []option{withConfig(func(c *model.Config) { c.General.EnforceUserParam = true })}, body: body("m", ""), check: "user_param"},
		"no price with a budget":    {options: []option{withBudget(unit.Dollar)}, body: body("unpriced", ""), check: "price"},
		"over budget":               {options: []option{withBudget(little)}, body: body("m", `"max_tokens":10`), check: "budget"},
		"budget of nothing":         {options: []option{withBudget(0)}, body: body("m", ""), check: "budget"},
		"rpm used up":               {options: []option{withKey(func(k *model.Key) { k.RPM = &one })}, body: body("m", ""), before: 1, check: "rate_limit"},
		"tpm of nothing":            {options: []option{withKey(func(k *model.Key) { k.TPM = &zero })}, body: body("m", ""), check: "rate_limit"},
		"a new budget and a rate":   {options: []option{withKey(func(k *model.Key) { k.RPM, k.MaxBudget = &zero, &little })}, body: body("m", `"max_tokens":10`), check: "rate_limit"},
		"client's own fallbacks":    {body: body("m", `"fallbacks":[{"model":"spare","api_base":"http://x"}]`), check: "deployments"},
		"stream without a maximum":  {options: []option{withBudget(unit.Dollar)}, body: body("m", `"stream":true`)},
		"deployment without a room": {options: []option{withConfig(func(c *model.Config) { c.Deployments[0].Params["max_parallel_requests"] = json.RawMessage("0") })}, body: body("m", ""), check: "routing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, x.options...)
			w.serve(answers)
			for range x.before {
				require.Equal(t, 200, w.post(x.body).status)
			}
			w.quietCalls()
			e := w.explain(x.body)
			r := w.post(x.body)
			if x.check == "" {
				require.Equal(t, 200, r.status, r.body)
				require.Equal(t, call.Admitted, e.Verdict, e.Summary)
				require.Nil(t, e.Refusal)
				require.NotNil(t, e.Chosen)
				return
			}
			require.Equal(t, call.NotAdmitted, e.Verdict, "%+v", e.Checks)
			require.Equal(t, x.check, e.Refusal.Check, e.Summary)
			require.Equal(t, r.status, e.Refusal.Status, "%s but %s", r.body, e.Summary)
			require.Contains(t, e.Summary, e.Refusal.Message)
			var told struct {
				Error struct {
					Code    string
					Message string
				}
			}
			require.NoError(t, json.Unmarshal([]byte(r.body), &told))
			require.Equal(t, told.Error.Code, e.Refusal.Code)
			require.Equal(t, undated(told.Error.Message), undated(e.Refusal.Message))
			require.Nil(t, e.Chosen)
			require.False(t, w.checkOf(e, x.check).OK)
		})
	}
}

// undated cuts what differs by the moment of the asking.
func undated(s string) string {
	for _, mark := range []string{"Limit resets at", "current time", "Try again in"} {
		s, _, _ = strings.Cut(s, mark)
	}
	return s
}

func (w *world) quietCalls() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.calls.InFlight() == 0 }, 5*time.Second, time.Millisecond)
}

func TestExplanationTellsWhatIsUsedAndWhenItResets(t *testing.T) {
	rpm, budget := int64(3), unit.Dollar
	w := newWorld(t, withKey(func(k *model.Key) { k.RPM, k.MaxBudget, k.BudgetDuration, k.Alias = &rpm, &budget, "1d", "ours" }))
	w.serve(answers)
	for range 2 {
		require.Equal(t, 200, w.post(body("m", `"max_tokens":10`)).status)
	}
	w.quietCalls()
	e := w.explain(body("m", `"max_tokens":10`))
	rate := w.checkOf(e, "rate_limit")
	require.Equal(t, []any{"api_key", "requests", 3.0, 2.0, 1.0}, []any{rate.Scope, rate.Unit, *rate.Limit, *rate.Used, *rate.Free})
	require.WithinDuration(t, time.Now().Add(time.Minute), *rate.ResetsAt, 30*time.Second)
	b := w.checkOf(e, "budget")
	require.Equal(t, []any{"api_key", "usd", 1.0, 2 * 0.0002}, []any{b.Scope, b.Unit, *b.Limit, *b.Used})
	require.WithinDuration(t, time.Now().Add(24*time.Hour), *b.ResetsAt, 25*time.Hour)
	require.True(t, b.ResetsAt.After(time.Now()))
	require.Equal(t, "ours", e.Caller.KeyAlias)
	require.InDelta(t, *b.Needed, e.MaxCost.USD, 1e-12)
	require.Equal(t, int64(10), e.MaxCost.Output)
	require.Contains(t, e.Summary, "sent to first")
}

// resting is a Health of which one deployment cools.
type resting struct {
	id    string
	until time.Time
}

func (r resting) Cooling(d *state.Deployment) (time.Time, string, bool) {
	return r.until, "5 of 5 calls failed", d.ID == r.id
}
func (resting) Report(*state.Deployment, route.Outcome) {}

func TestExplanationShowsWhyADeploymentIsLeftOut(t *testing.T) {
	until := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
	w := openWorld(t, &world{t: t, health: resting{"first", until}}, withConfig(func(c *model.Config) {
		c.Router.Fallbacks = map[string][]string{"m": {"spare", "nobody"}}
		extra := c.Deployments[0]
		extra.Params = model.Params{}
		for k, v := range c.Deployments[0].Params {
			extra.Params[k] = v
		}
		extra.ID, extra.Params["order"] = "later", json.RawMessage("2")
		extra.Params["api_base"] = json.RawMessage(`"http://later.test/v1?token=hidden"`)
		c.Deployments[0].Params["order"] = json.RawMessage("1")
		c.Deployments = append(c.Deployments, extra)
	}))
	e := w.explain(body("m", ""))
	require.Equal(t, call.Admitted, e.Verdict, e.Summary)
	require.Equal(t, "later", e.Chosen.ID)
	got := map[string]call.Candidate{}
	for _, c := range e.Candidates {
		got[c.ID] = c
	}
	require.Equal(t, "cooling", got["first"].Verdict)
	require.Equal(t, until, *got["first"].Until)
	require.Contains(t, got["first"].Reason, "5 of 5 calls failed")
	require.Equal(t, "ok", got["later"].Verdict)
	require.Equal(t, 1.0, got["later"].Probability)
	require.Equal(t, "http://later.test/v1", got["later"].APIBase, "a query may hold a secret")
	require.True(t, got["second"].Fallback)
	require.Equal(t, []call.Fallback{{Model: "spare", OK: true}, {Model: "nobody", Why: "there is no such model"}}, e.Fallbacks.General)
	raw, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "sk-up", "a provider's key is shown")
	require.NotContains(t, string(raw), theKey)

	w.health = nil
	w2 := openWorld(t, &world{t: t, health: resting{"first", until}})
	e = w2.explain(body("m", ""))
	require.Equal(t, call.NotAdmitted, e.Verdict)
	require.Equal(t, 429, e.Refusal.Status)
	require.Contains(t, e.Refusal.Message, "No deployments available for selected model")
	require.Equal(t, "routing", e.Refusal.Check)
}

func TestExplanationFollowsTheWayToAFallback(t *testing.T) {
	until := time.Now().Add(time.Minute)
	w := openWorld(t, &world{t: t, health: resting{"first", until}}, withConfig(func(c *model.Config) {
		c.Router.Fallbacks = map[string][]string{"m": {"spare"}}
	}))
	w.serve(answers)
	e := w.explain(body("m", ""))
	require.Equal(t, call.Admitted, e.Verdict, e.Summary)
	require.Equal(t, []string{"second", "spare", "fallback"}, []string{e.Chosen.ID, e.Chosen.Group, e.Chosen.Reason})
	r := w.post(body("m", ""))
	require.Equal(t, 200, r.status)
	require.Equal(t, "second", r.header.Get("x-litellm-model-id"))
}

func TestExplanationOfAnUnknownKeyStopsThere(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 200, w.getFrom("/health/liveliness").status)
	s := w.state.State()
	_, ref := auth.Identify(s, "", []byte("sk-nobody"), time.Now(), false)
	e := w.calls.Explain(t.Context(), call.Question{Snapshot: s, NotIdentified: ref, Op: provider.OpChat, Route: "/chat/completions", Model: "m"})
	require.Equal(t, call.NotAdmitted, e.Verdict)
	require.Equal(t, []any{401, "key"}, []any{e.Refusal.Status, e.Refusal.Check})
	require.Len(t, e.Checks, 1)
}

func TestShortQuestionsStandInForBodiesOfAllRoutes(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 200, w.getFrom("/health/liveliness").status)
	for op, path := range map[provider.Op]string{provider.OpChat: "/chat/completions", provider.OpCompletion: "/completions",
		provider.OpEmbedding: "/embeddings", provider.OpMessages: "/v1/messages"} {
		s := w.state.State()
		e := w.calls.Explain(t.Context(), call.Question{Snapshot: s, Principal: auth.Principal{Master: true, Role: auth.RoleAdmin}, Op: op, Route: path, Model: "mocked"})
		require.Equal(t, call.Admitted, e.Verdict, "%s: %s", path, e.Summary)
		require.Contains(t, strings.Join(e.Notes, " "), "no body was given")
	}
}
