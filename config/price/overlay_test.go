package price_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
)

const priceMap = `{
 "sample_spec": {"max_tokens": "the limit", "input_cost_per_token": "a number"},
 "gpt-4o": {"litellm_provider":"openai","input_cost_per_token":"2e-06","output_cost_per_token":8e-06,"max_tokens":4096,"max_input_tokens":128000,"mode":"chat","supports_vision":true,
   "input_cost_per_token_priority":4e-06},
 "azure/eu/gpt-4o": {"litellm_provider":"azure","input_cost_per_token":2.75e-06,"output_cost_per_token":1.1e-05},
 "gemini/gemini-2.5-pro": {"litellm_provider":"gemini","input_cost_per_token":1e-06,"output_cost_per_token":9e-06,"input_cost_per_token_above_200k_tokens":2e-06},
 "gemini-2.5-flash": {"litellm_provider":"vertex_ai-language-models","input_cost_per_token":1.5e-07,"output_cost_per_token":6e-07},
 "xai/grok-9": {"litellm_provider":"xai","input_cost_per_token":3e-06,"output_cost_per_token":1.5e-05,"input_cost_per_token_above_128k_tokens":6e-06},
 "openrouter/acme/model-1": {"litellm_provider":"openrouter","input_cost_per_token":1e-06,"output_cost_per_token":1e-06},
 "acme/house-model": {"input_cost_per_token":1e-06,"output_cost_per_token":2e-06,"max_output_tokens":100,"max_tokens":200},
 "us.anthropic.claude-x-v1:0": {"litellm_provider":"bedrock_converse","input_cost_per_token":2.9999999999999997e-06,"output_cost_per_token":1.5e-05},
 "claude-sonnet-4-6": {"litellm_provider":"anthropic","cache_read_input_token_cost":2e-07},
 "1024-x-1024/dall-e-3": {"litellm_provider":"openai","input_cost_per_pixel":3.81469e-08,"output_cost_per_pixel":0.0,"mode":"image_generation"}
}`

func TestOverlayWinsAndLeavesTheBook(t *testing.T) {
	base := price.Default()
	b, err := base.Overlay([]byte(priceMap))
	require.NoError(t, err)
	require.Equal(t, "2026-11-23+overlay", b.Version())
	require.Len(t, b.Warnings(), 1)
	require.Contains(t, b.Warnings()[0], "us.anthropic.claude-x-v1:0")

	for _, c := range []struct {
		provider, model string
		in              float64
		source          string
	}{
		{"openai", "gpt-4o", 2, price.SourceOverlay},
		{"openai", "gpt-4o-mini", 0.15, price.SourceBook},
		{"azure", "eu/gpt-4o", 2.75, price.SourceOverlay},
		{"gemini", "gemini-2.5-pro", 1, price.SourceOverlay},
		{"vertex_ai", "gemini-2.5-pro", 1.25, price.SourceBook},
		{"vertex_ai", "gemini-2.5-flash", 0.15, price.SourceOverlay},
		{"gemini", "gemini-2.5-flash", 0.3, price.SourceBook},
		{"xai", "grok-9", 3, price.SourceOverlay},
		{"openrouter", "acme/model-1", 1, price.SourceOverlay},
		{"acme", "house-model", 1, price.SourceOverlay},
		{"bedrock", "us.anthropic.claude-x-v1:0", 3, price.SourceOverlay},
		{"anthropic", "claude-sonnet-4-6", 3, price.SourceOverlay},
	} {
		r, ok := b.Find(c.provider, c.model)
		require.True(t, ok, "%s/%s", c.provider, c.model)
		in, _ := r.Price(price.Input)
		require.Equal(t, c.in, float64(in)/1e6, "%s/%s", c.provider, c.model)
		require.Equal(t, c.source, r.Source, "%s/%s", c.provider, c.model)
	}
	full, _ := b.Find("openai", "gpt-4o")
	_, cached := full.Price(price.CacheRead)
	require.False(t, cached, "a stated price replaces all prices of the book")
	require.EqualValues(t, 4096, full.MaxOutput)
	part, _ := b.Find("anthropic", "claude-sonnet-4-6")
	read, _ := part.Price(price.CacheRead)
	require.EqualValues(t, 200_000, read)
	house, _ := b.Find("acme", "house-model")
	require.EqualValues(t, 100, house.MaxOutput)
	require.Contains(t, b.Known("acme"), "house-model")

	old, _ := base.Find("openai", "gpt-4o")
	in, _ := old.Price(price.Input)
	require.Equal(t, 2.5, float64(in)/1e6)

	same, err := base.OverlayEntries(nil)
	require.NoError(t, err)
	require.Same(t, base, same)
	again, err := b.Overlay([]byte(`{"gpt-4o":{"litellm_provider":"openai","input_cost_per_token":1e-6}}`))
	require.NoError(t, err)
	require.Equal(t, b.Version(), again.Version())
}

func TestXAIOverlayIsLongAtItsThreshold(t *testing.T) {
	b, err := price.Default().Overlay([]byte(priceMap))
	require.NoError(t, err)
	r, _ := b.Find("xai", "grok-9")
	for prompt, perToken := range map[int64]int64{127_999: 3000, 128_000: 6000} {
		u := price.Usage{InUncached: prompt, Known: true}
		require.EqualValues(t, prompt*perToken, price.Of(&u, r).Total)
	}
}

func TestFaultyOverlayIsRefusedWithEveryEntryNamed(t *testing.T) {
	_, err := price.Default().Overlay([]byte(`{"a":{"input_cost_per_token":-1},"b":{"output_cost_per_token":"dear"},"c":7,"d":{"input_cost_per_token":1e-6}}`))
	require.Error(t, err)
	for _, s := range []string{`"a": input_cost_per_token`, `"b": output_cost_per_token`, `"c": want an object`} {
		require.ErrorContains(t, err, s)
	}
	require.NotContains(t, err.Error(), `"d"`)
	_, err = price.Default().Overlay([]byte(`[]`))
	require.ErrorContains(t, err, "read price map")
}
