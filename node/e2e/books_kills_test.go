package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// everywhere calls all nodes of a cluster in turn, at a pace that leaves
// processor time for what is tested, until stop is closed.
func (a *answered) everywhere(c *cluster, key string, callers int, stop <-chan struct{}) {
	var crew sync.WaitGroup
	for i := range callers {
		crew.Go(func() {
			h := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
			defer h.CloseIdleConnections()
			pace := time.NewTicker(25 * time.Millisecond)
			defer pace.Stop()
			for k := i; ; k++ {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				if id, ok := oneCall(h, c.nodes[k%len(c.nodes)].url, key, i); ok {
					a.mu.Lock()
					a.ids = append(a.ids, id)
					a.mu.Unlock()
				}
			}
		})
	}
	crew.Wait()
}

func (a *answered) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ids)
}

// reaches waits until so many more calls are answered.
func (a *answered) reaches(t testing.TB, more int) {
	t.Helper()
	want := a.count() + more
	eventually(t, soon, fmt.Sprintf("%d more calls are answered", more), func() error {
		if got := a.count(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
}

func TestNodesAndPostgreSQLDieInTurnAndEveryAnsweredCallHasOneRowAndOneSum(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	pg := pgtest.StartOwn(t)
	url := pg.NewDatabase(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), env: []string{booksIn(url)}})
	key := c.nodes[0].newKey(t, `"max_budget":1000`)
	for _, n := range c.nodes {
		eventually(t, soon, "every node knows the key", func() error {
			if a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", "")); err != nil || a.status != 200 {
				return fmt.Errorf("%d %w", a.status, err)
			}
			return nil
		})
	}
	all, stop, done := &answered{}, make(chan struct{}), make(chan struct{})
	go func() {
		all.everywhere(c, key, 8, stop)
		close(done)
	}()
	end := sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(end)
	const rounds = 20
	for round := range rounds {
		n := c.nodes[rand.IntN(len(c.nodes))]
		all.reaches(t, 60+rand.IntN(120))
		switch round % 10 {
		case 2: // restarted in order
			pg.Stop()
			all.reaches(t, 60)
			pg.Start(t)
		case 4: // silent while a node dies and comes back
			pg.Pause()
			all.reaches(t, 60)
			n.kill()
			n.again()
			all.reaches(t, 60)
			pg.Resume()
		case 6: // crashed, and a node with it
			pg.Kill()
			n.kill()
			all.reaches(t, 60)
			n.again()
			pg.Start(t)
		case 8: // crashed, and back at once
			pg.Kill()
			pg.Start(t)
		}
		if round%2 == 1 || round%10 == 8 {
			n.kill()
			all.reaches(t, 40)
			n.again()
		}
	}
	end()
	c.waitFormed()
	booked := map[string]bool{}
	for _, n := range c.nodes {
		for _, r := range n.rowsOfKey(t, key) {
			booked[r.Get("request_id").String()] = true
		}
	}
	sqlBecomes(t, url, fmt.Sprint(len(booked)), `SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE api_key = %s`, sqlText(hashOf(key)))
	oneRowEach(t, url, all.ids)
	sum := booksAgree(t, url, key, c.nodes...)
	interrupted := sqlRows(t, url, `SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE metadata->>'status' = 'interrupted'`)[0][0]
	t.Logf("%d answered calls, %d rows, %s of them interrupted, %d nano-dollars", all.count(), len(booked), interrupted, sum)
}
