package openai_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/price"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

func TestErrorsKeepLiteLLMsShape(t *testing.T) {
	for _, c := range []struct {
		e        openai.Error
		new, old string
	}{
		{openai.Error{Status: 429, Message: "slow \"down\"", Type: "budget_exceeded"},
			`{"error":{"message":"slow \"down\"","type":"budget_exceeded","param":null,"code":"429"}}`,
			`{"error":{"message":"slow \"down\"","type":"budget_exceeded","param":"None","code":"429"}}`},
		{openai.Error{Status: 400, Message: "m"},
			`{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"400"}}`,
			`{"error":{"message":"m","type":"None","param":"None","code":"400"}}`},
		{openai.Error{Status: 503, Message: "m", NullType: true, Code: "state_behind"},
			`{"error":{"message":"m","type":null,"param":null,"code":"state_behind"}}`,
			`{"error":{"message":"m","type":"None","param":"None","code":"state_behind"}}`},
		{openai.FromRefusal(refusal.New(401, "auth_error", refusal.None, "no")),
			`{"error":{"message":"no","type":"auth_error","param":"None","code":"401"}}`,
			`{"error":{"message":"no","type":"auth_error","param":"None","code":"401"}}`},
		{openai.FromUpstream("openai", &provider.Error{Class: provider.RateLimit, Status: 429, Message: "wait", Type: "tokens"}),
			`{"error":{"message":"litellm.RateLimitError: OpenAIException - wait","type":"throttling_error","param":null,"code":"429"}}`,
			`{"error":{"message":"litellm.RateLimitError: OpenAIException - wait","type":"throttling_error","param":"None","code":"429"}}`},
		{openai.FromUpstream("groq", &provider.Error{Class: provider.BadRequest, Status: 400, Message: "x", Type: "invalid_request_error", Param: "n", Code: "bad_n"}),
			`{"error":{"message":"litellm.BadRequestError: GroqException - x","type":"invalid_request_error","param":"n","code":"400"}}`,
			`{"error":{"message":"litellm.BadRequestError: GroqException - x","type":"invalid_request_error","param":"n","code":"400"}}`},
	} {
		require.Equal(t, c.new, string(c.e.Append(nil, false)))
		require.Equal(t, c.old, string(c.e.Append(nil, true)))
		require.Equal(t, "data: "+c.new+"\n\n", string(c.e.AppendFrame(nil, false)))
	}
}

func TestModelListHasLiteLLMsConstants(t *testing.T) {
	require.Equal(t, `{"data":[],"object":"list"}`, string(openai.AppendModels(nil, nil)))
	require.Equal(t, `{"data":[{"id":"gpt-4o","object":"model","created":1677610602,"owned_by":"openai"},`+
		`{"id":"a/*","object":"model","created":1677610602,"owned_by":"openai"}],"object":"list"}`,
		string(openai.AppendModels(nil, []string{"gpt-4o", "a/*"})))
}

func TestUsageTotalsAlwaysAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string) int64 { return rapid.Int64Range(0, 1<<40).Draw(t, name) }
		u := price.Usage{InUncached: n("in"), CacheRead: n("read"), CacheWrite5m: n("w5"), CacheWrite1h: n("w1"),
			InAudio: n("audio"), OutTotal: n("out"), OutReasoning: n("reasoning")}
		var got struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Total      int64 `json:"total_tokens"`
			In         struct {
				Cached int64 `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
			Out struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"completion_tokens_details"`
		}
		if err := json.Unmarshal(openai.AppendUsage(nil, &u), &got); err != nil {
			t.Fatal(err)
		}
		if got.Prompt+got.Completion != got.Total || got.Prompt != u.Prompt() || got.In.Cached != u.CacheRead || got.Out.Reasoning != u.OutReasoning {
			t.Fatalf("%+v of %+v", got, u)
		}
	})
}

func TestFramesAreWholeEvents(t *testing.T) {
	h := openai.Head{ID: "chatcmpl-1", Object: openai.ObjectChunk, Created: 7, Model: "m"}
	require.Equal(t, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":2,"delta":{},"finish_reason":"length"}]}`+"\n\n",
		string(h.AppendDelta(nil, 2, []byte(`{}`), "length")))
	require.Equal(t, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{"x":1}}`+"\n\n",
		string(h.AppendUsageFrame(nil, nil, []byte(`{"x":1}`))))
	h.Object = openai.ObjectText
	require.Equal(t, `data: {"id":"chatcmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":"hi","logprobs":null,"finish_reason":null}]}`+"\n\n",
		string(h.AppendDelta(nil, 0, []byte(`"hi"`), "")))
}
