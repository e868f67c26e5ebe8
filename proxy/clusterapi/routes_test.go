package clusterapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/clusterapi"
)

func TestRequestsBecomeOperations(t *testing.T) {
	cases := []struct {
		method, path, body string
		asked              string
		status             int
		answer             string // a part of it
	}{
		{"GET", "/cluster/members", "", "members", 200, `"members":[{"id":"01A"`},
		{"GET", "/cluster/status", "", "status", 200, `"quorum":true`},
		{"GET", "/cluster/tokens", "", "tokens", 200, `{"tokens":[]}`},
		{"POST", "/cluster/token", "", "token node 1h0m0s 1 by default_user_id", 200, `"token":"tgj1-secret"`},
		{"POST", "/cluster/tokens", `{"role":"witness","ttl":"30m","uses":3}`, "token witness 30m0s 3 by default_user_id", 200, `"id":"t1"`},
		{"DELETE", "/cluster/tokens?id=t1", "", "revoke t1", 200, `{"revoked":"t1"}`},
		{"DELETE", "/cluster/tokens", `{"id":"t2"}`, "revoke t2", 200, `{"revoked":"t2"}`},
		{"POST", "/cluster/drain", `{"on":true}`, "drain true", 200, `{"draining":true}`},
		{"POST", "/cluster/drain", "", "drain true", 200, `{"draining":true}`},
		{"POST", "/cluster/drain", `{"on":false}`, "drain false", 200, `{"draining":false}`},
		{"POST", "/cluster/leave", "{}", "leave", 202, `{"leaving":true}`},
		{"POST", "/cluster/forget", `{"node":"node-3"}`, "forget node-3", 200, `{"forgotten":"node-3"}`},
		{"POST", "/cluster/transfer-leadership", `{"to":"node-2"}`, `transfer "node-2"`, 200, `{"leader":"node-2"}`},
		{"POST", "/cluster/transfer-leadership", `{"to":null}`, `transfer ""`, 200, `{"leader":"node-2"}`},
		{"GET", "/cluster/config", "", "config", 404, "no configuration yet"},
		{"GET", "/cluster/config/7", "", "config 7", 404, "no config version 7"},
		{"GET", "/cluster/config/history", "", "history", 200, `{"versions":[{`},
		{"POST", "/cluster/config/rollback", `{"version":3}`, "rollback 3 by default_user_id", 200, `"number":9`},
		{"GET", "/cluster/config/diff", "", "diff  map[]", 200, `"same":true`},
		{"POST", "/cluster/config/diff", `{"text":"a: 1","env":{"A":"x"}}`, "diff a: 1 map[A:x]", 200, `"same":true`},
		{"POST", "/cluster/config/apply", `{"text":"a: 1"}`, "apply false a: 1 map[] by default_user_id", 200, `{"changed":true,"number":4`},
		{"POST", "/cluster/config/apply", "", "apply true  map[] by default_user_id", 200, `"number":4`},
		{"GET", "/cluster/secrets/rotate", "", "rotation", 200, `"pending":["node-2"]`},
		{"POST", "/cluster/secrets/rotate", `{"new_kek":"0123456789abcdef"}`, "rotate 0123456789abcdef", 200, `"current":"ab"`},
		{"POST", "/cluster/secrets/finish", "", "finish", 200, `"current":"ab"`},
		{"POST", "/cluster/gossip/rotate", "", "gossip", 200, `{"done":true}`},
		{"GET", "/cluster/import/litellm", "", "importing", 200, `{"state":"none","node":"node-1","done":0,"total":0}`},
		{"POST", "/cluster/import/litellm", `{"from":"postgres://u:p@host/db"}`, "import postgres://u:p@host/db by default_user_id", 202, `"state":"running"`},
		{"GET", "/cluster/backup", "", "backup", 200, ""},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			w := newWorld(t)
			a := w.call("master", c.method, c.path, c.body)
			require.NoError(t, a.err)
			require.Equal(t, c.status, a.status, a.body)
			require.Contains(t, a.body, c.answer)
			require.Equal(t, []string{c.asked}, w.f.calls())
		})
	}
}

