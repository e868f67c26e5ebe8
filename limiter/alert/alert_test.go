package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/limiter/alert"
	"tollgate/limiter/budget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func usd(n float64) unit.Money { m, _ := unit.MoneyFromUSD(n); return m }

func ptr(m unit.Money) *unit.Money { return &m }

// world is a state with watchers of several nodes over it.
type world struct {
	mu      sync.Mutex // guards what follows
	store   *state.Store
	applier *state.Applier
	index   uint64
	uses    []budget.Use
	raised  []alert.Alert
	down    bool
}

type failer interface {
	Helper()
	Errorf(string, ...any)
	FailNow()
}

func newWorld(t failer, entities ...model.Entity) *world {
	w := &world{store: state.NewStore(func(*state.Snapshot) *state.Routing { return &state.Routing{} })}
	w.store.Publish(state.NewBuilder(nil).Put(entities...).Snapshot())
	w.applier = state.NewApplier(w.store)
	return w
}

func (w *world) node(t failer, id string) *alert.Watcher {
	x, err := alert.New(alert.Config{
		Node: id, State: w.store, Clock: unit.ClockFunc(func() time.Time { return epoch }), Logger: slog.New(slog.DiscardHandler),
		Uses: func() []budget.Use { return w.uses },
		Mutate: func(_ context.Context, changes []model.Change) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.down {
				return false, errors.New("no quorum")
			}
			payload, err := json.Marshal(model.Mutation{Changes: changes})
			require.NoError(t, err)
			w.index++
			r := w.applier.Apply(w.index+100, epoch, state.MutationVersion, payload).(model.Result)
			w.applier.Publish()
			return r.Conflict == nil, nil
		},
		Raised: func(_ *state.Snapshot, a alert.Alert) { w.raised = append(w.raised, a) },
	})
	require.NoError(t, err)
	return x
}

func wide(ways ...string) *model.ConfigVersion {
	return &model.ConfigVersion{Number: 1, Config: model.Config{General: model.GeneralSettings{Alerting: ways}}}
}

var key = model.Scope{Dim: model.DimKey, ID: "k"}

func TestSoftBudgetIsAlertedOfOncePerWindowOverAllNodes(t *testing.T) {
	w := newWorld(t, &model.Key{Hash: "k", Spending: model.Spending{SoftBudget: ptr(usd(1)), BudgetDuration: "1d"}})
	a, b := w.node(t, "a"), w.node(t, "b")
	day := epoch.Truncate(24 * time.Hour).Unix()
	look := func(window int64, spent float64) {
		w.uses = []budget.Use{{Scope: key, Window: window, Spent: usd(spent)}}
		for range 2 {
			a.Look(t.Context())
			b.Look(t.Context())
		}
	}
	look(day, 0.99)
	require.Empty(t, w.raised)
	look(day, 1)
	require.Len(t, w.raised, 1)
	got := w.raised[0]
	require.Equal(t, alert.SoftBudgetCrossed, got.Kind)
	require.Equal(t, []unit.Money{usd(1), usd(1), 0}, []unit.Money{got.Spent, got.Soft, got.Max})
	require.Equal(t, time.Unix(day, 0).Add(24*time.Hour).UTC(), got.Resets)
	look(day, 5)
	require.Len(t, w.raised, 1, "the same window")
	w.node(t, "c").Look(t.Context())
	require.Len(t, w.raised, 1, "a node that starts later finds it in the state")
	look(day+86400, 2)
	require.Len(t, w.raised, 2, "the next window")
}

func TestRaisedSoftBudgetIsAlertedOfAnew(t *testing.T) {
	w := newWorld(t, &model.Team{ID: "t", Spending: model.Spending{SoftBudget: ptr(usd(1)), MaxBudget: ptr(usd(10))}})
	a := w.node(t, "a")
	w.uses = []budget.Use{{Scope: model.Scope{Dim: model.DimTeam, ID: "t"}, Spent: usd(1.5)}}
	a.Look(t.Context())
	w.store.Publish(state.NewBuilder(w.store.State()).Put(&model.Team{ID: "t", Spending: model.Spending{SoftBudget: ptr(usd(2)), MaxBudget: ptr(usd(10))}}).Snapshot())
	w.applier = state.NewApplier(w.store)
	a.Look(t.Context())
	require.Len(t, w.raised, 1)
	w.uses[0].Spent = usd(2)
	a.Look(t.Context())
	require.Len(t, w.raised, 2)
}

