package anthropic_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/proxy/anthropic"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// chatOnly is a provider of chat completions that passes everything on: what
// it is asked is its request, what it is told is its answer.
type chatOnly struct {
	name  string
	usage price.Usage
}

func (p chatOnly) Name() string                 { return p.name }
func (p chatOnly) Supports(op provider.Op) bool { return op == provider.OpChat }

func (p chatOnly) Request(c *provider.Call) (*provider.Request, error) {
	return &provider.Request{Method: "POST", Body: c.Body, Dropped: []string{"theirs"}}, nil
}

func (p chatOnly) Answer(_ *provider.Call, _ func(string) string, body []byte) (*provider.Answer, error) {
	return &provider.Answer{Body: body, ID: "chatcmpl-1", Usage: p.usage, FinishReason: "stop"}, nil
}

func (p chatOnly) Error(_ *provider.Call, status int, _ func(string) string, body []byte) *provider.Error {
	e := provider.NewError(provider.RateLimit, string(body))
	e.Upstream = status
	return e
}

func (p chatOnly) Stream(c *provider.Call) provider.Stream {
	return &chatStream{want: c.WantUsage, info: provider.StreamInfo{ID: "chatcmpl-1"}, usage: p.usage}
}

type chatStream struct {
	want  bool
	info  provider.StreamInfo
	usage price.Usage
}

func (s *chatStream) Info() *provider.StreamInfo { return &s.info }

func (s *chatStream) Event(_ string, data []byte, out provider.Sink) error {
	switch {
	case string(data) == "fail":
		return provider.NewError(provider.InternalServer, "broken")
	case string(data) == "[DONE]":
		s.info.Done = true
		return nil
	}
	out.Emit([]byte("data: " + string(data) + "\n\n"))
	return nil
}

func (s *chatStream) End(out provider.Sink) error {
	if !s.info.Done {
		return provider.NewError(provider.APIConnection, "cut")
	}
	s.info.Usage = s.usage
	if s.want {
		out.Emit([]byte(`data: {"id":"chatcmpl-1","choices":[],"usage":{}}` + "\n\n"))
	}
	out.Emit([]byte("data: [DONE]\n\n"))
	return nil
}

func (s *chatStream) Cut(reason string, out provider.Sink) {
	s.info.Usage = s.usage
	out.Emit([]byte(`data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}` + "\n\ndata: [DONE]\n\n"))
}

func newCall(t rapidTB, body string) *provider.Call {
	t.Helper()
	o := new(jsonscan.Object)
	require.NoError(t, o.Parse([]byte(body)))
	return &provider.Call{Op: provider.OpMessages, Body: []byte(body), Fields: o, Model: "m", PublicName: "gpt", InputEstimate: 77,
		Now: time.Unix(1793000000, 0), CallID: "0190-aa", Deployment: &state.Deployment{}}
}

func sameJSON(t testing.TB, want, got string) {
	t.Helper()
	read := func(s string) any {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var v any
		require.NoError(t, d.Decode(&v), s)
		return v
	}
	if diff := cmp.Diff(read(want), read(got)); diff != "" {
		t.Fatalf("-want +got\n%s\ngot %s", diff, got)
	}
}

