package rate_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/limiter/rate"
)

// admission is what the outside saw: units that stand for a request that ran.
type admission struct {
	at    time.Duration
	units int64
	hold  rate.Hold
}

// worstSpan is the most units admitted in any 60 s, by brute force.
func worstSpan(as []admission) int64 {
	worst := int64(0)
	for i := range as {
		sum := int64(0)
		for _, b := range as[i:] {
			if b.at >= as[i].at+time.Minute {
				break
			}
			sum += b.units
		}
		worst = max(worst, sum)
	}
	return worst
}

func TestPropNoSixtySecondSpanAdmitsMoreThanTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		l := rate.New(rate.Config{Clock: c})
		start := c.Now()
		limit := rapid.Int64Range(1, 50).Draw(t, "limit")
		pauses := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 700 * time.Millisecond, 1999 * time.Millisecond,
			2 * time.Second, 13 * time.Second, 29 * time.Second, 59 * time.Second, 61 * time.Second, 63 * time.Second})
		var ran []admission
		var open []int
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			c.step(pauses.Draw(t, "pause"))
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 7 || len(open) == 0:
				h := one(1, rate.Tokens, limit, rapid.Int64Range(1, 8).Draw(t, "units"))
				short, ok := l.Take(h)
				if ok {
					open = append(open, len(ran))
					ran = append(ran, admission{c.Now().Sub(start), h[0].Units, h[0]})
				} else if h[0].Units <= limit && short.RetryAfter <= 0 {
					t.Fatalf("refused without a time to come back")
				} else if short.RetryAfter > 64*time.Second {
					t.Fatalf("told to wait %v", short.RetryAfter)
				}
			case op < 9: // settle at or under the reservation
				i := open[len(open)-1]
				open = open[:len(open)-1]
				ran[i].units = rapid.Int64Range(0, ran[i].units).Draw(t, "used")
				l.Settle(&ran[i].hold, ran[i].units)
			default: // never sent
				i := open[len(open)-1]
				open = open[:len(open)-1]
				l.Return(&ran[i].hold)
				ran[i].units = 0
			}
			if w := worstSpan(ran); w > limit {
				t.Fatalf("%d units in 60 s, limit %d", w, limit)
			}
		}
	})
}

func TestPropEverythingReturnedLeavesTheLimitsFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		l := rate.New(rate.Config{Clock: c})
		const limit = 30
		var open [][]rate.Hold
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			c.step(time.Duration(rapid.Int64Range(0, 5000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "take") {
				holds := make([]rate.Hold, rapid.IntRange(1, 4).Draw(t, "n"))
				for i := range holds {
					kind := rapid.SampledFrom([]rate.Kind{rate.Requests, rate.Tokens, rate.Parallel}).Draw(t, "kind")
					holds[i] = rate.Hold{ID: uint64(kind)*1000 + rapid.Uint64Range(0, 2).Draw(t, "id")*512,
						Kind: kind, Limit: limit, Units: rapid.Int64Range(0, 20).Draw(t, "units")}
				}
				if _, ok := l.Take(holds); ok {
					open = append(open, holds)
				}
			} else if len(open) > 0 {
				for i := range open[0] {
					l.Return(&open[0][i])
				}
				open = open[1:]
			}
		}
		for _, hs := range open {
			for i := range hs {
				l.Return(&hs[i])
			}
		}
		for _, kind := range []rate.Kind{rate.Requests, rate.Tokens, rate.Parallel} {
			for id := range uint64(3) {
				if left, reset := l.State(uint64(kind)*1000+id*512, kind, limit); left != limit || reset != 0 {
					t.Fatalf("%s: %d of %d left, reset %v", kind, left, limit, reset)
				}
			}
		}
	})
}
