package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
)

func configWith(store bool) *model.Config {
	return &model.Config{
		General: model.GeneralSettings{StoreModelInDB: store},
		Deployments: []model.Deployment{
			{ID: "d1", Group: "gpt-4o", Params: params(`{"model":"openai/gpt-4o","api_key":"sk-provider-secret","api_base":"https://u:p@host/v1","extra_headers":{"Authorization":"Bearer s3cret","X-Team":"a"},"rpm":10}`)},
			{ID: "d2", Group: "gpt-4o", Params: params(`{"model":"openai/gpt-4o-mini","api_key":"sealed:v1:xyz","rpm":5}`)},
			{ID: "d3", Group: "claude", Params: params(`{"model":"anthropic/claude-sonnet-4-5","api_key":"k"}`), Info: params(`{"mode":"chat","team":"x"}`)},
		},
	}
}

func params(s string) model.Params {
	p := model.Params{}
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		panic(err)
	}
	return p
}

func TestModelInfoShowsNoSecret(t *testing.T) {
	w := newWorld(t, configWith(false))
	for _, path := range []string{"/model/info", "/v1/model/info", "/v2/model/info", "/model_group/info"} {
		a := w.get(path)
		a.ok()
		for _, secret := range []string{"sk-provider-secret", "s3cret", "sealed:v1", "u:p@"} {
			require.NotContains(t, string(a.body), secret, path)
		}
	}
	data := w.get("/model/info").ok()["data"].([]any)
	require.Len(t, data, 3)
	row := w.get("/model/info?litellm_model_id=d1").ok()["data"].([]any)[0].(map[string]any)
	require.Equal(t, "gpt-4o", row["model_name"])
	p := row["litellm_params"].(map[string]any)
	require.Equal(t, "openai/gpt-4o", p["model"])
	require.Equal(t, map[string]any{"X-Team": "a"}, p["extra_headers"])
	require.NotContains(t, p, "api_key")
	info := row["model_info"].(map[string]any)
	require.Equal(t, "d1", info["id"])
	require.Equal(t, false, info["db_model"])
	require.Greater(t, info["input_cost_per_token"], 0.0)
	require.Contains(t, info, "supports_vision")
	w.get("/model/info?litellm_model_id=none").refused(404)
}

func TestModelGroupsSumUpTheirDeployments(t *testing.T) {
	w := newWorld(t, configWith(false))
	rows := w.get("/model_group/info").ok()["data"].([]any)
	require.Len(t, rows, 2)
	g := rows[1].(map[string]any)
	require.Equal(t, "gpt-4o", g["model_group"])
	require.Equal(t, 15.0, g["rpm"])
	require.Equal(t, []any{"openai"}, g["providers"])
	require.Len(t, w.get("/model_group/info?model_group=claude").ok()["data"], 1)
}

func TestKeysSeeTheModelsTheyMayCall(t *testing.T) {
	w := newWorld(t, configWith(false))
	plain, _ := w.key(`{"models":["claude"]}`)
	require.Len(t, w.call(plain, "GET", "/model/info", "").ok()["data"], 1)
	require.Len(t, w.call(plain, "GET", "/model_group/info", "").ok()["data"], 1)
	page := w.call(plain, "GET", "/v2/model/info?size=1", "").ok()
	require.Equal(t, 1.0, page["total_count"])
}

func TestModelsAreStoredOnlyWhenTheConfigSaysSo(t *testing.T) {
	w := newWorld(t, configWith(false))
	require.Contains(t, w.post("/model/new", `{"model_name":"x","litellm_params":{"model":"openai/x"}}`).refused(500), "STORE_MODEL_IN_DB")
}

