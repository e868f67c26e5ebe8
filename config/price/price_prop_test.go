package price_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/price"
	"tollgate/config/unit"
)

var tokenKeys = []string{
	"input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "cache_creation_input_token_cost",
	"cache_creation_input_token_cost_above_1hr", "input_cost_per_audio_token", "input_cost_per_image_token",
	"output_cost_per_reasoning_token", "output_cost_per_audio_token", "output_cost_per_image_token",
	"cache_read_input_audio_token_cost", "cache_read_input_image_token_cost",
}

// genRow draws a row, with tiers and service prices if variants is set.
func genRow(t *rapid.T, variants bool) *price.Row {
	m := map[string]json.RawMessage{}
	put := func(key string) {
		p := rapid.Int64Range(0, 1_000_000_000).Draw(t, key)
		m[key] = json.RawMessage(new(big.Rat).SetFrac64(p, 1_000_000_000_000).FloatString(12))
	}
	for _, k := range tokenKeys {
		if k == "input_cost_per_token" || rapid.Bool().Draw(t, "has "+k) {
			put(k)
		}
		if !variants {
			continue
		}
		for _, ending := range []string{"_above_1k_tokens", "_above_200k_tokens", "_flex", "_priority", "_above_200k_tokens_priority"} {
			if rapid.IntRange(0, 5).Draw(t, "variant") == 0 {
				put(k + ending)
			}
		}
	}
	if rapid.Bool().Draw(t, "fee") {
		put("input_cost_per_request")
	}
	r, err := (*price.Row)(nil).With(m)
	require.NoError(t, err)
	return r
}

func genUsage(t *rapid.T) price.Usage {
	n := func(name string) int64 {
		return rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64Range(0, 3000), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(-9, -1)).Draw(t, name)
	}
	return price.Usage{
		InUncached: n("in"), CacheRead: n("read"), CacheWrite5m: n("5m"), CacheWrite1h: n("1h"), InAudio: n("audio"), InImage: n("image"),
		CacheReadAudio: n("read audio"), CacheReadImage: n("read image"),
		OutTotal: n("out"), OutReasoning: n("reasoning"), OutAudio: n("out audio"), OutImage: n("out image"),
		ServiceTier: rapid.SampledFrom([]string{"", "default", "flex", "priority", "batch"}).Draw(t, "tier"), Known: true,
	}
}

func TestCostIsNeverNegativeAndComponentsSumToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, r := genUsage(t), genRow(t, true)
		c := price.Of(&u, r)
		var sum unit.Money
		for part, v := range byPart(c) {
			require.GreaterOrEqual(t, int64(v), int64(0), part)
			sum += v
		}
		require.Equal(t, c.Total, sum)
	})
}

func TestMoreTokensNeverCostLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, r := genUsage(t), genRow(t, false)
		before := price.Of(&u, r).Total
		more := rapid.Int64Range(0, 100_000).Draw(t, "more")
		field := rapid.SampledFrom([]*int64{&u.InUncached, &u.CacheWrite5m, &u.CacheWrite1h, &u.InAudio, &u.InImage, &u.OutTotal}).Draw(t, "field")
		*field += more
		require.GreaterOrEqual(t, int64(price.Of(&u, r).Total), int64(before))
	})
}

func TestNothingCostsMoreThanItsReservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, r := genUsage(t), genRow(t, true)
		for _, n := range []*int64{&u.InUncached, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.InAudio, &u.InImage, &u.OutTotal} {
			*n = max(*n, 0)
		}
		in := u.Prompt() + rapid.Int64Range(0, 1000).Draw(t, "slack")
		most := price.MaxFor(r, &price.Shape{Input: in, Output: u.OutTotal, Tier: u.ServiceTier})
		require.LessOrEqual(t, int64(price.Of(&u, r).Total), int64(most))
		if u.ServiceTier == "" || u.ServiceTier == "default" {
			require.LessOrEqual(t, int64(price.Of(&u, r).Total), int64(price.Max(r, in, u.OutTotal)))
		}
	})
}

func TestAffordableOutputIsTheLargestThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRow(t, true)
		in := rapid.Int64Range(0, 300_000).Draw(t, "in")
		budget := unit.Money(rapid.Int64Range(0, 20*int64(unit.Dollar)).Draw(t, "budget"))
		n := price.AffordableOutput(r, in, budget)
		require.GreaterOrEqual(t, n, int64(0))
		if n == math.MaxInt64 {
			require.Equal(t, price.Max(r, in, 0), price.Max(r, in, 1_000_000_000))
			return
		}
		if n > 0 {
			require.LessOrEqual(t, int64(price.Max(r, in, n)), int64(budget))
		}
		require.Greater(t, int64(price.Max(r, in, n+1)), int64(budget))
	})
}

