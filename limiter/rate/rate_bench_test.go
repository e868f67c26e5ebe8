package rate_test

import (
	"context"
	"testing"
	"time"

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

// company is a view of five nodes whose owners answer in no time.
type company struct {
	view  *rate.View
	nodes map[string]*rate.Limiter
}

func (c *company) View() *rate.View      { return c.view }
func (c *company) Counts(string, []byte) {}
func (c *company) Ask(ctx context.Context, node string, payload []byte) ([]byte, error) {
	return c.nodes[node].ServeAsk(ctx, c.view.Self, payload)
}

func five(b *testing.B) *rate.Limiter {
	nodes := map[string]*rate.Limiter{}
	var first *rate.Limiter
	for _, self := range []string{"a", "b", "c", "d", "e"} {
		v := &rate.View{Self: self}
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			v.Members = append(v.Members, rate.Member{ID: id, Incarnation: 1, Alive: true})
		}
		l := rate.New(rate.Config{Peers: &company{v, nodes}})
		nodes[self] = l
		if first == nil {
			first = l
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = first.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	time.Sleep(50 * time.Millisecond) // everybody has handed over
	return first
}

func BenchmarkTakeEightLimitsAmongFive(b *testing.B) {
	for _, c := range []struct {
		name string
		own  bool
	}{{"owned", true}, {"credit", false}} {
		b.Run(c.name, func(b *testing.B) {
			l := five(b)
			var holds []rate.Hold
			for id := uint64(1); len(holds) < 8; id++ {
				if owner, _ := rate.Roles(l, id*977, ""); (owner == "a") == c.own {
					holds = append(holds, rate.Hold{ID: id * 977, Kind: rate.Requests, Limit: 1 << 31, Units: 1})
				}
			}
			b.ReportAllocs()
			waited := l.Stats().Waited
			for b.Loop() {
				if _, ok := l.TakeCtx(context.Background(), holds); !ok {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(l.Stats().Waited-waited)/float64(b.N), "waits/op")
			b.ReportMetric(float64(l.Stats().Asks)/float64(b.N), "asks/op")
		})
	}
}

func BenchmarkServeAskOfAHundred(b *testing.B) {
	l := five(b)
	asks := rate.Asks(l, "b", 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.ServeAsk(context.Background(), "b", asks()); err != nil {
			b.Fatal(err)
		}
	}
}
