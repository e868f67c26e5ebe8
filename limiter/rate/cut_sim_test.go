package rate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noticing is how long a side takes at most to see that it is one: a ping that is
// due and its time.
const noticing = 2 * time.Second

// A burst at any moment around a cut, over both sides, whoever owns the limit. The
// larger side goes on with all of the limit, the smaller one with its part; what
// an owner among the few admits before it has noticed the others cannot hear of. The
// fortieth is what was on its way at the moment of the cut: seen in one run of 90.
func TestACutPassesALimitByTheSmallerPartOrWhatItAdmittedBeforeItNoticed(t *testing.T) {
	for seed := range seeds(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 12))
				n := 3 + int(seed%3)
				w := cluster(t, n, func(i int) (string, string) { return fmt.Sprint("r", i%3), "" })
				defer w.close()
				const limit = 600
				w.offer(rng.IntN(400), time.Second, seed, limit, w.anyUp)
				owner, backup := w.owner(seed)
				sides, few := make([]int, n), (n-1)/2
				for i := range few {
					sides[(i+int(seed))%n] = 1
				}
				// Before the cut, at it and at any time of the noticing.
				load := w.burstIn(time.Duration(rng.IntN(2500))*time.Millisecond, seed, limit)
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
				w.split(sides...)
				cut := w.since()
				load()
				w.offer(10*limit, 100*time.Second, seed, limit, w.anyUp)
				heard := cut - 110*time.Millisecond
				if backup.side == 1 {
					heard = 0 // who was told of the grants is cut off with who made them
				}
				unheard := w.admittedOf(seed, heard, cut+noticing, func(u use) bool { return u.by.side == 1 })
				// Nor has who stands in for it heard at once what each admitted alone until then.
				unheard += w.admittedOf(seed, cut, cut+noticing, func(u use) bool { return u.by.side == 0 && u.via == "lone" })
				part := int64(limit * few / n)
				if owner.side == 0 {
					unheard = 0 // the few have an owner only when they know of the cut
				}
				t.Logf("%d of %d cut off, the owner among them: %v; %d in the worst minute, %d unheard", few, n, owner.side == 1, w.worst(seed), unheard)
				require.LessOrEqual(t, w.worst(seed), limit+max(part, unheard)+limit/40, "%s", w.explain(seed))
				require.LessOrEqual(t, w.worstIn(seed, cut+time.Minute, time.Hour), limit+part)
				require.GreaterOrEqual(t, w.worst(seed), int64(limit*95/100))
			})
		})
	}
}

// burstIn offers five times a limit in two seconds, after a time, and returns what
// waits for its end.
func (w *world) burstIn(after time.Duration, id uint64, limit int64) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(after)
		w.offer(int(5*limit), 2*time.Second, id, limit, w.anyUp)
	}()
	return func() { <-done }
}

// admittedOf is what was admitted between two times, of those uses that are meant.
func (w *world) admittedOf(id uint64, after, before time.Duration, of func(use) bool) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(0)
	for _, u := range w.admitted {
		if u.id == id && u.at >= after && u.at < before && of(u) {
			n += u.units
		}
	}
	return n
}
