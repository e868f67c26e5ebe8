package admin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/proxy/admin"
	"tollgate/proxy/auth"
)

// rehearse gives the world an Explain that keeps what it is asked.
func (w *world) rehearse() *[]admin.Rehearsal {
	var asked []admin.Rehearsal
	d := w.a.Deps
	d.Explain = func(_ context.Context, q admin.Rehearsal) (any, bool) {
		asked = append(asked, q)
		return map[string]string{"verdict": "admitted"}, q.Route != "/key/new"
	}
	a, err := admin.New(d)
	require.NoError(w.t, err)
	w.a = a
	return &asked
}

func TestWhoMayAskAboutWhichKey(t *testing.T) {
	w := newWorld(t, nil)
	asked := w.rehearse()
	jane, viewer := w.as("internal_user", "jane"), w.as("proxy_admin_viewer", "viewer")
	lead := w.as("internal_user", "lead")
	w.post("/team/new", `{"team_id":"t","members_with_roles":[{"role":"admin","user_id":"lead"}]}`).ok()
	plain, hash := w.key(`{"key_alias":"ci","team_id":"t"}`)
	ask := func(by, key string) *answer {
		t.Helper()
		b, err := json.Marshal(map[string]string{"key": key, "model": "m"})
		require.NoError(t, err)
		return w.call(by, "POST", "/utils/explain", string(b))
	}
	for _, by := range []string{master, viewer, lead, plain} {
		for _, name := range []string{plain, hash, "ci"} {
			ask(by, name).ok()
			q := (*asked)[len(*asked)-1]
			require.Nil(t, q.NotIdentified)
			require.Equal(t, hash, q.Principal.Key.Hash)
			require.Equal(t, "t", q.Principal.Team.ID)
			require.Equal(t, by == lead || by == plain, q.Narrow, "only those who may see all are told all")
		}
	}
	n := len(*asked)
	for _, by := range []string{jane, plain, lead} {
		for _, name := range []string{viewer, auth.Hash([]byte(viewer)), "sk-nobodys", "nobody", master, auth.Hash([]byte(master))} {
			says := ask(by, name).refused(403)
			require.Contains(t, says, "Only the owner of a key", "the same for keys that are there and those that are not")
		}
	}
	for _, name := range []string{plain, hash, "ci"} {
		ask(jane, name).refused(403)
	}
	require.Len(t, *asked, n)

	ask(viewer, auth.Hash([]byte(master))).ok()
	q := (*asked)[n]
	require.NotNil(t, q.NotIdentified, "a viewer learns nothing of the master key")
	require.False(t, q.Principal.Master)
	ask(master, master).ok()
	require.True(t, (*asked)[n+1].Principal.Master)
	ask(jane, "").ok()
	require.Equal(t, "jane", (*asked)[n+2].Principal.UserID(), "without a key it is the caller's own call")
	require.Equal(t, "/chat/completions", (*asked)[n+2].Route)
	ask(master, "nobody").ok()
	require.Equal(t, 401, (*asked)[n+3].NotIdentified.Status)

	w.post("/key/block", `{"key":"`+plain+`"}`).ok()
	ask(lead, "ci").ok()
	require.Equal(t, 401, (*asked)[n+4].NotIdentified.Status, "why a blocked key is refused can be asked")
}

func TestQuestionsThatMakeNoSenseAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/utils/explain", `{"model":"m"}`).refused(404)
	w.rehearse()
	require.Equal(t, []string{"model:missing"}, w.post("/utils/explain", `{}`).wrong())
	require.Equal(t, []string{"request_id:missing"}, w.get("/utils/explain?model=m").wrong())
	require.Equal(t, []string{"body:dict_type"}, w.post("/utils/explain", `{"model":"m","body":[]}`).wrong())
	require.Contains(t, w.post("/utils/explain", `{"model":"m","route":"/key/new"}`).refused(400), "is no route of models")
	require.Contains(t, w.post("/utils/explain", `{"request_id":"a\u0000b"}`).refused(404), "No call with the id")
	require.Less(t, len(w.post("/utils/explain", `{"request_id":"`+strings.Repeat("x", 1<<16)+`"}`).refused(404)), 1000)
}

