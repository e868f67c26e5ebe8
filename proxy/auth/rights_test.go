package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/auth"
)

func TestRolesMayCallTheirRoutes(t *testing.T) {
	const (
		viewer   = auth.RoleAdminViewer
		internal = auth.RoleInternal
		reader   = auth.RoleInternalViewer
		admin    = auth.RoleAdmin
		nobody   = "customer"
	)
	all := []string{admin, viewer, internal, reader, nobody}
	for _, tc := range []struct {
		path string
		read bool
		who  []string
	}{
		{"/v1/chat/completions", false, all},
		{"/chat/completions", false, all},
		{"/openai/deployments/gpt-4o/chat/completions", false, all},
		{"/engines/gpt-4o/completions", false, all},
		{"/v1/messages", false, all},
		{"/v1/models", true, all},
		{"/key/info", true, all},
		{"/model/info", true, all},
		{"/user/daily/activity", true, all},
		{"/key/generate", false, []string{admin, internal}},
		{"/key/abc/regenerate", false, []string{admin, internal}},
		{"/key/abc/reset_spend", false, []string{admin, internal}},
		{"/key/service-account/generate", false, []string{admin, internal}},
		{"/key/aliases", true, []string{admin, viewer, internal, reader}},
		{"/v2/user/info", true, []string{admin, viewer, internal, reader}},
		{"/v2/team/list", true, []string{admin, viewer, internal, reader}},
		{"/user/available_roles", true, []string{admin, viewer, internal, reader}},
		{"/team/daily/activity", true, []string{admin, viewer, internal, reader}},
		{"/team/update", false, []string{admin, internal}},
		{"/team/delete", false, []string{admin, internal}},
		{"/team/member_add", false, []string{admin, internal}},
		{"/team/member_update", false, []string{admin, internal}},
		{"/team/member_delete", false, []string{admin, internal}},
		{"/team/new", false, []string{admin}},
		{"/team/block", false, []string{admin}},
		{"/organization/info", true, []string{admin, viewer, internal, reader}},
		{"/organization/list", true, []string{admin, viewer, internal, reader}},
		{"/organization/new", false, []string{admin}},
		{"/organization/member_add", false, []string{admin}},
		{"/tag/new", false, []string{admin}},
		{"/key/block", false, []string{admin}},
		{"/user/new", false, []string{admin}},
		{"/user/update", false, []string{admin}},
		{"/model/new", false, []string{admin}},
		{"/budget/new", false, []string{admin}},
		{"/budget/list", true, []string{admin, viewer}},
		{"/global/spend", true, []string{admin, viewer}},
		{"/global/spend/keys", true, []string{admin, viewer, internal, reader}},
		{"/spend/logs", true, []string{admin, viewer, internal, reader}},
		{"/cluster/members", true, []string{admin, viewer}}, // its handler keeps the backup for admins
		{"/cluster", true, []string{admin, viewer}},
		{"/cluster/drain", false, []string{admin}},
		{"/cluster/config/apply", false, []string{admin}},
		{"/global/spend/reset", false, []string{admin, internal, reader}}, // its handler wants the master key
	} {
		for _, role := range all {
			p := auth.Principal{Role: role, Key: &model.Key{UserID: "u-1"}}
			ref := p.MayCallRoute(tc.path, tc.read)
			if contains(tc.who, role) {
				require.Nil(t, ref, "%s %s", role, tc.path)
				continue
			}
			require.NotNil(t, ref, "%s %s", role, tc.path)
			require.Equal(t, 403, ref.Status)
			require.Equal(t, "Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route="+
				tc.path+". Your role="+role+". Your user_id=u-1", ref.Message)
		}
		require.Nil(t, (&auth.Principal{Master: true}).MayCallRoute(tc.path, tc.read))
	}
}

