package admin_test

import (
	"encoding/json"
	"testing"

	"tollgate/config/model"
)

// FuzzWrites sends any body to every route that takes one: each answer is JSON
// with a status that the API knows, and what was accepted can be read again.
func FuzzWrites(f *testing.F) {
	paths := []string{"/key/generate", "/key/update", "/key/delete", "/key/regenerate", "/key/block", "/v2/key/info", "/user/new", "/user/update",
		"/user/delete", "/team/new", "/team/update", "/team/member_add", "/team/member_update", "/team/member_delete", "/team/delete", "/team/model/add",
		"/budget/new", "/budget/update", "/budget/info", "/budget/delete", "/customer/new", "/customer/update", "/customer/block", "/model/new",
		"/model/update", "/model/delete", "/spend/calculate", "/utils/token_counter", "/global/spend/end_users"}
	for i, body := range []string{
		`{"key_alias":"a","max_budget":1e3,"duration":"1mo","metadata":{"tags":["x"]},"model_max_budget":{"m":{"budget_limit":"0.5","time_period":"1d"}}}`,
		`{"key":"k","max_budget":null,"temp_budget_increase":1,"temp_budget_expiry":"2026-02-01T00:00:00Z","model_rpm_limit":{"m":1}}`,
		`{"team_id":"t","member":[{"role":"user","user_email":"a@b"}],"max_budget_in_team":1}`,
		`{"user_id":"u","teams":[{"team_id":"t","max_budget_in_team":2}],"user_role":"internal_user"}`,
		`{"model_name":"m","litellm_params":{"model":"openai/x","api_key":"k"},"model_info":{"id":"m9"}}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`,
		`{"user_ids":["a"],"keys":["b"],"budgets":["c"],"id":"d"}`, `{}`, `[`, "\xff", `{"a":{"b":[1,2,{"c":null}]}}`,
	} {
		f.Add(byte(i), []byte(body))
	}
	w := newWorld(f, configWith(true))
	w.direct("POST", "/team/new", []byte(`{"team_id":"t"}`))
	w.direct("POST", "/key/generate", []byte(`{"key":"sk-k"}`))
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		path := paths[int(which)%len(paths)]
		ctx := w.direct("POST", path, body)
		switch ctx.Response.StatusCode() {
		case 200, 400, 404, 409, 422:
		default:
			t.Fatalf("%s answered %d: %s", path, ctx.Response.StatusCode(), ctx.Response.Body())
		}
		if !json.Valid(ctx.Response.Body()) {
			t.Fatalf("%s answered no JSON: %s", path, ctx.Response.Body())
		}
		var m struct{ Token string }
		if json.Unmarshal(ctx.Response.Body(), &m) == nil && len(m.Token) == 64 {
			if again := w.direct("GET", "/key/info?key="+m.Token, nil); again.Response.StatusCode() != 200 {
				t.Fatalf("made key is not readable: %s", again.Response.Body())
			}
		}
	})
}

// FuzzPaths asks for any path: none may panic, and ours are ours by method too.
func FuzzPaths(f *testing.F) {
	for _, p := range []string{"/key/info", "/key/x/regenerate", "/", "//", "/key/%2f/regenerate", "/spend/logs?start_date=x&end_date=y", "/key/list?page=99999999999&size=1"} {
		f.Add(p)
	}
	w := newWorld(f, &model.Config{})
	f.Fuzz(func(t *testing.T, path string) {
		if len(path) == 0 || path[0] != '/' {
			return
		}
		ctx := w.direct("GET", path, nil)
		if s := ctx.Response.StatusCode(); s >= 500 {
			t.Fatalf("%q answered %d: %s", path, s, ctx.Response.Body())
		}
	})
}
