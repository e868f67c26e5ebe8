package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

// receiver is a webhook that does as it is told, and keeps what it has accepted.
type receiver struct {
	mu       sync.Mutex // guards all below
	mode     string     // "", "429", "500", "slow"
	tries    int        // requests that came in this mode
	accepted map[string]int
}

func (r *receiver) behave(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode, r.tries = mode, 0
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

func (r *receiver) has(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted[id]
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.tries++
	mode := r.mode
	r.mu.Unlock()
	switch mode {
	case "429":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(429)
		return
	case "500":
		w.WriteHeader(500)
		return
	case "slow":
		pause := time.NewTimer(time.Second)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-req.Context().Done():
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range gjson.ParseBytes(body).Array() {
		r.accepted[call.Get("litellm_call_id").String()]++
	}
}

// serveOn begins to receive at an address.
func (r *receiver) serveOn(t testing.TB, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: r, ReadHeaderTimeout: 30 * time.Second}}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
}

func TestAWebhookGetsEveryCallThoughItWasAwaySlowAndFailingAndNoCallWaited(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	addr := freePort(t)
	n := start(t, options{config: configFor(f, `litellm_settings:
  callbacks: [told]
callback_settings:
  told:
    callback_type: generic_api
    endpoint: http://`+addr+`/calls
    headers: {Authorization: Bearer of-the-receiver}
    flush_interval: 0.1
`)})
	r := &receiver{accepted: map[string]int{}}
	load := traffics(t, n, n.newKey(t, ""), 3, 1, 5)
	var ids []string
	calls := func(model, more string) {
		t.Helper()
		for range 5 {
			a := n.chat(t, masterKey, model, "fake:words=3", more)
			if a.status != 200 && model != "no-such-model" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			ids = append(ids, a.header.Get("x-litellm-call-id"))
		}
	}
	load.moves(t, 20, 1)
	calls("gpt", "") // nobody listens
	load.moves(t, 20, 1)
	r.serveOn(t, addr)
	for _, mode := range []string{"429", "500", "slow"} {
		r.behave(mode)
		calls("claude", `"stream":true`)
		load.moves(t, 30, 1)
		eventually(t, soon, "it is tried while it answers "+mode, func() error {
			if got := r.tried(); got < 1 {
				return fmt.Errorf("%d times", got)
			}
			return nil
		})
	}
	calls("no-such-model", "")
	n.kill() // what is not delivered yet stays
	load.end()
	for _, w := range load.wrong(time.Time{}) {
		// The kill cuts what is in flight, and nothing else may fail.
		if !strings.Contains(w.what, "EOF") && !strings.Contains(w.what, "reset") && !strings.Contains(w.what, "refused") {
			t.Errorf("a call failed: %+v", w)
		}
	}
	r.behave("")
	n.again()
	for _, id := range ids {
		eventually(t, soon, "call "+id+" is told", func() error {
			if r.has(id) == 0 {
				return fmt.Errorf("not yet, after %d requests", r.tried())
			}
			return nil
		})
	}
}

func TestAFileHasEachCallOnceAfterKillsUnderLoad(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, `litellm_settings:
  callbacks: [written]
callback_settings:
  written:
    callback_type: jsonl_file
    path: told/calls.jsonl
    flush_interval: 0.05
`)})
	key := n.newKey(t, "")
	one := &cluster{t: t, nodes: []*node{n}}
	all, stop, done := &answered{}, make(chan struct{}), make(chan struct{})
	go func() {
		all.everywhere(one, key, 8, stop)
		close(done)
	}()
	end := sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(end)
	for range 3 {
		all.reaches(t, 100)
		n.kill()
		n.again()
	}
	all.reaches(t, 50)
	end()
	rows := n.rowsOfKey(t, key)
	eventually(t, soon, "the file has each row of the books once", func() error {
		raw, err := os.ReadFile(filepath.Join(n.o.dir, "told", "calls.jsonl"))
		if err != nil {
			return err
		}
		times := map[string]int{}
		for line := range strings.Lines(string(raw)) {
			if !json.Valid([]byte(line)) {
				return fmt.Errorf("a line is no record: %s", tail(line, 200))
			}
			times[gjson.Get(line, "litellm_call_id").String()]++
		}
		for id, k := range times {
			if k != 1 {
				t.Fatalf("call %s is there %d times", id, k)
			}
		}
		if len(times) != len(rows) {
			return fmt.Errorf("%d of %d calls", len(times), len(rows))
		}
		return nil
	})
	t.Logf("%d answered, %d rows", all.count(), len(rows))
}
