package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// traffic is callers that never stop asking, as the users of a gateway do: short
// calls, and streams that last. It takes down each call that failed, with the
// time it was sent.
type traffic struct {
	url, key, model string
	client          *http.Client
	stopped         chan struct{}
	crew            sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	calls   int
	streams int
	failed  []failure
	longest time.Duration // of the short calls
}

type failure struct {
	sent   time.Time
	stream bool
	what   string
}

// traffics starts callers against a node or a balancer. words is how many words,
// 50 ms apart, a stream has. It ends with the test at the latest.
func traffics(t testing.TB, n *node, key string, callers, streams, words int) *traffic {
	t.Helper()
	return trafficFor(t, n, key, "gpt", callers, streams, words)
}

func trafficFor(t testing.TB, n *node, key, model string, callers, streams, words int) *traffic {
	t.Helper()
	f := &traffic{url: n.url, key: key, model: model, stopped: make(chan struct{}), client: &http.Client{Timeout: 2 * time.Minute,
		Transport: &http.Transport{DialContext: n.dial, MaxIdleConnsPerHost: callers + streams, IdleConnTimeout: 10 * time.Second}}}
	for i := range callers {
		f.crew.Go(func() {
			// A pace that leaves processor time for what is tested.
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for f.goesOn() {
				f.short(i)
				<-tick.C
			}
		})
	}
	for range streams {
		f.crew.Go(func() {
			for f.goesOn() {
				f.stream(words)
			}
		})
	}
	t.Cleanup(f.end)
	return f
}

func (f *traffic) goesOn() bool {
	select {
	case <-f.stopped:
		return false
	default:
		return true
	}
}

// end lets what is in flight finish and starts no more.
func (f *traffic) end() {
	if f.goesOn() {
		close(f.stopped)
	}
	f.crew.Wait()
	f.client.CloseIdleConnections()
}

func (f *traffic) note(sent time.Time, stream bool, wrong string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case wrong != "":
		f.failed = append(f.failed, failure{sent, stream, wrong})
	case stream:
		f.streams++
	default:
		f.calls++
		f.longest = max(f.longest, time.Since(sent))
	}
}

// short makes one call, and every fourth one with a body that takes several
// packets.
func (f *traffic) short(i int) {
	sent := time.Now()
	text := "fake:slow=5ms"
	if i%4 == 0 {
		text += " " + strings.Repeat("context ", 4000)
	}
	status, body, err := f.ask(chatBody(f.model, text, `"max_tokens":20`))
	f.note(sent, false, verdict(status, body, err, err == nil && status == 200 && bytes.HasSuffix(bytes.TrimSpace(body), []byte("}"))))
}

func (f *traffic) stream(words int) {
	sent := time.Now()
	status, body, err := f.ask(chatBody(f.model, fmt.Sprintf("fake:gap=50ms fake:words=%d", words), `"stream":true`))
	whole := strings.Count(deltas(string(body)), "word") == words && strings.Contains(string(body), "data: [DONE]")
	f.note(sent, true, verdict(status, body, err, err == nil && status == 200 && whole))
}

func verdict(status int, body []byte, err error, good bool) string {
	if good {
		return ""
	}
	return fmt.Sprintf("%d %v %s", status, err, tail(string(body), 200))
}

func (f *traffic) ask(body string) (status int, answered []byte, err error) {
	req, err := http.NewRequest("POST", f.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	// A POST without GetBody is never sent again by Go's client: what fails shows.
	req.GetBody = nil
	req.Header.Set("Authorization", "Bearer "+f.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answered, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answered, err
}

// wrong returns the failed calls, those that began at a time or later.
func (f *traffic) wrong(since time.Time) []failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.failed), func(x failure) bool { return x.sent.Before(since) })
}

// done is how many calls and streams went well.
func (f *traffic) done() (calls, streams int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, f.streams
}

// moves waits until more calls and streams have gone well: the load is there.
func (f *traffic) moves(t testing.TB, calls, streams int) {
	t.Helper()
	c0, s0 := f.done()
	eventually(t, 60*time.Second, "the load goes on", func() error {
		if c, s := f.done(); c < c0+calls || s < s0+streams {
			return fmt.Errorf("%d calls and %d streams since; failed: %v", c-c0, s-s0, f.first())
		}
		return nil
	})
}

func (f *traffic) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, first %+v", len(f.failed), f.failed[0])
}
