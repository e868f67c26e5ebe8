package call_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/rate"
	"tollgate/proxy/provider"
)

// limited is a key whose limits show what is left behind: a budget, and three
// calls at a time.
func limited(k *model.Key) {
	b, three := 10*unit.Dollar, int64(3)
	k.MaxBudget, k.Parallel = &b, &three
}

func TestEveryOutcomeLeavesOneRowAndNothingHeld(t *testing.T) {
	status := func(code int) func(*world, string, net.Conn, *http.Request, []byte) {
		return func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
			respond(c, code, "", `{"error":{"message":"no","type":"t","code":"c"}}`)
		}
	}
	hangUp := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { _ = c.Close() }
	firstFails := func(_ *world, host string, c net.Conn, r *http.Request, b []byte) {
		if host == "first.test" {
			respond(c, 500, "", `{"error":{"message":"down"}}`)
			return
		}
		answers(nil, host, c, r, b)
	}
	cutStream := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("one two three four"))
		_ = c.Close()
	}
	cost := 100*unit.Money(1000) + 50*unit.Money(2000)
	for _, tc := range []struct {
		name     string
		provider func(*world, string, net.Conn, *http.Request, []byte)
		body     string
		path     string
		options  []option
		status   int
		row      string
		class    string
		cost     unit.Money // -1: some
		attempts int
		contains string
	}{
		{name: "whole", provider: answers, body: body("m", ""), status: 200, row: store.Success, cost: cost, attempts: 1},
		{name: "stream", provider: answers, body: body("m", `"stream":true`), status: 200, row: store.Success, cost: cost, attempts: 1, contains: "[DONE]"},
		{name: "mocked", body: body("mocked", ""), status: 200, row: store.Success, cost: -1, attempts: 1, contains: "hello"},
		{name: "mocked stream", body: body("mocked", `"stream":true`), status: 200, row: store.Success, cost: -1, attempts: 1, contains: "[DONE]"},
		{name: "bad request", provider: status(400), body: body("m", `"num_retries":2`), status: 400, row: store.Failure, class: "BadRequestError", attempts: 1},
		{name: "failing provider", provider: status(500), body: body("m", ""), status: 500, row: store.Failure, class: "InternalServerError", attempts: 1},
		{name: "rate limited provider", provider: status(429), body: body("m", ""), status: 429, row: store.Failure, class: "RateLimitError", attempts: 1},
		{name: "retried", provider: status(500), body: body("m", `"num_retries":1`), status: 500, row: store.Failure, class: "InternalServerError", attempts: 2},
		{name: "fallback", provider: firstFails, body: body("m", `"fallbacks":["spare"]`), status: 200, row: store.Success, cost: cost, attempts: 2},
		{name: "fallback of a stream", provider: firstFails, body: body("m", `"stream":true,"fallbacks":["spare"]`), status: 200, row: store.Success, cost: cost, attempts: 2},
		{name: "silent provider", provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { _, _ = c.Read(make([]byte, 1)) },
			body: body("m", `"timeout":0.05`), status: 408, row: store.Failure, class: "Timeout", attempts: 1},
		{name: "hung up", provider: hangUp, body: body("m", ""), status: 500, row: store.Failure, class: "APIConnectionError", attempts: 1},
		{name: "garbage", provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
			respond(c, 200, "", "<html>hello</html>")
		}, body: body("m", ""), status: 500, row: store.Failure, attempts: 1},
		{name: "cut stream", provider: cutStream, body: body("m", `"stream":true`), status: 200, row: store.Failure, cost: -1, attempts: 1, contains: `"error"`},
		{name: "stream that never begins", provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
			beginStream(c)
			_ = c.Close()
		}, body: body("m", `"stream":true`), status: 500, row: store.Failure, attempts: 1},
		{name: "unpriced", provider: answers, body: body("unpriced", ""), options: []option{withKey(func(k *model.Key) {
			three := int64(3)
			k.Parallel = &three
		})}, status: 200, row: store.Success, attempts: 1},
		{name: "unpriced under a budget", provider: answers, body: body("unpriced", ""), status: 400, row: store.Failure},
		{name: "over budget", provider: answers, body: body("m", `"max_tokens":500`), options: []option{withKey(func(k *model.Key) {
			b, three := unit.Dollar/100000, int64(3)
			k.MaxBudget, k.Parallel = &b, &three
		})}, status: 429, row: store.Failure, class: "BudgetExceededError"},
		{name: "unknown model", body: body("nobody", ""), status: 400, row: store.Failure},
		{name: "no messages", body: `{"model":"m"}`, status: 400, row: store.Failure},
		{name: "anthropic dialect", path: "/v1/messages", provider: answers, body: body("m", `"max_tokens":20`), status: 200, row: store.Success, cost: cost, attempts: 1},
		{name: "overloaded, anthropic dialect", path: "/v1/messages", provider: status(529), body: body("m", `"max_tokens":20`), status: 529, row: store.Failure, attempts: 1, contains: "overloaded_error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, append([]option{withKey(limited)}, tc.options...)...)
			w.serve(tc.provider)
			path := tc.path
			if path == "" {
				path = "/v1/chat/completions"
			}
			got := w.postTo(path, tc.body)
			require.Equal(t, tc.status, got.status, got.body)
			require.Contains(t, got.body, tc.contains)
			e := w.only()
			require.Equal(t, tc.row, e.Status)
			require.Equal(t, tc.attempts, e.Attempts)
			if tc.class != "" {
				require.Equal(t, tc.class, e.ErrorClass)
			}
			if tc.cost < 0 {
				require.Positive(t, int64(e.Cost.Total))
			} else {
				require.Equal(t, tc.cost, e.Cost.Total)
			}
			require.NotEmpty(t, got.header.Get("x-litellm-call-id"))
			require.Equal(t, e.Cost.Total, w.ledger.SpendOf(keyScope()))
			if tc.row == store.Success {
				spent, _, ok := w.account.Spent(keyScope())
				if ok {
					require.Equal(t, e.Cost.Total, spent, "budget and ledger agree")
				}
			}
		})
	}
}

