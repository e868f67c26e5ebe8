package admin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/admin"
)

func TestUserAndFirstKeyAreOneMutation(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t1"}`).ok()
	w.post("/team/new", `{"team_id":"t2"}`).ok()
	n := len(w.seen)
	m := w.post("/user/new", `{"user_id":"ann","user_email":"Ann@x.io","user_role":"internal_user","max_budget":7,"models":["m"],
		"teams":["t1",{"team_id":"t2","max_budget_in_team":3,"user_role":"admin"}],"key_alias":"first","duration":"1d"}`).ok()
	require.Len(t, w.seen, n+1)
	require.Equal(t, "ann", m["user_id"])
	require.Equal(t, 7.0, m["max_budget"])
	require.Equal(t, []any{"t1", "t2"}, m["teams"])
	require.Equal(t, "first", m["key_alias"])
	require.NotEmpty(t, m["expires"])
	k, ok := w.store.State().KeyByHash(m["token"].(string))
	require.True(t, ok)
	require.Equal(t, "ann", k.UserID)
	require.Nil(t, k.MaxBudget, "the user's budget binds its keys; they have none of their own")
	member, ok := w.store.State().Member("t2", "ann")
	require.True(t, ok)
	b, _ := w.store.State().Budgets.Get(member.BudgetID)
	require.Equal(t, 3*unit.Dollar, *b.MaxBudget)

	info := w.get("/user/info?user_id=ann").ok()
	require.Len(t, info["keys"], 1)
	require.Len(t, info["teams"], 2)
	require.Equal(t, "Ann@x.io", info["user_info"].(map[string]any)["user_email"])
	w.get("/user/info?user_id=nobody").refused(404)
	w.post("/user/new", `{"user_id":"ann"}`).refused(409)
	w.post("/user/new", `{"user_email":"ann@X.io"}`).refused(409)
	w.post("/user/new", `{"teams":["nowhere"]}`).refused(404)
	require.Equal(t, []string{"password:value_error", "teams.0.user_role:literal_error", "user_role:literal_error"},
		w.post("/user/new", `{"password":"short","teams":[{"team_id":"t1","user_role":"boss"}],"user_role":"king"}`).wrong())
	require.Nil(t, w.post("/user/new", `{"auto_create_key":false}`).ok()["key"])
}

func TestInternalUsersGetTheConfiguredDefaults(t *testing.T) {
	limit := 5 * unit.Dollar
	w := newWorld(t, &model.Config{LiteLLM: model.LiteLLMSettings{
		DefaultInternalUser: json.RawMessage(`{"user_role":"internal_user","models":["m"]}`),
		InternalUserBudget:  &limit, InternalUserDuration: "30d"}})
	m := w.post("/user/new", `{}`).ok()
	require.Equal(t, "internal_user", m["user_role"])
	require.Equal(t, []any{"m"}, m["models"])
	require.Equal(t, 5.0, m["max_budget"])
	require.Equal(t, "30d", m["budget_duration"])
	require.Nil(t, w.post("/user/new", `{"user_role":"proxy_admin"}`).ok()["max_budget"])
	require.Equal(t, 1.0, w.post("/user/new", `{"max_budget":1}`).ok()["max_budget"])
}

func TestUserUpdateFindsByIDOrAddress(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/user/new", `{"user_id":"ann","user_email":"a@x.io"}`).ok()
	w.post("/user/new", `{"user_id":"bob","user_email":"b@x.io"}`).ok()
	require.Equal(t, "ann", w.post("/user/update", `{"user_email":"A@x.io","max_budget":2}`).ok()["user_id"])
	data := w.post("/user/update", `{"user_id":"ann","user_alias":"Ann"}`).ok()["data"].(map[string]any)
	require.Equal(t, 2.0, data["max_budget"])
	require.Equal(t, "Ann", data["user_alias"])
	w.post("/user/update", `{"user_id":"ann","user_email":"b@x.io"}`).refused(409)
	w.post("/user/update", `{"user_id":"nobody"}`).refused(404)
	require.Equal(t, []string{"user_id:missing"}, w.post("/user/update", `{}`).wrong())
}

