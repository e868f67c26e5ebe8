package anthropic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

const hello = `{"model":"claude","messages":[{"role":"user","content":"hi"}],"stream":true}`

func chatCall(t testing.TB) func() *provider.Call {
	return func() *provider.Call {
		c := newCall(t, provider.OpChat, "claude-sonnet-4-5", hello)
		c.Stream, c.WantUsage = true, true
		return c
	}
}

func TestTextStreamBecomesChunksWithUsageOnce(t *testing.T) {
	in := events(ping, msgStart, ping, blockStart("0", `{"type":"text","text":""}`),
		blockDelta("0", `{"type":"text_delta","text":"Grü\u00dfe, \"W"}`), blockDelta("0", `{"type":"text_delta","text":"elt\" 😀\n"}`),
		blockStop("0"), msgDelta("end_turn", "7"), msgStop)
	out, s, err := everyWay(t, chatCall(t), in)
	require.NoError(t, err)
	c := collect(t, out)
	require.Equal(t, "Grüße, \"Welt\" 😀\n", c.text)
	require.Equal(t, "stop", c.finish)
	require.Equal(t, 1, c.done)
	require.Equal(t, 1, c.usageChunks)
	sameJSON(t, `{"prompt_tokens":35,"completion_tokens":7,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":20,"cache_write_tokens":5,"cache_creation_tokens":5},"cache_creation_input_tokens":5,"cache_read_input_tokens":20}`, c.usage)
	info := s.Info()
	require.Equal(t, "msg_1", info.ID)
	require.Equal(t, "claude-sonnet-4-5-20250929", info.Model)
	require.Equal(t, int64(10), info.Usage.InUncached)
	require.Equal(t, int64(20), info.Usage.CacheRead)
	require.Equal(t, int64(2), info.Usage.CacheWrite5m)
	require.Equal(t, int64(3), info.Usage.CacheWrite1h)
	require.Equal(t, int64(7), info.Usage.OutTotal)
	require.Equal(t, int64(len("Grüße, \"Welt\" 😀\n")), info.OutputBytes)
	require.True(t, info.Done && info.SawContent)
	require.Contains(t, string(info.RawUsage), `"output_tokens":7`)
}

func TestUsageChunkIsSentOnlyWhenAskedFor(t *testing.T) {
	c := chatCall(t)()
	c.WantUsage = false
	out, _, err := run(c, strings.NewReader(events(msgStart, blockStart("0", `{"type":"text","text":"x"}`), blockStop("0"), msgDelta("end_turn", "1"), msgStop)))
	require.NoError(t, err)
	require.NotContains(t, out, "usage")
	require.Equal(t, "x", collect(t, out).text)
}

