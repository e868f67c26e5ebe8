package admin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/proxy/auth"
)

// TestEveryBudgetsWindowEndsWhenTheAPISaysSo: budget_reset_at of whatever has a
// budget, of its own or by a row that others share, is the end of the window that
// the bank grants from; at any moment, in any zone.
func TestEveryBudgetsWindowEndsWhenTheAPISaysSo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}).Draw(r, "zone")
		every := rapid.SampledFrom([]string{"45s", "30m", "7h", "1d", "2d", "3d", "7d", "45d", "1mo", "3mo", "2w"}).Draw(r, "every")
		w := newWorld(t, &model.Config{LiteLLM: model.LiteLLMSettings{Timezone: zone}})
		loc, err := time.LoadLocation(zone)
		require.NoError(r, err)
		pass := func(what string) {
			w.mu.Lock()
			w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(r, what)))
			w.mu.Unlock()
		}
		const limit = `"max_budget":1,"budget_duration":`
		own := limit + `"` + every + `"`
		w.post("/budget/new", `{"budget_id":"row",`+own+`}`).ok()
		pass("until objects are made")
		w.key(`{"key":"sk-own",` + own + `,"budget_limits":[{"budget_duration":"` + every + `","max_budget":1}]}`)
		w.key(`{"key":"sk-row","budget_id":"row"}`)
		w.post("/team/new", `{"team_id":"t",`+own+`}`).ok()
		w.post("/user/new", `{"user_id":"u","auto_create_key":false,`+own+`}`).ok()
		w.post("/customer/new", `{"user_id":"c","budget_id":"row"}`).ok()
		w.post("/organization/new", `{"organization_id":"o","organization_alias":"o","budget_id":"row"}`).ok()
		w.post("/tag/new", `{"name":"g",`+own+`}`).ok()
		w.post("/team/member_add", `{"team_id":"t","member":{"user_id":"u","role":"user"},"max_budget_in_team":1,"budget_duration":"`+every+`"}`).ok()
		pass("until asked")
		key, row := auth.Hash([]byte("sk-own")), auth.Hash([]byte("sk-row"))
		for _, c := range []struct {
			scope        model.Scope
			route, field string
		}{
			{model.Scope{Dim: model.DimKey, ID: key}, "/key/info?key=sk-own", "info.budget_reset_at"},
			{model.WindowScope(model.DimKeyWindow, key, every), "/key/info?key=sk-own", "info.budget_limits.0.reset_at"},
			{model.Scope{Dim: model.DimKey, ID: row}, "/key/info?key=sk-row", "info.litellm_budget_table.budget_reset_at"},
			{model.Scope{Dim: model.DimTeam, ID: "t"}, "/team/info?team_id=t", "team_info.budget_reset_at"},
			{model.Scope{Dim: model.DimMember, ID: model.MemberID("t", "u")}, "/team/info?team_id=t", "team_memberships.0.litellm_budget_table.budget_reset_at"},
			{model.Scope{Dim: model.DimUser, ID: "u"}, "/user/info?user_id=u", "user_info.budget_reset_at"},
			{model.Scope{Dim: model.DimEndUser, ID: "c"}, "/customer/info?end_user_id=c", "litellm_budget_table.budget_reset_at"},
			{model.Scope{Dim: model.DimOrganization, ID: "o"}, "/organization/info?organization_id=o", "litellm_budget_table.budget_reset_at"},
			{model.Scope{Dim: model.DimTag, ID: "g"}, "", "g.litellm_budget_table.budget_reset_at"},
		} {
			def, ok := w.store.State().BudgetOf(c.scope)
			require.True(r, ok, "%v", c.scope)
			_, end := def.Span(w.now, loc)
			a := w.get(c.route)
			if c.scope.Dim == model.DimTag {
				a = w.post("/tag/info", `{"names":["g"]}`)
			}
			at, err := time.Parse(time.RFC3339, gjson.GetBytes(a.body, c.field).Str)
			require.NoError(r, err, "%s: %s", c.field, a.body)
			require.Equal(r, end, at.Unix(), "%s: the API says %s, the bank %s", c.scope.Dim, at, time.Unix(end, 0).UTC())
		}
	})
}
