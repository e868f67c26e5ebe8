package rate_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/limiter/rate"
)

func TestBurstOverAllNodesAdmitsExactlyTheLimit(t *testing.T) {
	for _, n := range sizes(1, 2, 3, 5) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := cluster(t, n, nil)
				defer w.close()
				const limit = 600
				for round := range 3 {
					before := w.total(7)
					w.offer(5*limit, 200*time.Millisecond, 7, limit, w.anyUp)
					require.EqualValues(t, limit, w.total(7)-before, "burst %d", round)
					time.Sleep(75 * time.Second)
				}
				require.EqualValues(t, limit, w.worst(7))
				w.report(t, 7)
			})
		})
	}
}

func TestBurstOnOneNodeUsesNinetyFivePercent(t *testing.T) {
	for _, n := range sizes(3, 5) {
		for node := range n {
			t.Run(fmt.Sprint(n, node), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := cluster(t, n, nil)
					defer w.close()
					const limit = 600
					w.offer(5*limit, 200*time.Millisecond, 7, limit, func(int) *host { return w.hosts[node] })
					require.GreaterOrEqual(t, w.total(7), int64(limit*95/100))
					require.LessOrEqual(t, w.worst(7), int64(limit))
				})
			})
		}
	}
}

func TestOverloadKeepsNinetyPercentOfTheLimitTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := cluster(t, 5, nil)
		defer w.close()
		const limit, minutes = 600, 5
		w.offer(limit*3*minutes, minutes*time.Minute, 7, limit, w.anyUp)
		w.report(t, 7)
		require.LessOrEqual(t, w.worst(7), int64(limit))
		require.GreaterOrEqual(t, w.total(7), int64(limit*minutes*90/100))
	})
}

// Calls that reserve a number of tokens by which nothing can be divided leave
// rests wherever credit lies; these must come together again.
func TestABurstOfTokensLeavesNoRestsBehind(t *testing.T) {
	for _, units := range sizes[int64](7, 20, 23, 61) {
		for id := range worlds(4) {
			t.Run(fmt.Sprint(units, id), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := cluster(t, 3, nil)
					defer w.close()
					limit := 600 * units
					w.offerOf(rate.Hold{ID: id, Kind: rate.Tokens, Limit: limit, Units: units}, 3000, 2*time.Second)
					require.LessOrEqual(t, w.total(id), limit)
					require.GreaterOrEqual(t, w.total(id), limit*98/100)
				})
			})
		}
	}
}

// offerOf is offer of any hold, by turns on all hosts.
func (w *world) offerOf(hold rate.Hold, n int, within time.Duration) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			time.Sleep(within * time.Duration(i) / time.Duration(n))
			w.anyUp(i).spend(hold)
		})
	}
	all.Wait()
}
