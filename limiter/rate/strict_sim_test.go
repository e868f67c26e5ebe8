package rate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A burst at any moment around a cut, over both sides, whoever owns the limit.
func TestStrictPartitionNeverPassesTheLimitNotEvenInItsFirstMinute(t *testing.T) {
	for seed := range seeds(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 11))
				n := 3 + int(seed%3)
				w := cluster(t, n, func(i int) (string, string) { return fmt.Sprint("r", i%3), "" })
				defer w.close()
				w.mu.Lock()
				w.strict = true
				w.mu.Unlock()
				time.Sleep(70 * time.Second) // what the change of rule leaves in doubt
				const limit = 600
				before := rng.IntN(400)
				w.offer(before, time.Second, seed, limit, w.anyUp)
				require.EqualValues(t, before, w.total(seed))
				sides := make([]int, n)
				for i := range n / 2 {
					sides[(i+int(seed))%n] = 1
				}
				w.split(sides...)
				time.Sleep(time.Duration(rng.IntN(9000)) * time.Millisecond)
				w.offer(5*limit, 2*time.Second, seed, limit, w.anyUp)
				w.offer(10*limit, 100*time.Second, seed, limit, w.anyUp)
				w.split(make([]int, n)...)
				w.offer(10*limit, 90*time.Second, seed, limit, w.anyUp)
				after := w.since()
				w.offer(4*limit, 80*time.Second, seed, limit, w.anyUp)
				if w.worst(seed) > limit {
					t.Log(sides, w.explain(seed))
				}
				require.LessOrEqual(t, w.worst(seed), int64(limit))
				require.GreaterOrEqual(t, w.worstIn(seed, after, time.Hour), int64(limit*85/100), "the limit is whole again")
			})
		})
	}
}
