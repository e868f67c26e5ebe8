package gossip_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
)

func TestRelayedEventIsEverywhereWithinASecond(t *testing.T) {
	for _, loss := range []float64{0, 0.05} {
		t.Run(fmt.Sprintf("loss %v", loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const nodes = 32
				var mu sync.Mutex
				seen := make(map[string][]int)
				c := newSimCluster(t, 40*time.Millisecond, loss)
				c.grow(nodes, func(i int, p *gossip.Pool) {
					p.Receive(gossip.KindCooldown, func(from string, _ uint32, _ uint64, body []byte) {
						mu.Lock()
						defer mu.Unlock()
						seen[string(body)] = append(seen[string(body)], i)
					})
				})
				var worst time.Duration
				for e := range 20 {
					event := fmt.Sprint("event ", e)
					require.NoError(t, c.nodes[e%nodes].Relay(gossip.KindCooldown, []byte(event)))
					worst = max(worst, c.until(time.Second, event+" is everywhere", func() bool {
						mu.Lock()
						defer mu.Unlock()
						return len(seen[event]) == nodes-1
					}))
				}
				time.Sleep(30 * time.Second)
				for event, by := range seen {
					require.Len(t, by, nodes-1, "%s was handled twice by somebody", event)
				}
				t.Logf("slowest of 20 events: %s", worst)
			})
		})
	}
}

// The origin's own packets are lost but for those to one node: the rest hear it
// from that one.
func TestEventReachesNodesThatItsOriginCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := 0
		c := newSimCluster(t, 20*time.Millisecond, 0)
		c.grow(8, func(_ int, p *gossip.Pool) {
			p.Receive(gossip.KindRevoke, func(string, uint32, uint64, []byte) {
				mu.Lock()
				defer mu.Unlock()
				seen++
			})
		})
		origin, friend := c.nodes[0].port.addr(), c.nodes[1].port.addr()
		c.net.setCut(func(from, to string) bool { return from == origin && to != friend })
		require.NoError(t, c.nodes[0].Relay(gossip.KindRevoke, []byte{1}))
		c.until(2*time.Second, "all seven have it", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return seen == 7
		})
		c.net.setCut(nil)
	})
}

func TestFanoutTakesOneWayAndKeepsBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type got struct {
			from string
			body string
			at   time.Time
		}
		var mu sync.Mutex
		var all []got
		c := newSimCluster(t, 40*time.Millisecond, 0)
		c.grow(5, func(_ int, p *gossip.Pool) {
			p.Receive(gossip.KindUpstream, func(from string, _ uint32, _ uint64, body []byte) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, got{from, string(body), time.Now()})
			})
		})
		begin := time.Now()
		body := strings.Repeat("x", gossip.MaxBody)
		require.NoError(t, c.nodes[2].Fanout(gossip.KindUpstream, []byte(body)))
		time.Sleep(41 * time.Millisecond)
		mu.Lock()
		require.Len(t, all, 4)
		for _, g := range all {
			require.Equal(t, nodeID(2), g.from)
			require.Equal(t, body, g.body)
			require.Equal(t, 40*time.Millisecond, g.at.Sub(begin))
		}
		mu.Unlock()
		require.NoError(t, c.nodes[2].Send(gossip.KindUpstream, nodeID(4), []byte("to one")))
		time.Sleep(41 * time.Millisecond)
		mu.Lock()
		require.Len(t, all, 5)
		mu.Unlock()
		require.ErrorIs(t, c.nodes[2].Send(gossip.KindUpstream, nodeID(77), nil), gossip.ErrNotAlive)
		require.Error(t, c.nodes[2].Fanout(gossip.KindUpstream, make([]byte, gossip.MaxBody+1)))
		require.Error(t, c.nodes[2].Relay(gossip.KindUpstream, nil), "not a relayed kind")
	})
}