func TestMessagesRequestsBecomeChatRequests(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"text and parameters": {
			`{"model":"gpt","max_tokens":50,"system":"Be brief.","messages":[{"role":"user","content":"hi"}],"temperature":0.30,"top_p":0.9,"top_k":5,"stop_sequences":["a","b"],"metadata":{"user_id":"u1"},"stream":true}`,
			`{"model":"gpt","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}],"max_tokens":50,"temperature":0.30,"top_p":0.9,"stop":["a","b"],"user":"u1","stream":true}`,
		},
		"system blocks are one text without the billing line": {
			`{"model":"gpt","max_tokens":5,"system":[{"type":"text","text":"x-anthropic-billing-header: cc=1"},{"type":"text","text":"One","cache_control":{"type":"ephemeral"}},{"type":"text","text":"T\"wo"}],"messages":[{"role":"user","content":"hi"},{"role":"system","content":"later"}]}`,
			`{"model":"gpt","messages":[{"role":"system","content":"One\nT\"wo"},{"role":"user","content":"hi"},{"role":"system","content":"later"}],"max_tokens":5}`,
		},
		"images and documents": {
			`{"model":"gpt","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},{"type":"image","source":{"type":"url","url":"https://x/y.png"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"UERG"}},{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"plain"}}]}]}`,
			`{"model":"gpt","messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}},{"type":"image_url","image_url":{"url":"https://x/y.png"}},{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,UERG"}},{"type":"text","text":"T\n\nplain"}]}],"max_tokens":5}`,
		},
		"tool loop: results come before the rest of the turn, thoughts stay behind": {
			`{"model":"gpt","max_tokens":5,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"ok"},{"type":"tool_use","id":"t1","name":"f","input":{"n": 12345678901234567890}},{"type":"tool_use","id":"t2","name":"g","input":{}}]},
			 {"role":"user","content":[{"type":"text","text":"also"},{"type":"tool_result","tool_use_id":"t1","content":"42"},{"type":"tool_result","tool_use_id":"t2","is_error":true,"content":[{"type":"text","text":"bad"},{"type":"image","source":{"type":"url","url":"https://i"}}]}]}]}`,
			`{"model":"gpt","messages":[{"role":"user","content":"go"},{"role":"assistant","content":"ok","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"n\":12345678901234567890}"}},{"id":"t2","type":"function","function":{"name":"g","arguments":"{}"}}]},
			 {"role":"tool","tool_call_id":"t1","content":"42"},{"role":"tool","tool_call_id":"t2","content":"Error: bad\n[image: in the next user message]"},
			 {"role":"user","content":[{"type":"text","text":"also"},{"type":"image_url","image_url":{"url":"https://i"}}]}],"max_tokens":5}`,
		},
		"call without text or input": {
			`{"model":"gpt","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1"}]}]}`,
			`{"model":"gpt","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t1","content":""}],"max_tokens":5}`,
		},
		"tools and a forced choice": {
			`{"model":"gpt","max_tokens":5,"tool_choice":{"type":"any","disable_parallel_tool_use":true},"messages":[],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"b":{},"a":{}}},"cache_control":{"type":"ephemeral"}},{"type":"web_search_20250305","name":"web_search"},{"name":"g"}]}`,
			`{"model":"gpt","messages":[],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"b":{},"a":{}}}}},{"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{}}}}],"max_tokens":5,"tool_choice":"required","parallel_tool_calls":false}`,
		},
		"named choice": {
			`{"model":"gpt","max_tokens":5,"messages":[],"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"f"}}`,
			`{"model":"gpt","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],"max_tokens":5,"tool_choice":{"type":"function","function":{"name":"f"}}}`,
		},
		"choice without tools": {
			`{"model":"gpt","max_tokens":5,"messages":[],"tools":[{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"auto"}}`,
			`{"model":"gpt","messages":[],"max_tokens":5}`,
		},
		"thinking budget becomes an effort": {
			`{"model":"gpt","max_tokens":5,"messages":[],"thinking":{"type":"enabled","budget_tokens":6000}}`,
			`{"model":"gpt","messages":[],"max_tokens":5,"reasoning_effort":"medium"}`,
		},
		"a stated effort wins": {
			`{"model":"gpt","max_tokens":5,"messages":[],"thinking":{"type":"adaptive"},"output_config":{"effort":"max","format":{"type":"json_schema","schema":{"type":"object"}}}}`,
			`{"model":"gpt","messages":[],"max_tokens":5,"reasoning_effort":"high","response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}}}`,
		},
		"thinking off": {
			`{"model":"gpt","max_tokens":5,"messages":[],"thinking":{"type":"disabled"}}`,
			`{"model":"gpt","messages":[],"max_tokens":5}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := anthropic.ToChat([]byte(tc.in))
			require.NoError(t, err)
			sameJSON(t, tc.want, string(got))
		})
	}
}

func TestWhatOnlyTheTargetUnderstandsIsKeptForIt(t *testing.T) {
	body := `{"model":"gpt","max_tokens":5,"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}]}`
	get := func(name string) string {
		r, err := anthropic.Wrap(chatOnly{name: name}).Request(newCall(t, body))
		require.NoError(t, err)
		return string(r.Body)
	}
	require.NotContains(t, get("openai"), "cache_control")
	require.NotContains(t, get("openai"), "hm")
	require.Contains(t, get("bedrock"), `"cache_control":{"type":"ephemeral"}`)
	require.Contains(t, get("bedrock"), `"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"sig"}]`)
	require.Contains(t, get("deepseek"), `"reasoning_content":"hm"`)
}

func TestParametersWithoutACounterpartAreReported(t *testing.T) {
	r, err := anthropic.Wrap(chatOnly{name: "openai"}).Request(newCall(t, `{"model":"gpt","max_tokens":5,"messages":[{"role":"user","content":[{"type":"container_upload","file_id":"f"}]}],"top_k":5,"stop_sequences":["1","2","3","4","5"],"tools":[{"type":"bash_20250124","name":"bash"}]}`))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"theirs", "top_k", "stop_sequences", "tools.bash_20250124", "messages.container_upload"}, r.Dropped)
}

func TestMistakesAreNamed(t *testing.T) {
	for param, body := range map[string]string{
		"messages":                           `{"max_tokens":1}`,
		"messages[0].role":                   `{"messages":[{"role":"tool","content":"x"}]}`,
		"messages[1].content":                `{"messages":[{"role":"user","content":"x"},{"role":"user","content":7}]}`,
		"messages[0].content[0].source":      `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}`,
		"messages[0].content[0].tool_use_id": `{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`,
		"tool_choice":                        `{"messages":[],"tools":[{"name":"f"}],"tool_choice":{"type":"perhaps"}}`,
		"tools[0].name":                      `{"messages":[],"tools":[{"description":"f"}]}`,
		"system":                             `{"messages":[],"system":4}`,
		"stop_sequences":                     `{"messages":[],"stop_sequences":"x"}`,
	} {
		_, err := anthropic.ToChat([]byte(body))
		var e *provider.Error
		require.True(t, errors.As(err, &e), body)
		require.Equal(t, param, e.Param)
		require.Equal(t, 400, e.Status)
	}
	_, err := anthropic.ToChat([]byte(`{"messages":[`))
	require.Error(t, err)
}