func TestPasswordsAreHashedAndNeverShown(t *testing.T) {
	w := newWorld(t, nil)
	a := w.post("/user/new", `{"user_id":"ann","password":"correct horse"}`)
	a.ok()
	require.NotContains(t, string(a.body), "correct horse")
	require.NotContains(t, string(a.body), "pbkdf2")
	u, _ := w.store.State().Users.Get("ann")
	require.True(t, admin.PasswordMatches(u.PasswordHash, "correct horse"))
	require.False(t, admin.PasswordMatches(u.PasswordHash, "battery staple"))
	for _, broken := range []string{"", "x", "pbkdf2-sha256$0$$", "pbkdf2-sha256$999999999999$a$b", strings.Replace(u.PasswordHash, "$", "", 1)} {
		require.False(t, admin.PasswordMatches(broken, "correct horse"))
	}
}

func TestDeletedUserLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t","members_with_roles":[{"role":"admin","user_id":"ann"},{"role":"user","user_id":"bob"}]}`).ok()
	ann, _ := w.key(`{"user_id":"ann","team_id":"t"}`)
	w.key(`{"user_id":"ann"}`)
	_, bobs := w.key(`{"user_id":"bob"}`)
	n := len(w.seen)
	require.Equal(t, "1", string(w.post("/user/delete", `{"user_ids":["ann"]}`).body))
	require.Len(t, w.seen, n+1, "one mutation")
	s := w.store.State()
	_, ok := s.Users.Get("ann")
	require.False(t, ok)
	require.Equal(t, 1, s.Keys.Len())
	_, ok = s.KeyByHash(bobs)
	require.True(t, ok)
	_, ok = s.Member("t", "ann")
	require.False(t, ok)
	team, _ := s.Teams.Get("t")
	require.Len(t, team.Members, 1)
	w.call(ann, "GET", "/key/info", "").refused(401)
	w.post("/user/delete", `{"user_ids":["bob","ann"]}`).refused(404)
	_, ok = w.store.State().Users.Get("bob")
	require.True(t, ok, "all or nothing")
}

func TestUserListCountsKeysAndPages(t *testing.T) {
	w := newWorld(t, nil)
	for _, id := range []string{"a", "b", "c"} {
		w.post("/user/new", `{"user_id":"`+id+`","user_email":"`+id+`@x.io","user_role":"internal_user"}`).ok()
	}
	m := w.get("/user/list?page_size=2&role=internal_user").ok()
	require.Len(t, m["users"], 2)
	require.Equal(t, 3.0, m["total"])
	require.Equal(t, 2.0, m["total_pages"])
	require.Equal(t, 1.0, m["users"].([]any)[0].(map[string]any)["key_count"])
	require.Len(t, w.get("/user/list?user_ids=a,b").ok()["users"], 2)
	require.Len(t, w.get("/user/list?user_email=C@").ok()["users"], 1)
	require.Contains(t, w.get("/user/available_roles").ok(), "internal_user")
}

