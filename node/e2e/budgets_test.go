package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// fiveDollars pay for 500 calls of one cent.
const (
	fiveDollars = `"max_budget":5,"budget_duration":"30d"`
	oneCent     = `"max_tokens":10`
)

// rowsSum waits until nothing changes any more, and requires that every node
// says of a key what the rows of all nodes add up to, to the nano-dollar.
func rowsSum(t *testing.T, nodes []*node, key string) (sum float64) {
	t.Helper()
	eventually(t, 60*time.Second, "all nodes show the sum of the rows", func() error {
		nanos, rows := int64(0), map[string]bool{}
		for _, n := range nodes {
			for _, r := range n.rowsOfKey(t, key) {
				id := r.Get("request_id").String()
				if !rows[id] {
					nanos += nanosOf(r.Get("spend"))
				}
				rows[id] = true
			}
		}
		sum = float64(nanos) / 1e9
		for i, n := range nodes {
			a, err := n.call("GET", "/key/info?key="+key, masterKey, "")
			if err != nil {
				return err
			}
			if got := nanosOf(a.get("info.spend")); a.status != 200 || got != nanos {
				return fmt.Errorf("node %d says %d, %d rows add up to %d nano-dollars", i, got, len(rows), nanos)
			}
		}
		return nil
	})
	return sum
}

func nanosOf(dollars gjson.Result) int64 { return int64(math.Round(dollars.Float() * 1e9)) }

// nothingReserved requires that in time nobody holds money for calls in flight. A
// call that is larger than the budget is refused with both figures, and tells.
func nothingReserved(t *testing.T, nodes []*node, key string) {
	t.Helper()
	for i, n := range nodes {
		eventually(t, soon, "nothing is reserved", func() error {
			a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", `"max_tokens":9000`))
			if err != nil {
				return err
			}
			said := a.get("error.message").String()
			if a.status != 429 || !strings.Contains(said, "Current cost: ") || strings.Contains(said, "Reserved by calls in flight") {
				return fmt.Errorf("node %d: %d %s", i, a.status, a.body)
			}
			return nil
		})
	}
}

func within5(t *testing.T, f *fake.Server, sum float64) {
	t.Helper()
	if sum > 5 || f.Count() > 500 {
		t.Errorf("%v of 5 USD is spent, %d calls reached the provider", sum, f.Count())
	}
	if sum < 4.75 {
		t.Errorf("only %v of 5 USD could be spent", sum)
	}
	t.Logf("%v of 5 USD, %d calls at the provider", sum, f.Count())
}

func TestFiveDollarsOverThreeNodesServeAtMost500Of1200AtOnceAndAtLeast475(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"one region", "regions 150 ms apart"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			var wire *network.Network
			if where != "one region" {
				if wire = network.New(t, 11); wire == nil {
					return
				}
			}
			f := fake.StartOn(t, providerOn(t, wire))
			c := startCluster(t, 3, clusterOptions{config: budgetConfig(f), wire: wire})
			if wire != nil {
				for i, n := range c.nodes {
					for _, other := range c.nodes[:i] {
						wire.Delay(n.o.host, other.o.host, 75*time.Millisecond)
					}
				}
				c.leader()
			}
			key := c.nodes[0].newKey(t, fiveDollars)
			got := burstOver(t, c.nodes, key, 1200, 300, chatBody("gpt", "fake:slow=20ms fake:words=10", oneCent))
			t.Logf("statuses %v", got)
			if got[200] < 475 || got[200]+got[429] != 1200 {
				t.Errorf("statuses %v: want 475 to 500 served and the others refused", got)
			}
			within5(t, f, rowsSum(t, c.nodes, key))
			nothingReserved(t, c.nodes, key)
		})
	}
}

func TestARefusedCallShowsWhatIsSpentAndWhatIsReserved(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f)})
	key := c.nodes[0].newKey(t, `"max_budget":0.03`)
	if a := c.nodes[0].chat(t, key, "gpt", "fake:words=10", oneCent); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s := c.nodes[0].open(t, "/v1/chat/completions", key, chatBody("gpt", "fake:gap=700ms fake:words=10", `"stream":true,`+oneCent))
	s.until(t, "data: ")
	for _, n := range c.nodes {
		// Patience ends with a refusal while the stream still holds its cent.
		a := n.chat(t, key, "gpt", "hi", `"max_tokens":20`)
		if said := a.get("error.message").String(); a.status != 429 || !strings.Contains(said, "Current cost: 0.01,") ||
			!strings.Contains(said, "Reserved by calls in flight: 0.01") || !strings.Contains(said, "Needed: 0.02") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	s.until(t, "data: [DONE]")
	rowsSum(t, c.nodes, key)
	nothingReserved(t, c.nodes, key)
}

