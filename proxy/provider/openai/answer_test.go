package openai_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/proxy/provider"
)

const usage = `{"prompt_tokens":40,"completion_tokens":9,"total_tokens":49,"prompt_tokens_details":{"cached_tokens":30}}`

func TestAnswersKeepTheirBytesButForTheModel(t *testing.T) {
	in := "\n\n" + `{ "id":"chatcmpl-9", "object":"chat.completion","created":1793000000,"model":"up-2024","service_tier":"priority",` +
		`"choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"n\":12345678901234567890}"}}]}}], "usage":` + usage + `, "extra":1.50 }`
	a, err := row(t, "openai").Answer(call(t, provider.OpChat, `{"model":"x"}`), nil, []byte(in))
	require.NoError(t, err)
	require.Equal(t, `{ "id":"chatcmpl-9", "object":"chat.completion","created":1793000000,"model":"pub","service_tier":"priority",`+
		`"choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"n\":12345678901234567890}"}}]}}], "usage":`+usage+`, "extra":1.50 }`, string(a.Body))
	require.Equal(t, "chatcmpl-9", a.ID)
	require.Equal(t, "up-2024", a.Model)
	require.Equal(t, "tool_calls", a.FinishReason)
	require.Equal(t, usage, string(a.RawUsage))
	require.Equal(t, price.Usage{InUncached: 10, CacheRead: 30, OutTotal: 9, ServiceTier: "priority", Known: true}, a.Usage)
}

func TestAnAnswerWithoutModelGetsOneAndWithoutUsageSaysSo(t *testing.T) {
	a, err := row(t, "hosted_vllm").Answer(call(t, provider.OpCompletion, `{"model":"x","prompt":"p"}`), nil, []byte(`{"choices":[{"text":"t","index":0,"finish_reason":"stop"}],"usage":null}`))
	require.NoError(t, err)
	require.Equal(t, `{"choices":[{"text":"t","index":0,"finish_reason":"stop"}],"usage":null,"model":"pub"}`, string(a.Body))
	require.False(t, a.Usage.Known)
	require.Nil(t, a.RawUsage)
}

func TestMistralsPartsBecomeText(t *testing.T) {
	a, err := row(t, "mistral").Answer(call(t, provider.OpChat, `{"model":"x"}`), nil, []byte(
		`{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"hm\n"}]},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]},{"type":"text","text":"b"}],`+
			`"tool_calls":[{"id":"Ab3456789","function":{"name":"f","arguments":{"a":"x"}}}]},"finish_reason":"model_length"}]}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"pub","choices":[{"index":0,"message":{"role":"assistant","content":"ab","reasoning_content":"hm\n",`+
		`"tool_calls":[{"id":"Ab3456789","function":{"name":"f","arguments":"{\"a\":\"x\"}"}}]},"finish_reason":"length"}]}`, string(a.Body))
	require.Equal(t, "length", a.FinishReason)
}

func TestTwoHundredWithoutAnAnswerIsAnError(t *testing.T) {
	for _, c := range []struct {
		name, body string
		class      provider.Class
		status     int
		message    string
	}{
		{"empty", "", provider.APIError, 500, "empty body"},
		{"html", "<html><body>gateway</body></html>", provider.APIError, 500, "HTML page"},
		{"garbage", "no json", provider.APIError, 500, "not a JSON object"},
		{"half", `{"choices":[{"index":0`, provider.APIError, 500, ""},
		{"a list", `[1]`, provider.APIError, 500, "not a JSON object"},
		{"no choices", `{"id":"x","choices":null}`, provider.APIError, 500, "holds no answer"},
		{"error with a code", `{"error":{"message":"slow","code":429},"choices":[]}`, provider.RateLimit, 429, "slow"},
		{"error with a word", `{"error":{"message":"busy","type":"overloaded_error"}}`, provider.ServiceUnavailable, 503, "busy"},
		{"error as text", `{"error":"model not loaded"}`, provider.APIError, 500, "model not loaded"},
		{"error of vLLM", `{"object":"error","message":"This model's maximum context length is 10","type":"BadRequestError","code":400}`, provider.ContextWindow, 400, "maximum context length"},
		{"groq", `{"x_groq":{"error":{"message":"gone","type":"server_error"}},"choices":[]}`, provider.InternalServer, 500, ""},
		{"deepseek out of room", `{"choices":[{"index":0,"message":{},"finish_reason":"insufficient_system_resource"}]}`, provider.ServiceUnavailable, 503, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := row(t, "openai").Answer(call(t, provider.OpChat, `{"model":"x"}`), nil, []byte(c.body))
			e := asError(t, err)
			require.Equal(t, c.class, e.Class)
			require.Equal(t, c.status, e.Status)
			require.Contains(t, e.Message, c.message)
		})
	}
}

