package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asked is one request that a command made.
type asked struct {
	method, target, auth, body string
}

// gateway answers every request with one body and notes what was asked.
func gateway(t *testing.T, status int, answer string) (addr string, requests *[]asked) {
	t.Helper()
	requests = &[]asked{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		*requests = append(*requests, asked{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), string(body)})
		w.WriteHeader(status)
		_, err = io.WriteString(w, answer)
		require.NoError(t, err)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

func command(t *testing.T, args ...string) (out, said string, status int) {
	t.Helper()
	return commandOf(everything(), args...)
}

func commandOf(n nodeFuncs, args ...string) (out, said string, status int) {
	var o, e bytes.Buffer
	status = execute(newRoot(&o, &e, n), args, &e)
	return o.String(), e.String(), status
}

func TestCommandsBecomeRequestsOfTheManagementAPI(t *testing.T) {
	cases := []struct {
		args   string
		method string
		target string
		body   string
	}{
		{"key list", "GET", "/key/list?return_full_object=true&size=100", ""},
		{"key show sk-1", "GET", "/key/info?key=sk-1", ""},
		{"key create --alias a --models m,n --max-budget 50 --budget-duration 30d --rpm 600 --tpm 9 --parallel 2", "POST", "/key/generate",
			`{"key_alias":"a","models":["m","n"],"max_budget":50,"budget_duration":"30d","rpm_limit":600,"tpm_limit":9,"max_parallel_requests":2}`},
		{`key create --alias a --data {"tags":["x"],"key_alias":"b"}`, "POST", "/key/generate", `{"tags":["x"],"key_alias":"a"}`},
		{"key update sk-1 --blocked", "POST", "/key/update", `{"key":"sk-1","blocked":true}`},
		{"key update sk-1 --blocked=false", "POST", "/key/update", `{"key":"sk-1","blocked":false}`},
		{"key update sk-1 --max-budget 0.1", "POST", "/key/update", `{"key":"sk-1","max_budget":0.1}`},
		{"key update sk-1 --max-budget none --rpm none", "POST", "/key/update", `{"key":"sk-1","max_budget":null,"rpm_limit":null}`},
		{"key delete sk-1 sk-2", "POST", "/key/delete", `{"keys":["sk-1","sk-2"]}`},
		{"user list", "GET", "/user/list", ""},
		{"user create --id ada --email ada@example.com --role internal_user", "POST", "/user/new", `{"user_id":"ada","user_email":"ada@example.com","user_role":"internal_user"}`},
		{"user show ada", "GET", "/user/info?user_id=ada", ""},
		{"user update ada --max-budget 3", "POST", "/user/update", `{"user_id":"ada","max_budget":3}`},
		{"user delete ada", "POST", "/user/delete", `{"user_ids":["ada"]}`},
		{"team create --alias research", "POST", "/team/new", `{"team_alias":"research"}`},
		{"team show t1", "GET", "/team/info?team_id=t1", ""},
		{"team update t1 --alias r", "POST", "/team/update", `{"team_id":"t1","team_alias":"r"}`},
		{"team delete t1", "POST", "/team/delete", `{"team_ids":["t1"]}`},
		{"budget create --id gold --max-budget 9", "POST", "/budget/new", `{"budget_id":"gold","max_budget":9}`},
		{"budget show gold", "POST", "/budget/info", `{"budgets":["gold"]}`},
		{"budget update gold --rpm 5", "POST", "/budget/update", `{"budget_id":"gold","rpm_limit":5}`},
		{"budget delete gold", "POST", "/budget/delete", `{"id":"gold"}`},
		{"model create --name fast --model groq/x --api-key k --api-base https://h", "POST", "/model/new",
			`{"model_name":"fast","litellm_params":{"model":"groq/x","api_key":"k","api_base":"https://h"}}`},
		{"model show d1", "GET", "/model/info?litellm_model_id=d1", ""},
		{"model update d1 --api-key k", "POST", "/model/update", `{"model_info":{"id":"d1"},"litellm_params":{"api_key":"k"}}`},
		{"model delete d1", "POST", "/model/delete", `{"id":"d1"}`},
		{"spend", "GET", "/global/spend", ""},
		{"spend --by key", "GET", "/spend/keys", ""},
		{"spend --by model", "GET", "/global/spend/models", ""},
		{"spend --key sk-1", "GET", "/spend/logs?api_key=sk-1&summarize=false", ""},
		{"spend --request r1", "GET", "/spend/logs?request_id=r1", ""},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			// The node's own name and a stray variable must reach no object.
			addr, requests := gateway(t, 200, `{}`)
			bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr+"/", "TOLLGATE_NAME=node-1", "TOLLGATE_KEY=sk-stray", "TOLLGATE_ALIAS=stray")
			_, said, status := command(t, strings.Fields(c.args)...)
			require.Zero(t, status, said)
			require.Len(t, *requests, 1)
			got := (*requests)[0]
			require.Equal(t, []string{c.method, c.target, "Bearer sk-admin"}, []string{got.method, got.target, got.auth})
			if c.body == "" {
				require.Empty(t, got.body)
			} else {
				require.JSONEq(t, c.body, got.body)
			}
		})
	}
}