func TestACallIsExplainedToItsCallerAndToThoseWhoSeeAll(t *testing.T) {
	w, alice, bob, _ := spendWorld(t)
	id := uuid.UUID(store.CallID{1}).String()
	for _, by := range []string{master, alice} {
		m := w.call(by, "GET", "/utils/explain?request_id="+id, "").ok()
		require.Equal(t, []any{id, "success", "the ledgers of the nodes"}, []any{m["request_id"], m["status"], m["books"]})
		require.Equal(t, 2.0, m["cost"].(map[string]any)["usd"])
	}
	require.Contains(t, w.call(bob, "GET", "/utils/explain?request_id="+id, "").refused(404), "is not one of yours")
	w.post("/key/update", `{"key":"`+bob+`","permissions":{"get_spend_routes":true}}`).ok()
	w.call(bob, "POST", "/utils/explain", `{"request_id":"`+id+`"}`).ok()
}

func TestACallWhoseIdProvidersGaveTwiceIsExplainedTwice(t *testing.T) {
	w := newWorld(t, nil)
	at := time.Date(2026, 1, 14, 10, 0, 0, 0, time.UTC)
	for n := byte(1); n <= 2; n++ {
		_, err := w.ledger.Settle(store.Ref{}, &store.Entry{CallID: store.CallID{n}, RequestID: "chatcmpl-1", Status: store.Success, Start: at, End: at.Add(time.Second), Key: "k",
			Group: "m", ModelID: "d", APIBase: "http://me:secret@up.test/v1?key=hidden", Cost: price.Cost{Total: unit.Dollar, Priced: true}})
		require.NoError(t, err)
	}
	a := w.get("/utils/explain?request_id=" + uuid.UUID(store.CallID{2}).String())
	require.Equal(t, "http://up.test/v1", a.ok()["answered_by"].(map[string]any)["api_base"])
	require.NotContains(t, string(a.body), "secret")
	require.NotContains(t, string(a.body), "hidden")
	m := w.get("/utils/explain?request_id=chatcmpl-1").ok()
	if calls, several := m["calls"].([]any); several {
		require.Len(t, calls, 2)
		require.Contains(t, m["summary"], "more than once")
	} else {
		require.Equal(t, "chatcmpl-1", m["request_id"], "the first has the provider's id, the second its own")
	}
}

func TestEveryEndOfACallIsToldInOneSentence(t *testing.T) {
	w := newWorld(t, nil)
	at := time.Date(2026, 1, 14, 10, 0, 0, 0, time.UTC)
	reset := at.Add(time.Minute)
	for n, x := range []struct {
		entry store.Entry
		says  string
	}{
		{store.Entry{Status: store.Success, ModelID: "d", Group: "m"}, "Answered by d."},
		{store.Entry{Status: store.Success, CacheHit: "true"}, "Answered from the response cache; no deployment was asked."},
		{store.Entry{Status: store.ClientClosed, ModelID: "d", Group: "m", ErrorClass: "x"}, "The client left before the answer was whole; what was delivered is charged."},
		{store.Entry{Status: store.Interrupted}, "The node that served the call died meanwhile; it was charged at its maximum."},
		{store.Entry{Status: store.Failure, ErrorCode: "429", ErrorClass: "RateLimitError", ErrorMessage: "No more.",
			Refused: &store.Refused{Scope: model.Scope{Dim: model.DimTeam, ID: "t"}, Unit: "requests", Limit: 3, Used: 3, Resets: reset}}, "Refused before any deployment was asked: No more."},
		{store.Entry{Status: store.Failure, ErrorCode: "500", ErrorClass: "APIError", ErrorMessage: "Broken.", ModelID: "d", Group: "m"}, "Failed after 1 attempt: Broken."},
	} {
		e := x.entry
		e.CallID, e.Start, e.End = store.CallID{byte(n + 1)}, at, at.Add(time.Second)
		_, err := w.ledger.Settle(store.Ref{}, &e)
		require.NoError(t, err)
		m := w.get("/utils/explain?request_id=" + uuid.UUID(e.CallID).String()).ok()
		require.Equal(t, x.says, m["summary"])
		if e.Refused != nil {
			no := m["refusal"].(map[string]any)
			require.Equal(t, []any{"team", "t", "requests", 3.0, 3.0, "429"}, []any{no["scope"], no["id"], no["unit"], no["limit"], no["used"], no["code"]})
			require.Equal(t, "2026-01-14T10:01:00Z", no["resets_at"])
		}
	}
}
