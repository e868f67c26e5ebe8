package stream_test

import (
	"strings"
	"testing"

	"tollgate/proxy/stream"
)

// BenchmarkReader is the cost of one chat chunk of common size.
func BenchmarkReader(b *testing.B) {
	chunk := `data: {"id":"chatcmpl-9aa","object":"chat.completion.chunk","created":1793000000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}` + "\n\n"
	body := strings.Repeat(chunk, 1000)
	src := strings.NewReader(body)
	r := stream.NewReader(src)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			src.Reset(body)
			r.Reset(src)
		}
	}
}
