package price_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/config/unit"
)

func params(t testing.TB, text string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	return m
}

func row(t testing.TB, text string) *price.Row {
	r, err := (*price.Row)(nil).With(params(t, text))
	require.NoError(t, err)
	require.NotNil(t, r)
	return r
}

func usd(t testing.TB, r *price.Row, c price.Class) string {
	p, ok := r.Price(c)
	if !ok {
		return "none"
	}
	return unit.Money(p / 1000).String()
}

func TestParamsOverrideOnlyWhatTheyState(t *testing.T) {
	base, _ := price.Default().Find("anthropic", "claude-sonnet-4-5")
	r, err := base.With(params(t, `{"input_cost_per_token":"1e-6","model":"x","api_key":"k","max_tokens":10}`))
	require.NoError(t, err)
	require.Equal(t, price.SourceConfig, r.Source)
	require.Equal(t, "config", r.Version)
	require.Equal(t, "0.000001", usd(t, r, price.Input))
	require.Equal(t, "0.000015", usd(t, r, price.Output))
	require.Equal(t, "0.000000300", usd(t, r, price.CacheRead)+"00")
	require.Equal(t, "0.000003", usd(t, base, price.Input), "the book's row must not change")

	// The stated price holds for long prompts too; the unstated ones keep theirs.
	u := price.Usage{InUncached: 300_000, OutTotal: 1, Known: true}
	c := price.Of(&u, r)
	require.Equal(t, unit.Money(300_000*1000), c.Input)
	require.Equal(t, unit.Money(22_500), c.Output)
}

func TestParamsWithoutPricesLeaveTheRow(t *testing.T) {
	base, _ := price.Default().Find("openai", "gpt-4o")
	r, err := base.With(params(t, `{"model":"openai/gpt-4o","temperature":1,"input_cost_per_token":null}`))
	require.NoError(t, err)
	require.Same(t, base, r)
	r, err = (*price.Row)(nil).With(params(t, `{"model":"x","max_input_tokens":10}`))
	require.NoError(t, err)
	require.Nil(t, r, "a limit alone must not make an unpriced model priced")
	r, err = base.With(params(t, `{"max_input_tokens":"1000","max_output_tokens":500.0,"mode":"completion","supports_vision":false,"supports_reasoning":true}`))
	require.NoError(t, err)
	require.EqualValues(t, 1000, r.MaxInput)
	require.EqualValues(t, 500, r.MaxOutput)
	require.Equal(t, "completion", r.Mode)
	require.Zero(t, r.Supports&price.Vision)
	require.NotZero(t, r.Supports&price.ReasoningMode)
	require.Equal(t, price.SourceBook, r.Source)
}

func TestZeroPricesAreFreeAltogether(t *testing.T) {
	base, _ := price.Default().Find("anthropic", "claude-sonnet-4-5")
	r, err := base.With(params(t, `{"input_cost_per_token":0,"output_cost_per_token":0.0}`))
	require.NoError(t, err)
	u := price.Usage{InUncached: 1, CacheRead: 250_000, CacheWrite5m: 9, CacheWrite1h: 9, OutTotal: 9, OutReasoning: 4, Known: true}
	c := price.Of(&u, r)
	require.True(t, c.Priced)
	require.Zero(t, c.Total)
	require.Zero(t, price.Max(r, 300_000, 1000))
	require.False(t, r.Free(), "web searches still cost")
	require.True(t, row(t, `{"input_cost_per_token":0,"output_cost_per_token":0}`).Free())
	require.False(t, row(t, `{"input_cost_per_token":0,"output_cost_per_token":1e-9}`).Free())
}

func TestFaultyPricesAreAllNamed(t *testing.T) {
	_, err := (*price.Row)(nil).With(params(t, `{
		"input_cost_per_token":-1e-6,"output_cost_per_token":"cheap","cache_read_input_token_cost":1e-13,
		"input_cost_per_token_above_200k_tokens":true,"tiered_pricing":{},"search_context_cost_per_query":3,
		"provider_specific_entry":{"fast":-6},"regional_processing_uplift_multiplier_eu":"x","max_input_tokens":-5}`))
	require.Error(t, err)
	for _, key := range []string{"input_cost_per_token:", "output_cost_per_token:", "cache_read_input_token_cost:",
		"input_cost_per_token_above_200k_tokens:", "tiered_pricing:", "search_context_cost_per_query:",
		"provider_specific_entry.fast:", "regional_processing_uplift_multiplier_eu:", "max_input_tokens:"} {
		require.ErrorContains(t, err, key)
	}
	require.ErrorIs(t, err, unit.ErrMoney)
}

