package openai_test

import (
	"strings"
	"testing"

	"tollgate/proxy/provider"
)

var chat = `{"model":"gpt-4o","messages":[{"role":"system","content":"You are a careful assistant."},{"role":"user","content":"` +
	strings.Repeat("The quick brown fox jumps over the lazy dog. ", 16) + `"}],"temperature":0.7,"max_tokens":256}`

func BenchmarkRequest(b *testing.B) {
	p, c := row(b, "openai"), call(b, provider.OpChat, chat)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Request(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	p, c := row(b, "openai"), call(b, provider.OpChat, chat)
	body := []byte(`{"id":"chatcmpl-9aa","object":"chat.completion","created":1793000000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"finish_reason":"stop","logprobs":null,"message":{"role":"assistant","content":"` +
		strings.Repeat("It does, every day. ", 20) + `","refusal":null,"annotations":[]}}],"usage":{"prompt_tokens":40,"completion_tokens":9,"total_tokens":49,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Answer(c, nil, body); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{ n int }

func (d *discard) Emit(frame []byte) { d.n += len(frame) }

func BenchmarkStreamChunk(b *testing.B) {
	st := row(b, "openai").Stream(call(b, provider.OpChat, `{"model":"x","stream":true}`))
	data := []byte(`{"id":"chatcmpl-9aa","object":"chat.completion.chunk","created":1793000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}`)
	var out discard
	b.ReportAllocs()
	for b.Loop() {
		if err := st.Event("", data, &out); err != nil {
			b.Fatal(err)
		}
	}
}
