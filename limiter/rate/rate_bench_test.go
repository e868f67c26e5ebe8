package rate_test

import (
	"testing"

	"tollgate/config/model"
	"tollgate/limiter/rate"
)

func BenchmarkTakeEightLimits(b *testing.B) {
	l := rate.New(rate.Config{})
	holds := make([]rate.Hold, 8)
	for i := range holds {
		holds[i] = rate.Hold{ID: uint64(i) * 977, Kind: rate.Requests, Limit: 1 << 40, Units: 1}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.Take(holds); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkTakeOverAMillionKeys(b *testing.B) {
	l := rate.New(rate.Config{})
	h := make([]rate.Hold, 1)
	x := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		h[0] = rate.Hold{ID: (x >> 33) % 1_000_000, Kind: rate.Requests, Limit: 1 << 40, Units: 1}
		l.Take(h)
	}
}

func BenchmarkID(b *testing.B) {
	l := rate.New(rate.Config{})
	s := model.Scope{Dim: model.DimKey, ID: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	for b.Loop() {
		l.ID(s, rate.Requests)
	}
}
