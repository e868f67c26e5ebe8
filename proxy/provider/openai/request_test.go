package openai_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
)

func TestRequestBodiesDifferOnlyWhereTheyMust(t *testing.T) {
	drop := func(c *provider.Call) { c.DropParams = true }
	limit := func(n int64) func(*provider.Call) { return func(c *provider.Call) { c.MaxOutput = n } }
	extra := func(kv ...string) func(*provider.Call) {
		return func(c *provider.Call) {
			for i := 0; i < len(kv); i += 2 {
				c.Deployment.ExtraBody = append(c.Deployment.ExtraBody, state.Param{Name: kv[i], Value: []byte(kv[i+1])})
			}
		}
	}
	for _, c := range []struct {
		name, row, in, want string
		op                  provider.Op
		change              []func(*provider.Call)
		dropped             []string
	}{
		{"unknown fields, number forms and white space stay", "openai",
			`{ "model":"x" , "messages":[{"role":"user","content":"h\u00e9 \ud83d\ude00"}],"temperature":1.50e-1,"new_field":{"b":1,"a":12345678901234567890} }`,
			`{ "model":"up-1" , "messages":[{"role":"user","content":"h\u00e9 \ud83d\ude00"}],"temperature":1.50e-1,"new_field":{"b":1,"a":12345678901234567890} }`,
			provider.OpChat, nil, nil},
		{"usage is asked for in streams", "openai", `{"model":"x","stream":true}`,
			`{"model":"up-1","stream":true,"stream_options":{"include_usage":true}}`, provider.OpChat, nil, nil},
		{"stream options are merged", "openai", `{"model":"x","stream":true,"stream_options":{"include_obfuscation":false}}`,
			`{"model":"up-1","stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}`, provider.OpChat, nil, nil},
		{"an explicit no is turned", "openai", `{"model":"x","stream":true,"stream_options":{"include_usage":false}}`,
			`{"model":"up-1","stream":true,"stream_options":{"include_usage":true}}`, provider.OpChat, nil, nil},
		{"stream options null", "openai", `{"model":"x","stream":true,"stream_options":null}`,
			`{"model":"up-1","stream":true,"stream_options":{"include_usage":true}}`, provider.OpChat, nil, nil},
		{"the deployment's extra body is laid over", "openai", `{"model":"x","top_k":1}`,
			`{"model":"up-1","top_k":7,"zed":[1]}`, provider.OpChat, []func(*provider.Call){extra("top_k", "7", "zed", "[1]")}, nil},
		{"an extra body cannot change the model", "openai", `{"model":"x"}`, `{"model":"up-1"}`, provider.OpChat,
			[]func(*provider.Call){extra("model", `"other"`)}, nil},
		{"reasoning models count completion tokens", "openai", `{"model":"x","max_tokens":50,"temperature":1}`,
			`{"model":"o3-mini","temperature":1,"max_completion_tokens":50}`, provider.OpChat, []func(*provider.Call){withModel("o3-mini")}, nil},
		{"both limits given: the new one stays", "openai", `{"model":"x","max_tokens":50,"max_completion_tokens":40}`,
			`{"model":"gpt-5","max_completion_tokens":40}`, provider.OpChat, []func(*provider.Call){withModel("gpt-5")}, nil},
		{"sampling is left out when asked", "openai", `{"model":"x","temperature":0.2,"top_p":0.5,"presence_penalty":0}`,
			`{"model":"gpt-5-mini","presence_penalty":0}`, provider.OpChat, []func(*provider.Call){withModel("gpt-5-mini"), drop}, []string{"temperature", "top_p"}},
		{"gpt-5.1 samples without reasoning", "openai", `{"model":"x","temperature":0.2,"reasoning_effort":"none"}`,
			`{"model":"gpt-5.1","temperature":0.2,"reasoning_effort":"none"}`, provider.OpChat, []func(*provider.Call){withModel("gpt-5.1")}, nil},
		{"gpt-4o keeps everything", "openai", `{"model":"x","max_tokens":5,"temperature":0.2}`,
			`{"model":"gpt-4o","max_tokens":5,"temperature":0.2}`, provider.OpChat, []func(*provider.Call){withModel("gpt-4o")}, nil},
		{"the reservation caps what was stated", "openai", `{"model":"x","max_tokens":5000}`, `{"model":"up-1","max_tokens":100}`,
			provider.OpChat, []func(*provider.Call){limit(100)}, nil},
		{"a smaller stated limit stays", "openai", `{"model":"x","max_tokens":50}`, `{"model":"up-1","max_tokens":50}`,
			provider.OpChat, []func(*provider.Call){limit(100)}, nil},
		{"the reservation limits what was not stated", "openai", `{"model":"x"}`, `{"model":"o1","max_completion_tokens":100}`,
			provider.OpChat, []func(*provider.Call){limit(100), withModel("o1")}, nil},
		{"the reservation is shared by the choices", "openai", `{"model":"x","n":4,"max_tokens":null}`, `{"model":"up-1","n":4,"max_tokens":25}`,
			provider.OpChat, []func(*provider.Call){limit(100)}, nil},
		{"text completions end at sixteen by themselves", "openai", `{"model":"x","prompt":"a"}`, `{"model":"up-1","prompt":"a","max_tokens":16}`,
			provider.OpCompletion, []func(*provider.Call){limit(100)}, nil},
		{"mistral", "mistral",
			`{"model":"x","seed":7,"user":"u","store":true,"tool_choice":"required","stream":true,"stream_options":{"include_usage":true},"messages":[` +
				`{"role":"user","name":"bob","content":"hi"},{"role":"assistant","content":"","tool_calls":[{"id":"call_abcdef","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"Ab3456789"}]},` +
				`{"role":"tool","tool_call_id":"call_abcdef","content":"r"},{"role":"tool","tool_call_id":"Ab3456789","content":"r"}]}`,
			`{"model":"up-1","tool_choice":"any","stream":true,"messages":[` +
				`{"role":"user","content":"hi"},{"role":"assistant","content":"","tool_calls":[{"id":"SHORT","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"Ab3456789"}]},` +
				`{"role":"tool","tool_call_id":"SHORT","content":"r"},{"role":"tool","tool_call_id":"Ab3456789","content":"r"}],"random_seed":7}`,
			provider.OpChat, nil, []string{"user", "stream_options", "store"}},
		{"deepseek takes text only", "deepseek",
			`{"model":"x","max_completion_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"a\n"},{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`,
			`{"model":"up-1","messages":[{"role":"user","content":"a\nb"},{"role":"user","content":[{"type":"image_url","image_url":{}}]}],"max_tokens":9}`,
			provider.OpChat, nil, nil},
		{"groq", "groq", `{"model":"x","n":1,"logprobs":true,"messages":[{"role":"user","name":"n","content":"c"}],"prompt_cache_key":"k"}`,
			`{"model":"up-1","n":1,"messages":[{"role":"user","content":"c"}]}`, provider.OpChat, []func(*provider.Call){drop}, []string{"prompt_cache_key", "logprobs"}},
		{"openrouter counts usage", "openrouter", `{"model":"x","stream":true}`,
			`{"model":"a/b","stream":true,"usage":{"include":true},"stream_options":{"include_usage":true}}`, provider.OpChat, []func(*provider.Call){withModel("a/b")}, nil},
		{"fireworks short name", "fireworks_ai", `{"model":"x"}`, `{"model":"accounts/fireworks/models/llama"}`, provider.OpChat, []func(*provider.Call){withModel("llama")}, nil},
		{"fireworks full name", "fireworks_ai", `{"model":"x"}`, `{"model":"accounts/me/models/mine"}`, provider.OpChat, []func(*provider.Call){withModel("accounts/me/models/mine")}, nil},
		{"huggingface route", "huggingface", `{"model":"x"}`, `{"model":"org/m:together"}`, provider.OpChat, []func(*provider.Call){withModel("together/org/m")}, nil},
		{"xai reasoning", "xai", `{"model":"x","stop":["a"],"temperature":0.1}`, `{"model":"grok-4","temperature":0.1}`, provider.OpChat,
			[]func(*provider.Call){withModel("grok-4")}, []string{"stop"}},
		{"vllm passes everything", "hosted_vllm", `{"model":"x","top_k":3,"min_p":0.1,"store":false}`, `{"model":"up-1","top_k":3,"min_p":0.1,"store":false}`, provider.OpChat, nil, nil},
		{"additional drop params", "hosted_vllm", `{"model":"x","top_k":3}`, `{"model":"up-1"}`, provider.OpChat,
			[]func(*provider.Call){func(c *provider.Call) { c.Deployment.DropAlso = []string{"top_k", "absent"} }}, []string{"top_k"}},
		{"allowed params pass a row's refusal", "groq", `{"model":"x","logprobs":true,"store":true}`, `{"model":"up-1","logprobs":true,"store":true}`, provider.OpChat,
			[]func(*provider.Call){func(c *provider.Call) { c.Deployment.AllowParams = []string{"logprobs", "store"} }}, nil},
		{"base64 vectors are asked for as floats where nothing else is known", "together_ai", `{"model":"x","input":"a","encoding_format":"base64"}`,
			`{"model":"up-1","input":"a","encoding_format":"float"}`, provider.OpEmbedding, nil, nil},
		{"openai gives base64 itself", "openai", `{"model":"x","input":"a","encoding_format":"base64"}`,
			`{"model":"up-1","input":"a","encoding_format":"base64"}`, provider.OpEmbedding, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := row(t, c.row).Request(call(t, c.op, c.in, c.change...))
			require.NoError(t, err)
			got := string(req.Body)
			if strings.Contains(c.want, "SHORT") {
				i := strings.Index(got, `"tool_call_id":"`) + len(`"tool_call_id":"`)
				got = strings.ReplaceAll(got, got[i:i+9], "SHORT")
			}
			require.Equal(t, c.want, got)
			require.ElementsMatch(t, c.dropped, req.Dropped)
		})
	}
}

