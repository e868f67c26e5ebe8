package price_test

import (
	"encoding/json"
	"testing"

	"tollgate/config/price"
)

func seeds(f *testing.F) {
	for _, c := range goldenCases(f) {
		f.Add([]byte(c.Usage))
	}
	for _, s := range []string{``, `null`, `[]`, `{}`, `{"usage":{"usage":{"usage":{"usage":{}}}}}`, `{"prompt_tokens":`, `{"prompt_tokens":-5,"completion_tokens":1e30,"total_tokens":"12"}`,
		`{"prompt_tokens_details":[{]}`, `{"a":"\\","prompt_tokens":3}`, `{"promptTokensDetails":[[[[`, `{"iterations":[1,null,{"type":"compaction","output_tokens":9223372036854775807}]}`} {
		f.Add([]byte(s))
	}
}

func FuzzUsageParsersNeverInventNegativeOrOverlappingCounts(f *testing.F) {
	seeds(f)
	r, _ := price.Default().Find("anthropic", "claude-sonnet-4-5")
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, parse := range parsers {
			u := parse(raw)
			checkSane(t, u)
			c := price.Of(&u, r)
			if c.Total < 0 || c.Input+c.CacheRead+c.CacheWrite+c.Output+c.Reasoning+c.Tools != c.Total {
				t.Fatalf("%s: components of %+v do not sum", name, c)
			}
			if out := price.AppendOpenAI(nil, &u); !json.Valid(out) {
				t.Fatalf("%s: emitted %q", name, out)
			}
			if json.Valid(raw) && !u.Known && u.Total() != 0 {
				t.Fatalf("%s: counts that nobody stated: %+v", name, u)
			}
		}
		var u price.Usage
		u.UpdateAnthropic(raw)
		u.UpdateAnthropic(raw)
		checkSane(t, u)
	})
}

func FuzzOverlayRefusesOrPrices(f *testing.F) {
	f.Add([]byte(priceMap))
	f.Add([]byte(`{"a":{"tiered_pricing":[{"range":[0,1],"input_cost_per_token":"1"}],"input_cost_per_token":1e99}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := new(price.Book).Overlay(raw) // an empty book: this is about the map
		if err != nil {
			return
		}
		for _, m := range b.Known("openai") {
			r, ok := b.Find("openai", m)
			if !ok {
				t.Fatalf("lists %q and does not find it", m)
			}
			u := price.Usage{InUncached: 1000, CacheRead: 10, OutTotal: 100}
			if c := price.Of(&u, r); c.Total < 0 || !c.Priced {
				t.Fatalf("%q costs %v", m, c)
			}
		}
	})
}
