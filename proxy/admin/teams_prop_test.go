package admin_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMembershipIsToldAlikeEverywhere: whatever is done to teams and users, a
// membership row, the team's list and the user's list say the same, no key
// belongs to a user or team that was deleted, and each call is one mutation.
func TestMembershipIsToldAlikeEverywhere(t *testing.T) {
	w := newWorld(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		for id := range w.store.State().Teams.All() {
			w.post("/team/delete", `{"team_ids":["`+id+`"]}`).ok()
		}
		for id := range w.store.State().Users.All() {
			w.direct("POST", "/user/delete", []byte(`{"user_ids":["`+id+`"]}`))
		}
		team := rapid.SampledFrom([]string{"t1", "t2", "t3"})
		user := rapid.SampledFrom([]string{"u1", "u2", "u3", "u4"})
		role := rapid.SampledFrom([]string{"user", "admin"})
		one := func(path, body string) {
			before := len(w.seen)
			ctx := w.direct("POST", path, []byte(body))
			wrote := len(w.seen) - before
			if ok := ctx.Response.StatusCode() == 200; ok && wrote > 1 || !ok && wrote != 0 {
				rt.Fatalf("%s %s: status %d with %d mutations", path, body, ctx.Response.StatusCode(), wrote)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"team": func(rt *rapid.T) {
				one("/team/new", `{"team_id":"`+team.Draw(rt, "t")+`","members_with_roles":[{"role":"user","user_id":"`+user.Draw(rt, "u")+`"}],"team_member_budget":1}`)
			},
			"user": func(rt *rapid.T) {
				one("/user/new", `{"user_id":"`+user.Draw(rt, "u")+`","teams":["`+team.Draw(rt, "t")+`",{"team_id":"`+team.Draw(rt, "t2")+`","max_budget_in_team":2}]}`)
			},
			"add": func(rt *rapid.T) {
				one("/team/member_add", `{"team_id":"`+team.Draw(rt, "t")+`","member":[{"role":"`+role.Draw(rt, "r")+`","user_id":"`+user.Draw(rt, "u")+
					`"},{"role":"user","user_id":"`+user.Draw(rt, "v")+`"}],"max_budget_in_team":3}`)
			},
			"change": func(rt *rapid.T) {
				one("/team/member_update", `{"team_id":"`+team.Draw(rt, "t")+`","user_id":"`+user.Draw(rt, "u")+`","role":"`+role.Draw(rt, "r")+`","rpm_limit":1}`)
			},
			"remove": func(rt *rapid.T) {
				one("/team/member_delete", `{"team_id":"`+team.Draw(rt, "t")+`","user_id":"`+user.Draw(rt, "u")+`"}`)
			},
			"key": func(rt *rapid.T) {
				one("/key/generate", `{"team_id":"`+team.Draw(rt, "t")+`","user_id":"`+user.Draw(rt, "u")+`"}`)
			},
			"dropTeam": func(rt *rapid.T) { one("/team/delete", `{"team_ids":["`+team.Draw(rt, "t")+`"]}`) },
			"dropUser": func(rt *rapid.T) { one("/user/delete", `{"user_ids":["`+user.Draw(rt, "u")+`"]}`) },
			"": func(rt *rapid.T) {
				s := w.store.State()
				rows := 0
				for id, tm := range s.Teams.All() {
					for _, m := range tm.Members {
						rows++
						_, ok := s.Member(id, m.UserID)
						require.True(rt, ok, "%s in %s has a row", m.UserID, id)
						u, ok := s.Users.Get(m.UserID)
						require.True(rt, ok, "%s exists", m.UserID)
						require.Equal(rt, 1, count(u.Teams, id))
					}
				}
				require.Equal(rt, rows, s.Members.Len())
				listed := 0
				for _, u := range s.Users.All() {
					listed += len(u.Teams)
				}
				require.Equal(rt, rows, listed)
				for _, k := range s.Keys.All() {
					if k.TeamID != "" {
						_, ok := s.Teams.Get(k.TeamID)
						require.True(rt, ok, "a key's team exists")
					}
				}
			},
		})
	})
}

func count(list []string, s string) int {
	return len(slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x != s }))
}