func TestLimitsThresholdsAreAlertedOfOnlyWhereSomebodyListens(t *testing.T) {
	for _, ways := range [][]string{nil, {"webhook"}} {
		w := newWorld(t, wide(ways...), &model.Key{Hash: "k", Spending: model.Spending{MaxBudget: ptr(usd(100))}})
		a := w.node(t, "a")
		for _, spent := range []float64{10, 84.9, 85, 90, 95, 99, 100, 101} {
			w.uses = []budget.Use{{Scope: key, Spent: usd(spent)}}
			a.Look(t.Context())
		}
		if ways == nil {
			require.Empty(t, w.raised)
			continue
		}
		require.Len(t, w.raised, 3)
		for i, want := range []alert.Alert{{Kind: alert.ThresholdCrossed, Amount: usd(85)}, {Kind: alert.ThresholdCrossed, Amount: usd(95)}, {Kind: alert.BudgetCrossed, Amount: usd(100)}} {
			require.Equal(t, want.Kind, w.raised[i].Kind)
			require.Equal(t, want.Amount, w.raised[i].Amount)
		}
	}
}

func TestAlertThatCouldNotBeAgreedOnComesLater(t *testing.T) {
	w := newWorld(t, &model.Key{Hash: "k", Spending: model.Spending{SoftBudget: ptr(usd(1))}})
	a := w.node(t, "a")
	w.uses = []budget.Use{{Scope: key, Spent: usd(2)}}
	w.down = true
	a.Look(t.Context())
	require.Empty(t, w.raised)
	w.down = false
	a.Look(t.Context())
	require.Len(t, w.raised, 1)
}

func TestAlertsOfDeletedBudgetsAreForgotten(t *testing.T) {
	w := newWorld(t, &model.Key{Hash: "k", Spending: model.Spending{SoftBudget: ptr(usd(1))}})
	a := w.node(t, "a")
	w.uses = []budget.Use{{Scope: key, Spent: usd(2)}}
	a.Look(t.Context())
	a.Sweep(t.Context())
	require.Equal(t, 1, w.store.State().Alerts.Len())
	b := state.NewBuilder(w.store.State())
	require.NoError(t, b.Delete(model.Keys, "k"))
	w.store.Publish(b.Snapshot())
	w.applier = state.NewApplier(w.store)
	a.Sweep(t.Context())
	require.Zero(t, w.store.State().Alerts.Len())
}

// Whatever nodes look at whatever spend in whatever order, no alert of one
// window, threshold and amount is raised twice.
func TestNoAlertIsRaisedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, wide("webhook"),
			&model.Key{Hash: "k", Spending: model.Spending{SoftBudget: ptr(usd(40)), MaxBudget: ptr(usd(100)), BudgetDuration: "1h"}})
		nodes := []*alert.Watcher{w.node(t, "a"), w.node(t, "b"), w.node(t, "c")}
		hour := epoch.Truncate(time.Hour).Unix()
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			window := hour + 3600*int64(rapid.IntRange(0, 2).Draw(t, "window"))
			w.uses = []budget.Use{{Scope: key, Window: window, Spent: usd(float64(rapid.IntRange(0, 110).Draw(t, "spent")))}}
			w.down = rapid.IntRange(0, 4).Draw(t, "down") == 0
			nodes[rapid.IntRange(0, 2).Draw(t, "node")].Look(context.Background())
		}
		type once struct {
			kind   alert.Kind
			amount unit.Money
			resets time.Time
		}
		seen := map[once]bool{}
		for _, a := range w.raised {
			o := once{a.Kind, a.Amount, a.Resets}
			if seen[o] {
				t.Fatalf("raised twice: %+v", o)
			}
			seen[o] = true
		}
	})
}

