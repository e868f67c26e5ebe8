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

// owner is the host that grants of a limit, and backup who would stand in.
func (w *world) owner(id uint64) (owner, backup *host) {
	for _, h := range w.hosts {
		if h.up && !h.frozen {
			a, b := rate.Roles(h.limiter, id, "")
			return w.host(a), w.host(b)
		}
	}
	return nil, nil
}

// load offers requests at three times the limit until the end.
func (w *world) load(id uint64, limit int64, span time.Duration) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() { w.offer(int(3*limit*int64(span)/int64(time.Minute)), span, id, limit, w.anyUp) })
	return &all
}

func TestJoinLeaveAndDrainNeverPassTheLimit(t *testing.T) {
	for id := range uint64(12) {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 3, nil)
				defer w.close()
				const limit = 600
				load := w.load(id, limit, 4*time.Minute)
				time.Sleep(20 * time.Second)
				h := w.add("r", "")
				for i := range w.hosts { // not all hear of it at once
					time.AfterFunc(time.Duration(i*130)*time.Millisecond, func() { w.publish(w.hosts[i]) })
				}
				time.Sleep(25 * time.Second)
				owner, _ := w.owner(id)
				owner.draining = true
				for i := range w.hosts {
					time.AfterFunc(time.Duration(i*130)*time.Millisecond, func() { w.publish(w.hosts[i]) })
				}
				time.Sleep(10 * time.Second)
				owner.kill()
				time.Sleep(30 * time.Second)
				_ = h
				load.Wait()
				w.report(t, id)
				require.LessOrEqual(t, w.worst(id), int64(limit))
				require.GreaterOrEqual(t, w.total(id), int64(limit*4*88/100))
			})
		})
	}
}

func TestKilledOwnerIsStoodInForWithinASecond(t *testing.T) {
	for id := range uint64(8) {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 5, nil)
				defer w.close()
				const limit = 600
				load := w.load(id, limit, 3*time.Minute)
				time.Sleep(10 * time.Second)
				for range 3 {
					owner, _ := w.owner(id)
					own := w.ownSince(owner, id, 100*time.Millisecond)
					owner.kill()
					t.Logf("killed %s, which had admitted %d itself just before", owner.id, own)
					time.Sleep(10 * time.Second)
					owner.boot()
					w.tellAll()
					time.Sleep(20 * time.Second)
				}
				load.Wait()
				w.report(t, id)
				require.LessOrEqual(t, w.worst(id), int64(limit*105/100))
				require.GreaterOrEqual(t, w.total(id), int64(limit*3*80/100))
			})
		})
	}
}

// ownSince is what a host has admitted of a limit lately.
func (w *world) ownSince(h *host, id uint64, span time.Duration) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(0)
	for _, u := range w.admitted {
		if u.id == id && u.by == h && u.at > time.Since(w.start)-span {
			n += u.units
		}
	}
	return n
}

func TestOwnerKilledInABurstLosesAtMostItsLastGrantsToItself(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 5, nil)
				defer w.close()
				w.loss = 0.02
				rng := rand.New(rand.NewPCG(seed, 3))
				const limit = 600
				owner, _ := w.owner(seed)
				var all sync.WaitGroup
				all.Go(func() { w.offer(5*limit, 2*time.Second, seed, limit, w.anyUp) })
				time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
				own := w.ownSince(owner, seed, 110*time.Millisecond)
				owner.kill()
				all.Wait()
				w.offer(5*limit, 5*time.Second, seed, limit, w.anyUp)
				w.report(t, seed)
				t.Logf("own in the last moment: %d", own)
				require.LessOrEqual(t, w.worst(seed), limit+own)
				require.GreaterOrEqual(t, w.worst(seed), int64(limit*85/100))
			})
		})
	}
}

