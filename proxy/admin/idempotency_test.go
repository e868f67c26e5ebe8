package admin_test

import (
	"encoding/json"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/admin"
	"tollgate/proxy/auth"
)

// TestRepetitionOnAnotherNodeGetsTheSameAnswer is a client that got no answer
// from one node and asks another.
func TestRepetitionOnAnotherNodeGetsTheSameAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"old"}`).ok()
	w.post("/user/new", `{"user_id":"gone"}`).ok()
	w.key(`{"key_alias":"gone"}`)
	other := w.another(t)
	for i, c := range []struct{ path, body string }{
		{"/team/new", `{"team_id":"t","team_member_budget":3}`},
		{"/team/new", `{}`},
		{"/budget/new", `{"budget_id":"b"}`},
		{"/budget/new", `{"max_budget":1}`},
		{"/customer/new", `{"user_id":"c","max_budget":1}`},
		{"/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"x"},"max_budget_in_team":2}`},
		{"/user/new", `{"user_id":"u","auto_create_key":false}`},
		{"/key/delete", `{"key_aliases":["gone"]}`},
		{"/user/delete", `{"user_ids":["gone"]}`},
		{"/customer/delete", `{"user_ids":["c"]}`},
		{"/team/delete", `{"team_ids":["old"]}`},
	} {
		key := "call-" + strconv.Itoa(i)
		first := w.post(c.path, c.body, "Idempotency-Key", key)
		require.Equal(t, 200, first.status, "%s %s", c.path, first.body)
		again := other.post(c.path, c.body, "Idempotency-Key", key)
		require.Equal(t, 200, again.status, "%s %s", c.path, again.body)
		require.JSONEq(t, string(first.body), string(again.body), c.path)
	}
	require.Equal(t, 2, w.store.State().Teams.Len())
	other.post("/team/new", `{"team_id":"t"}`, "Idempotency-Key", "fresh").refused(400)
}

// TestRefusedWriteMayBeRepeatedWhenItsCauseIsGone guards the probe for earlier
// success: it must not use up the call's right to happen.
func TestRefusedWriteMayBeRepeatedWhenItsCauseIsGone(t *testing.T) {
	w := newWorld(t, nil)
	for range 4 {
		w.post("/key/generate", `{"team_id":"later"}`, "Idempotency-Key", "k").refused(400)
	}
	w.post("/team/new", `{"team_id":"later"}`).ok()
	w.post("/key/generate", `{"team_id":"later"}`, "Idempotency-Key", "k").ok()
	require.Equal(t, 1, w.store.State().Keys.Len())
}

func TestManyWritersOfOneObjectLoseNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	const n = 20
	var wg sync.WaitGroup
	status := make([]int, n)
	for i := range n {
		wg.Go(func() {
			status[i] = w.post("/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"u`+strconv.Itoa(i)+`"}}`).status
		})
	}
	wg.Wait()
	for _, s := range status {
		require.Equal(t, 200, s)
	}
	team, _ := w.store.State().Teams.Get("t")
	require.Len(t, team.Members, n)
	require.Equal(t, n, w.store.State().Members.Len())
}

func TestTimesThatCannotBeWrittenAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.key(`{}`)
	for _, body := range []string{`"duration":"9999999999d"`, `"duration":"101000d"`, `"budget_duration":"9000000000000h"`, `"budget_duration":"1300mo"`,
		`"model_max_budget":{"m":{"max_budget":1,"budget_duration":"999999999w"}}`} {
		require.Len(t, w.post("/key/generate", `{`+body+`}`).wrong(), 1, body)
	}
	require.Equal(t, []string{"temp_budget_expiry:datetime_parsing"},
		w.post("/key/update", `{"key":"`+h+`","temp_budget_increase":1,"temp_budget_expiry":"9999-12-31T23:59:59-10:00"}`).wrong())
	require.Equal(t, []string{"grace_period:value_error"}, w.post("/key/regenerate", `{"key":"`+h+`","grace_period":"99999w"}`).wrong())
	b, err := json.Marshal(w.post("/key/generate", `{"duration":"36500d","budget_duration":"1200mo"}`).ok())
	require.NoError(t, err)
	require.NotEmpty(t, b)
}

