package admin_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
)

func (a *answer) field(path string) any {
	a.t.Helper()
	var v any = a.ok()
	for part := range strings.SplitSeq(path, ".") {
		m, is := v.(map[string]any)
		require.True(a.t, is, "%s of %s", part, a.body)
		v = m[part]
	}
	return v
}

func (w *world) budget(sc model.Scope) *unit.Money {
	d, ok := w.store.State().BudgetOf(sc)
	if !ok {
		return nil
	}
	return &d.Limit
}

func TestOrganizationKeepsItsLimitsInARowOfItsOwn(t *testing.T) {
	w := newWorld(t, nil)
	acme := model.Scope{Dim: model.DimOrganization, ID: "acme"}
	m := w.post("/organization/new", `{"organization_id":"acme","organization_alias":"Acme","max_budget":5,"budget_duration":"30d","rpm_limit":9,
		"models":["a"],"metadata":{"model_rpm_limit":{"a":3},"x":1},"data_regions":["eu"],"object_permission":{"y":2}}`).ok()
	require.Equal(t, "Acme", m["organization_alias"])
	require.Equal(t, map[string]any{"model_rpm_limit": map[string]any{"a": 3.0}, "x": 1.0}, m["metadata"])
	require.Equal(t, 5.0, m["litellm_budget_table"].(map[string]any)["max_budget"])
	require.Equal(t, 5*unit.Dollar, *w.budget(acme))
	o, _ := w.store.State().Organizations.Get("acme")
	require.EqualValues(t, 3, o.ModelRPM["a"])
	require.Contains(t, w.post("/organization/new", `{"organization_id":"acme","organization_alias":"x"}`).refused(400), "already exists")

	row := o.BudgetID
	w.call(master, "PATCH", "/organization/update", `{"organization_id":"acme","max_budget":7,"models":[]}`).ok()
	require.Equal(t, 7*unit.Dollar, *w.budget(acme))
	o, _ = w.store.State().Organizations.Get("acme")
	require.Equal(t, row, o.BudgetID, "changed in place")
	require.Empty(t, o.Models)

	w.post("/budget/new", `{"budget_id":"shared","max_budget":1}`).ok()
	w.call(master, "PATCH", "/organization/update", `{"organization_id":"acme","budget_id":"shared"}`).ok()
	w.post("/tag/new", `{"name":"blue","budget_id":"shared"}`).ok()
	w.call(master, "PATCH", "/organization/update", `{"organization_id":"acme","max_budget":3}`).ok()
	require.Equal(t, 3*unit.Dollar, *w.budget(acme))
	require.Equal(t, unit.Dollar, *w.budget(model.Scope{Dim: model.DimTag, ID: "blue"}), "a change for one is not one for all")

	w.post("/budget/delete", `{"id":"shared"}`).ok()
	require.Nil(t, w.budget(model.Scope{Dim: model.DimTag, ID: "blue"}))
	require.Equal(t, []string{"budget_id:value_error"}, w.call(master, "PATCH", "/organization/update", `{"organization_id":"acme","budget_id":"x","max_budget":1}`).wrong())
	require.Equal(t, []string{"organization_alias:missing"}, w.post("/organization/new", `{}`).wrong())
	require.Contains(t, w.get("/organization/info?organization_id=none").refused(404), "Organization not found")
}

