package admin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/admin"
)

// An object that somebody else deletes before the answer is written was made or
// changed all the same: others may have seen it so.
func TestChangeThatWasMadeIsAnsweredSoAlsoWhenTheObjectIsGone(t *testing.T) {
	const made = `{"model_name":"m","litellm_params":{"model":"openai/gpt-4o","api_key":"k"},"model_info":{"id":"dep"}}`
	for _, c := range []struct{ method, route, body, shows, again string }{
		{"POST", "/key/generate", `{"key":"sk-two"}`, `"key":"sk-two"`, ""},
		{"POST", "/key/update", `{"key":"sk-one","key_alias":"new"}`, `"key_alias":"new"`, "404"},
		{"POST", "/key/block", `{"key":"sk-one"}`, `"blocked":true`, "404"},
		{"POST", "/key/unblock", `{"key":"sk-one"}`, `"blocked":false`, "404"},
		{"POST", "/user/new", `{"user_id":"u2","user_email":"b@x"}`, `"user_email":"b@x"`, ""},
		{"POST", "/user/update", `{"user_id":"u","user_alias":"new"}`, `"user_alias":"new"`, ""},
		{"POST", "/team/new", `{"team_id":"t2","team_alias":"crew"}`, `"team_alias":"crew"`, ""},
		{"POST", "/team/update", `{"team_id":"t","team_alias":"new"}`, `"team_alias":"new"`, "404"},
		{"POST", "/team/block", `{"team_id":"t"}`, `"blocked":true`, "404"},
		{"POST", "/team/model/add", `{"team_id":"t","models":["m9"]}`, `"m9"`, "404"},
		{"POST", "/team/member_add", `{"team_id":"t","member":{"user_id":"new","role":"user"}}`, `"user_id":"new"`, "404"},
		{"POST", "/team/bulk_member_add", `{"team_id":"t","members":[{"user_id":"new","role":"user"}]}`, `"successful_additions":1`, "404"},
		{"POST", "/team/member_delete", `{"team_id":"t","user_id":"u"}`, `"team_id":"t"`, "404"},
		{"POST", "/budget/new", `{"budget_id":"b2","max_budget":3}`, `"max_budget":3`, ""},
		{"POST", "/budget/update", `{"budget_id":"b","max_budget":3}`, `"max_budget":3`, "404"},
		{"POST", "/customer/new", `{"user_id":"c2","max_budget":3}`, `"max_budget":3`, ""},
		{"POST", "/customer/update", `{"user_id":"c","alias":"new"}`, `"alias":"new"`, "404"},
		{"POST", "/customer/block", `{"user_ids":["c"]}`, `"blocked":true`, ""},
		{"POST", "/organization/new", `{"organization_id":"o2","organization_alias":"x"}`, `"organization_alias":"x"`, ""},
		{"PATCH", "/organization/update", `{"organization_id":"o","organization_alias":"new"}`, `"organization_alias":"new"`, "404"},
		{"POST", "/tag/new", `{"name":"g2","max_budget":3}`, `"max_budget":3`, ""},
		{"POST", "/tag/update", `{"name":"g","description":"new"}`, `"new"`, "404"},
		{"POST", "/model/new", strings.Replace(made, "dep", "dep2", 1), `"dep2"`, ""},
		{"POST", "/model/update", `{"model_info":{"id":"dep"},"litellm_params":{"rpm":7}}`, `"rpm":7`, ""},
	} {
		t.Run(c.route, func(t *testing.T) {
			w := newWorld(t, &model.Config{General: model.GeneralSettings{StoreModelInDB: true}})
			w.key(`{"key":"sk-one"}`)
			for _, x := range [][2]string{{"/user/new", `{"user_id":"u","auto_create_key":false}`}, {"/team/new", `{"team_id":"t"}`},
				{"/team/member_add", `{"team_id":"t","member":{"user_id":"u","role":"user"}}`}, {"/budget/new", `{"budget_id":"b","max_budget":1}`},
				{"/customer/new", `{"user_id":"c"}`}, {"/organization/new", `{"organization_id":"o","organization_alias":"o"}`}, {"/tag/new", `{"name":"g"}`}, {"/model/new", made}} {
				w.post(x[0], x[1]).ok()
			}
			d := w.a.Deps
			d.Mutate = func(ctx context.Context, m model.Mutation) (model.Result, error) {
				r, err := w.mutate(ctx, m)
				if err != nil || r.Conflict != nil {
					return r, err
				}
				gone := model.Mutation{ID: "deleted by another"}
				for _, ch := range m.Changes {
					gone.Changes = append(gone.Changes, model.Delete(ch.Table, ch.ID, nil))
				}
				_, err = w.mutate(ctx, gone)
				return r, err
			}
			var err error
			w.a, err = admin.New(d)
			require.NoError(t, err)
			a := w.call(master, c.method, c.route, c.body)
			require.Equal(t, 200, a.status, string(a.body))
			require.Contains(t, string(a.body), c.shows)
			if c.again != "" {
				require.Equal(t, 404, w.call(master, c.method, c.route, c.body).status)
			}
		})
	}
}
