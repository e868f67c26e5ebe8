package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

// FuzzEvents feeds upstream events, one a line, to every kind of stream: what
// comes out is whole frames of JSON, whatever goes in.
func FuzzEvents(f *testing.F) {
	f.Add(strings.Join([]string{msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"x"}`), blockStop("0"), msgDelta("end_turn", "1"), msgStop}, "\n"))
	f.Add(strings.Join([]string{msgStart, blockStart("0", `{"type":"tool_use","id":"a","name":"json_tool_call","input":{"a":1}}`), blockDelta("0", `{"type":"input_json_delta","partial_json":"{"}`), blockStop("0")}, "\n"))
	f.Add(strings.Join([]string{blockStart("0", `{"type":"redacted_thinking","data":"d"}`), blockDelta("0", `{"type":"signature_delta","signature":"s"}`), `{"type":"error"}`}, "\n"))
	f.Fuzz(func(t *testing.T, in string) {
		for _, op := range []provider.Op{provider.OpChat, provider.OpMessages, provider.OpCompletion} {
			for _, body := range []string{hello, `{"messages":[],"response_format":{"response_schema":{}}}`} {
				c := newCall(t, op, "claude-3-haiku", body)
				c.WantUsage = true
				s := anthropic.New().Stream(c)
				var got sink
				failed := false
				for line := range strings.SplitSeq(in, "\n") {
					if failed = s.Event("", []byte(line), &got) != nil; failed {
						break
					}
				}
				if failed || s.End(&got) != nil {
					s.Cut("length", &got)
				}
				checkFrames(t, got.String())
				if u := s.Info().Usage; u.Prompt() < 0 || u.OutTotal < 0 {
					t.Fatalf("negative usage %+v", u)
				}
			}
		}
	})
}

func checkFrames(t *testing.T, out string) {
	t.Helper()
	if out != "" && !strings.HasSuffix(out, "\n\n") {
		t.Fatalf("unfinished frame in %q", out)
	}
	for frame := range strings.SplitSeq(strings.TrimSuffix(out, "\n\n"), "\n\n") {
		_, data, ok := strings.Cut("\n"+frame, "\ndata: ")
		if frame == "" {
			continue
		}
		if !ok || data != "[DONE]" && !json.Valid([]byte(data)) {
			t.Fatalf("frame %q of %q", frame, out)
		}
	}
}

// FuzzAnswer takes any bytes for a whole answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(message(`[{"type":"text","text":"a","citations":[{"url":"u"}]},{"type":"tool_use","id":"a","name":"f","input":{"a":1}},{"type":"thinking","thinking":"x"}]`, "end_turn")))
	f.Add([]byte(`{"content":[null,1,"x",{}],"usage":{"input_tokens":-1}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, op := range []provider.Op{provider.OpChat, provider.OpMessages, provider.OpCompletion} {
			c := newCall(t, op, "m", hello)
			a, err := anthropic.New().Answer(c, nil, in)
			if err == nil && !json.Valid(a.Body) {
				t.Fatalf("answer %q", a.Body)
			}
			anthropic.New().Error(c, 400, nil, in)
		}
	})
}

// FuzzRequest takes any body that the front door lets through.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}}]},{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"t"}]}],"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"properties":{"a":{"oneOf":[true,{"minLength":1}]}}}}}],"tool_choice":"required","reasoning_effort":"high","response_format":{"type":"json_schema","json_schema":{"schema":{}}}}`))
	f.Add([]byte(`{"messages":[],"prompt":"x","max_tokens":1,"thinking":{"type":"enabled","budget_tokens":5000}}`))
	f.Add([]byte(`{"max_tokens":9,"thinking":{"type":"enabled"},"messages":[3,{"role":"assistant","content":[{"type":"thinking"},7]},{"role":"assistant","content":[{"type":"thinking","signature":""},{"type":"tool_use"}]}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var o jsonscan.Object
		if o.Parse(in) != nil {
			return
		}
		for _, op := range []provider.Op{provider.OpChat, provider.OpMessages, provider.OpCompletion} {
			for _, m := range []string{"claude-3-haiku", "claude-opus-5-5", "claude-sonnet-4-5"} {
				c := newCall(t, op, m, string(in))
				c.MaxOutput, c.DropParams = 2000, true
				r, err := anthropic.New().Request(c)
				if err == nil && !json.Valid(r.Body) {
					t.Fatalf("request %q", r.Body)
				}
			}
		}
	})
}
