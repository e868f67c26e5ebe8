package sim_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/sim"
	"tollgate/config/unit"
)

// TestFaultsLeaveOneLeaderOneStateAndNoBudgetOver drives five nodes of three
// regions through cuts, delay, loss and power cuts while clients make keys and
// spend. In the end all logs and states agree, byte by byte, every key that was
// acknowledged is there, and no budget was overspent.
func TestFaultsLeaveOneLeaderOneStateAndNoBudgetOver(t *testing.T) {
	forSeeds(t, 4, 12, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, net: sim.Config{Jitter: 0.1, Loss: 0.005}})
		w.age()
		const limit = 2 * unit.Money(1e9)
		r := w.hosts[0].manage("", "POST", "/key/generate", map[string]any{"key": "sk-budget", "max_budget": 2})
		require.Equal(t, 200, r.status, r)

		var mu sync.Mutex // guards made, spent
		var made []string
		spent, refused := 0, 0
		for i, h := range w.hosts {
			w.client(100*time.Millisecond, 2*time.Second, func(n int) {
				key := fmt.Sprintf("sk-made-%d-%d", i, n)
				if h.manage("", "POST", "/key/generate", map[string]any{"key": key}).status == 200 {
					mu.Lock()
					defer mu.Unlock()
					made = append(made, key)
				}
			})
			w.client(50*time.Millisecond, 3*time.Second, func(int) {
				err := h.spend("sk-budget", 20e6, unit.Money(w.net.Between(0, 20e6)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					spent++
				} else {
					refused++
				}
			})
		}
		for range 12 {
			w.hurt()
			time.Sleep(w.net.Between(0, 20*time.Second))
		}
		w.rest()
		w.agree()
		require.Greater(t, len(made), 20)
		require.Greater(t, spent, 20)
		for _, h := range w.hosts {
			for _, key := range made {
				require.Nil(t, h.local(key), "%s was acknowledged and is not on %s", key, h.name)
			}
		}
		require.LessOrEqual(t, w.booked("sk-budget"), limit)
		w.note("made %d keys, spent %d times for %s, refused %d", len(made), spent, w.booked("sk-budget"), refused)
	})
}
