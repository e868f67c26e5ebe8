package rate_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

// inFlight makes calls that hold a parallel slot for some time, callers at once,
// by turns on hosts, and returns how many were admitted and how many ran at once.
func (w *world) inFlight(id uint64, limit int64, count, callers int, lasts time.Duration, hosts []*host) (admitted, most int64) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next, now := 0, int64(0)
	for range callers {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= count {
					return
				}
				h := hosts[i%len(hosts)]
				holds := []rate.Hold{{ID: id, Kind: rate.Parallel, Limit: limit, Units: 1}}
				if _, ok := h.node().TakeCtx(w.t.Context(), holds); !ok {
					time.Sleep(time.Millisecond) // a refusal takes a moment too
					continue
				}
				mu.Lock()
				admitted++
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(lasts)
				mu.Lock()
				now--
				mu.Unlock()
				h.node().Return(&holds[0])
			}
		})
	}
	all.Wait()
	return admitted, most
}

func TestIdleParallelSlotsGoToWhoeverIsShortAtOnce(t *testing.T) {
	for id := range worlds(6) {
		for _, far := range []time.Duration{0, 110 * time.Millisecond} {
			t.Run(fmt.Sprint(id, far), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := cluster(t, 3, nil)
					defer w.close()
					if far > 0 {
						w.apart(far)
					}
					const limit = 20
					_, most := w.inFlight(id, limit, 1500, 100, 100*time.Millisecond, w.hosts)
					require.LessOrEqual(t, most, int64(limit))
					require.GreaterOrEqual(t, most, int64(limit-1))
					// What one node has just had the others get, all of it.
					for round := range 12 {
						on := w.hosts[round%3 : round%3+1]
						if round%4 == 0 {
							on = w.hosts
						}
						time.Sleep(150*time.Millisecond + 6*far) // a refusal of before is forgotten
						got, most := w.inFlight(id, limit, limit, limit, time.Second, on)
						least := int64(limit)
						if far > 0 { // what is called back is a round trip away, and may be in use again by then
							least = limit / 2
						}
						require.GreaterOrEqual(t, got, least, "round %d", round)
						require.GreaterOrEqual(t, most, least, "round %d", round)
						require.LessOrEqual(t, most, int64(limit), "round %d", round)
					}
					w.report(t, id)
				})
			})
		}
	}
}

// apart puts a distance between all hosts.
func (w *world) apart(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = func(_, _ *host) time.Duration { return d }
}
