package anthropic_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

func answer(t testing.TB, c *provider.Call, body string) *provider.Answer {
	t.Helper()
	a, err := anthropic.New().Answer(c, nil, []byte(body))
	require.NoError(t, err)
	return a
}

func message(content, stop string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":` + content + `,"stop_reason":"` + stop +
		`","usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"output_tokens":7,"output_tokens_details":{"thinking_tokens":3},"service_tier":"standard"}}`
}

func TestMessagesBecomeChatCompletions(t *testing.T) {
	for name, tc := range map[string]struct{ content, stop, message, finish string }{
		"text":   {`[{"type":"text","text":"a\u00e9"},{"type":"text","text":"b"}]`, "end_turn", `{"role":"assistant","content":"aéb"}`, "stop"},
		"length": {`[{"type":"text","text":"a"}]`, "max_tokens", `{"role":"assistant","content":"a"}`, "length"},
		"two calls": {`[{"type":"tool_use","id":"a","name":"f","input":{"n": 12345678901234567890, "s":"\u00e9 x"}},{"type":"tool_use","id":"b","name":"g","input":{}}]`, "tool_use",
			`{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"n\":12345678901234567890,\"s\":\"\\u00e9 x\"}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}`, "tool_calls"},
		"thinking": {`[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"a"}]`, "end_turn",
			`{"role":"assistant","content":"a","reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"}],"reasoning_details":[{"type":"thinking","text":"hm","signature":"s"},{"type":"redacted","data":"d"}]}`, "stop"},
		"citations": {`[{"type":"text","text":"é: "},{"type":"text","text":"yes","citations":[{"type":"web_search_result_location","url":"https://u","title":"T","cited_text":"c"}]},{"type":"web_search_tool_result","tool_use_id":"x","content":[]}]`, "end_turn",
			`{"role":"assistant","content":"é: yes","annotations":[{"type":"url_citation","url_citation":{"start_index":3,"end_index":6,"url":"https://u","title":"T"}}],"provider_specific_fields":{"citations":[[{"type":"web_search_result_location","url":"https://u","title":"T","cited_text":"c"}]],"web_search_results":[{"type":"web_search_tool_result","tool_use_id":"x","content":[]}]}}`, "stop"},
		"nothing": {`[]`, "end_turn", `{"role":"assistant","content":""}`, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			a := answer(t, newCall(t, provider.OpChat, "claude-sonnet-4-5", hello), message(tc.content, tc.stop))
			sameJSON(t, `{"id":"msg_1","object":"chat.completion","created":1793000000,"model":"claude","choices":[{"index":0,"finish_reason":"`+tc.finish+`","logprobs":null,"message":`+tc.message+`}],
			"usage":{"prompt_tokens":35,"completion_tokens":7,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":20,"cache_write_tokens":5,"cache_creation_tokens":5},"completion_tokens_details":{"reasoning_tokens":3},"cache_creation_input_tokens":5,"cache_read_input_tokens":20},"service_tier":"default"}`, string(a.Body))
			require.Equal(t, tc.finish, a.FinishReason)
			require.Equal(t, int64(10), a.Usage.InUncached)
			require.Equal(t, int64(3), a.Usage.OutReasoning)
			require.Equal(t, "claude-x", a.Model)
		})
	}
}

func TestRefusalsSayWhyWhenThereIsNoText(t *testing.T) {
	a := answer(t, newCall(t, provider.OpChat, "m", hello), `{"id":"m","content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"not that"}}`)
	require.Contains(t, string(a.Body), `"content":null,"refusal":"not that"`)
	require.Equal(t, "content_filter", a.FinishReason)
	require.False(t, a.Usage.Known)
}

func TestStructuredOutputIsUnwrappedOnlyWhereItWasForced(t *testing.T) {
	format := `{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}}}`
	body := message(`[{"type":"tool_use","id":"a","name":"json_tool_call","input":{"a": 1.50}}]`, "tool_use")
	a := answer(t, newCall(t, provider.OpChat, "claude-3-5-haiku", format), body)
	require.Contains(t, string(a.Body), `"content":"{\"a\":1.50}"`)
	require.Equal(t, "stop", a.FinishReason)

	a = answer(t, newCall(t, provider.OpChat, "claude-3-5-haiku", hello), body)
	require.Equal(t, "tool_calls", a.FinishReason)

	a = answer(t, newCall(t, provider.OpChat, "claude-3-5-haiku", format), message(`[{"type":"text","text":"Sure:"},{"type":"tool_use","id":"a","name":"json_tool_call","input":{}},{"type":"tool_use","id":"b","name":"f","input":{}}]`, "tool_use"))
	require.Contains(t, string(a.Body), `"content":"{}"`)
	require.Equal(t, "tool_calls", a.FinishReason)
}

func TestCompletionAnswers(t *testing.T) {
	a := answer(t, newCall(t, provider.OpCompletion, "m", `{"prompt":"x"}`), `{"id":"m1","content":[{"type":"text","text":"yo"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`)
	sameJSON(t, `{"id":"m1","object":"text_completion","created":1793000000,"model":"claude","choices":[{"text":"yo","index":0,"logprobs":null,"finish_reason":"stop"}],
	"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"cache_creation_tokens":0},"cache_creation_input_tokens":0,"cache_read_input_tokens":0}}`, string(a.Body))
}

