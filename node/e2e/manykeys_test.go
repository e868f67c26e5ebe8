package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// Most keys are used now and then, each time on another node, and each has a limit
// and a budget that must hold over all of them. What the nodes agree on must not
// grow with the calls.
func TestManyKeysUsedNowAndThenOnAnyNodeAreServedWithoutACommandEach(t *testing.T) {
	t.Parallel()
	const (
		count   = 2000
		rounds  = 2
		workers = 16
		// atMost is how many commands the calls may take: asks for credit go together,
		// at most one each 20 ms from a node.
		atMost = count * rounds / 10
	)
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f), regions: []string{"here"}})

	var wrong firstWrong
	keys := make([]string, count)
	inParallel(count, workers, func(i int) {
		a, err := c.nodes[i%3].call("POST", "/key/generate", masterKey, `{"rpm_limit":6,"max_budget":10,"budget_duration":"30d"}`)
		if keys[i] = a.get("key").String(); err != nil || keys[i] == "" {
			wrong.add("key %d was not made: %v %d %s", i, err, a.status, tail(a.body, 300))
		}
	})
	wrong.report(t)

	// Key i is used rounds times within its limit, and each time its budget pays.
	before := c.agreed()
	began := time.Now()
	order := rand.New(rand.NewPCG(1, 2)).Perm(count * rounds)
	inParallel(count*rounds, workers, func(i int) {
		k := order[i] % count
		n := c.nodes[rand.IntN(3)]
		a, err := n.call("POST", "/v1/chat/completions", keys[k], chatBody("gpt", "hi", `"max_tokens":10`))
		if err != nil || a.status != 200 {
			wrong.add("key %d was refused by %s within its limits: %v %d %s", k, n.o.args[1], err, a.status, tail(a.body, 300))
		}
	})
	took := c.agreed() - before
	wrong.report(t)
	t.Logf("%d calls with %d keys in %s: %d commands", count*rounds, count, time.Since(began), took)
	if took > atMost {
		t.Errorf("%d calls took %d commands, more than %d", count*rounds, took, atMost)
	}
}

// agreed is the highest number of a command that any node has applied.
func (c *cluster) agreed() uint64 {
	c.t.Helper()
	var highest uint64
	for _, n := range c.living() {
		s, err := n.status()
		if err != nil {
			c.t.Fatal(err)
		}
		highest = max(highest, s.Applied)
	}
	return highest
}

// inParallel calls do with 0 to count-1, some at a time.
func inParallel(count, workers int, do func(i int)) {
	var next atomic.Int64
	var crew sync.WaitGroup
	for range workers {
		crew.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	crew.Wait()
}

// firstWrong counts what goes wrong and keeps the first.
type firstWrong struct {
	mu    sync.Mutex // guards what follows
	first string
	count int
}

func (w *firstWrong) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count++; w.first == "" {
		w.first = fmt.Sprintf(format, args...)
	}
}

func (w *firstWrong) report(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count > 0 {
		t.Fatalf("%d went wrong, first: %s", w.count, w.first)
	}
}