func TestOrganizationsMembersTeamsAndKeysGoWithIt(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/organization/new", `{"organization_id":"acme","organization_alias":"A","max_budget":5}`).ok()
	w.post("/organization/new", `{"organization_id":"other","organization_alias":"O"}`).ok()
	w.post("/team/new", `{"team_id":"t","organization_id":"acme"}`).ok()
	w.post("/team/new", `{"team_id":"stays","organization_id":"other"}`).ok()
	require.Contains(t, w.post("/team/new", `{"team_id":"x","organization_id":"none"}`).refused(400), "does not exist")
	require.Contains(t, w.post("/key/generate", `{"organization_id":"none"}`).refused(400), "does not exist")
	_, inTeam := w.key(`{"team_id":"t"}`)
	_, inOrg := w.key(`{"organization_id":"acme"}`)
	_, out := w.key(`{}`)
	m := w.post("/organization/member_add", `{"organization_id":"acme","member":{"role":"internal_user","user_email":"new@x.org"},"max_budget_in_organization":2}`).ok()
	who := m["updated_organization_memberships"].([]any)[0].(map[string]any)
	id := who["user_id"].(string)
	require.Equal(t, []any{"internal_user", "new@x.org", 2.0}, []any{who["user_role"], who["user_email"], who["litellm_budget_table"].(map[string]any)["max_budget"]})
	require.Equal(t, 2*unit.Dollar, *w.budget(model.Scope{Dim: model.DimOrgMember, ID: model.MemberID("acme", id)}))
	require.Contains(t, w.post("/organization/member_add", `{"organization_id":"acme","member":{"role":"internal_user","user_id":"`+id+`"}}`).refused(400), "already a member")

	changed := w.call(master, "PATCH", "/organization/member_update", `{"organization_id":"acme","user_email":"new@x.org","role":"org_admin","max_budget_in_organization":4}`).ok()
	require.Equal(t, "org_admin", changed["user_role"])
	require.Equal(t, 4*unit.Dollar, *w.budget(model.Scope{Dim: model.DimOrgMember, ID: model.MemberID("acme", id)}))
	info := w.get("/organization/info?organization_id=acme").ok()
	require.Len(t, info["members"], 1)
	require.Len(t, info["teams"], 1)
	require.Len(t, w.get("/organization/list").list(), 2)

	gone := w.call(master, "DELETE", "/organization/delete", `{"organization_ids":["acme"]}`).list()
	require.Len(t, gone, 1)
	s := w.store.State()
	for _, h := range []string{inTeam, inOrg} {
		_, ok := s.Keys.Get(h)
		require.False(t, ok)
	}
	_, ok := s.Keys.Get(out)
	require.True(t, ok)
	_, ok = s.Teams.Get("stays")
	require.True(t, ok)
	require.Equal(t, []int{1, 0, 1}, []int{s.Teams.Len(), s.OrgMembers.Len(), s.Organizations.Len()})
	require.Contains(t, w.call(master, "DELETE", "/organization/delete", `{"organization_ids":["acme"]}`).refused(404), "not found")
}

func TestOrganizationsAdminsManageWhatIsInIt(t *testing.T) {
	w := newWorld(t, nil)
	boss, plain := w.as("internal_user", "boss"), w.as("internal_user", "plain")
	for _, id := range []string{"acme", "other"} {
		w.post("/organization/new", `{"organization_id":"`+id+`","organization_alias":"`+id+`"}`).ok()
	}
	w.post("/organization/member_add", `{"organization_id":"acme","member":[{"role":"org_admin","user_id":"boss"},{"role":"internal_user","user_id":"plain"}]}`).ok()
	w.post("/team/new", `{"team_id":"theirs","organization_id":"other"}`).ok()
	for _, c := range []struct {
		who, method, path, body string
		status                  int
	}{
		{boss, "POST", "/team/new", `{"team_id":"t","organization_id":"acme"}`, 200},
		{boss, "POST", "/team/new", `{"team_id":"t2","organization_id":"other"}`, 403},
		{boss, "POST", "/team/new", `{"team_id":"t3"}`, 403},
		{plain, "POST", "/team/new", `{"team_id":"t4","organization_id":"acme"}`, 403},
		{boss, "POST", "/team/update", `{"team_id":"t","max_budget":5}`, 200},
		{boss, "POST", "/team/update", `{"team_id":"t","organization_id":"other"}`, 403},
		{boss, "POST", "/team/update", `{"team_id":"theirs","max_budget":5}`, 403},
		{boss, "POST", "/team/update", `{"team_id":"t","spend":0}`, 403},
		{boss, "POST", "/team/block", `{"team_id":"t"}`, 200},
		{boss, "POST", "/team/block", `{"team_id":"theirs"}`, 403},
		{boss, "POST", "/key/generate", `{"team_id":"t"}`, 200},
		{boss, "POST", "/key/generate", `{"team_id":"theirs"}`, 403},
		{boss, "GET", "/team/info?team_id=t", "", 200},
		{boss, "GET", "/team/info?team_id=theirs", "", 403},
		{boss, "POST", "/organization/member_add", `{"organization_id":"acme","member":{"role":"internal_user","user_id":"third"}}`, 200},
		{boss, "POST", "/organization/member_add", `{"organization_id":"other","member":{"role":"org_admin","user_id":"boss"}}`, 403},
		{plain, "POST", "/organization/member_add", `{"organization_id":"acme","member":{"role":"org_admin","user_id":"plain"}}`, 403},
		{plain, "PATCH", "/organization/member_update", `{"organization_id":"acme","user_id":"plain","role":"org_admin"}`, 403},
		{boss, "PATCH", "/organization/update", `{"organization_id":"acme","max_budget":500}`, 403},
		{boss, "DELETE", "/organization/delete", `{"organization_ids":["acme"]}`, 403},
		{plain, "GET", "/organization/info?organization_id=acme", "", 200},
		{plain, "GET", "/organization/info?organization_id=other", "", 403},
		{boss, "GET", "/organization/daily/activity?organization_ids=acme&start_date=2026-01-01&end_date=2026-01-02", "", 200},
		{boss, "GET", "/organization/daily/activity?organization_ids=other&start_date=2026-01-01&end_date=2026-01-02", "", 403},
		{plain, "POST", "/tag/new", `{"name":"x"}`, 403},
		{boss, "DELETE", "/organization/member_delete", `{"organization_id":"acme","user_id":"plain"}`, 200},
		{plain, "GET", "/organization/info?organization_id=acme", "", 403},
	} {
		require.Equal(t, c.status, w.call(c.who, c.method, c.path, c.body).status, "%s %s %s", c.method, c.path, c.body)
	}
	require.Len(t, w.call(boss, "GET", "/organization/list", "").list(), 1)
}

