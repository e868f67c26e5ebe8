package cache_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/proxy/cache"
)

const (
	chat = `{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","system_fingerprint":"fp","choices":[` +
		`{"index":0,"message":{"role":"assistant","content":"hé \"there\"","reasoning_content":"hm","refusal":null},"logprobs":{"content":[{"token":"a","logprob":-1}]},"finish_reason":"stop"},` +
		`{"index":1,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],` +
		`"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`
	text = `{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":"abc","logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`
	msg  = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"so","signature":"sig"},{"type":"redacted_thinking","data":"xx"},` +
		`{"type":"text","text":"a\nb","citations":[{"type":"char_location","cited_text":"q"}]},{"type":"tool_use","id":"t1","name":"f","input":{"a":[1,2]}}],` +
		`"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":1,"output_tokens":9}}`
)

func TestAnAnswerReplayedAddsUpToItself(t *testing.T) {
	for name, doc := range map[string]string{"chat": chat, "text": text, "spread over lines": string(bytes.ReplaceAll([]byte(chat), []byte(","), []byte(",\n ")))} {
		t.Run(name, func(t *testing.T) {
			for _, usage := range []bool{true, false} {
				var frames []byte
				require.True(t, cache.Replay([]byte(doc), "m", usage, func(f []byte) { frames = append(frames, f...) }))
				u := price.FromOpenAI([]byte(`{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}`))
				got, ok := cache.Assemble(frames, false, &u)
				require.True(t, ok, "%s", frames)
				if !usage {
					got = cache.Named(nil, got, "m")
					require.NotContains(t, string(frames), "prompt_tokens")
					require.Contains(t, string(got), `"prompt_tokens":3`)
					continue
				}
				if name == "chat" || name == "spread over lines" {
					require.JSONEq(t, string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(chat), []byte(`,"refusal":null`), nil), []byte(`"logprobs":null,`), nil)), string(got))
				} else {
					require.JSONEq(t, string(bytes.ReplaceAll([]byte(text), []byte(`"logprobs":null,`), nil)), string(got))
				}
			}
		})
	}
	t.Run("message", func(t *testing.T) {
		var frames []byte
		require.True(t, cache.ReplayMessage([]byte(msg), "m", func(f []byte) { frames = append(frames, f...) }))
		got, ok := cache.Assemble(frames, true, nil)
		require.True(t, ok, "%s", frames)
		require.JSONEq(t, msg, string(got))
	})
}

func frame(s string) string { return "data: " + s + "\n\n" }

func TestOnlyWholeStreamsAreJoined(t *testing.T) {
	head := `{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":`
	first := frame(head + `{"role":"assistant","content":"x"},"finish_reason":null}]}`)
	end := frame(head + `{},"finish_reason":"stop"}]}`)
	for name, c := range map[string]struct {
		frames   string
		messages bool
		want     bool
	}{
		"whole":                      {first + end + frame("[DONE]"), false, true},
		"without the end marker":     {first + end, false, false},
		"without a finish reason":    {first + frame("[DONE]"), false, false},
		"with an error":              {first + frame(`{"error":{"message":"x"}}`) + frame("[DONE]"), false, false},
		"no JSON":                    {first + frame(`{"id"`) + end + frame("[DONE]"), false, false},
		"what contradicts itself":    {first + frame(head+`{"vendor":"a"},"finish_reason":null}]}`) + frame(head+`{"vendor":"b"},"finish_reason":null}]}`) + end + frame("[DONE]"), false, false},
		"what repeats itself":        {first + frame(head+`{"vendor":"a"},"finish_reason":null}]}`) + frame(head+`{"vendor":"a"},"finish_reason":null}]}`) + end + frame("[DONE]"), false, true},
		"nothing":                    {"", false, false},
		"a message without its end":  {frame(`{"type":"message_start","message":{"id":"a"}}`), true, false},
		"a message with an error":    {frame(`{"type":"message_start","message":{"id":"a"}}`) + frame(`{"type":"error","error":{}}`) + frame(`{"type":"message_stop"}`), true, false},
		"a delta that nobody knows":  {frame(`{"type":"message_start","message":{"id":"a"}}`) + frame(`{"type":"content_block_start","index":0,"content_block":{"type":"x"}}`) + frame(`{"type":"content_block_delta","index":0,"delta":{"type":"new_delta","a":1}}`) + frame(`{"type":"message_delta","delta":{}}`) + frame(`{"type":"message_stop"}`), true, false},
		"tool input that is no JSON": {frame(`{"type":"message_start","message":{"id":"a"}}`) + frame(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}`) + frame(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a"}}`) + frame(`{"type":"message_delta","delta":{}}`) + frame(`{"type":"message_stop"}`), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, ok := cache.Assemble([]byte(c.frames), c.messages, nil)
			require.Equal(t, c.want, ok)
		})
	}
}