func TestTheAdminKeyMayStandInDotEnv(t *testing.T) {
	addr, requests := gateway(t, 200, `[]`)
	dir := bare(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("LITELLM_MASTER_KEY=sk-file\nTOLLGATE_ADDR="+addr+"\n"), 0o600))
	_, said, status := command(t, "team", "list")
	require.Zero(t, status, said)
	require.Equal(t, "Bearer sk-file", (*requests)[0].auth)
}

func TestAnswersAreTablesForPeopleAndJSONForPrograms(t *testing.T) {
	cases := []struct {
		name, answer string
		args         []string
		want         string
	}{
		{"list", `{"keys":[{"key_name":"sk-...abcd","spend":0.00001275,"max_budget":1,"models":["a","b"],"token":"t1"},{"key_name":"sk-...efgh","models":[]}],"total_count":2}`,
			[]string{"key", "list"},
			"KEY_NAME    KEY_ALIAS  USER_ID  TEAM_ID  SPEND       MAX_BUDGET  RPM_LIMIT  MODELS  TOKEN\n" +
				"sk-...abcd  -          -        -        0.00001275  1           -          a,b     t1\n" +
				"sk-...efgh  -          -        -        -           -           -          -       -\n"},
		{"one object, the secret first, what is unset left out", `{"aliases":{},"blocked":false,"expires":null,"key":"sk-new","models":["a"],"metadata":{"team":"x"},"spend":0}`,
			[]string{"key", "create"}, "key       sk-new\nspend     0\nmetadata  {\"team\":\"x\"}\nmodels    a\n"},
		{"an envelope is opened", `{"key":"sk-1","info":{"key_alias":"a","spend":1.5}}`, []string{"key", "show", "sk-1"}, "key        sk-1\nkey_alias  a\nspend      1.5\n"},
		{"a list of one", `{"data":[{"model_name":"m","litellm_params":{"model":"openai/m"}}]}`, []string{"model", "show", "d"},
			"model_name      m\nlitellm_params  {\"model\":\"openai/m\"}\n"},
		{"nested column", `{"data":[{"model_name":"m","litellm_params":{"model":"openai/m"},"model_info":{"id":"d"}}]}`, []string{"model", "list"},
			"MODEL_NAME  LITELLM_PARAMS.MODEL  MODEL_INFO.ID  LITELLM_PARAMS.API_BASE\nm           openai/m              d              -\n"},
		{"number alone", `1`, []string{"user", "delete", "u"}, "1\n"},
		{"JSON keeps every field and digit", `{"spend":0.000012750000001,"x":null}`, []string{"spend", "--output", "json"}, "{\n  \"spend\": 0.000012750000001,\n  \"x\": null\n}\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			addr, _ := gateway(t, 200, c.answer)
			bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
			out, said, status := command(t, c.args...)
			require.Zero(t, status, said)
			require.Equal(t, c.want, out)
		})
	}
}

