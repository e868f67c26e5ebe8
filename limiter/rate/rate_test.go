package rate_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/config/model"
	"tollgate/limiter/rate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is time that only moves when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func one(id uint64, kind rate.Kind, limit, units int64) []rate.Hold {
	return []rate.Hold{{ID: id, Kind: kind, Limit: limit, Units: units}}
}

func TestBurstAdmitsExactlyTheLimit(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	const limit = 600
	for round := range 3 {
		admitted := 0
		for range 5 * limit {
			if _, ok := l.Take(one(7, rate.Requests, limit, 1)); ok {
				admitted++
			}
			c.step(200 * time.Millisecond / (5 * limit))
		}
		require.Equal(t, limit, admitted, "burst %d", round)
		c.step(65 * time.Second)
	}
}

func TestConcurrentBurstAdmitsExactlyTheLimit(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	const limit = 600
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 3000 {
		wg.Go(func() {
			if _, ok := l.Take(one(7, rate.Requests, limit, 1)); ok {
				mu.Lock()
				admitted++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Equal(t, limit, admitted)
}

func TestSustainedOverloadKeepsNinetyPercentOfTheLimit(t *testing.T) {
	for _, over := range []int{2, 3, 10} {
		c := newClock()
		l := rate.New(rate.Config{Clock: c})
		const limit, minutes = 600, 20
		admitted := 0
		step := time.Minute / time.Duration(limit*over)
		for range limit * over * minutes {
			if _, ok := l.Take(one(7, rate.Requests, limit, 1)); ok {
				admitted++
			}
			c.step(step)
		}
		require.GreaterOrEqual(t, admitted, limit*minutes*9/10, "offered %d times the limit", over)
	}
}

func TestRefusalTakesNothing(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	holds := []rate.Hold{
		{ID: 1, Kind: rate.Requests, Limit: 10, Units: 1},
		{ID: 2, Kind: rate.Parallel, Limit: 10, Units: 1},
		{ID: 3, Kind: rate.Tokens, Limit: 100, Units: 101},
	}
	short, ok := l.Take(holds)
	require.False(t, ok)
	require.Equal(t, 2, short.Index)
	require.Zero(t, short.RetryAfter, "a request larger than its limit never passes by waiting")
	for _, h := range holds {
		left, _ := l.State(h.ID, h.Kind, h.Limit)
		require.Equal(t, h.Limit, left, "limit %d", h.ID)
	}
}

func TestTheLimitThatTakesLongestIsTheOneNamed(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	_, ok := l.Take(one(1, rate.Requests, 1, 1))
	require.True(t, ok)
	c.step(20 * time.Second)
	_, ok = l.Take(one(2, rate.Requests, 1, 1))
	require.True(t, ok)
	short, ok := l.Take([]rate.Hold{
		{ID: 1, Kind: rate.Requests, Limit: 1, Units: 1},
		{ID: 2, Kind: rate.Requests, Limit: 1, Units: 1},
	})
	require.False(t, ok)
	require.Equal(t, 1, short.Index)
}

func TestRetryAfterIsWhenTheRequestPasses(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	for range 5 {
		_, ok := l.Take(one(1, rate.Requests, 10, 2))
		require.True(t, ok)
		c.step(3 * time.Second)
	}
	short, ok := l.Take(one(1, rate.Requests, 10, 3))
	require.False(t, ok)
	require.Positive(t, short.RetryAfter)
	c.step(short.RetryAfter - time.Millisecond)
	_, ok = l.Take(one(1, rate.Requests, 10, 3))
	require.False(t, ok, "not a moment earlier")
	c.step(time.Millisecond)
	_, ok = l.Take(one(1, rate.Requests, 10, 3))
	require.True(t, ok)
}

func TestZeroLimitRefusesForEver(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	for _, k := range []rate.Kind{rate.Requests, rate.Tokens, rate.Parallel} {
		short, ok := l.Take(one(uint64(k), k, 0, 0))
		require.False(t, ok)
		require.Zero(t, short.RetryAfter)
		require.Zero(t, short.Left)
	}
}

func TestCountAfterTokensPassUntilTheLimitIsReached(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	h := one(1, rate.Tokens, 100, 0)
	_, ok := l.Take(h)
	require.True(t, ok)
	l.Settle(&h[0], 250)
	_, ok = l.Take(one(1, rate.Tokens, 100, 0))
	require.False(t, ok, "what was used counts, also above the limit")
}

func TestSettleGivesUnusedTokensBack(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	h := one(1, rate.Tokens, 1000, 900)
	_, ok := l.Take(h)
	require.True(t, ok)
	require.EqualValues(t, 100, h[0].Left)
	c.step(10 * time.Second)
	l.Settle(&h[0], 300)
	left, _ := l.State(1, rate.Tokens, 1000)
	require.EqualValues(t, 700, left)
	l.Settle(&h[0], 5)
	l.Return(&h[0])
	left, _ = l.State(1, rate.Tokens, 1000)
	require.EqualValues(t, 700, left, "a hold settles once")
}

func TestLateSettlementDoesNotDisturbTheRing(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	h := one(1, rate.Tokens, 1000, 900)
	_, ok := l.Take(h)
	require.True(t, ok)
	c.step(2 * time.Minute)
	g := one(1, rate.Tokens, 1000, 400)
	_, ok = l.Take(g)
	require.True(t, ok)
	l.Settle(&h[0], 100)
	left, _ := l.State(1, rate.Tokens, 1000)
	require.EqualValues(t, 600, left)
}

func TestParallelSlotsAreHeldAndGivenBack(t *testing.T) {
	c := newClock()
	l := rate.New(rate.Config{Clock: c})
	a, b := one(1, rate.Parallel, 2, 1), one(1, rate.Parallel, 2, 1)
	_, ok := l.Take(a)
	require.True(t, ok)
	_, ok = l.Take(b)
	require.True(t, ok)
	c.step(time.Hour)
	short, ok := l.Take(one(1, rate.Parallel, 2, 1))
	require.False(t, ok, "slots do not age")
	require.Positive(t, short.RetryAfter)
	l.Return(&a[0])
	l.Return(&a[0])
	left, _ := l.State(1, rate.Parallel, 2)
	require.EqualValues(t, 1, left)
	l.Return(&b[0])
	require.Zero(t, l.Rings())
}

func TestTheSameLimitTwiceInOneRequestCountsTwice(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	h := rate.Hold{ID: 1, Kind: rate.Requests, Limit: 1, Units: 1}
	_, ok := l.Take([]rate.Hold{h, h})
	require.False(t, ok)
	_, ok = l.Take([]rate.Hold{h})
	require.True(t, ok)
}

func TestManyLimitsInOneRequest(t *testing.T) {
	l := rate.New(rate.Config{Clock: newClock()})
	holds := make([]rate.Hold, 100)
	for i := range holds {
		holds[i] = rate.Hold{ID: uint64(i * 3571), Kind: rate.Requests, Limit: 1, Units: 1}
	}
	_, ok := l.Take(holds)
	require.True(t, ok)
	_, ok = l.Take(holds)
	require.False(t, ok)
}

func TestIdsDependOnSeedScopeAndKind(t *testing.T) {
	a := rate.New(rate.Config{Seed: [16]byte{1}})
	b := rate.New(rate.Config{Seed: [16]byte{2}})
	s := model.Scope{Dim: model.DimKey, ID: "abcdefgh"}
	require.Equal(t, a.ID(s, rate.Requests), rate.New(rate.Config{Seed: [16]byte{1}}).ID(s, rate.Requests))
	require.NotEqual(t, a.ID(s, rate.Requests), b.ID(s, rate.Requests))
	require.NotEqual(t, a.ID(s, rate.Requests), a.ID(s, rate.Tokens))
	require.NotEqual(t, a.ID(s, rate.Requests), a.ID(model.Scope{Dim: model.DimTeam, ID: s.ID}, rate.Requests))
	seen := map[uint64]string{}
	id := ""
	for range 5000 {
		id += "x"
		if len(id) > 40 {
			id = id[1:20] + string(rune('a'+len(seen)%26))
		}
		h := a.ID(model.Scope{Dim: model.DimEndUser, ID: id}, rate.Requests)
		if other, ok := seen[h]; ok {
			require.Equal(t, other, id)
		}
		seen[h] = id
	}
}

func TestIdleRingsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := rate.New(rate.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		for i := range 5000 {
			l.Take(one(uint64(i), rate.Requests, 5, 1))
		}
		require.Equal(t, 5000, l.Rings())
		time.Sleep(60 * time.Second)
		l.Take(one(17, rate.Requests, 5, 1))
		require.Equal(t, 5000, l.Rings(), "what still counts stays")
		time.Sleep(60 * time.Second)
		require.Equal(t, 1, l.Rings())
		left, _ := l.State(17, rate.Requests, 5)
		require.EqualValues(t, 4, left)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}
