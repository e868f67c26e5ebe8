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
		eventually(t, 30*time.Second, "nothing is reserved", func() error {
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
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f)})
	key := c.nodes[0].newKey(t, fiveDollars)
	body := chatBody("gpt", "fake:slow=100ms fake:words=10", oneCent)

	stop := make(chan struct{})
	var crew sync.WaitGroup
	for _, n := range c.nodes {
		crew.Go(func() {
			hc := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
			defer hc.CloseIdleConnections()
			tick := time.NewTicker(150 * time.Millisecond) // 500 calls take the length of the kills
			defer tick.Stop()
			var calls sync.WaitGroup
			defer calls.Wait()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					calls.Go(func() { send(hc, n.url, key, body) })
				}
			}
		})
	}
	const deaths = 7
	beat := time.NewTicker(3 * time.Second)
	defer beat.Stop()
	for range deaths {
		<-beat.C
		n := c.nodes[rand.IntN(3)]
		n.kill()
		n.begin() // its door opens while the load goes on
		n.ready()
	}
	close(stop)
	crew.Wait()
	c.waitFormed()
	before := f.Count()
	// What the dead held has been given back: the rest can be spent.
	for range 20 {
		got := burstOver(t, c.nodes, key, 60, 12, body)
		if got[200] == 0 && got[429] == 60 {
			break
		}
	}
	t.Logf("%d calls during the kills, %d in all", before, f.Count())
	sum := rowsSum(t, c.nodes, key)
	within5(t, f, sum)
	nothingReserved(t, c.nodes, key)
	if before < 100 {
		t.Errorf("only %d calls between the kills", before)
	}
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
