package sim_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/sim"
)

// TestFreshKeyIsNeverRefused makes keys through one node and uses each on all
// others the moment it is answered, while leaders change: 503 may be, 401 never.
func TestFreshKeyIsNeverRefused(t *testing.T) {
	forSeeds(t, 4, 12, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, net: sim.Config{Jitter: 0.1}})
		var mu sync.Mutex // guards what follows
		good, away := 0, 0
		for i, h := range w.hosts {
			w.client(50*time.Millisecond, time.Second, func(n int) {
				key := fmt.Sprintf("sk-fresh-%d-%d", i, n)
				if h.manage("", "POST", "/key/generate", map[string]any{"key": key}).status != http.StatusOK {
					return
				}
				for _, o := range w.except(h) {
					no := o.use(key)
					mu.Lock()
					switch {
					case no == nil:
						good++
					case no.Status == http.StatusServiceUnavailable:
						away++
					default:
						w.net.Note("%s refuses %s made on %s: %d %s", o.name, key, h.name, no.Status, no.Message)
						t.Errorf("%s refuses a key made on %s: %d %s", o.name, h.name, no.Status, no.Message)
					}
					mu.Unlock()
				}
			})
		}
		for range 6 {
			time.Sleep(w.net.Between(0, 15*time.Second))
			l := w.theLeader()
			switch w.net.IntN(3) {
			case 0:
				_, err := l.TransferLeadership(soon(t, 20*time.Second), "")
				w.net.Note("transfer: %v", err)
			case 1:
				l.stop()
				time.Sleep(w.net.Between(0, 10*time.Second))
				l.start()
			case 2:
				w.net.Isolate(sim.Everything, l.id)
				time.Sleep(w.net.Between(0, 15*time.Second))
				w.net.HealAll()
			}
		}
		time.Sleep(20 * time.Second)
		w.rest()
		require.Greater(t, good, 100)
		require.Greater(t, good, 4*away, "too often away")
		w.note("used at once %d times, away %d times", good, away)
		w.agree()
	})
}

// TestAnsweredRevocationHoldsEverywhere blocks keys under faults: once that is
// answered without naming a node that is behind, no node lets the key in.
func TestAnsweredRevocationHoldsEverywhere(t *testing.T) {
	forSeeds(t, 3, 10, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, net: sim.Config{Jitter: 0.1, Loss: 0.01}})
		var held atomic.Int64
		for i, h := range w.hosts {
			w.client(50*time.Millisecond, time.Second, func(n int) {
				key := fmt.Sprintf("sk-revoked-%d-%d", i, n)
				if h.manage("", "POST", "/key/generate", map[string]any{"key": key}).status != http.StatusOK {
					return
				}
				r := h.manage("", "POST", "/key/block", map[string]any{"key": key})
				if r.status != http.StatusOK || r.behind != "" {
					return
				}
				held.Add(1)
				for _, o := range w.hosts {
					if r := o.current(); r != nil && r.local(key) == nil {
						t.Errorf("%s lets %s in, blocked through %s", o.name, key, h.name)
					}
				}
			})
		}
		for range 8 {
			w.hurt()
			time.Sleep(w.net.Between(0, 10*time.Second))
		}
		w.rest()
		require.Greater(t, held.Load(), int64(5), "hardly a revocation was answered: nothing was tried")
		w.agree()
	})
}
