package rate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBurstOverAllNodesAdmitsExactlyTheLimit(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
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
	for _, n := range []int{3, 5} {
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
