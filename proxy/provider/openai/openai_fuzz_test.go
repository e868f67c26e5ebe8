package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tollgate/proxy/provider"
)

// FuzzStream feeds anything as an upstream stream: whatever comes, the client
// gets whole events of valid JSON, ending in one end marker or an error.
func FuzzStream(f *testing.F) {
	f.Add([]byte(chunk(`"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":`+usage)+done), true)
	f.Add([]byte(chunk(`"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"a"}],"tool_calls":[{"function":{"arguments":{"a":1}}}]},"finish_reason":"eos"}]`)+done), false)
	f.Add([]byte("event: error\ndata: {\"error\":{\"code\":429}}\n\n"), true)
	f.Add([]byte("data: {\"choices\":[{\"index\":-7}],\"usage\":{},\"id\":3,\"model\":null}\n\n"+done), true)
	f.Fuzz(func(t *testing.T, body []byte, want bool) {
		for _, name := range []string{"openai", "mistral"} {
			c := call(t, provider.OpChat, `{"model":"x","stream":true}`, func(c *provider.Call) { c.WantUsage = want })
			out, err := feed(row(t, name).Stream(c), bytes.NewReader(body))
			var e *provider.Error
			if err != nil && (!errors.As(err, &e) || e.Status < 400 || e.Message == "") {
				t.Fatalf("error %v", err)
			}
			if err == nil && strings.Count(out, "data: [DONE]\n\n") != 1 {
				t.Fatalf("end markers in %q", out)
			}
			usages := 0
			for _, frame := range strings.SplitAfter(out, "\n\n") {
				if frame == "" || frame == done {
					continue
				}
				data, ok := strings.CutPrefix(frame, "data: ")
				var v map[string]json.RawMessage
				if !ok || !strings.HasSuffix(data, "\n\n") || !json.Valid([]byte(data)) {
					t.Fatalf("frame %q", frame)
				}
				if json.Unmarshal([]byte(data), &v) == nil && bytes.HasPrefix(v["usage"], []byte("{")) {
					usages++
				}
			}
			if usages > 1 || usages == 1 && !want {
				t.Fatalf("%d usages, wanted %v, in %q", usages, want, out)
			}
		}
	})
}

// FuzzAnswer feeds anything as a whole answer and as an error body.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"choices":[{"message":{"content":[{"type":"thinking","thinking":"x"}]},"finish_reason":"eos"}],"usage":{"prompt_tokens":-1}}`), uint16(200))
	f.Add([]byte(`{"data":[{"embedding":[1,null,"x",1e999]},{"embedding":"AAAA"},3],"model":1}`), uint16(400))
	f.Add([]byte(`[{"error":{"code":"429","message":["a"]}}]`), uint16(429))
	f.Add([]byte("data: {\"choices\":[]}\n\ndata: [DONE]"), uint16(500))
	f.Add([]byte(`{"error":{"message":"sk-aaaaaaaaaaaa"},"detail":1}`), uint16(500))
	f.Fuzz(func(t *testing.T, body []byte, status uint16) {
		for _, op := range []provider.Op{provider.OpChat, provider.OpCompletion, provider.OpEmbedding} {
			for _, format := range []string{`"base64"`, `"float"`} {
				c := call(t, op, `{"model":"x","encoding_format":`+format+`}`)
				a, err := row(t, "mistral").Answer(c, headers(), body)
				var e *provider.Error
				if err != nil {
					if !errors.As(err, &e) || e.Status < 400 || e.Message == "" {
						t.Fatalf("error %v", err)
					}
					continue
				}
				if !json.Valid(a.Body) {
					t.Fatalf("answer %q of %q", a.Body, body)
				}
			}
		}
		e := row(t, "openai").Error(call(t, provider.OpChat, `{"model":"x"}`), int(status), headers("retry-after", string(body)), body)
		if e.Status < 400 || e.Status > 599 || e.Message == "" || e.RetryAfter < 0 {
			t.Fatalf("%+v", e)
		}
	})
}

// FuzzRequest feeds anything as a client's body.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"x","messages":[{"role":"user","name":1,"content":[{"type":"text","text":"a"}]},3,{"tool_calls":[{"id":7}],"tool_call_id":null}],"stream":true,"stream_options":3,"max_tokens":"a","n":0,"seed":1}`))
	f.Add([]byte(`{"messages":[{"thinking_blocks":[{"signature":"s"}],"reasoning_details":1,"extra_content":{},"content":[{"type":"thinking"},3,{"type":"redacted_thinking"}],"tool_calls":[{"provider_specific_fields":{},"function":{"provider_specific_fields":1}},5,{"function":"thinking"}]},"thinking"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) {
			return
		}
		for _, name := range []string{"openai", "mistral", "deepseek", "openrouter"} {
			c := &provider.Call{}
			*c = *call(t, provider.OpChat, `{}`, withModel("o3"))
			c.Body, c.MaxOutput, c.DropParams = body, 100, true
			if c.Fields.Parse(body) != nil {
				return
			}
			req, err := row(t, name).Request(c)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(req.Body) {
				t.Fatalf("%s: %q became %q", name, body, req.Body)
			}
			if c.Fields.Parse(req.Body) != nil {
				t.Fatalf("%s: %q became %q", name, body, req.Body)
			}
		}
	})
}
