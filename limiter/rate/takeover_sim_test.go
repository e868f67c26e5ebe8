package rate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A node that has just had a burst holds credit for as much again. Killed a
// second later it takes next to none of it along, whoever owns the limit.
func TestANodeKilledASecondAfterABurstTakesNoCreditWithIt(t *testing.T) {
	for id := range worlds(9) {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				for i := range 3 { // young, each in a region of its own
					w.add(fmt.Sprint("r", i), "")
				}
				w.tellAll()
				time.Sleep(5 * time.Second)
				defer w.close()
				const limit = 600
				victim := w.hosts[1]
				w.offer(400, 500*time.Millisecond, id, limit, func(int) *host { return victim })
				require.EqualValues(t, 400, w.total(id))
				time.Sleep(time.Second)
				victim.kill()
				for range 4 {
					w.offer(300, 500*time.Millisecond, id, limit, w.anyUp)
					time.Sleep(2 * time.Second)
				}
				owner, _ := w.owner(id)
				t.Logf("%d passed, owned by %s", w.total(id), owner.id)
				require.LessOrEqual(t, w.total(id), int64(limit))
				require.GreaterOrEqual(t, w.total(id), int64(limit*96/100))
			})
		})
	}
}