func TestTwoHundredWithoutAMessageIsAnError(t *testing.T) {
	for body, class := range map[string]provider.Class{
		``:                            provider.APIError,
		`<html>gateway</html>`:        provider.APIError,
		`[]`:                          provider.APIError,
		`{"id":"x"}`:                  provider.APIError,
		`{"id":"x","content":"text"}`: provider.APIError,
		`{"content":[`:                provider.APIError,
		`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`: provider.InternalServer,
		`{"error":{"type":"rate_limit_error","message":"slow down"}}`:                 provider.RateLimit,
	} {
		for _, op := range []provider.Op{provider.OpChat, provider.OpMessages} {
			_, err := anthropic.New().Answer(newCall(t, op, "m", hello), nil, []byte(body))
			var e *provider.Error
			require.True(t, errors.As(err, &e), body)
			require.Equal(t, class, e.Class, body)
		}
	}
}

func TestFailuresAreClassified(t *testing.T) {
	wrap := func(kind, message string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":"req_1"}`
	}
	for name, tc := range map[string]struct {
		status    int
		body      string
		class     provider.Class
		client    int
		permanent bool
		code      string
	}{
		"bad parameter":  {400, wrap("invalid_request_error", "max_tokens: too large"), provider.BadRequest, 400, false, ""},
		"prompt":         {400, wrap("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), provider.ContextWindow, 400, false, "context_length_exceeded"},
		"context limit":  {400, wrap("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3"), provider.ContextWindow, 400, false, "context_length_exceeded"},
		"policy":         {400, wrap("invalid_request_error", "Output blocked by content filtering policy"), provider.ContentPolicy, 400, false, "content_policy_violation"},
		"credit":         {400, wrap("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), provider.RateLimit, 429, true, ""},
		"key":            {401, wrap("authentication_error", "invalid x-api-key"), provider.Authentication, 401, false, ""},
		"billing":        {402, wrap("billing_error", "pay"), provider.RateLimit, 429, true, ""},
		"permission":     {403, wrap("permission_error", "no"), provider.PermissionDenied, 403, false, ""},
		"model":          {404, wrap("not_found_error", "model: x"), provider.NotFound, 404, false, ""},
		"timeout":        {504, wrap("timeout_error", "late"), provider.Timeout, 408, false, ""},
		"conflict":       {409, wrap("conflict_error", "x"), provider.Conflict, 409, false, ""},
		"large":          {413, wrap("request_too_large", "Request exceeds the maximum size"), provider.BadRequest, 413, false, ""},
		"unprocessable":  {422, wrap("invalid_request_error", "x"), provider.UnprocessableEntity, 422, false, ""},
		"rate, no time":  {429, wrap("rate_limit_error", "x"), provider.RateLimit, 429, true, ""},
		"server":         {500, wrap("api_error", "Internal server error"), provider.InternalServer, 500, false, ""},
		"gateway":        {502, `<html>bad gateway</html>`, provider.BadGateway, 502, false, ""},
		"cdn":            {524, ``, provider.BadGateway, 502, false, ""},
		"unavailable":    {503, `no upstream`, provider.ServiceUnavailable, 503, false, ""},
		"overloaded":     {529, wrap("overloaded_error", "Overloaded"), provider.InternalServer, 500, false, ""},
		"redirect":       {302, ``, provider.APIError, 500, false, ""},
		"openai's form":  {404, `{"error":{"message":"gone","type":"x","code":"model_not_found"}}`, provider.NotFound, 404, false, "model_not_found"},
		"spend limit":    {429, `{"type":"error","error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}`, provider.RateLimit, 429, true, "enforced_spend_limit_reached"},
		"text":           {400, "bad thing happened", provider.BadRequest, 400, false, ""},
		"error as text":  {400, `{"error":"odd"}`, provider.BadRequest, 400, false, ""},
		"unknown status": {418, `{"message":"teapot"}`, provider.BadRequest, 400, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := anthropic.New().Error(newCall(t, provider.OpChat, "m", hello), tc.status, func(string) string { return "" }, []byte(tc.body))
			require.Equal(t, tc.class, e.Class)
			require.Equal(t, tc.client, e.Status)
			require.Equal(t, tc.status, e.Upstream)
			require.Equal(t, tc.permanent, e.Permanent)
			require.Equal(t, tc.code, e.Code)
			require.NotEmpty(t, e.Message)
			require.NotContains(t, e.Message, "<")
		})
	}
}

func TestRetryAfterIsReadInAllItsForms(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0.5": 500 * time.Millisecond, now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		e := anthropic.New().Error(newCall(t, provider.OpChat, "m", hello), 429, func(name string) string {
			if name == "retry-after" {
				return value
			}
			return ""
		}, nil)
		require.Equal(t, want, e.RetryAfter, value)
		require.False(t, e.Permanent, value)
	}
	e := anthropic.New().Error(newCall(t, provider.OpChat, "m", hello), 429, func(name string) string {
		return map[string]string{"retry-after-ms": "250", "retry-after": "9"}[name]
	}, nil)
	require.Equal(t, 250*time.Millisecond, e.RetryAfter)
}

func TestOtherServersMayLimitWithoutStatingATime(t *testing.T) {
	c := newCall(t, provider.OpChat, "m", hello)
	c.Deployment.APIBase = "http://127.0.0.1:9"
	e := anthropic.New().Error(c, 429, nil, []byte(`{"type":"error","error":{"type":"rate_limit_error","message":"x"}}`))
	require.False(t, e.Permanent)
}
