package admin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/proxy/auth"
)

// book enters one finished call.
func (w *world) book(n byte, day int, key, user, team, group string, cost unit.Money, tags ...string) {
	w.t.Helper()
	at := time.Date(2026, 1, day, 10, 0, int(n), 0, time.UTC)
	_, err := w.ledger.Settle(store.Ref{}, &store.Entry{CallID: store.CallID{n}, CallType: "acompletion", Status: store.Success,
		Start: at, End: at.Add(time.Second), Key: key, User: user, Team: team, Group: group, Model: "openai/" + group, Provider: "openai",
		EndUser: "customer", Tags: tags, Usage: price.Usage{InUncached: 10, OutTotal: 5, Known: true}, Cost: price.Cost{Total: cost, Output: cost, Priced: true}})
	require.NoError(w.t, err)
}

func spendWorld(t *testing.T) (w *world, alice, bob string, keys map[string]string) {
	w = newWorld(t, nil)
	alice, bob = w.as("internal_user", "alice"), w.as("internal_user", "bob")
	keys = map[string]string{"alice": auth.Hash([]byte(alice)), "bob": auth.Hash([]byte(bob))}
	w.post("/team/new", `{"team_id":"t","team_alias":"Core"}`).ok()
	w.book(1, 13, keys["alice"], "alice", "t", "gpt-4o", 2*unit.Dollar, "a", "b")
	w.book(2, 14, keys["alice"], "alice", "t", "gpt-4o-mini", unit.Dollar, "a")
	w.book(3, 14, keys["bob"], "bob", "", "gpt-4o", 4*unit.Dollar, "b")
	w.book(4, 14, auth.MasterKeyAlias, "default_user_id", "", "gpt-4o", unit.Dollar/2)
	w.setSpent(model.Scope{Dim: model.DimKey, ID: keys["alice"]}, 3*unit.Dollar)
	w.setSpent(model.Scope{Dim: model.DimKey, ID: keys["bob"]}, 4*unit.Dollar)
	w.setSpent(model.Scope{Dim: model.DimUser, ID: "alice"}, 3*unit.Dollar)
	w.setSpent(model.Scope{Dim: model.DimUser, ID: "bob"}, 4*unit.Dollar)
	w.setSpent(model.Scope{Dim: model.DimProxy, ID: "proxy"}, 7*unit.Dollar+unit.Dollar/2)
	return w, alice, bob, keys
}

func TestSpendLogsByEveryFilter(t *testing.T) {
	w, alice, _, keys := spendWorld(t)
	require.Len(t, w.get("/spend/logs").list(), 4)
	require.Len(t, w.get("/spend/logs?api_key="+alice).list(), 2, "by the key itself")
	require.Len(t, w.get("/spend/logs?api_key="+keys["bob"]).list(), 1, "by its hash")
	require.Len(t, w.get("/spend/logs?api_key="+master).list(), 1, "the master key goes by its name")
	require.Len(t, w.get("/spend/logs?user_id=alice").list(), 2)
	row := w.get("/spend/logs?user_id=bob").list()[0].(map[string]any)
	require.Equal(t, 4.0, row["spend"])
	byID := w.get("/spend/logs?request_id=" + row["request_id"].(string)).list()
	require.Len(t, byID, 1)
	require.Empty(t, w.get("/spend/logs?request_id=none").list())

	days := w.get("/spend/logs?start_date=2026-01-12&end_date=2026-01-15").list()
	first := days[1].(map[string]any)
	require.Equal(t, "2026-01-13", first["startTime"])
	require.Equal(t, 2.0, first["spend"])
	require.Equal(t, 2.0, first[keys["alice"]])
	require.Equal(t, map[string]any{"alice": 2.0}, first["users"])
	require.Equal(t, map[string]any{"openai/gpt-4o": 2.0}, first["models"])
	require.Equal(t, 0.0, days[0].(map[string]any)["spend"], "days without calls are there")
	require.Len(t, w.get("/spend/logs?start_date=2026-01-14&end_date=2026-01-15&summarize=false").list(), 3)
	require.Equal(t, []string{"end_date:missing"}, w.get("/spend/logs?start_date=2026-01-14").wrong())
	require.Equal(t, []string{"end_date:value_error"}, w.get("/spend/logs?start_date=2026-01-14&end_date=2026-01-13").wrong())
	require.Equal(t, []string{"start_date:date_parsing"}, w.get("/spend/logs?start_date=yesterday&end_date=2026-01-13").wrong())
}