func TestEveryFieldIsCheckedBeforeAnythingIsAsked(t *testing.T) {
	cases := []struct {
		method, path, body string
		want               []string // place and type of each fault
	}{
		{"POST", "/cluster/token", `{"ttl":"25h","uses":0,"role":"king","color":1}`, []string{"color:extra_forbidden", "role:literal_error", "ttl:value_error", "uses:int_type"}},
		{"POST", "/cluster/token", `{"ttl":60,"uses":1.5,"role":[]}`, []string{"role:string_type", "ttl:string_type", "uses:int_type"}},
		{"POST", "/cluster/token", `{"ttl":"soon","uses":1001}`, []string{"ttl:value_error", "uses:int_type"}},
		{"DELETE", "/cluster/tokens", "", []string{"id:missing"}},
		{"DELETE", "/cluster/tokens?id=a", `{"id":"b"}`, []string{"id:value_error"}},
		{"POST", "/cluster/drain", `{"on":"yes"}`, []string{"on:bool_type"}},
		{"POST", "/cluster/leave", `{"now":true}`, []string{"now:extra_forbidden"}},
		{"POST", "/cluster/forget", "", []string{"node:missing"}},
		{"POST", "/cluster/forget", `{"node":""}`, []string{"node:value_error"}},
		{"POST", "/cluster/forget", `{"node":"a\u0001"}`, []string{"node:value_error"}},
		{"POST", "/cluster/transfer-leadership", `{"to":3}`, []string{"to:string_type"}},
		{"POST", "/cluster/config/rollback", `{}`, []string{"version:missing"}},
		{"POST", "/cluster/config/rollback", `{"version":0}`, []string{"version:int_type"}},
		{"POST", "/cluster/config/rollback", `{"version":"2"}`, []string{"version:int_type"}},
		{"POST", "/cluster/config/apply", `{"text":" "}`, []string{"text:value_error"}},
		{"POST", "/cluster/config/apply", `{"env":{"A":"x"}}`, []string{"env:value_error"}},
		{"POST", "/cluster/config/apply", `{"text":"a: 1","env":{"A":1}}`, []string{"env.A:string_type"}},
		{"POST", "/cluster/config/diff", `{"text":"a: 1","env":{"A=B":"x"}}`, []string{"env.A=B:value_error"}},
		{"POST", "/cluster/config/diff", `{"text":1,"env":2}`, []string{"env:dict_type", "text:string_type"}},
		{"POST", "/cluster/secrets/rotate", `{}`, []string{"new_kek:missing"}},
		{"POST", "/cluster/secrets/rotate", `{"new_kek":"short"}`, []string{"new_kek:value_error"}},
		{"POST", "/cluster/secrets/finish", `{"force":true}`, []string{"force:extra_forbidden"}},
		{"POST", "/cluster/gossip/rotate", `{"key":"x"}`, []string{"key:extra_forbidden"}},
		{"POST", "/cluster/import/litellm", `{}`, []string{"from:missing"}},
		{"POST", "/cluster/import/litellm", `{"from":"","dry":true}`, []string{"dry:extra_forbidden", "from:value_error"}},
	}
	for _, c := range cases {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			w := newWorld(t)
			a := w.call("master", c.method, c.path, c.body)
			require.Equal(t, 422, a.status, a.body)
			var m struct {
				Detail []struct {
					Loc       []string
					Msg, Type string
				}
			}
			require.NoError(t, json.Unmarshal([]byte(a.body), &m))
			var got []string
			for _, d := range m.Detail {
				require.NotEmpty(t, d.Msg)
				require.Equal(t, "body", d.Loc[0])
				got = append(got, strings.Join(d.Loc[1:], ".")+":"+d.Type)
			}
			require.Equal(t, c.want, got)
			require.Empty(t, w.f.calls())
		})
	}
}

func TestABodyThatIsNoObjectIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{"[1]", "{", `"x"`, `{"node":"a","node":"b"}`, "null x"} {
		a := w.call("master", "POST", "/cluster/forget", body)
		require.Equal(t, 400, a.status, body)
		message, _ := w.message(a)
		require.Contains(t, message, "Invalid JSON payload")
	}
	require.Empty(t, w.f.calls())
}

func TestOnlyProxyAdminsOperateAndViewersOnlyLook(t *testing.T) {
	cases := []struct {
		role, method, path string
		status             int
	}{
		{"master", "POST", "/cluster/drain", 200},
		{"proxy_admin", "POST", "/cluster/drain", 200},
		{"proxy_admin", "GET", "/cluster/backup", 200},
		{"proxy_admin_viewer", "GET", "/cluster/members", 200},
		{"proxy_admin_viewer", "GET", "/cluster/secrets/rotate", 200},
		{"proxy_admin_viewer", "GET", "/cluster/config/diff", 200},
		{"proxy_admin_viewer", "GET", "/cluster/backup", 403},
		{"proxy_admin_viewer", "POST", "/cluster/drain", 403},
		{"proxy_admin_viewer", "DELETE", "/cluster/tokens?id=a", 403},
		{"internal_user", "GET", "/cluster/members", 403},
		{"internal_user_viewer", "GET", "/cluster/status", 403},
		{"", "GET", "/cluster/status", 403},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.role, " ", c.method, " ", c.path), func(t *testing.T) {
			w := newWorld(t)
			a := w.call(c.role, c.method, c.path, "")
			require.Equal(t, c.status, a.status, a.body)
			if c.status == 403 {
				message, _ := w.message(a)
				require.Contains(t, message, "proxy_admin")
				require.Contains(t, message, "Your role="+c.role)
				require.Empty(t, w.f.calls())
			}
		})
	}
}

func TestAFaultOfTheCallerIsToldWithItsCodeAndAnOutageIs503(t *testing.T) {
	cases := []struct {
		err    error
		status int
		code   string
	}{
		{&clusterapi.Fault{Status: 404, Code: "unknown_node", Message: "There is no node x."}, 404, "unknown_node"},
		{fmt.Errorf("forget: %w", &clusterapi.Fault{Status: 409, Code: "alive", Message: "node-2 is alive."}), 409, "alive"},
		{&clusterapi.Fault{Code: "odd", Message: "No status."}, 400, "odd"},
		{&clusterapi.Fault{Status: 503, Code: "no_leader", Message: "None."}, 503, "no_leader"},
		{errAway, 503, "no_quorum"},
	}
	paths := [][2]string{{"GET", "/cluster/members"}, {"POST", "/cluster/leave"}, {"GET", "/cluster/config"}, {"POST", "/cluster/config/apply"},
		{"GET", "/cluster/backup"}, {"POST", "/cluster/gossip/rotate"}, {"GET", "/cluster/tokens"}, {"POST", "/cluster/secrets/finish"}}
	for _, c := range cases {
		for _, p := range paths {
			w := newWorld(t)
			w.f.err = c.err
			a := w.call("master", p[0], p[1], "")
			require.Equal(t, c.status, a.status, "%s %v", p, c.err)
			message, code := w.message(a)
			require.Equal(t, c.code, code)
			var f *clusterapi.Fault
			if errors.As(c.err, &f) {
				require.Equal(t, f.Message, message)
			}
			if c.status == 503 {
				require.Equal(t, "1", a.header("Retry-After"))
			}
			require.Empty(t, a.header("Content-Disposition"), "a refusal is no download")
		}
	}
}