func TestTeamLifeInOneMutationEach(t *testing.T) {
	w := newWorld(t, nil)
	m := w.post("/team/new", `{"team_id":"t","team_alias":"Core","max_budget":100,"budget_duration":"7d","models":["m"],"metadata":{"x":1},"tags":["a"],
		"members_with_roles":[{"role":"admin","user_id":"lead"}],"team_member_budget":5,"model_aliases":{"fast":"m"},"tpm_limit":9}`).ok()
	require.Equal(t, "Core", m["team_alias"])
	require.Equal(t, "2026-01-19T00:00:00Z", m["budget_reset_at"])
	require.Equal(t, 5.0, m["team_member_budget_table"].(map[string]any)["max_budget"])
	require.Equal(t, map[string]any{"model_aliases": map[string]any{"fast": "m"}}, m["litellm_model_table"])
	n := len(w.seen)
	m = w.post("/team/member_add", `{"team_id":"t","member":[{"role":"user","user_id":"ann"},{"role":"user","user_email":"new@x.io"}],"max_budget_in_team":2}`).ok()
	require.Len(t, w.seen, n+1, "one mutation")
	require.Len(t, m["members_with_roles"], 3)
	require.Len(t, m["updated_users"], 2)
	require.Equal(t, 2.0, m["updated_team_memberships"].([]any)[0].(map[string]any)["litellm_budget_table"].(map[string]any)["max_budget"])
	created, ok := w.store.State().UserByEmail("new@x.io")
	require.True(t, ok)
	require.Equal(t, []string{"t"}, created.Teams)
	def, ok := w.store.State().BudgetOf(model.Scope{Dim: model.DimMember, ID: model.MemberID("t", "ann")})
	require.True(t, ok)
	require.Equal(t, 2*unit.Dollar, def.Limit)
	def, ok = w.store.State().BudgetOf(model.Scope{Dim: model.DimMember, ID: model.MemberID("t", "lead")})
	require.True(t, ok)
	require.Equal(t, 5*unit.Dollar, def.Limit, "the team's default for members")
	w.post("/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"ann"}}`).refused(400)
	require.Equal(t, []string{"member.0.role:literal_error", "member.1.user_id:value_error"},
		w.post("/team/member_add", `{"team_id":"t","member":[{"role":"boss","user_id":"x"},{}]}`).wrong())

	m = w.post("/team/member_update", `{"team_id":"t","user_id":"ann","max_budget_in_team":4,"role":"admin"}`).ok()
	require.Equal(t, 4.0, m["max_budget_in_team"])
	info := w.get("/team/info?team_id=t").ok()
	require.Equal(t, "admin", info["team_info"].(map[string]any)["members_with_roles"].([]any)[1].(map[string]any)["role"])
	require.Len(t, info["team_memberships"], 3)

	_, h := w.key(`{"team_id":"t","user_id":"ann"}`)
	m = w.post("/team/member_delete", `{"team_id":"t","user_id":"ann"}`).ok()
	require.Len(t, m["members_with_roles"], 2)
	_, ok = w.store.State().KeyByHash(h)
	require.False(t, ok, "keys in the team go with the member")
	w.post("/team/member_delete", `{"team_id":"t","user_id":"ann"}`).refused(400)

	data := w.post("/team/update", `{"team_id":"t","max_budget":null,"blocked":true,"team_member_budget":6}`).ok()["data"].(map[string]any)
	require.Nil(t, data["max_budget"])
	require.Equal(t, "Core", data["team_alias"])
	require.Equal(t, 6.0, data["team_member_budget_table"].(map[string]any)["max_budget"])
	require.Equal(t, false, w.post("/team/unblock", `{"team_id":"t"}`).ok()["blocked"])
	require.Equal(t, true, w.post("/team/block", `{"team_id":"t"}`).ok()["blocked"])
	require.Equal(t, []any{"m", "n"}, w.post("/team/model/add", `{"team_id":"t","models":["n"]}`).ok()["models"])
	require.Equal(t, []any{"n"}, w.post("/team/model/delete", `{"team_id":"t","models":["m"]}`).ok()["models"])
	w.post("/team/new", `{"team_id":"t"}`).refused(400)

	w.key(`{"team_id":"t"}`)
	require.Equal(t, []any{"t"}, w.post("/team/delete", `{"team_ids":["t"]}`).ok()["deleted_teams"])
	s := w.store.State()
	require.Zero(t, s.Keys.Len())
	require.Zero(t, s.Members.Len())
	created, _ = s.UserByEmail("new@x.io")
	require.Empty(t, created.Teams)
	w.get("/team/info?team_id=t").refused(404)
}

func TestOneMembersBudgetIsNotTheTeams(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/team/new", `{"team_id":"t","team_member_budget":5,"members_with_roles":[{"role":"user","user_id":"a"},{"role":"user","user_id":"b"}]}`).ok()
	w.post("/team/member_update", `{"team_id":"t","user_id":"a","max_budget_in_team":1}`).ok()
	for user, want := range map[string]unit.Money{"a": unit.Dollar, "b": 5 * unit.Dollar} {
		def, ok := w.store.State().BudgetOf(model.Scope{Dim: model.DimMember, ID: model.MemberID("t", user)})
		require.True(t, ok)
		require.Equal(t, want, def.Limit, user)
	}
}

func TestTeamAdminsManageTheirTeamOnly(t *testing.T) {
	w := newWorld(t, nil)
	lead, member := w.as("internal_user", "lead"), w.as("internal_user", "member")
	w.post("/team/new", `{"team_id":"t","members_with_roles":[{"role":"admin","user_id":"lead"},{"role":"user","user_id":"member"}]}`).ok()
	w.post("/team/new", `{"team_id":"other"}`).ok()
	_, h := w.key(`{"team_id":"t"}`)

	w.call(lead, "POST", "/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"x"}}`).ok()
	w.call(lead, "POST", "/team/member_add", `{"team_id":"other","member":{"role":"user","user_id":"x"}}`).refused(403)
	w.call(member, "POST", "/team/member_add", `{"team_id":"t","member":{"role":"user","user_id":"y"}}`).refused(403)
	w.call(lead, "POST", "/team/update", `{"team_id":"t","team_alias":"Mine"}`).ok()
	w.call(lead, "POST", "/team/update", `{"team_id":"t","max_budget":1000}`).refused(403)
	w.call(lead, "POST", "/key/generate", `{"team_id":"t","user_id":"member"}`).ok()
	w.call(lead, "POST", "/key/generate", `{"team_id":"other"}`).refused(403)
	w.call(member, "POST", "/key/generate", `{"team_id":"t"}`).refused(403)
	w.call(lead, "POST", "/key/update", `{"key":"`+h+`","max_budget":5}`).ok()
	w.call(lead, "POST", "/key/update", `{"key":"`+h+`","team_id":"other"}`).refused(403)
	w.call(member, "POST", "/key/update", `{"key":"`+h+`","key_alias":"x"}`).refused(403)
	w.call(member, "GET", "/team/info?team_id=t", "").ok()
	w.call(member, "GET", "/team/info?team_id=other", "").refused(403)
	require.Len(t, w.call(member, "GET", "/team/list", "").list(), 1)
	require.Len(t, w.get("/team/list").list(), 2)
	require.Equal(t, 2.0, w.get("/v2/team/list").ok()["total"])

	w.post("/team/update", `{"team_id":"t","team_member_permissions":["/key/generate"]}`).ok()
	made := w.call(member, "POST", "/key/generate", `{"team_id":"t"}`).ok()
	require.Equal(t, "member", made["user_id"])
}

func TestBudgetsAreKeptAndForgottenByAll(t *testing.T) {
	w := newWorld(t, nil)
	m := w.post("/budget/new", `{"budget_id":"gold","max_budget":12.34,"budget_duration":"1mo","rpm_limit":5}`).ok()
	require.Equal(t, 12.34, m["max_budget"])
	require.Equal(t, "2026-02-01T00:00:00Z", m["budget_reset_at"])
	w.post("/budget/new", `{"budget_id":"gold"}`).refused(400)
	require.NotEmpty(t, w.post("/budget/new", `{"max_budget":1}`).ok()["budget_id"])
	require.Equal(t, 20.0, w.post("/budget/update", `{"budget_id":"gold","max_budget":20}`).ok()["max_budget"])
	w.post("/budget/update", `{"budget_id":"lead"}`).refused(404)
	_, h := w.key(`{"budget_id":"gold"}`)
	require.Equal(t, 20.0, w.get("/key/info?key=" + h).ok()["info"].(map[string]any)["litellm_budget_table"].(map[string]any)["max_budget"])
	require.Len(t, w.post("/budget/info", `{"budgets":["gold","none"]}`).list(), 1)
	require.Len(t, w.get("/budget/list").list(), 2)
	require.Len(t, w.get("/budget/settings?budget_id=gold").list(), 6)
	w.get("/budget/settings?budget_id=none").refused(404)
	require.Equal(t, "gold", w.post("/budget/delete", `{"id":"gold"}`).ok()["budget_id"])
	k, _ := w.store.State().KeyByHash(h)
	require.Empty(t, k.BudgetID)
	w.post("/budget/delete", `{"id":"gold"}`).refused(404)
}

func TestCustomersOnBothRoots(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/budget/new", `{"budget_id":"shared","max_budget":9}`).ok()
	m := w.post("/customer/new", `{"user_id":"c","alias":"Cust","max_budget":3,"rpm_limit":2,"allowed_model_region":"eu"}`).ok()
	require.Equal(t, 3.0, m["litellm_budget_table"].(map[string]any)["max_budget"])
	def, ok := w.store.State().BudgetOf(model.Scope{Dim: model.DimEndUser, ID: "c"})
	require.True(t, ok)
	require.Equal(t, 3*unit.Dollar, def.Limit)
	w.post("/end_user/new", `{"user_id":"c"}`).refused(400)
	require.Equal(t, []string{"allowed_model_region:literal_error", "budget_id:value_error"},
		w.post("/customer/new", `{"user_id":"d","max_budget":1,"budget_id":"shared","allowed_model_region":"mars"}`).wrong())
	w.post("/customer/new", `{"user_id":"d","budget_id":"none"}`).refused(400)
	w.post("/customer/new", `{"user_id":"d","budget_id":"shared"}`).ok()
	w.post("/customer/new", `{"user_id":"e","budget_id":"shared"}`).ok()
	m = w.post("/customer/update", `{"user_id":"d","max_budget":1}`).ok()
	require.NotEqual(t, "shared", m["budget_id"], "a change for one is not a change for all")
	shared, _ := w.store.State().Budgets.Get("shared")
	require.Equal(t, 9*unit.Dollar, *shared.MaxBudget)
	own := w.store.State().Budgets.Len()
	w.post("/customer/update", `{"user_id":"d","max_budget":2}`).ok()
	require.Equal(t, own, w.store.State().Budgets.Len(), "its own row is changed in place")
	require.Equal(t, "c", w.get("/end_user/info?end_user_id=c").ok()["user_id"])
	w.get("/customer/info?end_user_id=none").refused(404)
	require.Len(t, w.get("/customer/list").list(), 3)
	require.Len(t, w.post("/customer/block", `{"user_ids":["c","fresh"]}`).ok()["blocked_users"], 2)
	require.Len(t, w.post("/customer/unblock", `{"user_ids":["c"]}`).ok()["unblocked_users"], 1)
	require.Len(t, w.post("/user/block", `{"user_ids":["c"]}`).ok()["blocked_users"], 1)
	require.Equal(t, 1.0, w.post("/customer/delete", `{"user_ids":["c"]}`).ok()["deleted_customers"])
	w.post("/customer/delete", `{"user_ids":["c"]}`).refused(404)
}

func TestIDsThatCouldBreakCompoundIDsAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for path, field := range map[string]string{"/team/new": "team_id", "/user/new": "user_id", "/budget/new": "budget_id", "/customer/new": "user_id"} {
		require.Contains(t, w.post(path, `{"`+field+`":"a\u001fb"}`).wrong(), field+":value_error", path)
		require.Contains(t, w.post(path, `{"`+field+`":"`+strings.Repeat("x", 513)+`"}`).wrong(), field+":value_error", path)
	}
}

// TestRowsHaveLiteLLMsFields holds the field sets of the answers to a file, so
// that a field that clients rely on cannot vanish unnoticed.
func TestRowsHaveLiteLLMsFields(t *testing.T) {
	w := newWorld(t, nil)
	fields := func(m any) string {
		names := []string{}
		for name := range m.(map[string]any) {
			names = append(names, name)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	key := w.post("/key/generate", `{"user_id":"u","team_id":null}`).ok()
	user := w.post("/user/new", `{"user_id":"u"}`).ok()
	team := w.post("/team/new", `{"team_id":"t","members_with_roles":[{"role":"user","user_id":"u"}]}`).ok()
	info := w.get("/team/info?team_id=t").ok()
	lines := []string{
		"/key/generate: " + fields(key),
		"/key/info: " + fields(w.get("/key/info?key=" + key["token"].(string)).ok()["info"]),
		"/key/list: " + fields(w.get("/key/list?return_full_object=true").ok()["keys"].([]any)[0]),
		"/user/new: " + fields(user),
		"/user/info: " + fields(w.get("/user/info?user_id=u").ok()["user_info"]),
		"/user/list: " + fields(w.get("/user/list").ok()["users"].([]any)[0]),
		"/team/new: " + fields(team),
		"/team/list: " + fields(w.get("/team/list").list()[0]),
		"/team/info membership: " + fields(info["team_memberships"].([]any)[0]),
		"/budget/new: " + fields(w.post("/budget/new", `{}`).ok()),
		"/customer/new: " + fields(w.post("/customer/new", `{"user_id":"c"}`).ok()),
	}
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", "rows.txt")
	want, err := os.ReadFile(path)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