func TestEveryPriceKeyIsBilled(t *testing.T) {
	for _, c := range []struct {
		key   string
		usage price.Usage
		nano  unit.Money
	}{
		{"input_cost_per_token", price.Usage{InUncached: 2}, 2e6},
		{"output_cost_per_token", price.Usage{OutTotal: 2}, 2e6},
		{"cache_read_input_token_cost", price.Usage{CacheRead: 2}, 2e6},
		{"cache_read_input_audio_token_cost", price.Usage{CacheRead: 2, CacheReadAudio: 2}, 2e6},
		{"cache_read_input_image_token_cost", price.Usage{CacheRead: 2, CacheReadImage: 2}, 2e6},
		{"input_cost_per_token_cache_hit", price.Usage{CacheRead: 2}, 2e6},
		{"cache_creation_input_token_cost", price.Usage{CacheWrite5m: 2}, 2e6},
		{"cache_creation_input_token_cost_above_1hr", price.Usage{CacheWrite1h: 2}, 2e6},
		{"input_cost_per_audio_token", price.Usage{InAudio: 2}, 2e6},
		{"input_cost_per_image_token", price.Usage{InImage: 2}, 2e6},
		{"output_cost_per_reasoning_token", price.Usage{OutTotal: 2, OutReasoning: 2}, 2e6},
		{"output_cost_per_audio_token", price.Usage{OutTotal: 2, OutAudio: 2}, 2e6},
		{"output_cost_per_image_token", price.Usage{OutTotal: 2, OutImage: 2}, 2e6},
		{"citation_cost_per_token", price.Usage{Citations: 2}, 2e6},
		{"input_cost_per_request", price.Usage{}, 1e6},
		{"cost_per_request", price.Usage{}, 1e6},
		{"input_cost_per_query", price.Usage{Queries: 2}, 2e6},
		{"ocr_cost_per_page", price.Usage{Pages: 2}, 2e6},
		{"input_cost_per_image", price.Usage{InImages: 2}, 2e6},
		{"output_cost_per_image", price.Usage{OutImages: 2}, 2e6},
		{"input_cost_per_pixel", price.Usage{InPixels: 2}, 2e6},
		{"output_cost_per_pixel", price.Usage{OutPixels: 2}, 2e6},
		{"input_cost_per_second", price.Usage{InMillis: 2500}, 2.5e6},
		{"input_cost_per_audio_per_second", price.Usage{InMillis: 2000}, 2e6},
		{"output_cost_per_second", price.Usage{OutMillis: 1}, 1e3},
		{"output_cost_per_video_per_second", price.Usage{OutMillis: 1000}, 1e6},
		{"input_cost_per_character", price.Usage{InChars: 2}, 2e6},
		{"output_cost_per_character", price.Usage{OutChars: 2}, 2e6},
		{"input_cost_per_token_above_128k_tokens", price.Usage{InUncached: 128_001}, 128_001e6},
		{"input_cost_per_token_priority", price.Usage{InUncached: 2, ServiceTier: "fast"}, 2e6},
		{"input_cost_per_token_flex", price.Usage{InUncached: 2, ServiceTier: "flex"}, 2e6},
		{"input_cost_per_token_batches", price.Usage{InUncached: 2, ServiceTier: "batch"}, 2e6},
		{"cache_creation_input_token_cost_above_1hr_above_200k_tokens", price.Usage{CacheWrite1h: 200_001}, 200_001e6},
		{"output_cost_per_token_above_200k_tokens_priority", price.Usage{CacheRead: 200_001, OutTotal: 1, ServiceTier: "priority"}, 1e6},
		{"output_cost_per_token_priority_above_200k_tokens", price.Usage{CacheRead: 200_001, OutTotal: 1, ServiceTier: "priority"}, 1e6},
	} {
		require.True(t, price.IsKey(c.key), c.key)
		r := row(t, `{"output_cost_per_image":0,"`+c.key+`":0.001}`)
		require.Equal(t, c.nano, price.Of(&c.usage, r).Total, c.key)
	}
	for _, key := range []string{"", "model", "input_cost", "input_cost_per_token_above_xk_tokens", "input_cost_per_token_flex_flex",
		"input_cost_per_image_above_128k_tokens", "input_cost_per_token_above_-1k_tokens", "max_tokens"} {
		require.False(t, price.IsKey(key), key)
	}
}

func TestSearchesCostByTheirSize(t *testing.T) {
	r := row(t, `{"search_context_cost_per_query":{"search_context_size_low":0.03,"search_context_size_medium":"0.035","search_context_size_high":0.05}}`)
	for size, want := range map[string]unit.Money{"low": 60e6, "": 70e6, "medium": 70e6, "high": 100e6} {
		u := price.Usage{WebSearches: 2, SearchSize: size}
		require.Equal(t, want, price.Of(&u, r).Tools, size)
	}
	only := row(t, `{"search_context_cost_per_query":{"search_context_size_low":0.03}}`)
	u := price.Usage{WebSearches: 1}
	require.Equal(t, unit.Money(30e6), price.Of(&u, only).Tools)
}

func TestTokensWithoutAPriceAreRemarked(t *testing.T) {
	r := row(t, `{"output_cost_per_token":1e-6}`)
	u := price.Usage{InUncached: 5, CacheRead: 5, OutTotal: 5}
	c := price.Of(&u, r)
	require.Equal(t, []string{"input tokens without a price", "cache read without a price"}, c.Notes)
	require.EqualValues(t, 5000, c.Total)
}
