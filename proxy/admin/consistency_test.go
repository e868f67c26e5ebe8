package admin_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/admin"
)

// asked gives the levels that were asked for since, and forgets them.
func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.levels
	w.levels = nil
	return out
}

func (w *world) answering(f func(level string, minIndex uint64) (time.Duration, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newer = f
}

func TestReadsAreAsNewAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.asked()
	for _, tc := range []struct {
		method, path, header, value, body string
		want                              []string
	}{
		{"GET", "/team/list", "", "", "", []string{"leader 0"}},
		{"GET", "/team/list?consistency=local", "", "", "", []string{"local 0"}},
		{"GET", "/team/list?consistency=leader", "", "", "", []string{"leader 0"}},
		{"GET", "/team/list?consistency=linearizable", "", "", "", []string{"linearizable 0"}},
		{"GET", "/team/list?min_index=7", "", "", "", []string{"local 7"}},
		{"GET", "/team/list?min_index=7&consistency=leader", "", "", "", []string{"leader 7"}},
		{"GET", "/team/list", "X-Consistency", "linearizable", "", []string{"linearizable 0"}},
		{"GET", "/team/list", "X-Min-Index", "9", "", []string{"local 9"}},
		{"GET", "/team/list?min_index=3", "X-Min-Index", "9", "", []string{"local 3"}},
		{"POST", "/budget/info", "", "", `{"budgets":[]}`, []string{"leader 0"}},
		{"POST", "/team/update", "", "", `{"team_id":"t"}`, nil},
		{"POST", "/team/update?min_index=5", "", "", `{"team_id":"t"}`, []string{"local 5"}},
	} {
		var headers []string
		if tc.header != "" {
			headers = []string{tc.header, tc.value}
		}
		a := w.call(master, tc.method, tc.path, tc.body, headers...)
		require.Equal(t, 200, a.status, "%s: %s", tc.path, a.body)
		require.Equal(t, tc.want, w.asked(), "%s %s", tc.path, tc.value)
	}
	for _, path := range []string{"/team/list?consistency=strong", "/team/list?min_index=-1", "/team/list?min_index=x"} {
		a := w.get(path)
		require.Equal(t, 400, a.status, path)
		require.NotEmpty(t, a.header["x-state-index"])
	}
	require.Empty(t, w.asked(), "nobody is asked for nonsense")
}

func TestReadWithoutALeader(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	down := func(string, uint64) (time.Duration, error) { return 1500 * time.Millisecond, errors.New("no leader") }
	late := func(string, uint64) (time.Duration, error) { return 0, admin.ErrStateBehind }
	for _, tc := range []struct {
		query  string
		answer func(string, uint64) (time.Duration, error)
		code   string // "": served all the same
	}{
		{"", down, ""},
		{"?consistency=leader", down, ""},
		{"?consistency=linearizable", down, "no_leader"},
		{"?min_index=99", late, "state_behind"},
		{"?min_index=99&consistency=leader", down, "no_leader"},
		{"?consistency=linearizable", late, "state_behind"},
	} {
		w.answering(tc.answer)
		a := w.get("/team/list" + tc.query)
		if tc.code == "" {
			require.Len(t, a.list(), 1)
			require.Equal(t, "1500", a.header["x-state-stale-ms"], "how old it may be is said")
			continue
		}
		require.Equal(t, 503, a.status, tc.query)
		require.Contains(t, string(a.body), tc.code)
		require.NotEmpty(t, a.header["retry-after"])
	}
	w.answering(func(string, uint64) (time.Duration, error) { return 20 * time.Millisecond, nil })
	require.Empty(t, w.get("/team/list").header["x-state-stale-ms"])
	require.Equal(t, "20", w.get("/team/list?consistency=local").header["x-state-stale-ms"])
}

func TestEveryAnswerCarriesItsStateIndex(t *testing.T) {
	w := newWorld(t, nil)
	a := w.post("/team/new", `{"team_id":"t"}`)
	require.Equal(t, "1", a.header["x-state-index"])
	require.Equal(t, "1", w.get("/team/list").header["x-state-index"])
	require.Equal(t, "1", w.get("/team/info?team_id=nobody").header["x-state-index"])
	require.Equal(t, "1", w.call(master, "DELETE", "/team/list", "").header["x-state-index"])
	require.Equal(t, "2", w.post("/team/block", `{"team_id":"t"}`).header["x-state-index"])
	require.Equal(t, "2", w.post("/team/update", `{"team_id":"nobody"}`).header["x-state-index"])
}

func TestNodeThatIsAloneHasAllThereIs(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	d := w.a.Deps
	d.Consistent = nil
	var err error
	w.a, err = admin.New(d)
	require.NoError(t, err)
	require.Len(t, w.get("/team/list?consistency=linearizable&min_index=1").list(), 1)
	require.Equal(t, 503, w.get("/team/list?min_index=2").status)
}