func TestTagsHaveBudgetsAndLimits(t *testing.T) {
	w := newWorld(t, &model.Config{LiteLLM: model.LiteLLMSettings{TagBudgets: map[string]model.ModelBudget{"yaml": {Max: 2 * unit.Dollar}}}})
	blue := model.Scope{Dim: model.DimTag, ID: "blue"}
	a := w.post("/tag/new", `{"name":"blue","description":"sky","max_budget":3,"budget_duration":"1d","tpm_limit":100}`)
	require.Equal(t, "Tag blue created successfully", a.field("message"))
	require.Equal(t, 3*unit.Dollar, *w.budget(blue))
	require.Contains(t, w.post("/tag/new", `{"name":"blue"}`).refused(400), "already exists")
	w.post("/tag/update", `{"name":"blue","max_budget":4,"budget_mode":"soft"}`).ok()
	d, _ := w.store.State().BudgetOf(blue)
	require.Equal(t, 4*unit.Dollar, d.Limit)
	require.True(t, d.Soft)
	w.setSpent(blue, unit.Dollar)
	info := w.post("/tag/info", `{"names":["blue","none"]}`).ok()
	require.Len(t, info, 1)
	row := info["blue"].(map[string]any)
	require.Equal(t, []any{"sky", 1.0}, []any{row["description"], row["spend"]})
	require.Equal(t, 50.0, row["limits"].([]any)[0].(map[string]any)["remaining"])
	require.Len(t, w.get("/tag/list").list(), 2, "those of the settings too")
	require.Equal(t, "Tag blue deleted successfully", w.post("/tag/delete", `{"name":"blue"}`).field("message"))
	require.Nil(t, w.budget(blue))
	require.Zero(t, w.store.State().Budgets.Len(), "its own row goes with it")
	require.Contains(t, w.post("/tag/update", `{"name":"blue"}`).refused(404), "not found")
	require.Contains(t, w.post("/tag/info", `{"names":["blue"]}`).refused(404), "not found")
}

func TestSeveralBudgetsAtOnceAreReadAndShown(t *testing.T) {
	w := newWorld(t, nil)
	key, hash := w.key(`{"budget_limits":[{"budget_duration":"1d","max_budget":1},{"time_period":"30min","budget_limit":"0.5"}]}`)
	require.Equal(t, unit.Dollar, *w.budget(model.WindowScope(model.DimKeyWindow, hash, "1d")))
	w.setSpent(model.WindowScope(model.DimKeyWindow, hash, "30m"), unit.Dollar/4)
	rows := w.get("/key/info?key=" + key).field("info.budget_limits").([]any)
	require.Len(t, rows, 2)
	second := rows[1].(map[string]any)
	require.Equal(t, []any{"30m", 0.5, 0.25}, []any{second["budget_duration"], second["max_budget"], second["spend"]})
	require.NotNil(t, second["reset_at"])
	w.post("/key/update", `{"key":"`+key+`","budget_limits":null}`).ok()
	require.Nil(t, w.budget(model.WindowScope(model.DimKeyWindow, hash, "1d")))
	w.post("/team/new", `{"team_id":"t","budget_limits":[{"budget_duration":"7d","max_budget":9}]}`).ok()
	require.Equal(t, 9*unit.Dollar, *w.budget(model.WindowScope(model.DimTeamWindow, "t", "7d")))
	require.Equal(t, []string{"budget_limits.0.budget_duration:missing", "budget_limits.1.max_budget:missing", "budget_limits.3.budget_duration:value_error", "budget_limits.4:model_attributes_type"},
		w.post("/key/generate", `{"budget_limits":[{"max_budget":1},{"budget_duration":"1d"},{"budget_duration":"2d","max_budget":1},{"budget_duration":"2d","max_budget":1},5]}`).wrong())
}