func TestTotalIsTheExactSumRoundedHalfUpOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.Int64Range(0, 1<<45).Draw(t, "in")
		out := rapid.Int64Range(0, 1<<45).Draw(t, "out")
		pi := rapid.Int64Range(0, 1<<24).Draw(t, "pico in")
		po := rapid.Int64Range(0, 1<<24).Draw(t, "pico out")
		r, err := (*price.Row)(nil).With(map[string]json.RawMessage{
			"input_cost_per_token":  fmt.Appendf(nil, `"%de-12"`, pi),
			"output_cost_per_token": fmt.Appendf(nil, `"%de-12"`, po),
		})
		require.NoError(t, err)
		u := price.Usage{InUncached: in, OutTotal: out}
		pico := new(big.Int).Mul(big.NewInt(in), big.NewInt(pi))
		pico.Add(pico, new(big.Int).Mul(big.NewInt(out), big.NewInt(po)))
		nano := pico.Add(pico, big.NewInt(500)).Quo(pico, big.NewInt(1000))
		want := int64(math.MaxInt64)
		if nano.IsInt64() {
			want = nano.Int64()
		}
		c := price.Of(&u, r)
		require.Equal(t, want, int64(c.Total))
		require.Equal(t, c.Total, c.Input.Add(c.Output))
	})
}

func TestAbsurdCountsSaturateInsteadOfWrapping(t *testing.T) {
	r := row(t, `{"input_cost_per_token":1000,"output_cost_per_token":1000}`)
	u := price.Usage{InUncached: math.MaxInt64 / 4, OutTotal: math.MaxInt64, CacheRead: math.MaxInt64 / 4}
	c := price.Of(&u, r)
	require.Equal(t, unit.MaxMoney, c.Total)
	require.Equal(t, c.Total, c.Input+c.CacheRead+c.Output)
	require.Equal(t, unit.MaxMoney, price.Max(r, math.MaxInt64, math.MaxInt64))
	require.Zero(t, price.AffordableOutput(r, 1<<40, unit.MaxMoney))
	require.EqualValues(t, 9_223_372, price.AffordableOutput(r, 0, unit.MaxMoney))
}

func TestPromptPlusCompletionIsTheTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, name) }
		p, c := n("prompt", 100_000), n("completion", 100_000)
		reasoning := n("reasoning", c)
		raw := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":%d,"image_tokens":%d,"cache_write_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":%d}}`,
			p, c, p+c, n("cached", 200_000), n("audio", 200_000), n("image", 200_000), n("write", 200_000), reasoning, n("audio out", 200_000))
		u := price.FromOpenAI([]byte(raw))
		require.Equal(t, p, u.Prompt())
		require.Equal(t, c, u.OutTotal)
		require.Equal(t, p+c, u.Total())
		checkSane(t, u)
	})
}

func TestEmittedUsageReadsBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string) int64 { return rapid.Int64Range(0, 1_000_000).Draw(t, name) }
		u := price.Usage{InUncached: n("in"), CacheRead: n("read"), CacheWrite5m: n("5m"), CacheWrite1h: n("1h"), InAudio: n("audio"), InImage: n("image"), OutTotal: n("out"), Known: true}
		u.CacheReadAudio = rapid.Int64Range(0, u.CacheRead).Draw(t, "cached audio")
		u.CacheReadImage = rapid.Int64Range(0, u.CacheRead-u.CacheReadAudio).Draw(t, "cached image")
		u.OutReasoning = rapid.Int64Range(0, u.OutTotal).Draw(t, "reasoning")
		u.OutAudio = rapid.Int64Range(0, u.OutTotal-u.OutReasoning).Draw(t, "audio out")
		u.OutImage = rapid.Int64Range(0, u.OutTotal-u.OutReasoning-u.OutAudio).Draw(t, "image out")
		raw := price.AppendOpenAI(nil, &u)
		require.True(t, json.Valid(raw), string(raw))
		require.Equal(t, u, price.FromOpenAI(raw), string(raw))
		var totals struct {
			P int64 `json:"prompt_tokens"`
			C int64 `json:"completion_tokens"`
			T int64 `json:"total_tokens"`
		}
		require.NoError(t, json.Unmarshal(raw, &totals))
		require.Equal(t, totals.T, totals.P+totals.C)
		require.Equal(t, strconv.FormatInt(u.Total(), 10), strconv.FormatInt(totals.T, 10))
	})
}

type fataler interface {
	Errorf(string, ...any)
	FailNow()
}

// checkSane is what holds for a usage whatever the bytes were.
func checkSane(t fataler, u price.Usage) {
	for _, n := range []int64{u.InUncached, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.InAudio, u.InImage, u.OutTotal, u.OutReasoning,
		u.OutAudio, u.OutImage, u.CacheReadAudio, u.CacheReadImage, u.Citations, u.Queries, u.InMillis, u.WebSearches, u.Prompt(), u.Total()} {
		if n < 0 {
			t.Errorf("negative count in %+v", u)
			t.FailNow()
		}
	}
	if u.OutReasoning+u.OutAudio+u.OutImage > u.OutTotal || u.CacheReadAudio+u.CacheReadImage > u.CacheRead {
		t.Errorf("parts exceed the whole in %+v", u)
		t.FailNow()
	}
}