func TestUnsupportedParametersAreTheClientsMistake(t *testing.T) {
	for _, c := range []struct{ row, model, body, param string }{
		{"openai", "o3", `{"model":"x","temperature":0.3}`, "temperature"},
		{"openai", "gpt-6", `{"model":"x","top_p":0.3,"reasoning_effort":"none"}`, "top_p"},
		{"openai", "gpt-5.2", `{"model":"x","temperature":0.3,"reasoning_effort":"high"}`, "temperature"},
		{"groq", "m", `{"model":"x","n":2}`, "n"},
		{"moonshot", "m", `{"model":"x","tool_choice":"required"}`, "tool_choice"},
	} {
		_, err := row(t, c.row).Request(call(t, provider.OpChat, c.body, withModel(c.model)))
		e := asError(t, err)
		require.Equal(t, provider.UnsupportedParams, e.Class)
		require.Equal(t, 400, e.Status)
		require.Equal(t, c.param, e.Param)
		require.Contains(t, e.Message, c.param)
	}
}

func TestRuleMatchesWholeNamesOnly(t *testing.T) {
	for name, limited := range map[string]bool{"o1": true, "o1-mini": true, "o10": false, "o3-2025-04-16": true, "gpt-5": true, "gpt-5.1-mini": true,
		"gpt-50": false, "gpt-5-chat-latest": false, "gpt-4o": false, "gpt-6.1": true} {
		_, err := row(t, "openai").Request(call(t, provider.OpChat, `{"model":"x","temperature":0.3,"reasoning_effort":"low"}`, withModel(name)))
		require.Equal(t, limited, err != nil, name)
	}
}

