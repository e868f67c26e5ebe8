package rate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

func TestTokensAreReservedAndSettledAcrossNodes(t *testing.T) {
	for _, n := range sizes(2, 3, 5) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, n, nil)
				defer w.close()
				const limit = 100_000
				var mu sync.Mutex
				var used []use
				var all sync.WaitGroup
				begin := time.Now()
				rng := rand.New(rand.NewPCG(1, 9))
				for i := range 4000 {
					h := w.hosts[rng.IntN(n)]
					at := time.Duration(i) * 40 * time.Millisecond
					reserve, actual := 200+rng.Int64N(800), int64(0)
					actual = reserve * rng.Int64N(100) / 100
					length := time.Duration(rng.Int64N(int64(5 * time.Second)))
					until(begin, at)
					all.Go(func() {
						holds := []rate.Hold{{ID: 5, Kind: rate.Tokens, Limit: limit, Units: reserve}}
						if _, ok := h.node().TakeCtx(t.Context(), holds); !ok {
							return
						}
						now := w.since()
						time.Sleep(length)
						h.node().Settle(&holds[0], actual)
						mu.Lock()
						used = append(used, use{at: now, id: 5, units: actual})
						mu.Unlock()
					})
				}
				all.Wait()
				w.admitted = used
				w.report(t, 5)
				require.LessOrEqual(t, w.worst(5), int64(limit))
				require.GreaterOrEqual(t, w.worst(5), int64(limit*75/100))
			})
		})
	}
}

func TestCountAfterTokensReachTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 3, nil)
		defer w.close()
		const limit = 1000
		take := func(h *host) bool {
			holds := []rate.Hold{{ID: 5, Kind: rate.Tokens, Limit: limit}}
			_, ok := h.node().TakeCtx(t.Context(), holds)
			if ok {
				h.node().Settle(&holds[0], 400)
			}
			time.Sleep(200 * time.Millisecond)
			return ok
		}
		for i := range 3 {
			require.True(t, take(w.hosts[i]), i)
		}
		for i := range 3 {
			require.False(t, w.hosts[i].spend(rate.Hold{ID: 5, Kind: rate.Tokens, Limit: limit, Units: 100}), "1200 of 1000 are used")
		}
	})
}

func TestParallelSlotsNeverPassTheLimitOverAllNodes(t *testing.T) {
	for _, limit := range sizes[int64](1, 5, 100) {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 3, nil)
				defer w.close()
				rng := rand.New(rand.NewPCG(1, uint64(limit)))
				var mu sync.Mutex
				var now, most, served int64
				var all sync.WaitGroup
				begin := time.Now()
				for i := range 6000 {
					h := w.hosts[rng.IntN(3)]
					at := time.Duration(i) * 20 * time.Millisecond
					length := time.Duration(rng.Int64N(int64(time.Duration(limit) * 100 * time.Millisecond)))
					until(begin, at)
					all.Go(func() {
						holds := []rate.Hold{{ID: 9, Kind: rate.Parallel, Limit: limit, Units: 1}}
						if _, ok := h.node().TakeCtx(t.Context(), holds); !ok {
							return
						}
						mu.Lock()
						now++
						served++
						most = max(most, now)
						mu.Unlock()
						time.Sleep(length)
						mu.Lock()
						now--
						mu.Unlock()
						h.node().Return(&holds[0])
					})
				}
				all.Wait()
				w.report(t, 9)
				t.Logf("served %d, most %d", served, most)
				require.LessOrEqual(t, most, limit)
				require.GreaterOrEqual(t, most, limit*95/100)
				time.Sleep(30 * time.Second)
				for _, h := range w.hosts {
					left, _ := h.node().State(9, rate.Parallel, limit)
					require.Equal(t, limit, left, h.id)
				}
			})
		})
	}
}

func TestParallelSlotsOfADeadNodeFreeThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 5, nil)
		defer w.close()
		const limit = 30
		owner, _ := w.owner(9)
		hold := func() []rate.Hold { return []rate.Hold{{ID: 9, Kind: rate.Parallel, Limit: limit, Units: 1}} }
		fill := func() (n int) {
			for i := range 3 * limit {
				if h := w.anyUp(i); h != nil {
					if _, ok := h.node().TakeCtx(t.Context(), hold()); ok {
						n++
					}
				}
			}
			return n
		}
		require.Equal(t, limit, fill())
		require.Zero(t, fill())
		var dead *host
		for _, h := range w.hosts {
			if h != owner {
				dead = h
			}
		}
		left, _ := dead.node().State(9, rate.Parallel, limit)
		had := limit - int(left)
		require.Positive(t, had)
		dead.kill()
		time.Sleep(15 * time.Second)
		require.InDelta(t, had, fill(), 1)
		owner.kill()
		time.Sleep(15 * time.Second)
		require.Positive(t, fill(), "the owner's own slots are free too")
	})
}

func TestSeveralLimitsAreTakenTogetherOrNotAtAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 5, nil)
		defer w.close()
		const small, large = 100, 400
		var all sync.WaitGroup
		begin := time.Now()
		var mu sync.Mutex
		admitted := map[uint64]int64{}
		for i := range 4000 {
			h, key := w.hosts[i%5], uint64(1000+i%8)
			until(begin, time.Duration(i)*100*time.Microsecond)
			all.Go(func() {
				holds := []rate.Hold{{ID: key, Kind: rate.Requests, Limit: small, Units: 1}, {ID: 1, Kind: rate.Requests, Limit: large, Units: 1},
					{ID: 2, Kind: rate.Tokens, Limit: 100 * large, Units: 90}}
				if _, ok := h.node().TakeCtx(t.Context(), holds); ok {
					mu.Lock()
					admitted[key]++
					admitted[1]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, admitted[1], int64(large))
		require.GreaterOrEqual(t, admitted[1], int64(large*97/100))
		for k := range worlds(8) {
			require.LessOrEqual(t, admitted[1000+k], int64(small))
		}
		// What the refused had put aside is free again: the small limits are far
		// from used up.
		time.Sleep(3 * time.Second)
		got := 0
		for i := range 100 {
			if w.hosts[i%5].request(1000, small) {
				got++
			}
		}
		require.GreaterOrEqual(t, got, small*95/100-int(admitted[1000]))
	})
}

func TestAnyNodeKnowsHowALimitStands(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 3, nil)
		defer w.close()
		const limit = 300
		w.offer(120, 10*time.Second, 7, limit, w.anyUp)
		time.Sleep(3 * time.Second)
		for _, h := range w.hosts {
			s := h.node().Look(t.Context(), []rate.Query{{ID: 7, Kind: rate.Requests, Limit: limit}})
			require.True(t, s[0].Known)
			require.EqualValues(t, limit-120, s[0].Left, h.id)
			require.Positive(t, s[0].Reset)
		}
	})
}

func TestACallerThatGoesAwayGivesBackWhatWasPutAside(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 3, nil)
		defer w.close()
		const limit = 100
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*200*time.Microsecond)
				defer cancel()
				holds := []rate.Hold{{ID: uint64(i % 10), Kind: rate.Requests, Limit: limit, Units: 1}, {ID: 77, Kind: rate.Requests, Limit: limit, Units: 1}}
				h := w.hosts[i%3]
				if _, ok := h.node().TakeCtx(ctx, holds); ok {
					h.node().Return(&holds[0])
					h.node().Return(&holds[1])
				}
			})
		}
		all.Wait()
		time.Sleep(5 * time.Second)
		s := w.hosts[0].node().Look(t.Context(), []rate.Query{{ID: 77, Kind: rate.Requests, Limit: limit}, {ID: 3, Kind: rate.Requests, Limit: limit}})
		require.EqualValues(t, limit, s[0].Left)
		require.EqualValues(t, limit, s[1].Left)
	})
}

func TestSmallLimitsAreExactFromAnyNode(t *testing.T) {
	for _, limit := range sizes[int64](1, 2, 3, 7) {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 5, nil)
				defer w.close()
				w.lose(0.2)
				for id := range worlds(5) {
					w.offer(60, 3*time.Minute, id, limit, w.anyUp)
					require.LessOrEqual(t, w.worst(id), limit)
					require.GreaterOrEqual(t, w.total(id), limit*2)
				}
			})
		})
	}
}