func TestARefusedRequestIsOneSentence(t *testing.T) {
	cases := []struct {
		name, answer string
		code         int
		want         string
	}{
		{"OpenAI's shape", `{"error":{"message":"No such key.","type":"x"}}`, 404, "tollgate: 404 Not Found: No such key."},
		{"detail", `{"detail":"Not Found"}`, 404, "tollgate: 404 Not Found: Not Found"},
		{"detail with more in it", `{"detail":{"error":"bad"}}`, 400, `tollgate: 400 Bad Request: {"detail":{"error":"bad"}}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			addr, _ := gateway(t, c.code, c.answer)
			bare(t, "LITELLM_MASTER_KEY=sk-admin")
			out, said, status := command(t, "key", "list", "--addr", addr)
			require.Equal(t, 1, status)
			require.Empty(t, out)
			require.Equal(t, c.want, strings.TrimSpace(said))
		})
	}
	t.Run("not JSON", func(t *testing.T) {
		addr, _ := gateway(t, 502, "<html>bad gateway</html>")
		bare(t, "LITELLM_MASTER_KEY=sk-admin")
		_, said, status := command(t, "spend", "--addr", addr)
		require.Equal(t, 1, status)
		require.Contains(t, said, "answered 502 Bad Gateway: <html>")
	})
	t.Run("nobody there", func(t *testing.T) {
		bare(t, "LITELLM_MASTER_KEY=sk-admin")
		_, said, status := command(t, "spend", "--addr", "http://127.0.0.1:1")
		require.Equal(t, 1, status)
		require.Contains(t, said, "no node answers at http://127.0.0.1:1")
		require.Contains(t, said, "--addr")
		require.NotContains(t, said, "sk-admin")
	})
}

func TestClientSlipsAreCaughtBeforeAnythingIsSent(t *testing.T) {
	cases := []struct {
		key  string
		args []string
		want string
	}{
		{"", []string{"key", "list"}, "no admin key: set LITELLM_MASTER_KEY"},
		{"sk-admin", []string{"key", "list", "--output", "xml"}, `--output "xml": want table or json`},
		{"sk-admin", []string{"key", "create", "--rpm", "many"}, `--rpm "many": want a number`},
		{"sk-admin", []string{"key", "create", "--max-budget", "NaN"}, `--max-budget "NaN": want a number`},
		{"sk-admin", []string{"key", "create", "--data", "[1]"}, "--data is not a JSON object"},
		{"sk-admin", []string{"key", "create", "--data", "null"}, "--data is not a JSON object"},
		{"sk-admin", []string{"key", "update"}, "accepts 1 arg"},
		{"sk-admin", []string{"key", "delete"}, "requires at least 1 arg"},
		{"sk-admin", []string{"spend", "--by", "hour"}, `--by "hour": want total, key, user, team, tag, model or day`},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			addr, requests := gateway(t, 200, `{}`)
			bare(t, "LITELLM_MASTER_KEY="+c.key, "TOLLGATE_ADDR="+addr)
			_, said, status := command(t, c.args...)
			require.Equal(t, 1, status)
			require.Contains(t, said, c.want)
			require.Equal(t, 1, strings.Count(said, "\n"))
			require.Empty(t, *requests)
		})
	}
}

func TestVersionNamesTheBuild(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"-v"}} {
		out, _, status := command(t, args...)
		require.Zero(t, status)
		require.Regexp(t, `^tollgate \S+ go1\.\d+\S* \w+/\w+\n$`, out)
	}
}

func TestBodiesKeepNumbersAsTheyWereTyped(t *testing.T) {
	addr, requests := gateway(t, 200, `{}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	_, said, status := command(t, "key", "create", "--max-budget", "123456789.123456789", "--tpm", "9007199254740993")
	require.Zero(t, status, said)
	var body map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte((*requests)[0].body), &body))
	require.Equal(t, "123456789.123456789", string(body["max_budget"]))
	require.Equal(t, "9007199254740993", string(body["tpm_limit"]))
}