func TestParallelCallsKeepTheirOrdinalsThoughDeltasInterleave(t *testing.T) {
	in := events(msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"ok"}`), blockStop("0"),
		blockStart("1", `{"type":"tool_use","id":"toolu_a","name":"look","input":{}}`),
		blockStart("3", `{"type":"tool_use","id":"toolu_b","name":"walk","input":{}}`),
		blockDelta("1", `{"type":"input_json_delta","partial_json":""}`),
		blockDelta("3", `{"type":"input_json_delta","partial_json":"{\"n\":1"}`),
		blockDelta("1", `{"type":"input_json_delta","partial_json":"{\"q\":\"\\u00"}`),
		blockDelta("3", `{"type":"input_json_delta","partial_json":"2345678901234567890}"}`),
		blockDelta("1", `{"type":"input_json_delta","partial_json":"e9\\ud83d\\ude0"}`),
		blockDelta("1", `{"type":"input_json_delta","partial_json":"0\"}"}`),
		blockStop("1"), blockStop("3"), msgDelta("tool_use", "30"), msgStop)
	out, _, err := everyWay(t, chatCall(t), in)
	require.NoError(t, err)
	c := collect(t, out)
	require.Equal(t, []string{"toolu_a", "toolu_b"}, c.ids)
	require.Equal(t, []string{"look", "walk"}, c.names)
	require.Equal(t, []string{`{"q":"\u00e9\ud83d\ude00"}`, `{"n":12345678901234567890}`}, c.args)
	require.Equal(t, "tool_calls", c.finish)
}

func TestCallWithoutArgumentsGetsAnEmptyObject(t *testing.T) {
	for name, deltas := range map[string][]string{"no delta": nil, "empty delta": {blockDelta("0", `{"type":"input_json_delta","partial_json":""}`)}} {
		t.Run(name, func(t *testing.T) {
			docs := append([]string{msgStart, blockStart("0", `{"type":"tool_use","id":"a","name":"f","input":{}}`)}, deltas...)
			out, _, err := everyWay(t, chatCall(t), events(append(docs, blockStop("0"), msgDelta("tool_use", "1"), msgStop)...))
			require.NoError(t, err)
			require.Equal(t, []string{"{}"}, collect(t, out).args)
		})
	}
}

func TestWholeInputInTheStartBlockIsSentAtItsEnd(t *testing.T) {
	out, _, err := everyWay(t, chatCall(t), events(msgStart, blockStart("0", `{"type":"tool_use","id":"a","name":"f","input":{"x": [1, 2]}}`), blockStop("0"), msgDelta("tool_use", "1"), msgStop))
	require.NoError(t, err)
	require.Equal(t, []string{`{"x":[1,2]}`}, collect(t, out).args)
}

func TestThinkingIsGivenAsTextAndAsSignedBlock(t *testing.T) {
	in := events(msgStart, blockStart("0", `{"type":"thinking","thinking":"","signature":""}`), blockDelta("0", `{"type":"thinking_delta","thinking":"Let me "}`),
		blockDelta("0", `{"type":"thinking_delta","thinking":"see."}`), blockDelta("0", `{"type":"signature_delta","signature":"c2ln"}`), blockStop("0"),
		blockStart("1", `{"type":"redacted_thinking","data":"b3Bh"}`), blockStop("1"),
		blockStart("2", `{"type":"text","text":""}`), blockDelta("2", `{"type":"text_delta","text":"42"}`), blockStop("2"), msgDelta("end_turn", "9"), msgStop)
	out, _, err := everyWay(t, chatCall(t), in)
	require.NoError(t, err)
	c := collect(t, out)
	require.Equal(t, "Let me see.", c.reasoning)
	require.Equal(t, "42", c.text)
	require.Len(t, c.thinking, 4)
	sameJSON(t, `{"type":"thinking","thinking":"","signature":"c2ln"}`, c.thinking[2])
	sameJSON(t, `{"type":"redacted_thinking","data":"b3Bh"}`, c.thinking[3])
	require.Len(t, c.details, 2)
	sameJSON(t, `{"type":"thinking","text":"Let me see.","signature":"c2ln"}`, c.details[0])
	sameJSON(t, `{"type":"redacted","data":"b3Bh"}`, c.details[1])
}

func TestStopReasonsInStreams(t *testing.T) {
	for reason, want := range map[string]string{"end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
		"model_context_window_exceeded": "length", "refusal": "content_filter"} {
		out, s, err := run(chatCall(t)(), strings.NewReader(events(msgStart, blockStart("0", `{"type":"text","text":"x"}`), blockStop("0"), msgDelta(reason, "1"), msgStop)))
		require.NoError(t, err)
		require.Equal(t, want, collect(t, out).finish, reason)
		require.Equal(t, want, s.Info().FinishReason)
	}
}

func TestRefusalWithoutTextSaysWhy(t *testing.T) {
	out, _, err := everyWay(t, chatCall(t), events(msgStart,
		`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"x","explanation":"I may not."}},"usage":{"output_tokens":0}}`, msgStop))
	require.NoError(t, err)
	c := collect(t, out)
	require.Equal(t, "I may not.", c.refusal)
	require.Equal(t, "content_filter", c.finish)
}

func TestForcedToolOfStructuredOutputIsUnwrapped(t *testing.T) {
	body := `{"model":"claude","messages":[{"role":"user","content":"hi"}],"stream":true,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}}}`
	newC := func() *provider.Call {
		c := newCall(t, provider.OpChat, "claude-3-5-haiku-20241022", body)
		c.Stream = true
		return c
	}
	out, _, err := everyWay(t, newC, events(msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"Sure: "}`), blockStop("0"),
		blockStart("1", `{"type":"tool_use","id":"t","name":"json_tool_call","input":{}}`), blockDelta("1", `{"type":"input_json_delta","partial_json":"{\"a\":"}`),
		blockDelta("1", `{"type":"input_json_delta","partial_json":"1.50}"}`), blockStop("1"), msgDelta("tool_use", "1"), msgStop))
	require.NoError(t, err)
	c := collect(t, out)
	require.Equal(t, `{"a":1.50}`, c.text)
	require.Equal(t, "stop", c.finish)
	require.Empty(t, c.ids)

	out, _, err = everyWay(t, newC, events(msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"{\"a\":2}"}`), blockStop("0"), msgDelta("end_turn", "1"), msgStop))
	require.NoError(t, err)
	require.Equal(t, `{"a":2}`, collect(t, out).text, "text held back is not lost")
}

func TestFailuresInsideAStream(t *testing.T) {
	overloaded := `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`
	text := []string{msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"half"}`)}
	for name, tc := range map[string]struct {
		in       string
		class    provider.Class
		upstream int
		content  bool
	}{
		"error before anything": {events(overloaded), provider.InternalServer, 529, false},
		"error before content":  {events(msgStart, overloaded), provider.InternalServer, 529, false},
		"error after content":   {events(append(text, overloaded)...), provider.InternalServer, 529, true},
		"rate limit":            {events(`{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`), provider.RateLimit, 429, false},
		"truncated":             {events(text...), provider.APIConnection, 0, true},
		"truncated before stop": {events(append(text, blockStop("0"), msgDelta("end_turn", "3"))...), provider.APIConnection, 0, true},
		"empty":                 {"", provider.APIConnection, 0, false},
		"garbage":               {"data: <html>\n\n", provider.APIError, 0, false},
	} {
		for _, op := range []provider.Op{provider.OpChat, provider.OpMessages} {
			t.Run(name, func(t *testing.T) {
				newC := func() *provider.Call {
					c := chatCall(t)()
					c.Op = op
					return c
				}
				out, s, err := everyWay(t, newC, tc.in)
				var e *provider.Error
				require.True(t, errors.As(err, &e), "%v", err)
				require.Equal(t, tc.class, e.Class)
				require.Equal(t, tc.upstream, e.Upstream)
				require.Equal(t, tc.content, s.Info().SawContent)
				require.NotContains(t, out, "[DONE]")
				require.NotContains(t, out, "message_stop")
				if !tc.content {
					require.Empty(t, out, "nothing is committed before content")
				}
			})
		}
	}
}