func TestAStreamThatNobodyAskedForBecomesAnAnswer(t *testing.T) {
	body := `data: {"id":"c1","created":5,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":"th"}}]}

data: {"id":"c1","created":5,"model":"m","choices":[{"index":0,"delta":{"content":"Hé\ud83d"}}]}

data: {"id":"c1","created":5,"model":"m","choices":[{"index":0,"delta":{"content":"\ude00\"","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\""}},{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]}}]}

data: {"id":"c1","created":5,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{}"}},{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}

data: {"id":"c1","created":5,"model":"m","choices":[],"usage":` + usage + `}

data: [DONE]

`
	a, err := row(t, "openai").Answer(call(t, provider.OpChat, `{"model":"x"}`), nil, []byte(body))
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"c1","object":"chat.completion","created":5,"model":"pub","choices":[{"index":0,"message":{"role":"assistant","content":"Hé😀\"","reasoning_content":"th","tool_calls":[`+
		`{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":`+usage+`}`, string(a.Body))
	require.EqualValues(t, 9, a.Usage.OutTotal)
	require.Equal(t, "m", a.Model)

	_, err = row(t, "openai").Answer(call(t, provider.OpChat, `{"model":"x"}`), nil, []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"))
	require.Equal(t, provider.APIConnection, asError(t, err).Class)
}

func TestAnAnswerThatShouldHaveBeenAStreamLeavesAsOne(t *testing.T) {
	c := call(t, provider.OpChat, `{"model":"x","stream":true}`, func(c *provider.Call) { c.WantUsage = true })
	var out sink
	info, err := row(t, "openai").StreamWhole(c, nil, []byte(`{"id":"c1","created":5,"model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":"Hi","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]}}],"usage":`+usage+`}`), &out)
	require.NoError(t, err)
	require.Equal(t, `data: {"id":"c1","object":"chat.completion.chunk","created":5,"model":"pub","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"},"index":0}]},"finish_reason":"tool_calls"}]}

data: {"id":"c1","object":"chat.completion.chunk","created":5,"model":"pub","choices":[],"usage":`+usage+`}

data: [DONE]

`, out.String())
	require.True(t, info.Done && info.SawContent && info.Usage.Known)
	require.Equal(t, "tool_calls", info.FinishReason)
	_, err = row(t, "openai").StreamWhole(c, nil, []byte(`<html>`), &out)
	require.Error(t, err)
}

func TestEmbeddingsComeInTheFormTheClientAskedFor(t *testing.T) {
	floats := []float32{0.25, -1.5, 3e-8, 0}
	raw := []byte{}
	for _, f := range floats {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	packed := base64.StdEncoding.EncodeToString(raw)
	list := `[0.25, -1.5,3e-08, 0]`
	asList := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":` + list + `},{"object":"embedding","index":1,"embedding":` + list + `}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}`
	asText := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"` + packed + `"},{"object":"embedding","index":1,"embedding":"` + packed + `"}],"model":"pub","usage":{"prompt_tokens":5,"total_tokens":5}}`
	want := func(format, in string) string {
		a, err := row(t, "together_ai").Answer(call(t, provider.OpEmbedding, `{"model":"x","input":"a"`+format+`}`), nil, []byte(in))
		require.NoError(t, err)
		require.Equal(t, price.Usage{InUncached: 5, Known: true}, a.Usage)
		return string(a.Body)
	}
	require.Equal(t, asText, want(`,"encoding_format":"base64"`, asList))
	require.Equal(t, asText, want(`,"encoding_format":"base64"`, asText), "base64 passes as it is")
	var got struct {
		Data []struct{ Embedding []float32 }
	}
	require.NoError(t, json.Unmarshal([]byte(want(`,"encoding_format":"float"`, asText)), &got))
	require.Equal(t, floats, got.Data[1].Embedding)
	require.Contains(t, want(``, asList), list, "lists pass as they are")

	_, err := row(t, "openai").Answer(call(t, provider.OpEmbedding, `{"model":"x"}`), nil, []byte(`{"choices":[]}`))
	require.Equal(t, provider.APIError, asError(t, err).Class)
}

func TestErrorsAreClassedAsLiteLLMDoes(t *testing.T) {
	wrap := func(message, typ, code string) string {
		return `{"error":{"message":"` + message + `","type":"` + typ + `","param":null,"code":` + code + `}}`
	}
	for _, c := range []struct {
		name      string
		upstream  int
		body      string
		class     provider.Class
		status    int
		permanent bool
		message   string
	}{
		{"bad parameter", 400, wrap("bad n", "invalid_request_error", `"bad"`), provider.BadRequest, 400, false, "bad n"},
		{"context by code", 400, wrap("too long", "invalid_request_error", `"context_length_exceeded"`), provider.ContextWindow, 400, false, ""},
		{"context by words", 400, wrap("This model's maximum context length is 8192 tokens", "", "null"), provider.ContextWindow, 400, false, ""},
		{"context by a pair of words", 400, `{"message":"Current length is 5 while limit is 4"}`, provider.ContextWindow, 400, false, ""},
		{"not context", 400, wrap("Invalid 'user': string too long. Expected a string with maximum length 64", "", `"string_above_max_length"`), provider.BadRequest, 400, false, ""},
		{"policy", 400, wrap("Your request was rejected as a result of the safety system", "", "null"), provider.ContentPolicy, 400, false, ""},
		{"policy by code", 400, wrap("x", "", `"content_filter"`), provider.ContentPolicy, 400, false, ""},
		{"unsupported", 400, wrap("x", "", `"unsupported_parameter"`), provider.UnsupportedParams, 400, false, ""},
		{"unauthorized", 401, wrap("Incorrect API key provided: sk-abcdefghijklmnop1234", "invalid_request_error", `"invalid_api_key"`), provider.Authentication, 401, false, "Incorrect API key provided: sk-***"},
		{"flat unauthorized", 401, `{"message":"Unauthorized"}`, provider.Authentication, 401, false, "Unauthorized"},
		{"payment", 402, `{"error":{"message":"Insufficient Balance"}}`, provider.RateLimit, 429, true, ""},
		{"forbidden", 403, `{}`, provider.PermissionDenied, 403, false, ""},
		{"no model", 404, wrap("nope", "", `"model_not_found"`), provider.NotFound, 404, false, ""},
		{"timeout", 408, ``, provider.Timeout, 408, false, ""},
		{"gateway timeout", 504, `<html>`, provider.Timeout, 408, false, "HTML"},
		{"conflict", 409, ``, provider.Conflict, 409, false, ""},
		{"too large for the tier", 413, wrap("Request too large for model", "tokens", `"rate_limit_exceeded"`), provider.RateLimit, 429, false, ""},
		{"validation", 422, `{"detail":[{"loc":["body"],"msg":"bad","type":"t"}]}`, provider.UnprocessableEntity, 422, false, `"msg":"bad"`},
		{"rate", 429, wrap("slow", "tokens", `"rate_limit_exceeded"`), provider.RateLimit, 429, false, ""},
		{"quota", 429, wrap("pay", "insufficient_quota", `"insufficient_quota"`), provider.RateLimit, 429, true, ""},
		{"flex full", 498, ``, provider.RateLimit, 429, false, ""},
		{"server", 500, wrap("oops", "server_error", "null"), provider.InternalServer, 500, false, "oops"},
		{"bad gateway", 502, `<html>`, provider.BadGateway, 502, false, ""},
		{"unavailable", 503, wrap("busy", "", `"server_is_overloaded"`), provider.ServiceUnavailable, 503, false, ""},
		{"cloudflare", 522, `<html>`, provider.InternalServer, 500, false, ""},
		{"overloaded", 529, `{"error":{"message":"x"}}`, provider.InternalServer, 500, false, ""},
		{"redirect", 302, ``, provider.APIError, 500, false, ""},
		{"teapot", 418, `short and stout`, provider.BadRequest, 400, false, "short and stout"},
		{"list", 400, `[{"error":{"message":"in a list","code":400}}]`, provider.BadRequest, 400, false, "in a list"},
		{"text error", 500, `{"error":"plain","code":"x"}`, provider.InternalServer, 500, false, "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := row(t, "openai").Error(call(t, provider.OpChat, `{"model":"x"}`), c.upstream, headers(), []byte(c.body))
			require.Equal(t, c.class, e.Class)
			require.Equal(t, c.status, e.Status)
			require.Equal(t, c.upstream, e.Upstream)
			require.Equal(t, c.permanent, e.Permanent)
			require.Contains(t, e.Message, c.message)
			require.NotEmpty(t, e.Message)
		})
	}
	e := row(t, "openai").Error(call(t, provider.OpChat, `{"model":"x"}`), 400, headers(), []byte(wrap("m", "t", `41`)))
	require.Equal(t, [2]string{"t", "41"}, [2]string{e.Type, e.Code})
}

func TestWaitingTimesAreReadInEveryForm(t *testing.T) {
	now := time.Unix(1793000000, 0).UTC()
	for _, c := range []struct {
		header [2]string
		want   time.Duration
	}{
		{[2]string{"retry-after", "20"}, 20 * time.Second},
		{[2]string{"Retry-After", "0.5"}, 500 * time.Millisecond},
		{[2]string{"retry-after-ms", "1500"}, 1500 * time.Millisecond},
		{[2]string{"retry-after", now.Add(90 * time.Second).Format("Mon, 02 Jan 2006 15:04:05 GMT")}, 90 * time.Second},
		{[2]string{"retry-after", now.Add(-time.Minute).Format("Mon, 02 Jan 2006 15:04:05 GMT")}, 0},
		{[2]string{"retry-after", "-5"}, 0},
		{[2]string{"retry-after", "NaN"}, 0},
		{[2]string{"retry-after", "soon"}, 0},
		{[2]string{"other", "1"}, 0},
	} {
		e := row(t, "openai").Error(call(t, provider.OpChat, `{"model":"x"}`), 429, headers(c.header[0], c.header[1]), nil)
		require.Equal(t, c.want, e.RetryAfter, c.header)
	}
}
