package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

func TestAStopLetsStreamsInFlightFinish(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":5`)
	var open []*stream
	for range 10 {
		s := n.open(t, "/v1/chat/completions", key, chatBody("gpt", "fake:gap=10ms fake:words=60", `"stream":true`))
		s.until(t, "word3 ")
		open = append(open, s)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range open {
		s.until(t, "data: [DONE]")
	}
	<-n.dead
	if status := n.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("status %d", status)
	}
	n.again()
	if rows := n.rowsOfKey(t, key); len(rows) != 10 {
		t.Errorf("%d rows for 10 streams", len(rows))
	}
}

func TestTheEndOfTheDrainTimeCutsWhatIsLeftAndBooksIt(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, ""), args: []string{"--drain-timeout", "300ms"}})
	key := n.newKey(t, `"max_budget":5`)
	s := n.open(t, "/v1/chat/completions", key, chatBody("gpt", "fake:stall fake:words=60", `"stream":true`))
	s.until(t, "word1 ")
	at := time.Now()
	n.stop()
	if took := time.Since(at); took > 30*time.Second {
		t.Errorf("the stop took %s", took)
	}
	n.again()
	rows := n.rowsOfKey(t, key)
	if len(rows) != 1 || rows[0].Get("spend").Float() <= 0 {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
}

func TestStopsUnderLoadLoseAndDoubleNothing(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, ""), args: []string{"--drain-timeout", "5s"}})
	key := n.newKey(t, `"max_budget":1000`)
	all := &answered{}
	for range 3 {
		stop := make(chan struct{})
		done := make(chan struct{})
		moment := f.Count() + 100
		go func() {
			all.load(n, key, stop)
			close(done)
		}()
		eventually(t, soon, "there is a load", func() error {
			if f.Count() < moment {
				return fmt.Errorf("%d calls", f.Count())
			}
			return nil
		})
		n.stop()
		close(stop)
		<-done
		n.again()
	}
	byID := map[string]int{}
	for _, r := range n.rowsOfKey(t, key) {
		byID[r.Get("request_id").String()]++
		if s := r.Get("metadata.status").String(); s == "interrupted" {
			t.Errorf("an orderly stop interrupted a call: %s", r)
		}
	}
	for _, id := range all.ids {
		if byID[id] != 1 {
			t.Errorf("answered call %s has %d rows", id, byID[id])
		}
	}
}

// Kills must not lend money: what reached the provider stays within the budget
// over all lives of the node.
func TestABudgetHoldsThroughKills(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: budgetConfig(f)})
	key := n.newKey(t, `"max_budget":4`)
	for range 6 {
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
			defer c.CloseIdleConnections()
			crew := make(chan struct{}, 32)
			for {
				select {
				case <-stop:
					for range cap(crew) {
						crew <- struct{}{}
					}
					return
				case crew <- struct{}{}:
					go func() {
						send(c, n.url, key, chatBody("gpt", "fake:slow=10ms fake:words=10", `"max_tokens":10`))
						<-crew
					}()
				}
			}
		}()
		moment := f.Count() + 40 + rand.IntN(40)
		deadline := time.Now().Add(5 * time.Second)
		tick := time.NewTicker(5 * time.Millisecond)
		for f.Count() < moment && time.Now().Before(deadline) {
			<-tick.C // the budget may end before the moment comes
		}
		tick.Stop()
		n.kill()
		close(stop)
		<-done
		n.again()
	}
	for range 30 {
		burst(t, n, key, 50, 10, chatBody("gpt", "fake:words=10", `"max_tokens":10`))
		if a := n.chat(t, key, "gpt", "fake:words=10", `"max_tokens":10`); a.status == 429 {
			break
		}
	}
	if f.Count() > 400 {
		t.Errorf("%d calls reached the provider, the budget pays for 400", f.Count())
	}
	if f.Count() < 380 {
		t.Errorf("only %d calls of 400 could be made: kills have stranded money", f.Count())
	}
	if spent := n.spendOf(t, key); spent > 4.000001 {
		t.Errorf("spent %v of 4", spent)
	}
	t.Logf("%d calls reached the provider, %v spent", f.Count(), n.spendOf(t, key))
}

func TestKeysLiveAndDieAtOnce(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	use := func(key string) int { return n.chat(t, key, "gpt", "hi", "").status }
	manage := func(path, body string) answer {
		a := n.do(t, "POST", path, masterKey, body)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		return a
	}
	key := n.newKey(t, `"key_alias":"life"`)
	steps := []struct {
		path, body string
		want       int
	}{
		{"/key/block", `{"key":%q}`, 401},
		{"/key/unblock", `{"key":%q}`, 200},
		{"/key/update", `{"key":%q,"models":["claude"]}`, 403},
		{"/key/update", `{"key":%q,"models":[]}`, 200},
		{"/key/update", `{"key":%q,"max_budget":0}`, 429},
		{"/key/update", `{"key":%q,"max_budget":1}`, 200},
	}
	for _, s := range steps {
		manage(s.path, fmt.Sprintf(s.body, key))
		if got := use(key); got != s.want {
			t.Errorf("after %s %s: %d, want %d", s.path, s.body, got, s.want)
		}
	}
	fresh := manage("/key/"+key+"/regenerate", "{}").get("key").String()
	if !strings.HasPrefix(fresh, "sk-") || use(fresh) != 200 || use(key) != 401 {
		t.Errorf("regenerated: the new key is %d, the old one %d", use(fresh), use(key))
	}
	manage("/key/delete", fmt.Sprintf(`{"keys":[%q]}`, fresh))
	if got := use(fresh); got != 401 {
		t.Errorf("a deleted key: %d", got)
	}
}