func TestChatAnswersBecomeMessages(t *testing.T) {
	usage := price.Usage{Known: true, InUncached: 10, CacheRead: 20, CacheWrite5m: 5, OutTotal: 7}
	wantUsage := `{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"output_tokens":7}`
	for name, tc := range map[string]struct{ choice, content, stop string }{
		"text":       {`{"message":{"role":"assistant","content":"h\u00e9"},"finish_reason":"stop"}`, `[{"type":"text","text":"hé"}]`, "end_turn"},
		"length":     {`{"message":{"content":"h"},"finish_reason":"length"}`, `[{"type":"text","text":"h"}]`, "max_tokens"},
		"filter":     {`{"message":{"content":null},"finish_reason":"content_filter"}`, `[]`, "refusal"},
		"refusal":    {`{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}`, `[{"type":"text","text":"no"}]`, "refusal"},
		"two calls":  {`{"message":{"content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"n\": 1.50}"}},{"id":"b","function":{"name":"g","arguments":""}}]},"finish_reason":"tool_calls"}`, `[{"type":"tool_use","id":"a","name":"f","input":{"n":1.50}},{"type":"tool_use","id":"b","name":"g","input":{}}]`, "tool_use"},
		"wrong stop": {`{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":"[1"}}]},"finish_reason":"stop"}`, `[{"type":"tool_use","id":"toolu_chatcmpl1_0","name":"f","input":{"_raw":"[1"}}]`, "tool_use"},
		"reasoning":  {`{"message":{"content":"x","reasoning_content":"hm"},"finish_reason":"stop"}`, `[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"x"}]`, "end_turn"},
		"signed":     {`{"message":{"content":"x","reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"}]},"finish_reason":"stop"}`, `[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"x"}]`, "end_turn"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := anthropic.Wrap(chatOnly{name: "openai", usage: usage}).Answer(newCall(t, `{"model":"gpt","messages":[]}`), nil,
				[]byte(`{"id":"chatcmpl-1","model":"gpt","choices":[`+tc.choice+`]}`))
			require.NoError(t, err)
			sameJSON(t, `{"id":"msg_1","type":"message","role":"assistant","model":"gpt","content":`+tc.content+`,"stop_reason":"`+tc.stop+`","stop_sequence":null,"usage":`+wantUsage+`}`, string(a.Body))
			require.Equal(t, usage, a.Usage)
		})
	}
	_, err := anthropic.FromChat(&provider.Answer{Body: []byte(`{"choices":[]}`)})
	require.Error(t, err)
	_, err = anthropic.FromChat(&provider.Answer{Body: []byte(`<html>`)})
	require.Error(t, err)
}

func TestErrorsHaveTheTypeOfTheirStatus(t *testing.T) {
	for status, kind := range map[int]string{400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
		404: "not_found_error", 408: "timeout_error", 409: "conflict_error", 413: "request_too_large", 422: "invalid_request_error", 429: "rate_limit_error",
		500: "api_error", 502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error"} {
		require.Equal(t, `{"type":"error","error":{"type":"`+kind+`","message":"a \"b\""},"request_id":"req_`+strconv.Itoa(status)+`"}`,
			string(anthropic.AppendError(nil, status, `a "b"`, "req_"+strconv.Itoa(status))))
	}
	require.Equal(t, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n", string(anthropic.AppendErrorEvent(nil, 500, "x", "")))
	e := provider.NewError(provider.InternalServer, "x")
	require.Equal(t, 500, anthropic.UpstreamStatus(e))
	e.Upstream = 529
	require.Equal(t, 529, anthropic.UpstreamStatus(e))
}

func TestOtherOperationsPassThrough(t *testing.T) {
	w := anthropic.Wrap(chatOnly{name: "openai"})
	require.True(t, w.Supports(provider.OpMessages) && w.Supports(provider.OpChat))
	require.False(t, w.Supports(provider.OpEmbedding))
	require.Equal(t, "openai", w.Name())
	c := newCall(t, `{"model":"gpt","messages":[]}`)
	require.Equal(t, 429, w.Error(c, 429, nil, nil).Upstream)
	c.Op = provider.OpChat
	r, err := w.Request(c)
	require.NoError(t, err)
	require.Equal(t, string(c.Body), string(r.Body))
	a, err := w.Answer(c, nil, []byte(`{"x":1}`))
	require.NoError(t, err)
	require.Equal(t, `{"x":1}`, string(a.Body))
	_, isChat := w.Stream(c).(*chatStream)
	require.True(t, isChat)
}