// A key that was made is shown again to who repeats the call, on any node; and
// nothing that is replicated holds it in the clear.
func TestRepetitionOnAnotherNodeShowsTheSameKey(t *testing.T) {
	for name, conflict := range map[string]bool{"at once": false, "after somebody came between": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.post("/team/new", `{"team_id":"t"}`).ok()
			_, old := w.key(`{"max_budget":7}`)
			other := w.another(t)
			for i, c := range []struct{ path, body string }{
				{"/key/generate", `{}`},
				{"/key/generate", `{"key_alias":"one","max_budget":3,"duration":"30d","metadata":{"a":1}}`},
				{"/key/service-account/generate", `{"team_id":"t"}`},
				{"/key/regenerate", `{"key":"` + old + `"}`},
				{"/user/new", `{"user_id":"u","user_email":"u@example.com"}`},
				{"/user/new", `{}`},
			} {
				key := "secret-" + strconv.Itoa(i)
				if conflict && c.path == "/key/regenerate" {
					w.before = func(*model.Mutation) {
						w.post("/key/update", `{"key":"`+old+`","metadata":{"x":1}}`).ok()
					}
				}
				first := w.post(c.path, c.body, "Idempotency-Key", key)
				require.Equal(t, 200, first.status, "%s %s", c.path, first.body)
				again := other.post(c.path, c.body, "Idempotency-Key", key)
				require.Equal(t, 200, again.status, "%s %s", c.path, again.body)
				require.JSONEq(t, string(first.body), string(again.body), c.path)
				require.Equal(t, "true", again.header["idempotent-replayed"], c.path)
				require.Empty(t, first.header["idempotent-replayed"])

				plain := first.ok()["key"].(string)
				_, ok := w.store.State().Keys.Get(auth.Hash([]byte(plain)))
				require.True(t, ok)
				for _, m := range w.seen {
					raw, err := json.Marshal(m)
					require.NoError(t, err)
					require.NotContains(t, string(raw), plain)
				}
			}
			keys := w.store.State().Keys.Len()
			other.post("/key/generate", `{}`, "Idempotency-Key", "secret-0").ok()
			require.Equal(t, keys, w.store.State().Keys.Len(), "it happened once")
			w.post("/key/generate", `{}`).ok()
			require.Empty(t, w.seen[len(w.seen)-1].Sealed, "what nobody can repeat is not kept")
		})
	}
}

// Where the secret cannot be opened any more the caller learns that, and not
// another key.
func TestKeyThatCannotBeToldAgainIsNotReplacedByAnother(t *testing.T) {
	w := newWorld(t, nil)
	other := w.another(t)
	d := other.a.Deps
	d.OpenAnswer = func(string, string) (string, error) { return "", errDown }
	var err error
	other.a, err = admin.New(d)
	require.NoError(t, err)
	w.post("/key/generate", `{}`, "Idempotency-Key", "k").ok()
	other.post("/key/generate", `{}`, "Idempotency-Key", "k").refused(409)
	require.Equal(t, 1, w.store.State().Keys.Len())

	d.SealAnswer = d.OpenAnswer
	other.a, err = admin.New(d)
	require.NoError(t, err)
	a := other.post("/key/generate", `{}`, "Idempotency-Key", "l")
	require.Equal(t, 503, a.status, "a key that could be lost is not made")
	require.Equal(t, 1, w.store.State().Keys.Len())
}

// The write was made, its answer was lost, and the other node that is asked
// cannot reach a leader: "the team exists already" would be believed.
func TestRepetitionIsNotCalledRefusedWhileNobodyKnows(t *testing.T) {
	w := newWorld(t, nil)
	other := w.another(t)
	w.post("/team/new", `{"team_id":"t"}`, "Idempotency-Key", "k").ok()
	w.down = true
	a := other.post("/team/new", `{"team_id":"t"}`, "Idempotency-Key", "k")
	require.Equal(t, 503, a.status, "%s", a.body)
	require.Contains(t, string(a.body), "outcome_unknown")
	other.post("/team/new", `{"team_id":"t"}`).refused(400) // its own fault, and nothing to find out

	w.down = false
	other.post("/team/new", `{"team_id":"t"}`, "Idempotency-Key", "k").ok()
	require.Equal(t, 1, w.store.State().Teams.Len())
}

// Refused calls use up ids of the call; what it did in the end is found beyond
// them.
func TestRepetitionFindsAWriteThatWasRefusedAtFirst(t *testing.T) {
	w := newWorld(t, nil)
	const body = `{"team_id":"t","member":{"role":"user","user_id":"u"}}`
	for range 3 {
		w.post("/team/member_add", body, "Idempotency-Key", "k").refused(404)
	}
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.post("/team/member_add", body, "Idempotency-Key", "k").ok()
	again := w.another(t).post("/team/member_add", body, "Idempotency-Key", "k")
	require.Equal(t, 200, again.status, "%s", again.body)
	require.Equal(t, "true", again.header["idempotent-replayed"])
}