// What was made on one node can be changed and read on the next at once.
func TestWriteIsNotRefusedForWhatThisNodeDoesNotKnowYet(t *testing.T) {
	w := newWorld(t, nil)
	o, follow := w.follower(t)
	o.answering(func(string, uint64) (time.Duration, error) { follow(); return 0, nil })
	for i, c := range []struct{ made, making, changed, changing string }{
		{"/team/new", `{"team_id":"t"}`, "/team/update", `{"team_id":"t","team_alias":"x"}`},
		{"/budget/new", `{"budget_id":"b"}`, "/budget/update", `{"budget_id":"b","max_budget":1}`},
		{"/budget/new", `{"budget_id":"c"}`, "/key/generate", `{"budget_id":"c"}`},
		{"/user/new", `{"user_id":"u"}`, "/user/update", `{"user_id":"u","user_alias":"x"}`},
		{"/key/generate", `{"key_alias":"k"}`, "/key/delete", `{"key_aliases":["k"]}`},
		{"/customer/new", `{"user_id":"e"}`, "/customer/update", `{"user_id":"e","alias":"x"}`},
	} {
		w.post(c.made, c.making).ok()
		o.asked()
		a := o.post(c.changed, c.changing, "Idempotency-Key", "call-"+strconv.Itoa(i))
		require.Equal(t, 200, a.status, "%s: %s", c.changed, a.body)
		require.Equal(t, []string{"leader 0"}, o.asked(), c.changed)
	}
	w.post("/team/new", `{"team_id":"late"}`).ok()
	require.Equal(t, 200, o.get("/team/info?team_id=late").status)

	o.asked()
	o.post("/team/update", `{"team_id":"nobody"}`).refused(404)
	require.Len(t, o.asked(), 1, "asked once")
	require.Len(t, o.post("/key/generate", `{"max_budget":-1}`).wrong(), 1)
	require.Empty(t, o.asked(), "a form's own faults ask nobody")

	o.answering(func(string, uint64) (time.Duration, error) { return 0, errors.New("no leader") })
	a := o.post("/team/update", `{"team_id":"nobody"}`)
	require.Equal(t, 503, a.status)
	require.Contains(t, string(a.body), "state_behind")
	a = o.get("/team/info?team_id=nobody")
	require.Equal(t, 503, a.status, "a read that finds nothing and cannot know better blames nobody")
}

// Every call that takes something away waits for all nodes.
func TestRevokingCallsWaitForEveryNode(t *testing.T) {
	w := newWorld(t, nil)
	key, hash := w.key(`{"key_alias":"a"}`)
	_, second := w.key(`{}`)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.post("/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"m"}}`).ok()
	w.post("/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"n"}}`).ok()
	w.post("/user/new", `{"user_id":"u","auto_create_key":false}`).ok()
	w.post("/budget/new", `{"budget_id":"b","max_budget":5}`).ok()
	w.post("/customer/new", `{"user_id":"e"}`).ok()
	w.behind = []string{"far"}
	for _, c := range []struct{ path, body string }{
		{"/key/block", `{"key":"` + key + `"}`},
		{"/key/update", `{"key":"` + key + `","max_budget":1}`},
		{"/key/update", `{"key":"` + key + `","rpm_limit":1}`},
		{"/key/update", `{"key":"` + key + `","models":["x"]}`},
		{"/key/update", `{"key":"` + key + `","blocked":true}`},
		{"/key/update", `{"key":"` + key + `","spend":9}`},
		{"/key/regenerate", `{"key":"` + second + `"}`},
		{"/key/delete", `{"keys":["` + hash + `"]}`},
		{"/user/update", `{"user_id":"u","max_budget":1}`},
		{"/user/delete", `{"user_ids":["u"]}`},
		{"/budget/update", `{"budget_id":"b","max_budget":1}`},
		{"/budget/delete", `{"id":"b"}`},
		{"/customer/block", `{"user_ids":["e"]}`},
		{"/customer/update", `{"user_id":"e","max_budget":1}`},
		{"/customer/delete", `{"user_ids":["e"]}`},
		{"/team/member_update", `{"team_id":"t","user_id":"m","max_budget_in_team":1}`},
		{"/team/member_delete", `{"team_id":"t","user_id":"m"}`},
		{"/team/model/delete", `{"team_id":"t","models":["x"]}`},
		{"/team/block", `{"team_id":"t"}`},
		{"/team/update", `{"team_id":"t","max_budget":1}`},
		{"/team/delete", `{"team_ids":["t"]}`},
	} {
		w.revoked = nil
		a := w.post(c.path, c.body)
		require.Equal(t, 200, a.status, "%s: %s", c.path, a.body)
		require.Len(t, w.revoked, 1, c.path)
		require.Equal(t, a.header["x-state-index"], strconv.FormatUint(w.revoked[0], 10), c.path)
		require.Equal(t, "far", a.header["x-state-behind"], c.path)
	}
	w.revoked = nil
	w.key(`{}`)
	w.post("/team/new", `{}`).ok()
	require.Empty(t, w.revoked, "making something takes nothing away")
}