func TestStatusOfEachNodeIsKnownToAllWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimCluster(t, 40*time.Millisecond, 0.05)
		for i := range 5 {
			var n *simNode
			n = c.add(nodeID(i), 7, func(cfg *gossip.Config) {
				cfg.Status = func() gossip.Status {
					return gossip.Status{InFlight: int64(i), Applied: uint64(time.Now().Unix()), ConfigHash: "abc", LeaderAge: time.Second}
				}
			}, nil)
			if i > 0 {
				_, err := n.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Minute)
		for _, n := range c.nodes {
			require.Len(t, n.Members(), 5)
			for i, m := range n.Members() {
				require.Equal(t, int64(i), m.Status.InFlight)
				require.Equal(t, "abc", m.Status.ConfigHash)
				require.WithinDuration(t, time.Now(), m.StatusAt, 5*time.Second)
				if m.NodeID != n.id {
					require.InDelta(t, 80, m.RTT.Milliseconds(), 2, "both ways")
				}
			}
		}
	})
}

func TestSilentNodeIsDeadWithinElevenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimCluster(t, 40*time.Millisecond, 0)
		c.grow(9, nil)
		for _, victim := range []int{8, 4} {
			time.Sleep(20 * time.Second)
			c.net.kill(c.nodes[victim].port)
			id := nodeID(victim)
			took := c.until(11*time.Second, "the silent node is dead to all", func() bool {
				for i, n := range c.nodes {
					if i != 8 && i != victim && state(n, id) != gossip.Dead {
						return false
					}
				}
				return true
			})
			require.Greater(t, took, 4*time.Second, "a short pause is no death")
			t.Logf("dead to all after %s", took)
		}
	})
}

func TestNodeThatLeavesIsLeftAndNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimCluster(t, 40*time.Millisecond, 0.05)
		c.grow(6, nil)
		require.NoError(t, c.nodes[3].Leave(5*time.Second))
		c.until(3*time.Second, "it has left to all", func() bool {
			for i, n := range c.nodes {
				if i != 3 && state(n, nodeID(3)) != gossip.Left {
					return false
				}
			}
			return true
		})
		c.nodes[3].Close()
		require.ErrorIs(t, c.nodes[3].Leave(time.Second), gossip.ErrClosed)

		// The same node starts again, elsewhere: at once one of them.
		back := c.add(nodeID(3), 2, nil, nil)
		_, err := back.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
		require.NoError(t, err)
		c.until(3*time.Second, "it is back", func() bool {
			for i, n := range c.nodes[:6] {
				if m, _ := n.Lookup(nodeID(3)); i != 3 && (m.State != gossip.Alive || m.Addr != back.port.addr() || m.Incarnation != 2) {
					return false
				}
			}
			return true
		})
	})
}

// The node crashed and came back with another address: the old one is given up
// first, then the name is taken over. No second process is reported.
func TestCrashedNodeReturnsAtAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var conflicts []string
		c := newSimCluster(t, 40*time.Millisecond, 0)
		for i := range 5 {
			n := c.add(nodeID(i), 1, func(cfg *gossip.Config) {
				cfg.OnConflict = func(id, a, b string) {
					mu.Lock()
					defer mu.Unlock()
					conflicts = append(conflicts, id+" "+a+" "+b)
				}
			}, nil)
			if i > 0 {
				_, err := n.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
				require.NoError(t, err)
			}
		}
		time.Sleep(10 * time.Second)
		c.net.kill(c.nodes[4].port)
		c.nodes[4].Close()
		back := c.add(nodeID(4), 2, nil, nil)
		took := c.until(75*time.Second, "it is back at its new address", func() bool {
			for _, n := range c.nodes[:4] {
				if m, _ := n.Lookup(nodeID(4)); m.State != gossip.Alive || m.Addr != back.port.addr() {
					return false
				}
			}
			return alive(back.Members()) == 5
		})
		t.Logf("back after %s", took)
		require.Empty(t, conflicts)
	})
}