func TestUnknownEventsBlocksAndDeltasAreSkipped(t *testing.T) {
	out, _, err := everyWay(t, chatCall(t), events(msgStart, `{"type":"moon_phase","phase":3}`, blockStart("0", `{"type":"hologram","x":1}`),
		blockDelta("0", `{"type":"hologram_delta","y":2}`), blockStop("0"), blockStart("1", `{"type":"text","text":""}`), blockDelta("1", `{"type":"odd"}`),
		blockDelta("1", `{"type":"text_delta","text":"a"}`), blockDelta("9", `{"type":"text_delta","text":"b"}`), blockStop("9"), blockStop("1"), msgDelta("end_turn", "1"), msgStop, ping))
	require.NoError(t, err)
	require.Equal(t, "a", collect(t, out).text)
}

func TestFourMegabytesInOneEvent(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 4<<16)
	in := events(msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"`+big+`"}`), blockStop("0"), msgDelta("end_turn", "1"), msgStop)
	out, _, err := run(chatCall(t)(), strings.NewReader(in))
	require.NoError(t, err)
	require.Equal(t, big, collect(t, out).text)
}

func TestCutEndsAChatStreamInOrder(t *testing.T) {
	s := anthropic.New().Stream(chatCall(t)())
	var got sink
	for _, d := range []string{msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"0123456789"}`)} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	s.Cut("length", &got)
	require.NoError(t, s.End(&got))
	c := collect(t, got.String())
	require.Equal(t, "length", c.finish)
	require.Equal(t, 1, c.done)
	require.Contains(t, c.usage, `"completion_tokens":3`)
	require.True(t, s.Info().Usage.Estimated)
}

func TestCompletionStream(t *testing.T) {
	c := newCall(t, provider.OpCompletion, "claude-sonnet-4-5", `{"model":"claude","prompt":"Say","stream":true}`)
	c.Stream, c.WantUsage = true, true
	out, _, err := run(c, strings.NewReader(events(msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"hey"}`), blockStop("0"), msgDelta("max_tokens", "2"), msgStop)))
	require.NoError(t, err)
	got := collect(t, out)
	require.Equal(t, "hey", got.text)
	require.Equal(t, "length", got.finish)
	require.Contains(t, out, `"object":"text_completion"`)
	require.Equal(t, 1, got.usageChunks)
}
