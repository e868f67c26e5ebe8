package rate_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

// homed is where each node believes that a limit is at home, as it follows the
// log of the cluster.
type homed struct {
	n  uint32 // moves so far
	at []atomic.Pointer[rate.Hold]
}

func newHomed(w *world, home string) *homed {
	x := &homed{at: make([]atomic.Pointer[rate.Hold], len(w.hosts))}
	for i := range x.at {
		x.at[i].Store(&rate.Hold{Home: home})
	}
	return x
}

// move changes the home; nodes hear of it one after the other.
func (x *homed) move(rng *rand.Rand, home string) {
	if x.at[0].Load().Home == home {
		return
	}
	x.n++
	now := &rate.Hold{Home: home, Moves: x.n}
	for i := range x.at {
		time.AfterFunc(time.Duration(rng.IntN(800))*time.Millisecond, func() {
			x.at[i].Store(now)
		})
	}
}

func (x *homed) hold(i int, id uint64, kind rate.Kind, limit, units int64) rate.Hold {
	at := x.at[i].Load()
	return rate.Hold{ID: id, Kind: kind, Limit: limit, Units: units, Home: at.Home, Moves: at.Moves}
}

func threeRegions(i int) (string, string) {
	return []string{"eu", "us", "ap"}[i%3], string(rune('a' + i/3))
}

// acrossOceans sets the distance of regions.
func (w *world) acrossOceans() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = func(a, b *host) time.Duration {
		if a.region == b.region {
			return 500 * time.Microsecond
		}
		return 75 * time.Millisecond
	}
}

func TestALimitThatMovesHomeNeverPasses(t *testing.T) {
	for seed := range seeds(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 5))
				w := cluster(t, 6, threeRegions)
				defer w.close()
				if seed%2 == 0 {
					w.acrossOceans()
				}
				const limit, lasts = 600, 4 * time.Minute
				x := newHomed(w, []string{"", "eu", "us"}[rng.IntN(3)])
				var load sync.WaitGroup
				load.Go(func() {
					var all sync.WaitGroup
					begin := time.Now()
					for i := range int(3 * limit * lasts / time.Minute) {
						until(begin, time.Duration(i)*time.Minute/(3*limit))
						all.Go(func() {
							w.hosts[i%6].spend(x.hold(i%6, seed, rate.Requests, limit, 1))
						})
					}
					all.Wait()
				})
				var trace []string
				for range 5 {
					time.Sleep(time.Duration(5_000+rng.IntN(30_000)) * time.Millisecond)
					home := []string{"", "eu", "us", "ap"}[rng.IntN(4)]
					trace = append(trace, fmt.Sprintf("%v to %q", w.since(), home))
					x.move(rng, home)
				}
				load.Wait()
				w.report(t, seed)
				if got := w.worst(seed); got > limit {
					t.Errorf("%d of %d; %q; %s", got, limit, trace, w.explain(seed))
				}
				require.GreaterOrEqual(t, w.total(seed), int64(limit*4*85/100), "%q", trace)
				// It is where it should be, and nobody there asks far away.
				x.move(rng, "ap")
				time.Sleep(time.Second)
				for i, h := range w.hosts {
					h.spend(x.hold(i, seed, rate.Requests, limit, 1))
				}
				time.Sleep(5 * time.Second)
				calls := w.hosts[2].far.Load() + w.hosts[5].far.Load()
				for i := range 200 {
					j := 2 + 3*(i%2)
					at := time.Now()
					w.hosts[j].spend(x.hold(j, seed, rate.Requests, limit, 1))
					if time.Since(at) > 10*time.Millisecond {
						t.Errorf("%s waited %v at %d; %q; now %v", w.hosts[j].id, time.Since(at), i, trace, w.since())
						w.report(t, seed)
					}
					time.Sleep(10 * time.Millisecond)
				}
				require.Zero(t, w.hosts[2].far.Load()+w.hosts[5].far.Load()-calls, "asks about limits that went to another region")
			})
		})
	}
}

func TestParallelSlotsKeepTheirLimitWhenItsHomeMoves(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 8))
				w := cluster(t, 6, threeRegions)
				defer w.close()
				const limit = 40
				x := newHomed(w, "eu")
				var mu sync.Mutex
				var now, most int64
				var all sync.WaitGroup
				begin := time.Now()
				for i := range 6000 {
					length := time.Duration(rng.Int64N(int64(4 * time.Second)))
					until(begin, time.Duration(i)*20*time.Millisecond)
					all.Go(func() {
						holds := []rate.Hold{x.hold(i%6, 9, rate.Parallel, limit, 1)}
						h := w.hosts[i%6]
						if _, ok := h.node().TakeCtx(t.Context(), holds); !ok {
							return
						}
						mu.Lock()
						now++
						most = max(most, now)
						mu.Unlock()
						time.Sleep(length)
						mu.Lock()
						now--
						mu.Unlock()
						h.node().Return(&holds[0])
					})
				}
				for _, home := range []string{"us", "", "ap", "eu"} {
					time.Sleep(time.Duration(10_000+rng.IntN(15_000)) * time.Millisecond)
					x.move(rng, home)
				}
				all.Wait()
				w.report(t, 9)
				require.LessOrEqual(t, most, int64(limit))
				require.GreaterOrEqual(t, most, int64(limit*95/100))
			})
		})
	}
}