func TestSidesOfAHealedPartitionFindEachOther(t *testing.T) {
	for _, length := range []time.Duration{0, 10 * time.Minute} {
		t.Run(length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSimCluster(t, 40*time.Millisecond, 0)
				c.grow(7, nil)
				minority := map[string]bool{c.nodes[5].port.addr(): true, c.nodes[6].port.addr(): true}
				c.net.setCut(func(from, to string) bool { return minority[from] != minority[to] })
				took := c.until(40*time.Second, "each side sees its size", func() bool {
					return alive(c.nodes[0].Members()) == 5 && alive(c.nodes[6].Members()) == 2
				})
				t.Logf("parted after %s", took)
				time.Sleep(length)
				require.Equal(t, 5, alive(c.nodes[0].Members()))
				require.Equal(t, 2, alive(c.nodes[6].Members()))
				require.Len(t, c.nodes[0].Members(), 7, "the dead are remembered")
				c.net.setCut(nil)
				took = c.until(30*time.Second, "all see all", func() bool {
					for _, n := range c.nodes {
						if alive(n.Members()) != 7 {
							return false
						}
					}
					return true
				})
				t.Logf("found after %s", took)
			})
		})
	}
}

func TestNodesThatAllStartAnewFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimCluster(t, 20*time.Millisecond, 0)
		for i := range 5 {
			c.add(nodeID(i), 3, nil, nil)
		}
		c.until(30*time.Second, "all see all", func() bool {
			for _, n := range c.nodes {
				if alive(n.Members()) != 5 {
					return false
				}
			}
			return true
		})
	})
}

func TestOtherKeyOrClusterIsRefusedAndSaidOnce(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(*gossip.Config)
		expect string
	}{
		{"key", func(cfg *gossip.Config) { cfg.Keys = []gossip.Key{key(9)} }, "gossip with another key refused"},
		{"label", func(cfg *gossip.Config) { cfg.Label = "01OTHER" }, "gossip of another cluster refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var logged bytes.Buffer
				c := newSimCluster(t, 10*time.Millisecond, 0)
				c.add(nodeID(0), 1, func(cfg *gossip.Config) {
					cfg.Peers = nil
					cfg.Logger = slog.New(slog.NewTextHandler(locked{&mu, &logged}, nil))
				}, nil)
				stranger := c.add(nodeID(1), 1, func(cfg *gossip.Config) {
					cfg.Peers = nil
					tc.spoil(cfg)
				}, nil)
				for range 20 {
					_, err := stranger.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
					require.Error(t, err)
				}
				require.Len(t, c.nodes[0].Members(), 1)
				require.Len(t, stranger.Members(), 1)
				mu.Lock()
				text := logged.String()
				mu.Unlock()
				require.Equal(t, 1, strings.Count(text, tc.expect), "%s", text)
				require.Contains(t, text, "check=")
				require.Contains(t, text, "from="+stranger.port.ip)
			})
		})
	}
}

func TestKeyRotatesUnderTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := make(map[string]int)
		c := newSimCluster(t, 40*time.Millisecond, 0)
		c.grow(5, func(_ int, p *gossip.Pool) {
			p.Receive(gossip.KindCounts, func(_ string, _ uint32, _ uint64, body []byte) {
				mu.Lock()
				defer mu.Unlock()
				got[string(body)]++
			})
		})
		sent := 0
		talk := func(d time.Duration) {
			for range int(d / (100 * time.Millisecond)) {
				for i, n := range c.nodes {
					require.NoError(t, n.Fanout(gossip.KindCounts, fmt.Appendf(nil, "%d/%d", i, sent)))
				}
				sent++
				time.Sleep(100 * time.Millisecond)
			}
		}
		reported := func(what string, ok func(gossip.Meta) bool) {
			c.until(10*time.Second, what, func() bool {
				for _, n := range c.nodes {
					for _, m := range n.Members() {
						if !ok(m.Meta) {
							return false
						}
					}
				}
				return true
			})
		}
		older, next := key(1), key(2)
		talk(2 * time.Second)
		for _, n := range c.nodes {
			require.NoError(t, n.InstallKey(next))
			talk(300 * time.Millisecond)
		}
		reported("all have installed the key", func(m gossip.Meta) bool { return len(m.KeyIDs) == 2 })
		for _, n := range c.nodes {
			require.NoError(t, n.UseKey(next.ID))
			require.Error(t, n.RemoveKey(next.ID), "in use")
			talk(300 * time.Millisecond)
		}
		reported("all send with the key", func(m gossip.Meta) bool { return m.KeyID == next.ID })
		for _, n := range c.nodes {
			require.NoError(t, n.RemoveKey(older.ID))
			talk(300 * time.Millisecond)
		}
		reported("the old key is gone", func(m gossip.Meta) bool { return len(m.KeyIDs) == 1 })
		talk(time.Minute)
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, got, 5*sent)
		for body, n := range got {
			require.Equal(t, 4, n, "%s was lost", body)
		}
		for _, n := range c.nodes {
			require.Equal(t, 5, alive(n.Members()))
		}
	})
}