func TestABudgetHoldsAndItsBooksAgreeThroughKillsOfAnyNode(t *testing.T) {
	t.Parallel()
	for what, victim := range map[string]func(*cluster) *node{
		"any node":       func(c *cluster) *node { return c.nodes[rand.IntN(len(c.nodes))] },
		"the same node":  func(c *cluster) *node { return c.nodes[0] },
		"the one leader": (*cluster).leader,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			budgetThroughKills(t, victim)
		})
	}
}

func budgetThroughKills(t *testing.T, victim func(*cluster) *node) {
	t.Helper()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f)})
	key := c.nodes[0].newKey(t, fiveDollars)
	lives := &lives{cluster: c, f: f}
	stop := make(chan struct{})
	var crew sync.WaitGroup
	for i := range c.nodes {
		crew.Go(func() { lives.load(key, i, stop) })
	}
	for range deaths {
		n := victim(c)
		lives.begin(c.index(n))
		eventually(t, time.Minute, "the node has served, and has calls in flight", func() error {
			if served, inFlight := f.With(through(c.index(n))); served < lives.target() || inFlight == 0 {
				return fmt.Errorf("%d calls of %d reached the provider through it, %d are in flight", served, lives.target(), inFlight)
			}
			return nil
		})
		n.kill()
		n.begin() // its door opens while the load goes on
		n.ready()
	}
	close(stop)
	crew.Wait()
	c.waitFormed()
	before := f.Count()
	// What the dead held has been given back: the rest can be spent.
	eventually(t, 2*time.Minute, "the rest can be spent", func() error {
		got := burstOver(t, c.nodes, key, 60, 12, chatBody("gpt", "fake:words=10", oneCent))
		if spent := c.nodes[0].spendOf(t, key); got[200] > 0 || spent < 4.75 {
			return fmt.Errorf("%v of 5 USD is spent, the last 60 calls ended with %v", spent, got)
		}
		return nil
	})
	t.Logf("%d calls during the kills, %d in all", before, f.Count())
	sum := rowsSum(t, c.nodes, key)
	within5(t, f, sum)
	nothingReserved(t, c.nodes, key)
	interrupted := 0
	for _, n := range c.nodes {
		interrupted += len(slices.DeleteFunc(n.rowsOfKey(t, key), func(r gjson.Result) bool {
			return r.Get("metadata.status").String() != "interrupted"
		}))
	}
	if interrupted == 0 {
		t.Error("no kill hit a call")
	}
}

const (
	deaths = 7
	// lifesCalls pass through each node between two deaths: the money must last.
	lifesCalls = 12
)

// lives is a steady load on nodes that die in turn. What counts is calls and not
// time, so that a slow machine has the same to survive as a fast one.
type lives struct {
	*cluster
	f *fake.Server

	mu     sync.Mutex // guards the fields below
	begun  int
	victim int
	goal   int // calls through the victim, since the test began
}

func (l *lives) begin(victim int) {
	served, _ := l.f.With(through(victim))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	l.victim, l.goal = victim, served+lifesCalls
}

func (l *lives) target() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goal
}

// may reports whether a node is to be called: the one that is to die always is.
func (l *lives) may(i int) bool {
	l.mu.Lock()
	begun, victim := l.begun, l.victim
	l.mu.Unlock()
	served, _ := l.f.With(through(i))
	return i == victim || served < lifesCalls*begun
}

// load calls a node some times a second. Each call takes longer than the time
// until the next, so that a kill finds one in flight.
func (l *lives) load(key string, i int, stop <-chan struct{}) {
	hc := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer hc.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	body := chatBody("gpt", "fake:slow=300ms fake:words=10 "+through(i), oneCent)
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if l.may(i) {
				calls.Go(func() { send(hc, l.nodes[i].url, key, body) })
			}
		}
	}
}

// through marks the calls by way of a node.
func through(i int) string { return "by way of " + nameOf(i) }