func TestInternalUsersSeeTheirOwnSpendOnly(t *testing.T) {
	w, alice, bob, _ := spendWorld(t)
	require.Len(t, w.call(alice, "GET", "/spend/logs?user_id=bob", "").list(), 2, "forced to its own")
	require.Len(t, w.call(bob, "GET", "/spend/logs", "").list(), 1)
	require.Equal(t, 3.0, w.call(alice, "GET", "/global/spend", "").ok()["spend"])
	require.Len(t, w.call(alice, "GET", "/spend/keys", "").list(), 1)
	require.Len(t, w.call(alice, "GET", "/spend/users", "").list(), 1)
	w.call(alice, "GET", "/spend/users?user_id=bob", "").refused(403)
	tags := w.call(alice, "GET", "/spend/tags", "").list()
	require.Equal(t, []any{
		map[string]any{"individual_request_tag": "a", "log_count": 2.0, "total_spend": 3.0},
		map[string]any{"individual_request_tag": "b", "log_count": 1.0, "total_spend": 2.0}}, tags)
	require.Equal(t, 4.0, w.call(bob, "GET", "/user/daily/activity?start_date=2026-01-01&end_date=2026-01-31", "").ok()["metadata"].(map[string]any)["total_spend"])
	w.call(alice, "GET", "/global/spend/teams", "").refused(403)
	w.call(alice, "GET", "/tag/daily/activity?start_date=2026-01-01&end_date=2026-01-31", "").refused(403)
	w.call(bob, "GET", "/team/daily/activity?start_date=2026-01-01&end_date=2026-01-31", "").refused(403)

	w.post("/key/update", `{"key":"`+bob+`","permissions":{"get_spend_routes":true}}`).ok()
	require.Len(t, w.call(bob, "GET", "/spend/logs", "").list(), 4, "a key may be given the right to see all")
}

func TestGlobalSpendFigures(t *testing.T) {
	w, _, _, keys := spendWorld(t)
	require.Equal(t, 7.5, w.get("/global/spend").ok()["spend"])
	require.Equal(t, keys["bob"], w.get("/spend/keys?limit=1").list()[0].(map[string]any)["token"])
	require.Equal(t, "bob", w.get("/spend/users").list()[0].(map[string]any)["user_id"])
	logs := w.get("/global/spend/logs").list()
	require.Equal(t, map[string]any{"date": "2026-01-13", "spend": 2.0}, logs[0])
	require.Equal(t, []any{map[string]any{"date": "2026-01-14", "spend": 4.0}}, w.get("/global/spend/logs?api_key="+keys["bob"]).list())
	top := w.get("/global/spend/keys?limit=1").list()
	require.Equal(t, keys["bob"], top[0].(map[string]any)["api_key"])
	require.Equal(t, map[string]any{"model": "openai/gpt-4o", "total_spend": 6.5}, w.get("/global/spend/models").list()[0])
	require.Equal(t, []any{map[string]any{"provider": "openai", "spend": 7.5}}, w.get("/global/spend/provider").list())
	teams := w.get("/global/spend/teams").ok()
	require.Equal(t, []any{"Core"}, teams["teams"])
	require.Equal(t, []any{map[string]any{"team_id": "Core", "total_spend": 3.0}}, teams["total_spend_per_team"])
	require.Equal(t, map[string]any{"date": "2026-01-13", "Core": 2.0}, teams["daily_spend"].([]any)[0])
	require.Equal(t, map[string]any{"name": "b", "spend": 6.0, "log_count": 2.0}, w.get("/global/spend/tags").ok()["spend_per_tag"].([]any)[0])
	require.Len(t, w.get("/global/spend/tags?tags=a").ok()["spend_per_tag"], 1)
	require.Equal(t, []any{"a", "b"}, w.get("/global/spend/all_tag_names").ok()["tag_names"])
	require.Equal(t, []any{map[string]any{"end_user": "customer", "total_count": 4.0, "total_spend": 7.5}}, w.post("/global/spend/end_users", `{}`).list())
	require.Equal(t, []string{"startTime:datetime_parsing"}, w.post("/global/spend/end_users", `{"startTime":"x"}`).wrong())
}

