package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

const (
	kills    = 20
	killCrew = 16 // callers at once
)

// answered is what the callers of one life of the node have had answered.
type answered struct {
	mu  sync.Mutex // guards ids
	ids []string   // provider's response ids: what rows go by
}

// load calls the node from many sides until stop is closed, and remembers each
// call whose answer was complete: a body with its end, a stream with [DONE].
func (a *answered) load(n *node, key string, stop <-chan struct{}) {
	var crew sync.WaitGroup
	for i := range killCrew {
		crew.Go(func() {
			c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if id, ok := oneCall(c, n.url, key, i); ok {
					a.mu.Lock()
					a.ids = append(a.ids, id)
					a.mu.Unlock()
				}
			}
		})
	}
	crew.Wait()
}

// oneCall makes a whole or streamed call; ok means that it was fully answered.
func oneCall(c *http.Client, url, key string, caller int) (id string, ok bool) {
	order, more := "fake:slow=5ms", `"max_tokens":50`
	if caller%2 == 1 {
		order, more = "fake:gap=1ms", `"max_tokens":50,"stream":true`
	}
	model := []string{"gpt", "claude"}[caller/2%2]
	req, err := http.NewRequest("POST", url+"/v1/chat/completions", strings.NewReader(chatBody(model, order, more)))
	if err != nil {
		return "", false
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return "", false
	}
	if caller%2 == 1 {
		first, _, _ := strings.Cut(strings.TrimPrefix(string(body), "data: "), "\n")
		return gjson.Get(first, "id").String(), strings.Contains(string(body), "data: [DONE]")
	}
	return gjson.GetBytes(body, "id").String(), json.Valid(body)
}

// A killed node owes two things: no answered call is missing from the books or
// doubled in them, and a call that nobody can tell the end of is charged at its
// maximum, which the row says.
func TestTwentyKillsUnderLoadLoseAndDoubleNothing(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":1000`)
	all := &answered{}
	began := time.Now()
	for life := range kills {
		stop := make(chan struct{})
		before := f.Count()
		done := make(chan struct{})
		go func() {
			all.load(n, key, stop)
			close(done)
		}()
		// Kill at a random moment of the load, told by what reached the provider.
		moment := before + 40 + rand.IntN(150)
		eventually(t, soon, fmt.Sprintf("life %d has its load", life), func() error {
			if f.Count() < moment {
				return fmt.Errorf("%d of %d calls", f.Count(), moment)
			}
			return nil
		})
		n.kill()
		close(stop)
		<-done
		n.again()
	}
	t.Logf("%d kills took %s", kills, time.Since(began))
	checkBooks(t, n, key, all.ids)
}

func checkBooks(t *testing.T, n *node, key string, ids []string) {
	t.Helper()
	rows := n.rowsOfKey(t, key)
	byID := map[string]int{}
	var interrupted int
	var total float64
	for _, r := range rows {
		byID[r.Get("request_id").String()]++
		total += r.Get("spend").Float()
		if r.Get("metadata.status").String() != "interrupted" {
			continue
		}
		interrupted++
		// 50 tokens at a cent per thousand, and the prompt's bytes as tokens.
		if spend := r.Get("spend").Float(); spend < 50*0.00001 {
			t.Errorf("an interrupted call is not charged at its maximum: %s", r)
		}
	}
	for _, id := range ids {
		if byID[id] != 1 {
			t.Errorf("answered call %s has %d rows", id, byID[id])
		}
	}
	for id, k := range byID {
		if k > 1 {
			t.Errorf("row %s is there %d times", id, k)
		}
	}
	if len(ids) < kills*10 || interrupted == 0 {
		t.Errorf("%d answered calls and %d interrupted ones: the kills did not hit a load", len(ids), interrupted)
	}
	if spent := n.spendOf(t, key); spent < total-1e-6 || spent > total+1e-6 {
		t.Errorf("the key's spend is %v, its rows add up to %v", spent, total)
	}
	t.Logf("%d answered, %d rows, %d interrupted, %.4f USD", len(ids), len(rows), interrupted, total)
}
