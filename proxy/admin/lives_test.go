package admin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
)

// spending is what an object may spend, as the state has it.
func (w *world) spending(t model.Table, id string) *model.Spending {
	w.t.Helper()
	e, ok := w.store.State().Entity(t, id)
	require.True(w.t, ok, "%s %s", t, id)
	return model.SpendingOf(e)
}

// TestAnObjectMadeAgainUnderItsIdBeginsWithNothingSpent: keys, users, teams,
// organizations and members. The ledgers count by id for ever.
func TestAnObjectMadeAgainUnderItsIdBeginsWithNothingSpent(t *testing.T) {
	for _, c := range []struct {
		name, make, body, remove, gone string
		table                          model.Table
		id                             string
		scope                          model.Scope
		spend                          func(w *world) any
	}{
		{name: "key", make: "/key/generate", body: `{"key":"sk-again"}`, remove: "/key/delete", gone: `{"keys":["sk-again"]}`,
			table: model.Keys, id: auth.Hash([]byte("sk-again")), scope: model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte("sk-again"))},
			spend: func(w *world) any { return w.get("/key/info?key=sk-again").field("info.spend") }},
		{name: "user", make: "/user/new", body: `{"user_id":"u","auto_create_key":false}`, remove: "/user/delete", gone: `{"user_ids":["u"]}`,
			table: model.Users, id: "u", scope: model.Scope{Dim: model.DimUser, ID: "u"},
			spend: func(w *world) any { return w.get("/user/info?user_id=u").field("user_info.spend") }},
		{name: "team", make: "/team/new", body: `{"team_id":"t"}`, remove: "/team/delete", gone: `{"team_ids":["t"]}`,
			table: model.Teams, id: "t", scope: model.Scope{Dim: model.DimTeam, ID: "t"},
			spend: func(w *world) any { return w.get("/team/info?team_id=t").field("team_info.spend") }},
		{name: "organization", make: "/organization/new", body: `{"organization_id":"o","organization_alias":"o"}`, remove: "/organization/delete", gone: `{"organization_ids":["o"]}`,
			table: model.Organizations, id: "o", scope: model.Scope{Dim: model.DimOrganization, ID: "o"},
			spend: func(w *world) any { return w.get("/organization/info?organization_id=o").field("spend") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			drop := func() {
				method := "POST"
				if c.table == model.Organizations {
					method = "DELETE"
				}
				require.Equal(t, 200, w.call(master, method, c.remove, c.gone).status)
			}
			w.post(c.make, c.body).ok()
			first := w.spending(c.table, c.id)
			require.Zero(t, first.SpendFrom, "nobody bore the id before")
			w.setSpent(c.scope, 3*unit.Dollar)
			require.Equal(t, 3.0, c.spend(w))
			drop()
			w.post(c.make, c.body).ok()
			require.Equal(t, 0.0, c.spend(w))
			w.setSpent(c.scope, 4*unit.Dollar)
			require.Equal(t, 1.0, c.spend(w))
			again := w.spending(c.table, c.id)
			require.Equal(t, 3*unit.Dollar, again.SpendBase)
			require.Greater(t, again.SpendFrom, w.now.Unix())

			// Once more within the same second, with credit of the one before out.
			w.mu.Lock()
			w.windows = map[model.Scope]int64{c.scope: again.SpendFrom}
			w.mu.Unlock()
			drop()
			w.post(c.make, c.body).ok()
			require.Equal(t, 0.0, c.spend(w))
			require.Equal(t, again.SpendFrom+1, w.spending(c.table, c.id).SpendFrom, "no node has heard of the window")
		})
	}
}

func TestNodesAreAskedOnlyAboutIdsThatSomebodyChose(t *testing.T) {
	w := newWorld(t, nil)
	w.key(`{}`)
	w.post("/team/new", `{"team_alias":"x"}`).ok()
	w.post("/user/new", `{"user_email":"a@x","auto_create_key":false}`).ok()
	require.Empty(t, w.lookedUp, "an id drawn at random was nobody's")
	w.post("/team/new", `{"team_id":"t"}`).ok()
	require.Len(t, w.lookedUp, 1)
}

func TestWhileANodeIsAwayEveryChosenIdBeginsAnew(t *testing.T) {
	w := newWorld(t, nil)
	w.away = []string{"n3"}
	a := w.post("/team/new", `{"team_id":"t"}`)
	require.Equal(t, 200, a.status)
	require.Equal(t, "n3", a.header["x-spend-without"])
	require.NotZero(t, w.spending(model.Teams, "t").SpendFrom, "only the lost node knows what it holds")
}

func TestSpendGivenWithTheMakingCountsInTheFirstWindow(t *testing.T) {
	w := newWorld(t, nil)
	sc := model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte("sk-again"))}
	w.setSpent(sc, 3*unit.Dollar)
	w.key(`{"key":"sk-again","max_budget":10,"spend":2}`)
	def, ok := w.store.State().BudgetOf(sc)
	require.True(t, ok)
	require.NotZero(t, def.From)
	require.Equal(t, 8*unit.Dollar, def.LimitIn(def.From))
	require.Equal(t, 10*unit.Dollar, def.LimitIn(0))
}

// TestResetOfABudgetYoungerThanItsSpendRaisesNoLimit: what the ledgers have and
// the budget has never counted must not come on top of it.
func TestResetOfABudgetYoungerThanItsSpendRaisesNoLimit(t *testing.T) {
	for name, c := range map[string]struct{ counted, limit unit.Money }{
		"all was counted":         {3 * unit.Dollar, 13 * unit.Dollar}, // of which 3 are spent
		"a part":                  {unit.Dollar, 10 * unit.Dollar},
		"none: the budget is new": {0, 10 * unit.Dollar},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			sc := model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte("sk-one"))}
			w.key(`{"key":"sk-one"}`)
			w.setSpent(sc, 3*unit.Dollar)
			w.post("/key/update", `{"key":"sk-one","max_budget":10}`).ok()
			w.mu.Lock()
			w.banked = map[model.Scope]unit.Money{sc: c.counted}
			w.mu.Unlock()
			w.post("/key/sk-one/reset_spend", `{"reset_to":0}`).ok()
			def, ok := w.store.State().BudgetOf(sc)
			require.True(t, ok)
			start, end := def.Span(w.now, nil)
			require.Zero(t, end)
			require.Equal(t, c.limit, def.LimitIn(start))
			require.Equal(t, c.counted != 3*unit.Dollar, start != 0, "a window that nothing was counted in yet")
		})
	}
}

func TestARotatedKeyTakesItsSpendAlongAndNothingElse(t *testing.T) {
	w := newWorld(t, nil)
	old := model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte("sk-one"))}
	w.setSpent(old, 3*unit.Dollar)
	w.key(`{"key":"sk-one"}`)
	w.setSpent(old, 4*unit.Dollar)
	w.post("/key/regenerate", `{"key":"sk-one","new_key":"sk-two"}`).ok()
	require.Equal(t, 1.0, w.get("/key/info?key=sk-two").field("info.spend"))
}
