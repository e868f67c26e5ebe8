package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// goneWithin is how long a deleted key may still be served somewhere.
const goneWithin = time.Second

func TestAKeyIsGoodEverywhereAtOnceAndGoneEverywhereWithinASecond(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	livesOfKeys(t, c, 1000, 8)
}

func TestAcrossOceansAKeyIsGoodEverywhereAtOnceAndGoneEverywhereWithinASecond(t *testing.T) {
	wire := network.New(t, 42)
	if wire == nil {
		return
	}
	f := fake.StartOn(t, providerOn(t, wire))
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), wire: wire})
	oceans(wire, c)
	c.leader()
	livesOfKeys(t, c, 200, 16)
}

// oceans sets round trips of 80, 150 and 220 ms between three nodes.
func oceans(wire *network.Network, c *cluster) {
	eu, us, ap := c.nodes[0].o.host, c.nodes[1].o.host, c.nodes[2].o.host
	wire.Delay(eu, us, 40*time.Millisecond)
	wire.Delay(eu, ap, 75*time.Millisecond)
	wire.Delay(us, ap, 110*time.Millisecond)
}

// livesOfKeys makes keys on one node, uses each at once on another, deletes it on
// a third and sees it refused on all.
func livesOfKeys(t *testing.T, c *cluster, count, workers int) {
	t.Helper()
	var next atomic.Int64
	var slowest atomic.Int64
	var mu sync.Mutex // guards wrong
	var wrong []string
	miss := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, fmt.Sprintf(format, args...))
	}
	var crew sync.WaitGroup
	for range workers {
		crew.Go(func() {
			for {
				i := int(next.Add(1))
				if i > count {
					return
				}
				maker, user, ender := c.nodes[i%3], c.nodes[(i+1+i/3%2)%3], c.nodes[(i+2)%3]
				made, err := maker.call("POST", "/key/generate", masterKey, fmt.Sprintf(`{"key_alias":"life-%d"}`, i))
				key := made.get("key").String()
				if err != nil || made.status != 200 {
					miss("key %d was not made: %v %d %s", i, err, made.status, tail(made.body, 300))
					continue
				}
				if a, err := user.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", "")); err != nil || a.status != 200 {
					miss("key %d was refused right after it was made: %v %d %s", i, err, a.status, tail(a.body, 300))
				}
				if i%4 != 0 {
					continue
				}
				if a, err := ender.call("POST", "/key/delete", masterKey, fmt.Sprintf(`{"keys":[%q]}`, key)); err != nil || a.status != 200 {
					miss("key %d was not deleted: %v %d %s", i, err, a.status, tail(a.body, 300))
					continue
				}
				deleted := time.Now()
				for j, n := range c.nodes {
					for {
						sent := time.Now()
						a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", ""))
						if err == nil && a.status == 401 {
							slowest.Store(max(slowest.Load(), int64(sent.Sub(deleted))))
							break
						}
						if sent.Sub(deleted) > goneWithin {
							miss("key %d is still served by %s %s after its deletion: %v %d", i, nameOf(j), sent.Sub(deleted), err, a.status)
							break
						}
					}
				}
			}
		})
	}
	crew.Wait()
	t.Logf("%d keys; the last use of a deleted one that was refused was sent %s after the deletion's answer", count, time.Duration(slowest.Load()))
	if len(wrong) > 0 {
		t.Errorf("%d went wrong, first: %s", len(wrong), wrong[0])
	}
}
