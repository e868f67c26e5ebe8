package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"tollgate/proxy/anthropic"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// FuzzToChat takes any body for a Messages request.
func FuzzToChat(f *testing.F) {
	f.Add([]byte(`{"model":"m","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"},"thinking":{"type":"enabled","budget_tokens":3000},"stop_sequences":["a"],"metadata":{"user_id":"u"}}`))
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]}}]}],"output_config":{"effort":"max","format":{"schema":{}}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := anthropic.ToChat(in)
		if err == nil {
			var o jsonscan.Object
			if !json.Valid(out) {
				t.Fatalf("%q became %q", in, out)
			}
			if err := o.ParseTop(out); err == nil && !o.Has("messages") {
				t.Fatalf("%q has no messages", out)
			}
		}
		if body, err := anthropic.FromChat(&provider.Answer{ID: "chatcmpl-1", Body: in}); err == nil && !json.Valid(body) {
			t.Fatalf("%q became %q", in, body)
		}
	})
}

// FuzzChunks feeds chunks, one a line: whatever they hold, the client gets a
// stream that keeps the grammar.
func FuzzChunks(f *testing.F) {
	f.Add(strings.Join([]string{delta(`{"content":"x"}`), delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}]}`), delta(`{"reasoning_content":"r"}`), finish("stop")}, "\n"))
	f.Add(strings.Join([]string{delta(`{"thinking_blocks":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"redacted_thinking","data":"d"}]}`), delta(`{"refusal":"no"}`), `{"choices":[]}`}, "\n"))
	f.Fuzz(func(t *testing.T, in string) {
		s := anthropic.Wrap(chatOnly{name: "openai", usage: counted}).Stream(newCall(t, `{"model":"gpt","messages":[]}`))
		var got sink
		for line := range strings.SplitSeq(in, "\n") {
			if s.Event("", []byte(line), &got) != nil {
				break
			}
		}
		s.Cut("length", &got)
		if got.Len() > 0 {
			assemble(t, got.String())
		}
	})
}