func TestSilentOwnerHoldsNobodyUpForMoreThanASecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 5, nil)
		defer w.close()
		const limit = 600
		owner, _ := w.owner(7)
		w.offer(100, time.Second, 7, limit, w.anyUp)
		w.mu.Lock()
		owner.side = 1 // no refusal: nothing comes back
		w.mu.Unlock()
		start := time.Now()
		worst := time.Duration(0)
		for time.Since(start) < 4*time.Second {
			at := time.Now()
			for _, h := range w.hosts {
				if h != owner {
					h.request(7, limit)
				}
			}
			worst = max(worst, time.Since(at))
			time.Sleep(20 * time.Millisecond)
		}
		w.report(t, 7)
		require.LessOrEqual(t, worst, 1500*time.Millisecond)
		require.LessOrEqual(t, w.worst(7), int64(limit))
	})
}

func (w *world) split(sides ...int) {
	w.mu.Lock()
	for i, s := range sides {
		w.hosts[i].side = s
	}
	w.mu.Unlock()
	w.later()
}

func TestPartitionStaysWithinItsBound(t *testing.T) {
	for _, c := range []struct {
		nodes  int
		sides  []int
		strict bool
	}{
		{3, []int{0, 0, 1}, false}, {5, []int{0, 0, 0, 1, 1}, false}, {4, []int{0, 0, 1, 1}, false},
		{3, []int{0, 0, 1}, true}, {5, []int{0, 1, 0, 1, 0}, true},
	} {
		for id := range uint64(6) {
			t.Run(fmt.Sprint(c, id), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := cluster(t, c.nodes, nil)
					defer w.close()
					w.strict = c.strict
					const limit = 600
					load := w.load(id, limit, 6*time.Minute)
					time.Sleep(30 * time.Second)
					w.split(c.sides...)
					cut := w.since()
					time.Sleep(3 * time.Minute)
					healed := w.since()
					w.split(make([]int, c.nodes)...)
					load.Wait()
					w.report(t, id)
					minority := 0
					for _, s := range c.sides {
						minority += s
					}
					f := int64(minority)
					bound := limit + limit*f/int64(c.nodes)
					if c.strict || 2*minority == c.nodes {
						bound = limit
					}
					first := w.worstIn(id, 0, cut+time.Minute)
					t.Logf("first minute %d, then %d, after healing %d", first,
						w.worstIn(id, cut+time.Minute, healed), w.worstIn(id, healed+65*time.Second, time.Hour))
					require.LessOrEqual(t, w.worstIn(id, cut+time.Minute, healed), bound)
					require.LessOrEqual(t, w.worstIn(id, healed+65*time.Second, time.Hour), int64(limit))
					require.LessOrEqual(t, first, limit+limit*f/int64(c.nodes)+limit/5)
				})
			})
		}
	}
}

func TestWarmKeyWaitsForNobodyAcrossRegions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.delay = func(a, b *host) time.Duration {
			if a.region == b.region {
				return 500 * time.Microsecond
			}
			return 110*time.Millisecond + w.jitter(5*time.Millisecond)
		}
		for _, r := range []string{"eu", "us", "ap"} {
			w.add(r, "")
			w.add(r, "")
		}
		w.tellAll()
		time.Sleep(70 * time.Second)
		defer w.close()
		for _, perSecond := range []int{2, 10, 50} {
			id := uint64(1000 + perSecond)
			limit := int64(perSecond * 60 * 4)
			w.offer(perSecond*5, 5*time.Second, id, limit, func(i int) *host { return w.hosts[i%6] })
			var waited, n int
			var mu sync.Mutex
			w.offer(perSecond*60, time.Minute, id, limit, func(i int) *host {
				h := w.hosts[i%6]
				at := time.Now()
				ok := h.request(id, limit)
				mu.Lock()
				defer mu.Unlock()
				require.True(t, ok)
				if time.Since(at) > time.Millisecond {
					t.Logf("%v waited %v", h.id, time.Since(at))
				}
				if n++; w.since() > 0 && time.Since(at) > time.Millisecond {
					waited++
				}
				return nil
			})
			t.Logf("%d/s: %d of %d waited", perSecond, waited, n)
			require.LessOrEqual(t, waited*100, n*2)
		}
	})
}

func TestRareKeysAskNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 3, nil)
		defer w.close()
		before := w.calls.Load()
		const keys = 5000
		rng := rand.New(rand.NewPCG(1, 1))
		var all sync.WaitGroup
		for k := range keys {
			all.Go(func() {
				time.Sleep(time.Duration(rng.Int64N(int64(time.Minute))))
				for i := range 3 {
					require.True(t, w.hosts[(k+i)%3].request(uint64(k), 60))
					time.Sleep(time.Minute)
				}
			})
		}
		all.Wait()
		asks := int64(0)
		for _, h := range w.hosts {
			asks += h.limiter.Stats().Items
		}
		t.Logf("%d asks, %d calls for %d requests", asks, w.calls.Load()-before, 3*keys)
		require.LessOrEqual(t, asks, int64(3*keys/5))
	})
}

func TestPausedOwnerAsksBeforeItGrantsAgain(t *testing.T) {
	for id := range uint64(6) {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 3, nil)
				defer w.close()
				const limit = 600
				owner, _ := w.owner(id)
				w.offer(100, time.Second, id, limit, w.anyUp)
				own := w.ownSince(owner, id, 110*time.Millisecond)
				owner.freeze()
				w.offer(3*limit, 30*time.Second, id, limit, w.anyUp)
				owner.unfreeze()
				w.offer(3*limit, 5*time.Second, id, limit, func(int) *host { return owner })
				w.offer(3*limit, 20*time.Second, id, limit, w.anyUp)
				w.report(t, id)
				require.LessOrEqual(t, w.worst(id), limit+own)
				require.GreaterOrEqual(t, w.worst(id), int64(limit*90/100))
			})
		})
	}
}

