package price_test

import (
	"bufio"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/config/unit"
)

// goldenCase is one answer's usage as a provider sends it. Lines say which
// tokens are billed at which price: they were counted by hand, not by a parser.
type goldenCase struct {
	Name     string
	Parser   string
	Provider string
	Model    string
	Params   map[string]json.RawMessage
	Notes    []string
	Usage    json.RawMessage
	Lines    []struct {
		Part  string
		Count int64
		USD   string
	}
	Want map[string]int64
}

var parsers = map[string]func([]byte) price.Usage{
	"openai": price.FromOpenAI, "anthropic": price.FromAnthropic, "gemini": price.FromGemini,
	"bedrock": price.FromBedrock, "cohere": price.FromCohere, "ollama": price.FromOllama,
}

func goldenCases(t testing.TB) []goldenCase {
	f, err := os.Open("testdata/usage.jsonl")
	require.NoError(t, err)
	defer f.Close()
	var all []goldenCase
	for s := bufio.NewScanner(f); s.Scan(); {
		var c goldenCase
		require.NoError(t, json.Unmarshal(s.Bytes(), &c))
		all = append(all, c)
	}
	return all
}

func (c *goldenCase) row(t testing.TB) *price.Row {
	if c.Model != "" {
		r, ok := price.Default().Find(c.Provider, c.Model)
		require.True(t, ok, "%s/%s has no price", c.Provider, c.Model)
		return r
	}
	r, err := (&price.Row{Provider: c.Provider}).With(c.Params)
	require.NoError(t, err)
	return r
}

func TestGoldenUsagesCostToTheNanoDollar(t *testing.T) {
	cases := goldenCases(t)
	require.GreaterOrEqual(t, len(cases), 60)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			u := parsers[c.Parser](c.Usage)
			require.True(t, u.Known)
			cost := price.Of(&u, c.row(t))
			require.True(t, cost.Priced)
			require.Equal(t, c.Notes, cost.Notes)
			got := byPart(cost)

			// From first principles: counts times prices, exactly, per part.
			exact := map[string]*big.Rat{}
			sum := new(big.Rat)
			for _, l := range c.Lines {
				usd, ok := new(big.Rat).SetString(l.USD)
				require.True(t, ok)
				v := usd.Mul(usd, big.NewRat(l.Count*1_000_000_000, 1))
				if exact[l.Part] == nil {
					exact[l.Part] = new(big.Rat)
				}
				exact[l.Part].Add(exact[l.Part], v)
				sum.Add(sum, v)
			}
			sum.Add(sum, big.NewRat(1, 2))
			require.Equal(t, new(big.Int).Quo(sum.Num(), sum.Denom()).Int64(), int64(cost.Total), "total")
			var added unit.Money
			for part, v := range got {
				added += v
				want := exact[part]
				if want == nil {
					want = new(big.Rat)
				}
				off := new(big.Rat).Sub(big.NewRat(int64(v), 1), want)
				require.True(t, off.Abs(off).Cmp(big.NewRat(1, 1)) < 0, "%s is %d, exactly %s", part, v, want.FloatString(6))
			}
			require.Equal(t, cost.Total, added)

			// And the figures that were written down.
			require.Equal(t, c.Want["total"], int64(cost.Total))
			for part, v := range got {
				require.Equal(t, c.Want[part], int64(v), part)
			}
		})
	}
}

func byPart(c price.Cost) map[string]unit.Money {
	return map[string]unit.Money{
		"input": c.Input, "cache_read": c.CacheRead, "cache_write": c.CacheWrite,
		"output": c.Output, "reasoning": c.Reasoning, "tools": c.Tools,
	}
}