func TestWebhookHasLiteLLMsFields(t *testing.T) {
	w := newWorld(t, &model.User{ID: "u", Email: "u@x.org"}, &model.Team{ID: "t", Alias: "crew", OrganizationID: "acme"},
		&model.Key{Hash: "k", Alias: "prod", UserID: "u", TeamID: "t"})
	for name, c := range map[string]struct {
		alert alert.Alert
		want  map[string]any
	}{
		"key": {alert.Alert{Kind: alert.SoftBudgetCrossed, Scope: key, Spent: usd(2), Soft: usd(1), Resets: epoch},
			map[string]any{"event": "soft_budget_crossed", "event_group": "key", "spend": 2.0, "soft_budget": 1.0, "max_budget": nil, "token": "k", "key_alias": "prod",
				"user_id": "u", "user_email": "u@x.org", "team_id": "t", "team_alias": "crew", "organization_id": "acme", "resets_at": "2026-03-04T10:00:00Z",
				"event_message": "Soft budget crossed: api key k (prod) has spent 2, its soft budget is 1."}},
		"user": {alert.Alert{Kind: alert.BudgetCrossed, Scope: model.Scope{Dim: model.DimUser, ID: "u"}, Spent: usd(3), Max: usd(3)},
			map[string]any{"event": "budget_crossed", "event_group": "internal_user", "max_budget": 3.0, "user_id": "u", "user_email": "u@x.org", "token": nil}},
		"member": {alert.Alert{Kind: alert.ThresholdCrossed, Scope: model.Scope{Dim: model.DimMember, ID: "t\x1fu"}, Spent: usd(3), Max: usd(3)},
			map[string]any{"event": "threshold_crossed", "event_group": "team_member", "team_id": "t", "user_id": "u", "scope_id": "t:u"}},
		"end user": {alert.Alert{Kind: alert.BudgetCrossed, Scope: model.Scope{Dim: model.DimEndUser, ID: "c"}}, map[string]any{"event_group": "customer", "customer_id": "c"}},
		"gateway": {alert.Alert{Kind: alert.BudgetCrossed, Scope: model.ProxyScope(), Spent: usd(3), Max: usd(3)},
			map[string]any{"event_group": "proxy", "event_message": "Budget crossed: the gateway has spent 3 of 3."}},
	} {
		t.Run(name, func(t *testing.T) {
			var got map[string]any
			require.NoError(t, json.Unmarshal(c.alert.Webhook(w.store.State()), &got))
			for k, v := range c.want {
				require.Equal(t, v, got[k], k)
			}
			var slack map[string]string
			require.NoError(t, json.Unmarshal(c.alert.Slack(w.store.State()), &slack))
			require.Equal(t, got["event_message"], slack["text"])
		})
	}
}

func TestPosterTriesAgainAndTellsNoAddress(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	fails := 2
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if fails > 0 {
			fails--
			rw.WriteHeader(503)
			return
		}
		bodies = append(bodies, string(b))
	}))
	defer srv.Close()
	var log safeBuffer
	p := alert.NewPoster(slog.New(slog.NewTextHandler(&log, nil)), srv.Client(), time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.Put(alert.Post{Way: "webhook", URL: srv.URL, Body: []byte(`{"a":1}`)})
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(bodies) == 1 }, 5*time.Second, time.Millisecond)
	require.Equal(t, `{"a":1}`, bodies[0])
	p.Put(alert.Post{Way: "slack", URL: "http://127.0.0.1:1/secret-token"})
	p.Put(alert.Post{Way: "slack", URL: "://secret-token"})
	require.Eventually(t, func() bool { return log.count("alert not sent") == 2 }, 5*time.Second, time.Millisecond)
	require.Zero(t, log.count("secret-token"))
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestAddressesByKindAreOneOrSeveral(t *testing.T) {
	for setting, want := range map[string][]string{
		`{"budget_alerts":"https://a"}`:               {"https://a"},
		`{"budget_alerts":"https://a, https://b,"}`:   {"https://a", "https://b"},
		`{"budget_alerts":["https://a","https://b"]}`: {"https://a", "https://b"},
		`{"budget_alerts":["https://a",null]}`:        {"https://a"},
		`{"llm_exceptions":"https://a"}`:              nil,
		`{"budget_alerts":7}`:                         nil,
		`{"budget_alerts":null}`:                      nil,
		`[]`:                                          nil,
		``:                                            nil,
	} {
		require.Equal(t, want, alert.Addresses([]byte(setting)), setting)
	}
	for types, want := range map[string]bool{``: true, `[]`: true, `null`: true, `["budget_alerts"]`: true, `["llm_exceptions"]`: false} {
		require.Equal(t, want, alert.Wanted([]byte(types)), types)
	}
}