func TestTokensAreReservedAndSettledAcrossNodes(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, n, nil)
				defer w.close()
				const limit = 100_000
				var mu sync.Mutex
				var used []use
				var all sync.WaitGroup
				rng := rand.New(rand.NewPCG(1, 9))
				for i := range 4000 {
					h := w.hosts[rng.IntN(n)]
					at := time.Duration(i) * 40 * time.Millisecond
					reserve, actual := 200+rng.Int64N(800), int64(0)
					actual = reserve * rng.Int64N(100) / 100
					length := time.Duration(rng.Int64N(int64(5 * time.Second)))
					all.Go(func() {
						time.Sleep(at)
						holds := []rate.Hold{{ID: 5, Kind: rate.Tokens, Limit: limit, Units: reserve}}
						if _, ok := h.limiter.TakeCtx(t.Context(), holds); !ok {
							return
						}
						now := w.since()
						time.Sleep(length)
						h.limiter.Settle(&holds[0], actual)
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
			_, ok := h.limiter.TakeCtx(t.Context(), holds)
			if ok {
				h.limiter.Settle(&holds[0], 400)
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
	for _, limit := range []int64{1, 5, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 3, nil)
				defer w.close()
				rng := rand.New(rand.NewPCG(1, uint64(limit)))
				var mu sync.Mutex
				var now, most, served int64
				var all sync.WaitGroup
				for i := range 6000 {
					h := w.hosts[rng.IntN(3)]
					at := time.Duration(i) * 20 * time.Millisecond
					length := time.Duration(rng.Int64N(int64(time.Duration(limit) * 100 * time.Millisecond)))
					all.Go(func() {
						time.Sleep(at)
						holds := []rate.Hold{{ID: 9, Kind: rate.Parallel, Limit: limit, Units: 1}}
						if _, ok := h.limiter.TakeCtx(t.Context(), holds); !ok {
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
						h.limiter.Return(&holds[0])
					})
				}
				all.Wait()
				w.report(t, 9)
				t.Logf("served %d, most %d", served, most)
				require.LessOrEqual(t, most, limit)
				require.GreaterOrEqual(t, most, limit*95/100)
				time.Sleep(30 * time.Second)
				for _, h := range w.hosts {
					left, _ := h.limiter.State(9, rate.Parallel, limit)
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
					if _, ok := h.limiter.TakeCtx(t.Context(), hold()); ok {
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
		left, _ := dead.limiter.State(9, rate.Parallel, limit)
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
		var mu sync.Mutex
		admitted := map[uint64]int64{}
		for i := range 4000 {
			h, key := w.hosts[i%5], uint64(1000+i%8)
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				holds := []rate.Hold{{ID: key, Kind: rate.Requests, Limit: small, Units: 1}, {ID: 1, Kind: rate.Requests, Limit: large, Units: 1},
					{ID: 2, Kind: rate.Tokens, Limit: 100 * large, Units: 90}}
				if _, ok := h.limiter.TakeCtx(t.Context(), holds); ok {
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
		for k := range uint64(8) {
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
			s := h.limiter.Look(t.Context(), []rate.Query{{ID: 7, Kind: rate.Requests, Limit: limit}})
			require.True(t, s[0].Known)
			require.EqualValues(t, limit-120, s[0].Left, h.id)
			require.Positive(t, s[0].Reset)
		}
	})
}

func TestOwnersAreAtHomeAndTheirStandInsElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 6, func(i int) (string, string) { return []string{"eu", "us", "ap"}[i%3], string(rune('a' + i/3)) })
		defer w.close()
		w.hosts[4].draining = true
		w.tellAll()
		owners := map[string]int{}
		for id := range uint64(3000) {
			a, b := rate.Roles(w.hosts[0].limiter, id*7919, "")
			c, d := rate.Roles(w.hosts[5].limiter, id*7919, "")
			require.Equal(t, []string{a, b}, []string{c, d}, "all nodes agree")
			owner, backup := w.host(a), w.host(b)
			require.NotEqual(t, owner.region, backup.region)
			require.False(t, owner.draining)
			owners[owner.region]++
			a, b = rate.Roles(w.hosts[0].limiter, id*7919, "eu")
			owner, backup = w.host(a), w.host(b)
			require.Equal(t, "eu", owner.region)
			require.Equal(t, "eu", backup.region)
			require.NotEqual(t, owner.zone, backup.zone)
			a, _ = rate.Roles(w.hosts[0].limiter, id*7919, "nowhere")
			require.NotEmpty(t, a)
		}
		for region, n := range owners {
			require.InDelta(t, 1000, n, 150, region)
		}
	})
}

func TestALimitAtHomeWaitsForNoOtherRegion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.delay = func(a, b *host) time.Duration {
			if a.region == b.region {
				return 500 * time.Microsecond
			}
			return 110 * time.Millisecond
		}
		for _, r := range []string{"eu", "eu", "us", "us"} {
			w.add(r, "")
		}
		w.tellAll()
		time.Sleep(70 * time.Second)
		defer w.close()
		for i := range 100 {
			at := time.Now()
			require.True(t, w.hosts[i%2].spend(rate.Hold{ID: 3, Kind: rate.Requests, Limit: 110, Units: 1, Home: "eu"}))
			require.Less(t, time.Since(at), 20*time.Millisecond)
		}
	})
}

func TestSmallLimitsAreExactFromAnyNode(t *testing.T) {
	for _, limit := range []int64{1, 2, 3, 7} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 5, nil)
				defer w.close()
				w.loss = 0.2
				for id := range uint64(5) {
					w.offer(60, 3*time.Minute, id, limit, w.anyUp)
					require.LessOrEqual(t, w.worst(id), limit)
					require.GreaterOrEqual(t, w.total(id), limit*2)
				}
			})
		})
	}
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
				if _, ok := h.limiter.TakeCtx(ctx, holds); ok {
					h.limiter.Return(&holds[0])
					h.limiter.Return(&holds[1])
				}
			})
		}
		all.Wait()
		time.Sleep(5 * time.Second)
		s := w.hosts[0].limiter.Look(t.Context(), []rate.Query{{ID: 77, Kind: rate.Requests, Limit: limit}, {ID: 3, Kind: rate.Requests, Limit: limit}})
		require.EqualValues(t, limit, s[0].Left)
		require.EqualValues(t, limit, s[1].Left)
	})
}
