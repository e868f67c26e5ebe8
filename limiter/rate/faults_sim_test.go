package rate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

// owner is the host that grants of a limit, and backup who would stand in.
func (w *world) owner(id uint64) (owner, backup *host) {
	for i := range w.hosts {
		if h := w.anyUp(i); h != nil {
			a, b := rate.Roles(h.node(), id, "")
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
	for id := range worlds(12) {
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
				w.mu.Lock()
				owner.draining = true
				w.mu.Unlock()
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
	for id := range worlds(8) {
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
	for seed := range worlds(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 5, nil)
				defer w.close()
				w.lose(0.02)
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
	type cut struct {
		nodes  int
		sides  []int
		strict bool
	}
	for _, c := range append(sizes(cut{3, []int{0, 0, 1}, false}, cut{5, []int{0, 0, 0, 1, 1}, false}, cut{4, []int{0, 0, 1, 1}, false}),
		sizes(cut{3, []int{0, 0, 1}, true}, cut{5, []int{0, 1, 0, 1, 0}, true})...) {
		for id := range worlds(6) {
			t.Run(fmt.Sprint(c, id), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := cluster(t, c.nodes, nil)
					defer w.close()
					w.mu.Lock()
					w.strict = c.strict
					w.mu.Unlock()
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
					if c.strict {
						require.LessOrEqual(t, w.worst(id), int64(limit))
						return
					}
					require.LessOrEqual(t, first, limit+limit*f/int64(c.nodes)+limit/5)
				})
			})
		}
	}
}

func TestPausedOwnerAsksBeforeItGrantsAgain(t *testing.T) {
	for id := range worlds(6) {
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

func TestAnyMixOfPlannedChangesStaysWithinTheLimit(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 77))
				w := cluster(t, 2+rng.IntN(4), nil)
				defer w.close()
				slow := time.Duration(rng.IntN(60)) * time.Millisecond
				w.mu.Lock()
				w.loss = 0.1
				w.delay = func(_, _ *host) time.Duration { return slow + w.jitter(time.Millisecond+slow/4) }
				w.mu.Unlock()
				limits := map[uint64]int64{1: 600, 2: 60, 3: 7, 4: 100}
				var loads []*sync.WaitGroup
				for id, limit := range limits {
					loads = append(loads, w.load(id, limit, 5*time.Minute))
				}
				trace := []string{fmt.Sprintf("%d nodes, %v apart", len(w.hosts), slow)}
				for range 8 {
					time.Sleep(time.Duration(rng.IntN(40_000)) * time.Millisecond)
					h := w.hosts[rng.IntN(len(w.hosts))]
					switch op := rng.IntN(3); {
					case op == 0 && len(w.hosts) < 7:
						h = w.add("r", "")
						trace = append(trace, fmt.Sprintf("%v join %s", w.since(), h.id))
					case h.up:
						w.mu.Lock()
						h.draining = !h.draining
						w.mu.Unlock()
						trace = append(trace, fmt.Sprintf("%v drain %s: %v", w.since(), h.id, h.draining))
					}
					for _, x := range w.hosts { // they disagree for up to a second and a half
						time.AfterFunc(time.Duration(rng.IntN(1500))*time.Millisecond, func() { w.publish(x) })
					}
				}
				for _, l := range loads {
					l.Wait()
				}
				for id, limit := range limits {
					if got := w.worst(id); got > limit {
						t.Errorf("%d of %d; %q; %s", got, limit, trace, w.explain(id))
					}
					if got := w.total(id); got < limit*4 {
						t.Errorf("only %d of %d a minute; %q; %s", got, limit, trace, w.explain(id))
						w.report(t, id)
					}
				}
			})
		})
	}
}

// seeds are n, or as many as TOLLGATE_SEEDS says, counted from TOLLGATE_SEED.
func seeds(n int) func(func(uint64) bool) {
	from, _ := strconv.ParseUint(os.Getenv("TOLLGATE_SEED"), 10, 64)
	if more, err := strconv.Atoi(os.Getenv("TOLLGATE_SEEDS")); err == nil {
		n = more
	} else if testing.Short() {
		n = 1
	}
	return func(yield func(uint64) bool) {
		for i := range n {
			if !yield(from + uint64(i)) {
				return
			}
		}
	}
}

// sizes are all of them. With -short it is the last: the race detector keeps every
// stack that it has seen, and runs out of room for those of too many worlds.
func sizes[T any](all ...T) []T {
	if testing.Short() {
		return all[len(all)-1:]
	}
	return all
}

// worlds are the first n of the limits whose owners differ. With -short, as under
// the race detector, it is one: that looks for races, not for rare orders of events.
func worlds(n uint64) func(func(uint64) bool) {
	if testing.Short() {
		n = 1
	}
	return func(yield func(uint64) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// What the owner has granted itself is known from its counts alone.
func TestCountsAloneKeepTheLimitWhenTheOwnerDiesASecondLater(t *testing.T) {
	for id := range worlds(12) {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, 3+int(id%3), nil)
				defer w.close()
				const limit = 600
				owner, _ := w.owner(id)
				w.offer(400, 500*time.Millisecond, id, limit, func(int) *host { return owner })
				require.EqualValues(t, 400, w.total(id))
				time.Sleep(time.Second)
				owner.kill()
				w.offer(3*limit, 10*time.Second, id, limit, w.anyUp)
				w.report(t, id)
				require.LessOrEqual(t, w.total(id), int64(limit))
				require.GreaterOrEqual(t, w.total(id), int64(limit*93/100))
			})
		})
	}
}