func TestNothingButTheRoleOpensTheOperatorsRoutes(t *testing.T) {
	for _, p := range []auth.Principal{
		{Public: true},
		{Role: auth.RoleInternal, Key: &model.Key{AllowedRoutes: []string{"/cluster/*"}}},
		{Role: auth.RoleInternal, Key: &model.Key{Permissions: []byte(`{"get_spend_routes":true}`)}},
	} {
		for _, path := range []string{"/cluster/status", "/cluster/backup"} {
			ref := p.MayCallRoute(path, true)
			require.NotNil(t, ref)
			require.Equal(t, 403, ref.Status)
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func TestAllowedRoutesOfAKeyBindEvenAdmins(t *testing.T) {
	for _, tc := range []struct {
		list []string
		path string
		ok   bool
	}{
		{[]string{"/chat/completions"}, "/v1/chat/completions", true},
		{[]string{"/v1/chat/completions"}, "/chat/completions", true},
		{[]string{"/chat/completions"}, "/v1/embeddings", false},
		{[]string{"llm_api_routes"}, "/v1/embeddings", true},
		{[]string{"llm_api_routes"}, "/v1/messages", true},
		{[]string{"llm_api_routes"}, "/v1/models", true},
		{[]string{"llm_api_routes"}, "/key/info", false},
		{[]string{"openai_routes"}, "/v1/messages", false},
		{[]string{"anthropic_routes"}, "/v1/messages", true},
		{[]string{"info_routes"}, "/key/info", true},
		{[]string{"info_routes"}, "/v1/chat/completions", false},
		{[]string{"management_routes"}, "/key/generate", true},
		{[]string{"management_routes"}, "/v1/chat/completions", false},
		{[]string{"spend_tracking_routes"}, "/spend/logs", true},
		{[]string{"/key/*"}, "/key/generate", true},
		{[]string{"/key/*"}, "/user/new", false},
	} {
		p := auth.Principal{Role: auth.RoleAdmin, Key: &model.Key{AllowedRoutes: tc.list}}
		ref := p.MayCallRoute(tc.path, false)
		require.Equal(t, tc.ok, ref == nil, "%v %s", tc.list, tc.path)
		if ref != nil {
			require.Equal(t, 403, ref.Status)
			require.Contains(t, ref.Message, "not allowed to call this route")
		}
	}
}

func TestPermissionOpensSpendRoutes(t *testing.T) {
	for text, ok := range map[string]bool{`{"get_spend_routes": true}`: true, `{"get_spend_routes":false}`: false, `{}`: false, ``: false,
		`{"note":"get_spend_routes true"}`: false, `{"x":"\"get_spend_routes\": true"}`: false} {
		p := auth.Principal{Role: "customer", Key: &model.Key{Permissions: []byte(text)}}
		require.Equal(t, ok, p.MayCallRoute("/spend/logs", true) == nil, text)
	}
}

func TestModelListsOpenWhatTheyName(t *testing.T) {
	team := func(models ...string) *model.Team { return &model.Team{ID: "t", Models: models} }
	for name, tc := range map[string]struct {
		key   []string
		team  *model.Team
		user  *model.User
		alias map[string]string
		ask   string
		who   string // the refusing list; "" is allowed
	}{
		"empty is all":                   {ask: "m"},
		"named":                          {key: []string{"a", "m"}, ask: "m"},
		"not named":                      {key: []string{"a", "b"}, ask: "m", who: "key"},
		"star":                           {key: []string{"*"}, ask: "m"},
		"all proxy models":               {key: []string{"all-proxy-models"}, ask: "m"},
		"wildcard":                       {key: []string{"openai/*"}, ask: "openai/gpt-4o"},
		"wildcard of another":            {key: []string{"openai/*"}, ask: "anthropic/x", who: "key"},
		"inner wildcard":                 {key: []string{"bedrock/us.*"}, ask: "bedrock/us.anthropic.x"},
		"team too":                       {key: []string{"m"}, team: team("m"), ask: "m"},
		"not the team":                   {key: []string{"m"}, team: team("a"), ask: "m", who: "team"},
		"all team models":                {key: []string{"all-team-models"}, team: team("m"), ask: "m"},
		"all team models, not that":      {key: []string{"all-team-models"}, team: team("a"), ask: "m", who: "key"},
		"all team models without a team": {key: []string{"all-team-models"}, ask: "m"},
		"user of a key without team":     {user: &model.User{ID: "u", Models: []string{"a"}}, ask: "m", who: "user"},
		"user is not asked under a team": {user: &model.User{ID: "u", Models: []string{"a"}}, team: team("m"), ask: "m"},
		"alias":                          {key: []string{"m"}, alias: map[string]string{"fast": "m"}, ask: "fast"},
		"alias into nothing allowed":     {key: []string{"fast"}, alias: map[string]string{"fast": "m"}, ask: "fast", who: "key"},
	} {
		t.Run(name, func(t *testing.T) {
			p := auth.Principal{Key: &model.Key{Models: tc.key, Aliases: tc.alias}, Team: tc.team, User: tc.user}
			s := state1(t)
			for old, status := range map[bool]int{false: 403, true: 401} {
				ref := p.MayUseModel(s, tc.ask, old)
				if ref == nil {
					ref = p.MayUseModelOfOwners(s, tc.ask, old)
				}
				if tc.who == "" {
					require.Nil(t, ref)
					continue
				}
				require.NotNil(t, ref)
				require.Equal(t, []any{status, tc.who + "_model_access_denied", "model"}, []any{ref.Status, ref.Type, ref.Param})
				require.Contains(t, ref.Message, tc.who+" not allowed to access model. This "+tc.who+" can only access models=['")
				require.Contains(t, ref.Message, ". Tried to access "+tc.ask)
			}
		})
	}
}

func TestUserWithoutDefaultModelsIsToldSo(t *testing.T) {
	p := auth.Principal{Key: &model.Key{}, User: &model.User{ID: "u", Models: []string{"no-default-models"}}}
	ref := p.MayUseModelOfOwners(state1(t), "m", false)
	require.Equal(t, []any{401, "key_model_access_denied", "model",
		"User not allowed to access model. No default model access, only team models allowed. Tried to access m"},
		[]any{ref.Status, ref.Type, ref.Param, ref.Message})
}

func TestBlockedTeamIsToldBeforeItsModels(t *testing.T) {
	p := auth.Principal{Key: &model.Key{}, Team: &model.Team{ID: "t", Blocked: true, Models: []string{"a"}}}
	ref := p.MayUseModelOfOwners(state1(t), "m", false)
	require.Equal(t, "Authentication Error, Team=t is blocked. Update via `/team/unblock` if you're an admin.", ref.Message)
}

func TestManagersOfAnOrganizationMayCallItsRoutes(t *testing.T) {
	for _, role := range []string{auth.RoleInternal, auth.RoleOrgAdmin} {
		for path, ok := range map[string]bool{"/organization/member_add": true, "/team/new": true, "/team/block": true,
			"/organization/new": false, "/organization/update": false, "/organization/delete": false, "/tag/new": false, "/budget/new": false} {
			p := auth.Principal{Role: role, Key: &model.Key{}, OrgAdmin: true}
			require.Equal(t, ok, p.MayCallRoute(path, false) == nil, "%s %s", role, path)
			p.OrgAdmin = false
			require.NotNil(t, p.MayCallRoute(path, false), "%s %s", role, path)
		}
	}
}
