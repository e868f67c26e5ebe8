package anthropic_test

import (
	"testing"

	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

type nowhere struct{}

func (nowhere) Emit([]byte) {}

// BenchmarkTextDelta is what one event of a long answer costs.
func BenchmarkTextDelta(b *testing.B) {
	for name, op := range map[string]provider.Op{"chat": provider.OpChat, "messages": provider.OpMessages} {
		b.Run(name, func(b *testing.B) {
			c := newCall(b, op, "claude-sonnet-4-5", hello)
			s := anthropic.New().Stream(c)
			_ = s.Event("", []byte(msgStart), nowhere{})
			_ = s.Event("", []byte(blockStart("0", `{"type":"text","text":""}`)), nowhere{})
			data := []byte(blockDelta("0", `{"type":"text_delta","text":"Hello, \"world\"\n"}`))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Event("content_block_delta", data, nowhere{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