func TestModelLifeOverTheAPI(t *testing.T) {
	w := newWorld(t, configWith(true))
	m := w.post("/model/new", `{"model_name":"mine","litellm_params":{"model":"openai/gpt-4o","api_key":"sk-plain","rpm":7},"model_info":{"id":"m1","mode":"chat"}}`).ok()
	require.Equal(t, "m1", m["model_id"])
	for _, mutation := range w.seen {
		b, err := json.Marshal(mutation.Changes)
		require.NoError(t, err)
		require.NotContains(t, string(b), "sk-plain", "secrets travel sealed")
	}
	row := w.get("/model/info?litellm_model_id=m1").ok()["data"].([]any)[0].(map[string]any)
	require.Equal(t, true, row["model_info"].(map[string]any)["db_model"])
	w.post("/model/new", `{"model_name":"again","litellm_params":{"model":"openai/x"},"model_info":{"id":"m1"}}`).refused(400)
	w.post("/model/new", `{"model_name":"again","litellm_params":{"model":"openai/x"},"model_info":{"id":"d1"}}`).refused(400)
	require.Equal(t, []string{"litellm_params.model:missing", "model_name:missing"}, w.post("/model/new", `{"litellm_params":{}}`).wrong())
	require.Equal(t, []string{"litellm_params:value_error"},
		w.post("/model/new", `{"model_name":"x","litellm_params":{"model":"openai/x","input_cost_per_token":"free"}}`).wrong())

	m = w.call(master, "PATCH", "/model/m1/update", `{"litellm_params":{"rpm":9,"api_base":"https://x"},"model_name":"renamed"}`).ok()
	require.Equal(t, "renamed", m["model_name"])
	require.Equal(t, 9.0, m["litellm_params"].(map[string]any)["rpm"])
	d, _ := w.store.State().Models.Get("m1")
	require.Equal(t, `"sealed:v1:abc"`, string(d.Params["api_key"]), "what was not given stays")
	m = w.post("/model/update", `{"model_info":{"id":"m1"},"litellm_params":{"rpm":null}}`).ok()
	require.NotContains(t, m["litellm_params"], "rpm")
	require.Equal(t, []string{"model_info.id:missing"}, w.post("/model/update", `{}`).wrong())
	require.Contains(t, w.post("/model/update", `{"model_info":{"id":"d1"}}`).refused(400), "config.yaml")

	require.Equal(t, "Model: m1 deleted successfully", w.post("/model/delete", `{"id":"m1"}`).ok()["message"])
	w.post("/model/delete", `{"id":"m1"}`).refused(400)
}

func TestTokensAndCostsAreEstimated(t *testing.T) {
	w := newWorld(t, configWith(false))
	m := w.post("/utils/token_counter", `{"model":"gpt-4o","messages":[{"role":"user","content":"`+strings.Repeat("word", 10)+`"}]}`).ok()
	require.Equal(t, 14.0, m["total_tokens"])
	require.Equal(t, "gpt-4o", m["request_model"])
	require.Equal(t, []string{"messages:list_type", "model:missing"}, w.post("/utils/token_counter", `{"messages":"x"}`).wrong())
	w.post("/utils/token_counter", `{"model":"gpt-4o"}`).refused(400)

	row := w.get("/model/info?litellm_model_id=d1").ok()["data"].([]any)[0].(map[string]any)["model_info"].(map[string]any)
	in, out := row["input_cost_per_token"].(float64), row["output_cost_per_token"].(float64)
	cost := w.post("/spend/calculate", `{"completion_response":{"model":"gpt-4o","usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}}`).ok()["cost"]
	require.InDelta(t, 1000*in+100*out, cost, 1e-9)
	require.InDelta(t, 14*in, w.post("/spend/calculate", `{"model":"gpt-4o","messages":[{"role":"user","content":"`+strings.Repeat("word", 10)+`"}]}`).ok()["cost"], 1e-9)
	require.Contains(t, w.post("/spend/calculate", `{"model":"unheard-of","messages":[]}`).refused(400), "No price")
	require.Equal(t, []string{"completion_response.model:missing", "completion_response.usage:missing"}, w.post("/spend/calculate", `{"completion_response":{}}`).wrong())
}