func TestReadsShowWhatAllNodesHaveSpentInOneQuestion(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t","rpm_limit":10}`).ok()
	for range 3 {
		w.key(`{"team_id":"t","tpm_limit":8}`)
	}
	w.setSpent(model.Scope{Dim: model.DimTeam, ID: "t"}, 3*unit.Dollar)
	w.mu.Lock()
	w.counted, w.away = nil, []string{"n3"}
	w.mu.Unlock()
	a := w.get("/team/info?team_id=t")
	require.Equal(t, 3.0, a.field("team_info.spend"))
	require.Equal(t, "n3", a.header["x-spend-without"])
	require.Len(t, w.counted, 1, "one question for the team and its keys")
	limits := a.field("team_info.limits").([]any)
	require.Equal(t, map[string]any{"scope": "team", "id": "t", "limit_type": "requests", "limit": 10.0, "remaining": 5.0, "reset_seconds": 30.0}, limits[0])
	require.Len(t, a.field("keys"), 3)
}

func TestSpendSetByHandCountsFromWhatAllNodesHaveSpent(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/organization/new", `{"organization_id":"acme","organization_alias":"A"}`).ok()
	acme := model.Scope{Dim: model.DimOrganization, ID: "acme"}
	w.setSpent(acme, 3*unit.Dollar)
	w.call(master, "PATCH", "/organization/update", `{"organization_id":"acme","spend":1}`).ok()
	require.Equal(t, 1.0, w.get("/organization/info?organization_id=acme").field("spend"))
	w.setSpent(acme, 5*unit.Dollar)
	require.Equal(t, 3.0, w.get("/organization/info?organization_id=acme").field("spend"))
}

func TestMembersLimitsAreSetWhenTheyJoinAndLater(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.post("/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"u"},"max_budget_in_team":2,"rpm_limit":5,"budget_duration":"1d"}`).ok()
	sc := model.Scope{Dim: model.DimMember, ID: "t\x1fu"}
	require.Equal(t, 2*unit.Dollar, *w.budget(sc))
	m := w.post("/team/member_update", `{"team_id":"t","user_id":"u","max_budget_in_team":3,"tpm_limit":7}`).ok()
	require.Equal(t, []any{3.0, 5.0, 7.0}, []any{m["max_budget_in_team"], m["rpm_limit"], m["tpm_limit"]})
	require.Equal(t, 3*unit.Dollar, *w.budget(sc))
}

func TestManyJoinATeamAtOnceAndMayBeSentAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	for _, u := range []string{"a", "b"} {
		w.post("/user/new", `{"user_id":"`+u+`","auto_create_key":false}`).ok()
	}
	const body = `{"team_id":"t","members":[{"user_id":"a","role":"admin"},{"user_email":"new@x.org"},{"user_id":"a"}],"max_budget_in_team":4}`
	for range 2 {
		m := w.post("/team/bulk_member_add", body).ok()
		require.Equal(t, []any{3.0, 3.0, 0.0}, []any{m["total_requested"], m["successful_additions"], m["failed_additions"]})
		require.Len(t, m["results"], 3)
		first := m["results"].([]any)[0].(map[string]any)
		require.Equal(t, "a", first["updated_user"].(map[string]any)["user_id"])
		require.Equal(t, 4.0, first["updated_team_membership"].(map[string]any)["litellm_budget_table"].(map[string]any)["max_budget"])
		require.Len(t, m["updated_team"].(map[string]any)["members_with_roles"], 2, "named twice, joined once")
	}
	require.Equal(t, 4*unit.Dollar, *w.budget(model.Scope{Dim: model.DimMember, ID: model.MemberID("t", "a")}))

	m := w.post("/team/bulk_member_add", `{"team_id":"t","all_users":true}`).ok()
	require.EqualValues(t, w.store.State().Users.Len(), m["total_requested"])
	for id := range w.store.State().Users.All() {
		_, in := w.store.State().Member("t", id)
		require.True(t, in, id)
	}
	w.post("/team/bulk_member_add", `{"team_id":"none","members":[{"user_id":"a"}]}`).refused(404)
	require.Equal(t, []string{"members:missing"}, w.post("/team/bulk_member_add", `{"team_id":"t"}`).wrong())
	many := strings.Repeat(`{"user_id":"a"},`, 501)
	require.Len(t, w.post("/team/bulk_member_add", `{"team_id":"t","members":[`+many[:len(many)-1]+`]}`).wrong(), 1)
	lead := w.post("/key/generate", `{"user_id":"a"}`).ok()["key"].(string)
	require.Equal(t, 200, w.call(lead, "POST", "/team/bulk_member_add", `{"team_id":"t","members":[{"user_id":"b"}]}`).status, "a team's own admin may")
	require.Equal(t, 403, w.call(lead, "POST", "/team/bulk_member_add", `{"team_id":"t","all_users":true}`).status, "but not name everybody")
}