func TestActivityFigures(t *testing.T) {
	w, _, _, keys := spendWorld(t)
	const span = "?start_date=2026-01-01&end_date=2026-01-31"
	a := w.get("/global/activity" + span).ok()
	require.Equal(t, 4.0, a["sum_api_requests"])
	require.Equal(t, 60.0, a["sum_total_tokens"])
	require.Contains(t, a["daily_data"], map[string]any{"date": "Jan 14", "api_requests": 3.0, "total_tokens": 45.0})
	require.Equal(t, "gpt-4o", w.get("/global/activity/model" + span).list()[0].(map[string]any)["model"])
	require.Equal(t, []string{"end_date:missing", "start_date:missing"}, w.get("/global/activity").wrong())

	m := w.get("/user/daily/activity" + span).ok()
	meta := m["metadata"].(map[string]any)
	require.Equal(t, 7.5, meta["total_spend"])
	require.Equal(t, 4.0, meta["total_api_requests"])
	day := m["results"].([]any)[0].(map[string]any)
	require.Equal(t, "2026-01-14", day["date"])
	breakdown := day["breakdown"].(map[string]any)
	require.Contains(t, breakdown["api_keys"], keys["bob"])
	require.Equal(t, 1.0, w.get("/user/daily/activity" + span + "&page_size=1").ok()["metadata"].(map[string]any)["page"])
	require.Equal(t, []string{"page_size:int_parsing"}, w.get("/user/daily/activity"+span+"&page_size=x").wrong())
	team := w.get("/team/daily/activity" + span + "&team_ids=t").ok()
	require.Equal(t, 3.0, team["metadata"].(map[string]any)["total_spend"])
	entities := team["results"].([]any)[0].(map[string]any)["breakdown"].(map[string]any)["entities"].(map[string]any)
	require.Equal(t, "Core", entities["t"].(map[string]any)["metadata"].(map[string]any)["team_alias"])
	w.get("/tag/daily/activity" + span).ok()
	w.get("/customer/daily/activity" + span).ok()
}

// What a change answers as spent is what all nodes have spent, as a read shows.
func TestAnswersOfChangesShowTheSpendOfAllNodes(t *testing.T) {
	w := newWorld(t, nil)
	_, hash := w.key(`{"key":"sk-one","model_max_budget":{"m":{"budget_limit":9,"time_period":"1d"}}}`)
	w.post("/user/new", `{"user_id":"u","auto_create_key":false,"model_max_budget":{"m":{"budget_limit":9}}}`).ok()
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.post("/customer/new", `{"user_id":"c"}`).ok()
	w.post("/tag/new", `{"name":"g"}`).ok()
	w.post("/organization/new", `{"organization_id":"o","organization_alias":"o"}`).ok()
	for _, sc := range []model.Scope{{Dim: model.DimKey, ID: hash}, {Dim: model.DimModelPerKey, ID: hash + "\x1fm"}, {Dim: model.DimUser, ID: "u"}, {Dim: model.DimModelPerUser, ID: "u\x1fm"},
		{Dim: model.DimTeam, ID: "t"}, {Dim: model.DimEndUser, ID: "c"}, {Dim: model.DimTag, ID: "g"}, {Dim: model.DimOrganization, ID: "o"}} {
		w.setElsewhere(sc, 2*unit.Dollar)
	}
	for route, c := range map[string]struct {
		body   string
		fields []string
	}{
		"/key/update":      {`{"key":"sk-one","key_alias":"x"}`, []string{"spend", "model_spend.m"}},
		"/key/block":       {`{"key":"sk-one"}`, []string{"spend"}},
		"/user/update":     {`{"user_id":"u","user_alias":"x"}`, []string{"data.spend", "data.model_spend.m"}},
		"/team/update":     {`{"team_id":"t","team_alias":"x"}`, []string{"data.spend"}},
		"/team/block":      {`{"team_id":"t"}`, []string{"spend"}},
		"/customer/update": {`{"user_id":"c","alias":"x"}`, []string{"spend"}},
		"/tag/update":      {`{"name":"g","description":"x"}`, []string{"tag.spend"}},
	} {
		a := w.post(route, c.body)
		for _, f := range c.fields {
			require.Equal(t, 2.0, a.field(f), "%s of %s", f, route)
		}
	}
	require.Equal(t, 2.0, w.call(master, "PATCH", "/organization/update", `{"organization_id":"o","models":[]}`).field("spend"))
}

// A key that is replaced on a node that did not serve it takes along what it
// has spent on all, and a reset of everything finds it too.
func TestReplacedKeyKeepsWhatItSpentOnOtherNodes(t *testing.T) {
	w := newWorld(t, nil)
	_, hash := w.key(`{"key":"sk-one"}`)
	w.setElsewhere(model.Scope{Dim: model.DimKey, ID: hash}, 2*unit.Dollar)
	w.post("/key/sk-one/reset_spend", `{"reset_to":2.5}`).refused(400)
	require.Equal(t, 2.0, w.post("/key/sk-one/reset_spend", `{"reset_to":1.5}`).field("previous_spend"))
	w.post("/key/regenerate", `{"key":"sk-one","new_key":"sk-two"}`).ok()
	require.Equal(t, 1.5, w.get("/key/info?key=sk-two").field("info.spend"))

	_, hash = w.key(`{"key":"sk-three"}`)
	w.setElsewhere(model.Scope{Dim: model.DimKey, ID: hash}, 2*unit.Dollar)
	w.post("/global/spend/reset", `{}`).ok()
	require.Equal(t, 0.0, w.get("/key/info?key=sk-three").field("info.spend"))
}