func TestHeadersAndAddress(t *testing.T) {
	c := call(t, provider.OpChat, `{"model":"x","stream":true}`, func(c *provider.Call) {
		c.Deployment.APIBase, c.Deployment.Organization = "", "org-1"
		c.Deployment.ExtraHeaders = map[string]string{"X-B": "2", "X-A": "1", "authorization": "Bearer stolen", "Host": "evil", "Content-Length": "1", "bad name": "x"}
	})
	req, err := row(t, "openai").Request(c)
	require.NoError(t, err)
	require.Equal(t, "POST", req.Method)
	require.Equal(t, "https://api.openai.com/v1/chat/completions", req.URL)
	require.Equal(t, [][2]string{{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}, {"Authorization", "Bearer sk-upstream"},
		{"OpenAI-Organization", "org-1"}, {"X-A", "1"}, {"X-B", "2"}}, req.Header)

	for base, want := range map[string]string{"http://h/v1": "http://h/v1/embeddings", "http://h/v1/": "http://h/v1/embeddings", "http://h/v1/embeddings": "http://h/v1/embeddings"} {
		req, err = row(t, "hosted_vllm").Request(call(t, provider.OpEmbedding, `{"model":"x"}`, func(c *provider.Call) { c.Deployment.APIBase, c.Deployment.APIKey = base, "" }))
		require.NoError(t, err)
		require.Equal(t, want, req.URL)
		require.Equal(t, [][2]string{{"Content-Type", "application/json"}, {"Accept", "application/json"}}, req.Header, "no key, no credential header")
	}
	for base, want := range map[string]string{"": "http://localhost:11434/v1/chat/completions", "http://h:1": "http://h:1/v1/chat/completions", "http://h:1/v1": "http://h:1/v1/chat/completions"} {
		req, err = row(t, "ollama").Request(call(t, provider.OpChat, `{"model":"x"}`, func(c *provider.Call) { c.Deployment.APIBase = base }))
		require.NoError(t, err)
		require.Equal(t, want, req.URL)
	}
	req, err = row(t, "openrouter").Request(call(t, provider.OpChat, `{"model":"x"}`, func(c *provider.Call) { c.Deployment.ExtraHeaders = map[string]string{"x-title": "Mine"} }))
	require.NoError(t, err)
	require.Contains(t, req.Header, [2]string{"x-title", "Mine"})
	require.NotContains(t, req.Header, [2]string{"X-Title", "Tollgate"})

	_, err = row(t, "hosted_vllm").Request(call(t, provider.OpChat, `{"model":"x"}`, func(c *provider.Call) { c.Deployment.APIBase = "" }))
	require.Contains(t, asError(t, err).Message, "api_base")
}

func TestRowsAreCompleteAndUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range openai.Rows() {
		require.False(t, seen[r.Name], r.Name)
		seen[r.Name] = true
		require.NotEmpty(t, r.KeyEnv, r.Name)
		require.True(t, r.BaseURL != "" || len(r.BaseEnv) > 0 || r.KeyOptional, r.Name)
		require.False(t, strings.HasSuffix(r.BaseURL, "/"), r.Name)
		p := openai.New(r)
		require.Equal(t, r.Name, p.Name())
		require.False(t, p.Supports(provider.OpMessages))
		require.True(t, p.Supports(provider.OpChat) || p.Supports(provider.OpEmbedding), r.Name)
	}
	for _, must := range []string{"openai", "custom_openai", "openai_like", "hosted_vllm", "groq", "deepseek", "openrouter", "mistral", "xai",
		"together_ai", "fireworks_ai", "perplexity", "litellm_proxy", "lm_studio", "nvidia_nim", "cerebras", "sambanova", "deepinfra", "databricks",
		"moonshot", "dashscope", "zai", "volcengine", "github", "huggingface", "novita"} {
		require.True(t, seen[must], must)
	}
}

func TestARowFromTheConfigWorksLikeTheBuiltIn(t *testing.T) {
	p := openai.New(openai.FromConfig(acmeRow("acme")))
	c := call(t, provider.OpChat, `{"model":"x","max_completion_tokens":3,"weird":1,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`,
		func(c *provider.Call) { c.Deployment.APIBase = "" })
	req, err := p.Request(c)
	require.NoError(t, err)
	require.Equal(t, "https://acme.example/v9/chat/completions", req.URL)
	require.Equal(t, `{"model":"up-1","messages":[{"role":"user","content":"a"}],"max_tokens":3}`, string(req.Body))
	require.True(t, slices.Contains(req.Header, [2]string{"X-Acme", "1"}))
}

func acmeRow(name string) model.OpenAIRow {
	return model.OpenAIRow{Name: name, BaseURL: "https://acme.example/v9", KeyEnv: []string{"ACME_API_KEY"}, ParamMappings: map[string]string{"max_completion_tokens": "max_tokens"},
		Headers: map[string]string{"X-Acme": "1"}, FlattenLists: true, DropParams: []string{"weird"}}
}