func TestPiecesOfAStreamAreJoined(t *testing.T) {
	head := `{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":`
	piece := func(delta string) string { return frame(head + delta + `,"finish_reason":null}]}`) }
	frames := piece(`{"role":"assistant","content":""}`) + piece(`{"thinking_blocks":[{"type":"thinking","thinking":"a","signature":""}]}`) +
		piece(`{"thinking_blocks":[{"type":"thinking","thinking":"b","signature":""}]}`) + piece(`{"thinking_blocks":[{"type":"thinking","thinking":"","signature":"s"}]}`) +
		piece(`{"content":"he"}`) + piece(`{"content":"llo"}`) +
		piece(`{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""}}]}`) +
		piece(`{"tool_calls":[{"index":1,"id":"y","type":"function","function":{"name":"g","arguments":"{"}}]}`) +
		piece(`{"tool_calls":[{"index":0,"function":{"arguments":"{}"}},{"index":1,"function":{"arguments":"}"}}]}`) +
		frame(head+`{},"finish_reason":"tool_calls"}]}`) + frame(`{"id":"a","choices":[],"usage":{"prompt_tokens":1}}`) + frame("[DONE]")
	got, ok := cache.Assemble([]byte(frames), false, nil)
	require.True(t, ok)
	require.JSONEq(t, `{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello",
		"thinking_blocks":[{"type":"thinking","thinking":"ab","signature":"s"}],
		"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"function","function":{"name":"g","arguments":"{}"}}]},
		"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1}}`, string(got))
}

func TestOnlyAnswersThatEndAreWhole(t *testing.T) {
	require.True(t, cache.Whole([]byte(chat), false))
	require.True(t, cache.Whole([]byte(msg), true))
	for _, doc := range []string{`{}`, `{"choices":[]}`, `{"choices":[{"finish_reason":null}]}`, `{"choices":[{"finish_reason":"content_filter"}]}`,
		`{"error":{},"choices":[{"finish_reason":"stop"}]}`, `nothing`} {
		require.False(t, cache.Whole([]byte(doc), false), doc)
	}
	require.False(t, cache.Whole([]byte(`{"stop_reason":null}`), true))
	require.False(t, cache.Whole([]byte(`{"stop_reason":"refusal"}`), true))
}

func TestVectorsAreKeptOneByOne(t *testing.T) {
	for raw, want := range map[string]int{`"a"`: 1, `["a","b"]`: 2, `[1,2,3]`: 1, `[[1],[2,3]]`: 2, `[]`: 0} {
		items, list := cache.Inputs([]byte(raw))
		require.Len(t, items, want, raw)
		require.Equal(t, raw == `["a","b"]` || raw == `[[1],[2,3]]` || raw == `[]`, list, raw)
	}
	inputs, _ := cache.Inputs([]byte(`["aaaa","b"]`))
	vectors, ok := cache.Vectors([]byte(`{"data":[{"object":"embedding","index":1,"embedding":[2]},{"object":"embedding","index":0,"embedding":[1]}],"usage":{"prompt_tokens":9}}`), inputs)
	require.True(t, ok)
	require.JSONEq(t, `{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[1]},{"object":"embedding","index":1,"embedding":[2]}],"usage":{"prompt_tokens":9,"total_tokens":9}}`,
		string(cache.Embeddings(vectors, "m", nil)))
	for _, bad := range []string{`{"data":[]}`, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, `{"data":[{"index":0},{"index":1}]}`, `{"data":[{"index":7,"embedding":[1]},{"index":1,"embedding":[1]}]}`} {
		_, ok := cache.Vectors([]byte(bad), inputs)
		require.False(t, ok, bad)
	}
}
