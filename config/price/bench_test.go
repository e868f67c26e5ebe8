package price_test

import (
	"testing"

	"tollgate/config/price"
)

const plainUsage = `{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0},"service_tier":"default"}`

func BenchmarkFromOpenAI(b *testing.B) {
	raw := []byte(plainUsage)
	b.ReportAllocs()
	for b.Loop() {
		if u := price.FromOpenAI(raw); !u.Known {
			b.Fatal("not known")
		}
	}
}

func BenchmarkFromAnthropic(b *testing.B) {
	raw := []byte(`{"input_tokens":4,"cache_creation_input_tokens":320,"cache_read_input_tokens":18000,"cache_creation":{"ephemeral_5m_input_tokens":320,"ephemeral_1h_input_tokens":0},"output_tokens":512,"service_tier":"standard"}`)
	b.ReportAllocs()
	for b.Loop() {
		if u := price.FromAnthropic(raw); !u.Known {
			b.Fatal("not known")
		}
	}
}

func BenchmarkOf(b *testing.B) {
	r, _ := price.Default().Find("openai", "gpt-5.4")
	u := price.FromOpenAI([]byte(plainUsage))
	b.ReportAllocs()
	for b.Loop() {
		if c := price.Of(&u, r); c.Total == 0 {
			b.Fatal("free")
		}
	}
}

func BenchmarkMax(b *testing.B) {
	r, _ := price.Default().Find("openai", "gpt-5.4")
	b.ReportAllocs()
	for b.Loop() {
		if price.Max(r, 300_000, 4096) == 0 {
			b.Fatal("free")
		}
	}
}

func BenchmarkAppendOpenAI(b *testing.B) {
	u := price.FromOpenAI([]byte(plainUsage))
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = price.AppendOpenAI(buf[:0], &u)
	}
}

func BenchmarkFind(b *testing.B) {
	book := price.Default()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := book.Find("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"); !ok {
			b.Fatal("not found")
		}
	}
}
