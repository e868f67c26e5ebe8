package openai_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/proxy/provider"
)

func wantUsage(c *provider.Call) { c.WantUsage = true }

func chunk(rest string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":5,"model":"m-1",` + rest + "}\n\n"
}

func sent(rest string) string { return strings.Replace(chunk(rest), `"m-1"`, `"pub"`, 1) }

const done = "data: [DONE]\n\n"

func TestStreamsPassWithUsageOnceAndOnlyWhenAskedFor(t *testing.T) {
	text := []string{
		`"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null`,
		`"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}],"usage":null,"obfuscation":"xy"`,
		`"choices":[{"index":0,"delta":{"content":"lo \u00e9\ud83d\ude00"},"finish_reason":null}],"usage":null`,
		`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null`,
	}
	var up, with, without string
	for _, c := range text {
		up += chunk(c)
		with += sent(c)
		without += sent(strings.Replace(c, `,"usage":null`, "", 1))
	}
	up += chunk(`"choices":[],"usage":`+usage) + done
	out, info, err := feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`, wantUsage), up)
	require.NoError(t, err)
	require.Equal(t, with+sent(`"choices":[],"usage":`+usage)+done, out)
	require.Equal(t, price.Usage{InUncached: 10, CacheRead: 30, OutTotal: 9, Known: true}, info.Usage)
	require.Equal(t, usage, string(info.RawUsage))
	require.Equal(t, "c1", info.ID)
	require.Equal(t, "m-1", info.Model)
	require.Equal(t, "stop", info.FinishReason)
	require.EqualValues(t, len("Hello é😀"), info.OutputBytes)
	require.True(t, info.Done && info.SawContent)

	out, info, err = feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`), up)
	require.NoError(t, err)
	require.Equal(t, without+done, out)
	require.True(t, info.Usage.Known, "billed all the same")
}

func TestUsageOnAContentChunkIsTakenOff(t *testing.T) {
	up := chunk(`"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}`) +
		chunk(`"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":`+usage) + done
	out, info, err := feedAll(t, row(t, "mistral"), call(t, provider.OpChat, `{"model":"x","stream":true}`, wantUsage), up)
	require.NoError(t, err)
	require.Equal(t, sent(`"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}],"usage":null`)+
		sent(`"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":null`)+
		sent(`"choices":[],"usage":`+usage)+done, out)
	require.EqualValues(t, 9, info.Usage.OutTotal, "running counts: the last one is the total")

	out, _, err = feedAll(t, row(t, "mistral"), call(t, provider.OpChat, `{"model":"x","stream":true}`), up)
	require.NoError(t, err)
	require.Equal(t, sent(`"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]`)+
		sent(`"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]`)+done, out)
}

func TestParallelCallsAndReasoningAreCounted(t *testing.T) {
	parts := []string{
		`"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning":"th","reasoning_content":"th"}}]`,
		`"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"fn","arguments":""}},{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}}]`,
		`"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"k\":\"\ud83d"}},{"index":0,"function":{"arguments":"{}"}}]}}]`,
		`"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\ude00\"}"}}]},"finish_reason":"tool_calls"}]`,
	}
	var up, want string
	for _, p := range parts {
		up, want = up+chunk(p), want+sent(p)
	}
	out, info, err := feedAll(t, row(t, "hosted_vllm"), call(t, provider.OpChat, `{"model":"x","stream":true}`), up+done)
	require.NoError(t, err)
	require.Equal(t, want+done, out, "fragments pass untouched")
	require.EqualValues(t, len("th")+len("fn")+len("g")+len(`{"k":"`)+3+2+3+2, info.OutputBytes)
	require.True(t, info.Usage.Known && info.Usage.Estimated)
	require.EqualValues(t, 9, info.Usage.InUncached, "a provider without usage is estimated")
}

func TestEstimatedUsageIsWhatTheClientIsToldToo(t *testing.T) {
	up := chunk(`"choices":[{"index":0,"delta":{"content":"12345"},"finish_reason":"stop"}]`) + done
	out, info, err := feedAll(t, row(t, "hosted_vllm"), call(t, provider.OpChat, `{"model":"x","stream":true}`, wantUsage), up)
	require.NoError(t, err)
	require.Contains(t, out, `"created":5,"model":"pub","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11`)
	require.EqualValues(t, 2, info.Usage.OutTotal)
}

func TestSpecialEventsOfProviders(t *testing.T) {
	for _, c := range []struct{ name, row, in, want string }{
		{"azure's filter chunk without choices passes", "openai", chunk(`"choices":[],"prompt_filter_results":[]`), sent(`"choices":[],"prompt_filter_results":[]`)},
		{"an unknown event is dropped", "openai", "event: ping\ndata: {\"type\":\"ping\"}\n\n", ""},
		{"usage without choices", "openai", `data: {"usage":` + usage + "}\n\n", ""},
		{"empty data", "openai", "data:\n\ndata: \n\n", ""},
		{"comments", "openrouter", ": OPENROUTER PROCESSING\n\n", ""},
		{"mistral's parts", "mistral", chunk(`"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"x"}]}}]`),
			sent(`"choices":[{"index":0,"delta":{"content":"x","reasoning_content":"t"}}]`)},
		{"groq's usage", "groq", chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":` + usage + `}`),
			sent(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":` + usage + `}`)},
		{"a foreign finish reason", "openai", chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"eos"}]`), sent(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`)},
		{"a chunk without model", "openai", `data: {"choices":[]}` + "\n\n", `data: {"choices":[],"model":"pub"}` + "\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := `"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]`
			out, info, err := feedAll(t, row(t, c.row), call(t, provider.OpChat, `{"model":"x","stream":true}`), c.in+chunk(base)+done)
			require.NoError(t, err)
			require.Equal(t, c.want+sent(base)+done, out)
			if strings.Contains(c.in, "prompt_tokens") {
				require.EqualValues(t, 9, info.Usage.OutTotal)
			}
		})
	}
}

func TestAnEventInSeveralDataLinesLeavesOnOne(t *testing.T) {
	out, _, err := feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`),
		"data: {\"model\":\"m\",\ndata: \"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a\"}}]}\n\n"+done)
	require.NoError(t, err)
	require.Equal(t, "data: {\"model\":\"pub\", \"choices\":[{\"index\":0, \"delta\":{\"content\":\"a\"}}]}\n\n"+done, out)
}

