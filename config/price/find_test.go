package price_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
)

func TestCommonDatedIdsHaveTheirPrices(t *testing.T) {
	// input and output in dollars per million tokens
	for _, c := range []struct {
		provider, model string
		in, out         float64
	}{
		{"openai", "gpt-4o-2024-05-13", 5, 15},
		{"openai", "gpt-4o-2024-08-06", 2.5, 10},
		{"openai", "gpt-4o-2024-11-20", 2.5, 10},
		{"openai", "gpt-4o-mini-2024-07-18", 0.15, 0.6},
		{"openai", "gpt-4.1-2025-04-14", 2, 8},
		{"openai", "gpt-4.1-mini-2025-04-14", 0.4, 1.6},
		{"openai", "gpt-4.1-nano-2025-04-14", 0.1, 0.4},
		{"openai", "gpt-4-turbo-2024-04-09", 10, 30},
		{"openai", "gpt-4-0613", 30, 60},
		{"openai", "gpt-4-1106-preview", 10, 30},
		{"openai", "gpt-3.5-turbo-0125", 0.5, 1.5},
		{"openai", "gpt-3.5-turbo-1106", 1, 2},
		{"openai", "o1-2024-12-17", 15, 60},
		{"openai", "o3-2025-04-16", 2, 8},
		{"openai", "o3-mini-2025-01-31", 1.1, 4.4},
		{"openai", "o4-mini-2025-04-16", 1.1, 4.4},
		{"openai", "gpt-5-2025-08-07", 1.25, 10},
		{"openai", "gpt-5-mini-2025-08-07", 0.25, 2},
		{"openai", "gpt-5-nano-2025-08-07", 0.05, 0.4},
		{"openai", "gpt-5-chat-latest", 1.25, 10},
		{"openai", "gpt-5.1-2025-11-13", 1.25, 10},
		{"openai", "gpt-4o-audio-preview-2024-12-17", 2.5, 10},
		{"openai", "openai/gpt-4o", 2.5, 10},
		{"azure", "gpt-4o-2024-08-06", 2.5, 10},
		{"azure", "gpt-4.1-2025-04-14", 2, 8},
		{"anthropic", "claude-sonnet-4-5-20250929", 3, 15},
		{"anthropic", "claude-sonnet-4-20250514", 3, 15},
		{"anthropic", "claude-opus-4-20250514", 15, 75},
		{"anthropic", "claude-opus-4-1-20250805", 15, 75},
		{"anthropic", "claude-opus-4-5-20251101", 5, 25},
		{"anthropic", "claude-haiku-4-5-20251001", 1, 5},
		{"anthropic", "claude-3-7-sonnet-20250219", 3, 15},
		{"anthropic", "claude-3-5-sonnet-20241022", 3, 15},
		{"anthropic", "claude-3-5-sonnet-latest", 3, 15},
		{"anthropic", "claude-3-5-haiku-20241022", 0.8, 4},
		{"anthropic", "claude-3-haiku-20240307", 0.25, 1.25},
		{"anthropic", "claude-3-opus-20240229", 15, 75},
		{"vertex_ai", "claude-3-5-sonnet@20241022", 3, 15},
		{"vertex_ai", "claude-sonnet-4-5@20250929", 3, 15},
		{"gemini", "gemini-2.0-flash-001", 0.1, 0.4},
		{"gemini", "models/gemini-2.5-pro", 1.25, 10},
		{"vertex_ai", "gemini-1.5-pro-002", 1.25, 5},
		{"bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", 3, 15},
		{"bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1, 5.5},
		{"bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", 1, 5},
		{"bedrock", "apac.amazon.nova-pro-v1:0", 0.8, 3.2},
		{"bedrock", "eu-central-1/meta.llama3-1-8b-instruct-v1:0", 0.22, 0.22},
		{"bedrock", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3, 16.5},
		{"bedrock", "anthropic.claude-opus-4-6-v1", 5.5, 27.5},
		{"mistral", "mistral-large-2411", 2, 6},
		{"xai", "grok-4-latest", 3, 15},
		{"xai", "grok-3-mini-beta", 0.3, 0.5},
		{"together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", 0.88, 0.88},
		{"fireworks_ai", "accounts/fireworks/models/gpt-oss-120b", 0.15, 0.6},
		{"cohere_chat", "command-r-plus-08-2024", 2.5, 10},
	} {
		r, ok := price.Default().Find(c.provider, c.model)
		if !ok {
			t.Errorf("%s %s: no price", c.provider, c.model)
			continue
		}
		in, _ := r.Price(price.Input)
		out, _ := r.Price(price.Output)
		if float64(in)/1e6 != c.in || float64(out)/1e6 != c.out {
			t.Errorf("%s %s (row %s): %v and %v, want %v and %v", c.provider, c.model, r.Model, float64(in)/1e6, float64(out)/1e6, c.in, c.out)
		}
		require.Equal(t, price.SourceBook, r.Source)
		require.Equal(t, "2026-11-23", r.Version)
	}
}

func TestWhatTheBookDoesNotKnowIsNotPriced(t *testing.T) {
	for _, c := range [][2]string{
		{"openai", "my-own-model"},
		{"openai", ""},
		{"", ""},
		{"openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123"}, // not at the base model's price
		{"openai", "gpt-4o-mega"},
		{"ollama", "llama3"},
		{"hosted_vllm", "gpt-4o"},
		{"github_copilot", "gpt-4o"}, // listed, but without a price
		{"nowhere", "gpt-4o"},
	} {
		r, ok := price.Default().Find(c[0], c[1])
		require.False(t, ok, "%v priced as %v", c, r)
		u := price.Usage{InUncached: 10, OutTotal: 10, Known: true}
		require.Equal(t, price.Cost{}, price.Of(&u, r))
		require.Zero(t, price.Max(r, 10, 10))
	}
}

func TestLimitsAreKnownWithoutAPrice(t *testing.T) {
	_, priced := price.Default().Find("github_copilot", "gpt-4o")
	require.False(t, priced)
	r, ok := price.Default().Describe("github_copilot", "gpt-4o")
	require.True(t, ok)
	require.False(t, r.Priced())
	require.Positive(t, r.MaxInput)
}

func TestKnownModelsAreListedByCallableNames(t *testing.T) {
	b := price.Default()
	require.Contains(t, b.Known("openai"), "gpt-4o")
	require.Contains(t, b.Known("gemini"), "gemini-2.5-pro")
	require.Contains(t, b.Known("bedrock"), "anthropic.claude-sonnet-4-5-20250929-v1:0")
	require.Contains(t, b.Known("bedrock"), "global.anthropic.claude-sonnet-4-5-20250929-v1:0")
	require.NotContains(t, b.Known("github_copilot"), "gpt-4o")
	require.NotContains(t, b.Known("vertex_ai"), "mistral-large-latest")
	require.Empty(t, b.Known("nowhere"))
	for _, provider := range []string{"openai", "anthropic", "gemini", "bedrock", "xai", "groq", "mistral", "together_ai"} {
		for _, m := range b.Known(provider) {
			_, ok := b.Find(provider, m)
			require.True(t, ok, "%s lists %s", provider, m)
		}
	}
}

func TestTheBookHoldsTheWholeMarketWithLimits(t *testing.T) {
	b := price.Default()
	require.Empty(t, b.Warnings())
	require.Equal(t, "2026-11-23", b.Version())
	r, ok := b.Find("openai", "gpt-4o")
	require.True(t, ok)
	require.EqualValues(t, 128000, r.MaxInput)
	require.EqualValues(t, 16384, r.MaxOutput)
	require.NotZero(t, r.Supports&price.Tools)
	require.NotZero(t, r.Supports&price.Vision)
	info := map[string]any{}
	r.Info(info)
	require.Equal(t, 2.5e-06, info["input_cost_per_token"])
	require.Equal(t, 1e-05, info["output_cost_per_token"])
	require.Equal(t, 1.25e-06, info["cache_read_input_token_cost"])
	require.EqualValues(t, 16384, info["max_tokens"])
	require.Equal(t, "chat", info["mode"])
	require.Equal(t, true, info["supports_vision"])
	e, ok := b.Find("openai", "text-embedding-3-large")
	require.True(t, ok)
	require.Equal(t, "embedding", e.Mode)
	long, _ := b.Find("anthropic", "claude-sonnet-4-5")
	clear(info)
	long.Info(info)
	require.Equal(t, 6e-06, info["input_cost_per_token_above_200k_tokens"])
	require.Equal(t, 6e-06, info["cache_creation_input_token_cost_above_1hr"])
	var above []int64
	for n := range long.Thresholds() {
		above = append(above, n)
	}
	require.Equal(t, []int64{200000}, above)
}
