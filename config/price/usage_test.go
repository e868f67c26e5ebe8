package price_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
)

func TestUsageThatNobodyStatedIsNotKnown(t *testing.T) {
	for _, raw := range []string{``, `null`, `{}`, `[]`, `"usage"`, `{"prompt_tokens":null}`, `{"id":"x","object":"chat.completion"}`, `{"usage":null}`} {
		for name, parse := range parsers {
			require.Equal(t, price.Usage{}, parse([]byte(raw)), "%s %s", name, raw)
		}
	}
}

func TestExplicitZerosAreKnown(t *testing.T) {
	for name, raw := range map[string]string{
		"openai":    `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`,
		"anthropic": `{"input_tokens":0,"output_tokens":0}`,
		"gemini":    `{"promptTokenCount":0}`,
		"bedrock":   `{"inputTokens":0,"outputTokens":0,"totalTokens":0}`,
		"cohere":    `{"billed_units":{"input_tokens":0}}`,
		"ollama":    `{"done":true,"eval_count":0}`,
	} {
		require.Equal(t, price.Usage{Known: true}, parsers[name]([]byte(raw)), name)
	}
}

func TestGarbageBesideCountsDoesNotLoseThem(t *testing.T) {
	want := price.Usage{InUncached: 7, OutTotal: 3, Known: true}
	for _, raw := range []string{
		` { "prompt_tokens" : 7 , "completion_tokens" : 3 } `,
		"{\"prompt_tokens\":7,\r\n\t\"completion_tokens\":3}",
		`{"prompt_tokens":"7","completion_tokens":3.0}`,
		`{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":"none"}`,
		`{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":-4}}`,
		`{"x":{"prompt_tokens":99,"y":[{"completion_tokens":99}]},"prompt_tokens":7,"completion_tokens":3}`,
		`{"q\"uote":"a\\\"b","prompt_tokens":7,"completion_tokens":3}`,
		`{"prompt_tokens":7,"completion_tokens":3,"total_tokens":"ten"}`,
		`{"prompt_tokens":7,"completion_tokens":3`,
		`{"usage":{"prompt_tokens":7,"completion_tokens":3}}`,
		`{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens":7}`,
		`{"total_tokens":10,"completion_tokens":3}`,
	} {
		require.Equal(t, want, price.FromOpenAI([]byte(raw)), raw)
	}
}

func TestThoughtsAreCountedOnce(t *testing.T) {
	for raw, want := range map[string][2]int64{ // output, reasoning
		`{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"completion_tokens_details":{"reasoning_tokens":40}}`: {50, 40},
		`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":55,"completion_tokens_details":{"reasoning_tokens":40}}`:  {45, 40},
		`{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":40}}`:                    {45, 40},
		`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":40}}`:  {5, 5},
		`{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"reasoning_tokens":20}`:                               {50, 20},
	} {
		u := price.FromOpenAI([]byte(raw))
		require.Equal(t, want, [2]int64{u.OutTotal, u.OutReasoning}, raw)
	}
}

func TestAnthropicStreamKeepsWhatLaterEventsLeaveOut(t *testing.T) {
	u := price.FromAnthropic([]byte(`{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1,"service_tier":"standard"}`))
	u.UpdateAnthropic([]byte(`{"output_tokens":503}`))
	require.Equal(t, price.Usage{InUncached: 25, CacheRead: 1000, CacheWrite5m: 100, CacheWrite1h: 200, OutTotal: 503, ServiceTier: "standard", Known: true}, u)
	u.UpdateAnthropic([]byte(`{"input_tokens":0,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"output_tokens":504,"output_tokens_details":{"thinking_tokens":60}}`))
	require.Equal(t, price.Usage{InUncached: 25, CacheRead: 1000, CacheWrite5m: 100, CacheWrite1h: 200, OutTotal: 504, OutReasoning: 60, ServiceTier: "standard", Known: true}, u)

	compact := []byte(`{"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":500,"output_tokens":30}]}`)
	twice := price.FromAnthropic([]byte(`{"input_tokens":25,"output_tokens":1}`))
	for range 2 {
		twice.UpdateAnthropic(compact)
		require.EqualValues(t, 525, twice.InUncached)
		require.EqualValues(t, 40, twice.OutTotal)
	}
	twice.UpdateAnthropic([]byte(`{"output_tokens":11}`))
	require.EqualValues(t, 41, twice.OutTotal)

	late := price.FromAnthropic([]byte(`{"input_tokens":0,"output_tokens":0}`))
	late.UpdateAnthropic([]byte(`{"input_tokens":40,"output_tokens":9}`))
	require.Equal(t, price.Usage{InUncached: 40, OutTotal: 9, Known: true}, late)
}

func TestEmittedUsageIsOpenAIsShape(t *testing.T) {
	u := price.Usage{InUncached: 4, CacheRead: 18000, CacheWrite5m: 300, CacheWrite1h: 20, OutTotal: 512, OutReasoning: 100, Known: true}
	require.JSONEq(t, `{"prompt_tokens":18324,"completion_tokens":512,"total_tokens":18836,
		"prompt_tokens_details":{"cached_tokens":18000,"audio_tokens":0,"cache_write_tokens":320,
			"cache_creation_token_details":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":20}},
		"completion_tokens_details":{"reasoning_tokens":100,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0},
		"cache_creation_input_tokens":320,"cache_read_input_tokens":18000}`, string(price.AppendOpenAI(nil, &u)))
}

func TestUsualPathDoesNotAllocate(t *testing.T) {
	r, _ := price.Default().Find("openai", "gpt-4o")
	raw := []byte(plainUsage)
	buf := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		u := price.FromOpenAI(raw)
		c := price.Of(&u, r)
		_ = price.Max(r, 1000, 1000)
		buf = price.AppendOpenAI(buf[:0], &u)
		if !c.Priced {
			panic("unpriced")
		}
	}))
}

func TestReservationOfAKnownShapeIsTighter(t *testing.T) {
	r, _ := price.Default().Find("anthropic", "claude-sonnet-4-5")
	full := price.Max(r, 1000, 100)
	require.EqualValues(t, 1000*6000+100*15000, full, "hour-long writes are the dearest input")
	require.EqualValues(t, 1000*3750+100*15000, price.MaxFor(r, &price.Shape{Input: 1000, Output: 100, NoHourWrites: true}))
	require.EqualValues(t, 200001*12000+22500, price.Max(r, 200001, 1))
	g, _ := price.Default().Find("gemini", "gemini-2.5-flash")
	require.EqualValues(t, 1000*1000, price.Max(g, 1000, 0))
	require.EqualValues(t, 1000*300, price.MaxFor(g, &price.Shape{Input: 1000, NoMedia: true}))
	p, _ := price.Default().Find("perplexity", "sonar")
	require.EqualValues(t, 12_000_000, price.Max(p, 0, 0))
	s, _ := price.Default().Find("anthropic", "claude-sonnet-4-6")
	require.EqualValues(t, 50_000_000, price.MaxFor(s, &price.Shape{Searches: 5}))
}