func TestErrorsInsideAStream(t *testing.T) {
	content := chunk(`"choices":[{"index":0,"delta":{"content":"a"}}]`)
	for _, c := range []struct {
		name, in string
		class    provider.Class
		saw      bool
	}{
		{"before content", `data: {"error":{"message":"slow","type":"rate_limit_error"}}` + "\n\n", provider.RateLimit, false},
		{"after content", content + `data: {"error":{"message":"x","code":502}}` + "\n\n", provider.BadGateway, true},
		{"with choices, as OpenRouter does", content + chunk(`"error":{"code":"server_error","message":"x"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]`), provider.InternalServer, true},
		{"named event", "event: error\ndata: {\"message\":\"x\",\"code\":503}\n\n", provider.ServiceUnavailable, false},
		{"old vLLM", `data: {"object":"error","message":"x","code":400}` + "\n\n", provider.BadRequest, false},
		{"groq", content + chunk(`"choices":[],"x_groq":{"error":{"message":"x","type":"internal_server_error"}}`), provider.InternalServer, true},
		{"deepseek", content + chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]`), provider.ServiceUnavailable, true},
		{"garbage", content + "data: {\"a\n\n", provider.APIError, true},
		{"text", "data: hello\n\n", provider.APIError, false},
		{"broken off", content, provider.APIConnection, true},
		{"broken off after its finish, usage unknown", chunk(`"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]`), provider.APIConnection, true},
		{"nothing", "", provider.APIConnection, false},
		{"html", "<html>\n\n</html>", provider.APIConnection, false},
		{"only the end", done, provider.APIError, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, info, err := feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`), c.in)
			e := asError(t, err)
			require.Equal(t, c.class, e.Class, e.Message)
			require.Equal(t, c.saw, info.SawContent)
		})
	}
}

func TestAStreamWithFinishAndUsageNeedsNoEndMarker(t *testing.T) {
	out, _, err := feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`),
		chunk(`"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":`+usage))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(out, done))
}

func TestNothingIsSentBehindTheEndMarker(t *testing.T) {
	up := chunk(`"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]`)
	out, _, err := feedAll(t, row(t, "openai"), call(t, provider.OpChat, `{"model":"x","stream":true}`), up+done+up+done)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(out, `"content"`))
	require.Equal(t, 1, strings.Count(out, done))
}

func TestCutClosesWhatIsOpen(t *testing.T) {
	c := call(t, provider.OpChat, `{"model":"x","stream":true}`, wantUsage)
	st := row(t, "openai").Stream(c)
	var out sink
	for _, rest := range []string{`"choices":[{"index":0,"delta":{"content":"12345678"}},{"index":1,"delta":{"content":""}}]`, `"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]`} {
		require.NoError(t, st.Event("", []byte(strings.TrimSuffix(strings.TrimPrefix(chunk(rest), "data: "), "\n\n")), &out))
	}
	out.Reset()
	st.Cut("length", &out)
	require.Equal(t, sent(`"choices":[{"index":0,"delta":{},"finish_reason":"length"}]`)+
		sent(`"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`)+done, out.String())
	require.Equal(t, "length", st.Info().FinishReason)

	st = row(t, "openai").Stream(call(t, provider.OpCompletion, `{"model":"x","stream":true,"prompt":"p"}`))
	out.Reset()
	st.Cut("length", &out)
	require.Equal(t, `data: {"id":"cmpl-call-1","object":"text_completion","created":1793000000,"model":"pub","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}]}`+"\n\n"+done, out.String())
}

func TestTextCompletionsStream(t *testing.T) {
	up := `data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"text":"abc","index":0,"logprobs":null,"finish_reason":"length"}],"usage":null}` + "\n\n" +
		`data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],"usage":` + usage + `}` + "\n\n" + done
	out, info, err := feedAll(t, row(t, "openai"), call(t, provider.OpCompletion, `{"model":"x","stream":true,"prompt":"p"}`, wantUsage), up)
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(up, `"model":"m"`, `"model":"pub"`), out)
	require.EqualValues(t, 3, info.OutputBytes)
}

func TestFourMegabytesInOneChunk(t *testing.T) {
	big := `"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("y", 4<<20) + `"},"finish_reason":"stop"}]`
	st := row(t, "openai").Stream(call(t, provider.OpChat, `{"model":"x","stream":true}`))
	out, err := feed(st, strings.NewReader(chunk(big)+done))
	require.NoError(t, err)
	require.Equal(t, sent(big)+done, out)
}