// rawCall sends a call on a connection of its own and gives it back unread.
func (w *world) rawCall(text string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	require.NoError(w.t, err)
	_, err = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", theKey, len(text), text)
	require.NoError(w.t, err)
	return c
}

func TestClientGoneBeforeTheAnswerPaysForItsInput(t *testing.T) {
	for _, more := range []string{"", `"stream":true`} {
		t.Run(more, func(t *testing.T) {
			w := newWorld(t, withKey(limited))
			got := make(chan struct{})
			w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
				close(got)
				_, err := c.Read(make([]byte, 1)) // until the gateway hangs up
				if err == nil {
					t.Error("the provider was sent more")
				}
			})
			c := w.rawCall(body("m", more))
			<-got
			require.NoError(t, c.Close())
			require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 5*time.Second, time.Millisecond)
			e := w.only()
			require.Equal(t, store.ClientClosed, e.Status)
			require.Positive(t, int64(e.Cost.Total))
			require.True(t, e.Usage.Estimated)
		})
	}
}

func TestClientGoneBetweenRetriesPaysNothing(t *testing.T) {
	w := newWorld(t, withKey(limited))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { respond(c, 500, "", `{}`) })
	c := w.rawCall(body("m", `"num_retries":3`))
	require.Eventually(t, func() bool { return w.asked.Load() >= 2 }, 5*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 5*time.Second, time.Millisecond)
	e := w.only()
	require.Equal(t, store.ClientClosed, e.Status)
	require.Zero(t, e.Cost.Total, "the provider had refused; nothing was in flight")
}

func TestClientGoneMidStreamPaysForWhatWasProduced(t *testing.T) {
	w := newWorld(t, withKey(limited))
	stopped := make(chan error, 1)
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		var err error
		for err == nil {
			err = chunk(c, delta("some words of an endless answer "))
		}
		stopped <- err
	})
	c := w.rawCall(body("m", `"stream":true`))
	br := bufio.NewReader(c)
	for range 20 {
		_, err := br.ReadString('\n')
		require.NoError(t, err)
	}
	require.NoError(t, c.Close())
	require.Error(t, <-stopped)
	require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 5*time.Second, time.Millisecond)
	e := w.only()
	require.Equal(t, store.ClientClosed, e.Status)
	require.Positive(t, e.Usage.OutTotal)
	require.True(t, e.Usage.Estimated)
}