func TestOtherPathsAndMethodsAreNotOurs(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/cluster", "/cluster/", "/cluster/nope", "/cluster/config/", "/cluster/config/1/2", "/cluster/config/{}/", "/key/list"} {
		require.Equal(t, 404, w.call("master", "GET", path, "").status, path)
		require.Empty(t, w.h.Methods(path), path)
	}
	a := w.call("master", "PUT", "/cluster/tokens", "")
	require.Equal(t, 405, a.status)
	require.Equal(t, "GET, POST, DELETE", a.header("Allow"))
	require.Equal(t, []string{"GET"}, w.h.Methods("/cluster/config/12"))
	for _, version := range []string{"0", "x", "-1", "{}", "99999999999999999999999"} {
		require.Equal(t, 404, w.call("master", "GET", "/cluster/config/"+version, "").status, version)
	}
	require.Empty(t, w.f.calls())
}

func TestNoSecretOfAConfigIsShown(t *testing.T) {
	w := newWorld(t)
	w.f.config = &model.ConfigVersion{Number: 3, Hash: "abc", Config: model.Config{
		Deployments: []model.Deployment{{Group: "m", Params: model.Params{
			"api_key": json.RawMessage(`"sk-canary"`), "api_base": json.RawMessage(`"https://h"`), "note": json.RawMessage(`"sealed:v1:canary"`),
			"extra_headers": json.RawMessage(`{"Authorization":"Bearer canary","X-Trace":"on"}`), "vertex_credentials": json.RawMessage(`{"private":["canary"]}`),
			"rpm": json.RawMessage(`9007199254740993`)}}},
		Environment: map[string]string{"OPENAI_API_KEY": "canary", "REGION": "eu"},
		General:     model.GeneralSettings{MasterKeyHash: "canary"},
	}}
	for _, path := range []string{"/cluster/config", "/cluster/config/3"} {
		a := w.call("proxy_admin_viewer", "GET", path, "")
		require.Equal(t, 200, a.status, a.body)
		require.NotContains(t, a.body, "canary")
		for _, part := range []string{`"number":3`, `"hash":"abc"`, `"https://h"`, `"X-Trace":"on"`, `"****"`, `"eu"`, `9007199254740993`} {
			require.Contains(t, a.body, part)
		}
	}
}

func TestChangesAreLoggedWithWhoAndWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	w.call("proxy_admin", "POST", "/cluster/secrets/rotate", `{"new_kek":"canary-canary-canary"}`)
	w.call("proxy_admin", "POST", "/cluster/token", "")
	w.call("proxy_admin", "POST", "/cluster/config/apply", `{"text":"a: canary","env":{"A":"canary"}}`)
	w.call("proxy_admin", "POST", "/cluster/import/litellm", `{"from":"postgres://u:canary@host/db"}`)
	w.f.err = errAway
	w.call("proxy_admin", "POST", "/cluster/import/litellm", `{"from":"postgres://u:canary@host/db"}`)
	w.f.err = nil
	a := w.call("proxy_admin", "POST", "/cluster/secrets/rotate", `{"new_kek":"canary"}`)
	require.NotContains(t, a.body, "canary")
	log := w.log.String()
	require.Contains(t, log, "operation=/cluster/secrets/rotate by=ada")
	require.Contains(t, log, "operation=/cluster/config/apply by=ada")
	require.NotContains(t, log, "canary")
	require.NotContains(t, log, "tgj1-secret")
}

func TestDependenciesAreNamedWhenTheyAreMissing(t *testing.T) {
	_, err := clusterapi.New(clusterapi.Deps{})
	for _, part := range []string{"cluster", "state", "outages", "logger", "clock"} {
		require.ErrorContains(t, err, part)
	}
}

// A balancer may choose who is asked: a node that was not meant stays.
func TestOnlyTheNodeThatIsNamedLeaves(t *testing.T) {
	for body, want := range map[string]struct {
		status int
		asked  []string
	}{
		`{"node":"node-1"}`: {202, []string{"status", "leave"}},
		`{"node":"01A"}`:    {202, []string{"status", "leave"}},
		`{"node":"node-2"}`: {409, []string{"status"}},
	} {
		w := newWorld(t)
		a := w.call("master", "POST", "/cluster/leave", body)
		require.NoError(t, a.err)
		require.Equal(t, want.status, a.status, "%s %s", body, a.body)
		require.Equal(t, want.asked, w.f.calls(), body)
	}
}