func TestCopiedNodeIDIsReported(t *testing.T) {
	for _, tc := range []struct {
		name        string
		incarnation uint64
	}{{"started from the same copy", 4}, {"started later", 5}, {"started from an old copy", 2}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				told := make(map[string]int)
				c := newSimCluster(t, 20*time.Millisecond, 0)
				for i := range 4 {
					n := c.add(nodeID(i), 4, func(cfg *gossip.Config) {
						cfg.OnConflict = func(id, a, b string) {
							require.NotEqual(t, a, b)
							mu.Lock()
							defer mu.Unlock()
							told[id]++
						}
					}, nil)
					if i > 0 {
						_, err := n.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
						require.NoError(t, err)
					}
				}
				time.Sleep(10 * time.Second)
				imposter := c.add(nodeID(2), tc.incarnation, nil, nil)
				_, err := imposter.Join(t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
				require.NoError(t, err)
				c.until(70*time.Second, "somebody says so", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return told[nodeID(2)] > 0
				})
				m, _ := c.nodes[0].Lookup(nodeID(2))
				require.Equal(t, c.nodes[2].port.addr(), m.Addr, "the one who was there stays")
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, told, 1)
			})
		})
	}
}

func TestExchangeBringsStateToANodeThatJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		merged := make(map[string]string)
		c := newSimCluster(t, 20*time.Millisecond, 0)
		c.grow(3, func(i int, p *gossip.Pool) {
			p.Exchange(gossip.KindCooldown, func() []byte { return fmt.Appendf(nil, "of %d", i) }, func(from string, body []byte) {
				mu.Lock()
				defer mu.Unlock()
				merged[fmt.Sprint(i, " from ", from)] = string(body)
			})
		})
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, "of 0", merged["1 from "+nodeID(0)])
		require.Equal(t, "of 0", merged["2 from "+nodeID(0)])
		require.Equal(t, "of 2", merged["0 from "+nodeID(2)])
	})
}

func TestChangesOfFactsReachAllAndListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		draining := 0
		c := newSimCluster(t, 20*time.Millisecond, 0)
		c.grow(6, func(_ int, p *gossip.Pool) {
			p.OnChange(func(members []gossip.Member) {
				for _, m := range members {
					if m.NodeID == nodeID(5) && m.Draining {
						mu.Lock()
						draining++
						mu.Unlock()
					}
				}
			})
		})
		require.NoError(t, c.nodes[5].SetMeta(func(m *gossip.Meta) { m.Draining, m.NodeID = true, "ignored" }))
		c.until(2*time.Second, "all know", func() bool {
			for _, n := range c.nodes {
				if m, _ := n.Lookup(nodeID(5)); !m.Draining {
					return false
				}
			}
			mu.Lock()
			defer mu.Unlock()
			return draining >= 6
		})
		require.Error(t, c.nodes[5].SetMeta(func(m *gossip.Meta) { m.Region = strings.Repeat("r", 100) }))
	})
}

// locked is a writer that several goroutines share.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}
