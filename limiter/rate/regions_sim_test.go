package rate_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

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
			at := time.Duration(rng.Int64N(int64(time.Minute)))
			all.Go(func() {
				time.Sleep(at)
				for i := range 3 {
					require.True(t, w.hosts[(k+i)%3].request(uint64(k), 60))
					time.Sleep(time.Minute)
				}
			})
		}
		all.Wait()
		asks := int64(0)
		for _, h := range w.hosts {
			asks += h.node().Stats().Items
		}
		t.Logf("%d asks, %d calls for %d requests", asks, w.calls.Load()-before, 3*keys)
		require.LessOrEqual(t, asks, int64(3*keys/5))
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
			a, b := rate.Roles(w.hosts[0].node(), id*7919, "")
			c, d := rate.Roles(w.hosts[5].node(), id*7919, "")
			require.Equal(t, []string{a, b}, []string{c, d}, "all nodes agree")
			owner, backup := w.host(a), w.host(b)
			require.NotEqual(t, owner.region, backup.region)
			require.False(t, owner.draining)
			owners[owner.region]++
			a, b = rate.Roles(w.hosts[0].node(), id*7919, "eu")
			owner, backup = w.host(a), w.host(b)
			require.Equal(t, "eu", owner.region)
			require.Equal(t, "eu", backup.region)
			require.NotEqual(t, owner.zone, backup.zone)
			a, _ = rate.Roles(w.hosts[0].node(), id*7919, "nowhere")
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