func TestDrainedStreamIsBilledByTheProvidersCount(t *testing.T) {
	w := newWorld(t, withKey(limited), withConfig(func(c *model.Config) { c.Tollgate.DrainUpstream = true }))
	left := make(chan struct{})
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("one"))
		<-left
		for range 2000 { // more than the dead connection's buffers take
			if chunk(c, delta(strings.Repeat("word ", 200))) != nil {
				return
			}
		}
		endStream(c)
	})
	c := w.rawCall(body("m", `"stream":true,"max_tokens":1000000`))
	_, err := bufio.NewReader(c).ReadString('{')
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
	close(left)
	require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 10*time.Second, time.Millisecond)
	e := w.only()
	require.Equal(t, store.ClientClosed, e.Status)
	require.Equal(t, int64(50), e.Usage.OutTotal)
	require.False(t, e.Usage.Estimated)
}

// What nobody has counted is estimated, but at no more than the call had stated:
// that is what its budgets have held for it.
func TestEstimateNeverPassesTheStatedMaximum(t *testing.T) {
	long := strings.Repeat("word ", 500)
	for name, more := range map[string]string{"whole": "", "broken stream": `,"stream":true`, "ended stream": `,"stream":true`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withKey(limited))
			w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
				if more == "" {
					respond(c, 200, "", `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"`+long+`"},"finish_reason":"stop"}]}`)
					return
				}
				beginStream(c)
				_ = chunk(c, delta(long))
				if name == "ended stream" {
					_ = chunk(c, `data: {"id":"chatcmpl-2","object":"chat.completion.chunk","created":1,"model":"gpt-x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
				}
				c.Close()
			})
			w.post(body("m", `"max_tokens":20`+more))
			require.Eventually(t, func() bool { return len(w.entries()) == 1 }, 5*time.Second, time.Millisecond)
			e := w.only()
			require.True(t, e.Usage.Estimated)
			require.Equal(t, int64(20), e.Usage.OutTotal)
			require.Zero(t, w.account.Overage())
		})
	}
}

func TestRefusedByRateLimitLeavesNothingBehind(t *testing.T) {
	one := int64(1)
	w := newWorld(t, withKey(func(k *model.Key) { limited(k); k.RPM = &one }))
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", "")).status)
	got := w.post(body("m", ""))
	require.Equal(t, 429, got.status)
	require.NotEmpty(t, got.header.Get("retry-after"))
	require.Equal(t, "requests", got.header.Get("rate_limit_type"))
	w.quiet()
	require.Len(t, w.entries(), 2)
}

func TestAnswerThatCannotBeBookedIsWithheld(t *testing.T) {
	w := newWorld(t, withKey(limited))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		require.NoError(t, w.ledger.Close())
		respond(c, 200, "", wholeAnswer)
	})
	got := w.post(body("m", ""))
	require.Equal(t, 503, got.status)
	require.NotContains(t, got.body, "chatcmpl-1")
	require.NotEmpty(t, got.header.Get("retry-after"))
	require.Zero(t, w.reserved())
	spent, _, ok := w.account.Spent(keyScope())
	require.True(t, ok)
	require.Greater(t, spent, unit.Money(200_000), "the maximum, which the next start books")
	left, _ := w.rates.State(w.rates.ID(keyScope(), rate.Parallel), rate.Parallel, 3)
	require.Equal(t, int64(3), left)
}

func TestEndOfAStreamThatCannotBeBookedIsWithheld(t *testing.T) {
	w := newWorld(t, withKey(limited))
	first, closed := make(chan struct{}), make(chan struct{})
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("one"))
		close(first)
		<-closed
		endStream(c)
	})
	c := w.rawCall(body("m", `"stream":true`))
	defer c.Close()
	<-first
	require.NoError(t, w.ledger.Close())
	close(closed)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	var all strings.Builder
	_, _ = io.Copy(&all, io.LimitReader(c, 1<<12))
	require.Contains(t, all.String(), "one")
	require.NotContains(t, all.String(), "[DONE]")
	require.Contains(t, all.String(), "error")
}

func TestFallbackIsNoWayAroundTheKeysModels(t *testing.T) {
	fails := func(_ *world, host string, c net.Conn, _ *http.Request, _ []byte) {
		if host == "second.test" {
			t.Error("the fallback was called")
		}
		respond(c, 500, "", "{}")
	}
	for name, aliases := range map[string]map[string]string{"plain": nil, "behind an alias of its name": {"spare": "m"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withKey(func(k *model.Key) { k.Models, k.Aliases = []string{"m"}, aliases }))
			w.serve(fails)
			require.Equal(t, 500, w.post(body("m", `"fallbacks":["spare"]`)).status)
			w.only()
		})
	}
}

func TestEndOfAStreamDoesNotWaitForTheProvidersLastBytes(t *testing.T) {
	w := newWorld(t, withKey(limited))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("one"))
		_ = chunk(c, "data: [DONE]\n\n")
		_, _ = c.Read(make([]byte, 1)) // it never ends the body
	})
	soonest := time.Hour
	for range 15 {
		c := w.rawCall(body("m", `"stream":true`))
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, nil)
		require.NoError(t, err)
		var done time.Time
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if lines.Text() == "data: [DONE]" {
				done = time.Now()
			}
		}
		soonest = min(soonest, time.Since(done))
		require.NoError(t, c.Close())
	}
	require.Less(t, soonest, 10*time.Millisecond)
	w.quiet()
}

// broken panics where it is told to.
type broken struct {
	provider.Provider
	at string
}

func (b broken) trip(at string) {
	if b.at == at {
		panic("index out of range")
	}
}

func (b broken) Request(c *provider.Call) (*provider.Request, error) {
	b.trip("request")
	return b.Provider.Request(c)
}

func (b broken) Answer(c *provider.Call, h func(string) string, body []byte) (*provider.Answer, error) {
	b.trip("answer")
	return b.Provider.Answer(c, h, body)
}

func (b broken) Error(c *provider.Call, status int, h func(string) string, body []byte) *provider.Error {
	b.trip("error")
	return b.Provider.Error(c, status, h, body)
}

func (b broken) Stream(c *provider.Call) provider.Stream {
	return &brokenStream{Stream: b.Provider.Stream(c), b: b}
}

type brokenStream struct {
	provider.Stream
	b broken
	n int
}

func (s *brokenStream) Event(name string, data []byte, out provider.Sink) error {
	if s.n++; s.n == 1 {
		s.b.trip("first event")
	} else {
		s.b.trip("later event")
	}
	return s.Stream.Event(name, data, out)
}

func (s *brokenStream) End(out provider.Sink) error {
	s.b.trip("end")
	return s.Stream.End(out)
}

func TestTranslatorThatPanicsCostsItsCallAndNotTheNode(t *testing.T) {
	for at, tc := range map[string]struct {
		body   string
		status int
	}{
		"request": {body("m", ""), 500}, "answer": {body("m", ""), 500}, "error": {body("unpriced", ""), 500},
		"first event": {body("m", `"stream":true`), 500}, "later event": {body("m", `"stream":true`), 200}, "end": {body("m", `"stream":true`), 200},
	} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, withKey(func(k *model.Key) {
				three := int64(3)
				k.Parallel = &three
			}))
			find := w.calls.Providers
			w.calls.Providers = func(name string, op provider.Op) (provider.Provider, bool) {
				p, ok := find(name, op)
				return broken{p, at}, ok
			}
			w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
				if at == "error" {
					respond(c, 500, "", "{}")
					return
				}
				answers(w, host, c, r, b)
			})
			got := w.post(tc.body)
			require.Equal(t, tc.status, got.status, got.body)
			require.Contains(t, got.body, `"error"`)
			require.Equal(t, store.Failure, w.only().Status)
			w.calls.Providers = find
			w.serve(answers)
			require.Equal(t, 200, w.post(body("m", "")).status, "the node goes on")
		})
	}
}
