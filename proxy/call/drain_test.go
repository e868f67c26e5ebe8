package call_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowStream answers every stream for about a second, other calls at once.
func slowStream(w *world, host string, c net.Conn, req *http.Request, body []byte) {
	if !strings.Contains(string(body), `"stream":true`) {
		respond(c, 200, "", wholeAnswer)
		return
	}
	beginStream(c)
	for range 10 {
		if chunk(c, delta("word ")) != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	endStream(c)
}

// balancer sends calls to the first node that it takes for usable, on
// connections that it keeps.
type balancer struct {
	nodes   []*world
	clients []*http.Client
	down    atomic.Bool // of the first, as its readiness says
}

func newBalancer(nodes ...*world) *balancer {
	b := &balancer{nodes: nodes}
	for range nodes {
		b.clients = append(b.clients, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 300}})
	}
	return b
}

func (b *balancer) close() {
	for _, c := range b.clients {
		c.CloseIdleConnections()
	}
}

// watch looks at the first node's readiness, as an active check does.
func (b *balancer) watch(ctx context.Context) {
	for ctx.Err() == nil {
		resp, err := http.Get("http://" + b.nodes[0].addr + "/health/readiness")
		if err == nil {
			_ = resp.Body.Close()
		}
		b.down.Store(err != nil || resp.StatusCode != 200)
		time.Sleep(20 * time.Millisecond)
	}
}

// call sends one call on. A node that cannot be connected to has seen nothing
// of the call, so the next is tried; every other failure is the client's.
func (b *balancer) call(text string) (node int, resp *http.Response, err error) {
	for i, w := range b.nodes {
		if i == 0 && b.down.Load() {
			continue
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+w.addr+"/v1/chat/completions", strings.NewReader(text))
		if err != nil {
			return i, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+theKey)
		resp, err := b.clients[i].Do(req)
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			continue
		}
		return i, resp, err
	}
	return 0, nil, errors.New("no node takes the call")
}

// whole reads an answer to its end.
func whole(resp *http.Response) (string, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// load keeps n callers calling, and says what failed.
type load struct {
	stop   context.CancelFunc
	wait   sync.WaitGroup
	calls  [2]atomic.Int64 // by node
	failed chan string
}

func (b *balancer) load(n int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, failed: make(chan string, 10)}
	for range n {
		l.wait.Go(func() {
			for ctx.Err() == nil {
				node, resp, err := b.call(body("m", ""))
				if err != nil {
					l.fail(err.Error())
					continue
				}
				if text, err := whole(resp); err != nil || resp.StatusCode != 200 {
					l.fail(fmt.Sprintf("node %d: %d %s %v", node, resp.StatusCode, text, err))
					continue
				}
				l.calls[node].Add(1)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) fail(why string) {
	select {
	case l.failed <- why:
	default: // enough is known
	}
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wait.Wait()
	close(l.failed)
	for f := range l.failed {
		t.Error("a call failed: " + f)
	}
}

// TestDrainBreaksNoStreamAndFailsNoCall is a rolling restart seen from behind a
// balancer that checks readiness.
func TestDrainBreaksNoStreamAndFailsNoCall(t *testing.T) {
	first, second := newWorldBesideOthers(t, 300*time.Millisecond, time.Minute), newWorld(t)
	first.serve(slowStream)
	second.serve(slowStream)
	b := newBalancer(first, second)
	defer b.close()

	const streams = 200
	type end struct {
		text string
		err  error
	}
	ends := make(chan end, streams)
	var open sync.WaitGroup
	for range streams {
		open.Add(1)
		go func() {
			node, resp, err := b.call(body("m", `"stream":true`))
			open.Done()
			if err != nil || node != 0 {
				ends <- end{"", fmt.Errorf("node %d: %w", node, err)}
				return
			}
			text, err := whole(resp)
			ends <- end{text, err}
		}()
	}
	open.Wait()
	checking, unchecked := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { b.watch(checking) })
	l := b.load(4)
	require.Eventually(t, func() bool { return l.calls[0].Load() > 50 }, 20*time.Second, time.Millisecond, "there is a load")
	require.GreaterOrEqual(t, first.calls.InFlight(), int64(streams), "streams are in flight")

	first.stop()
	require.Zero(t, first.calls.InFlight(), "everything is done")
	at := l.calls[1].Load()
	require.Eventually(t, func() bool { return l.calls[1].Load() > at+50 }, 20*time.Second, time.Millisecond, "the other node serves")
	l.end(t)
	for range streams {
		e := <-ends
		require.NoError(t, e.err)
		require.Equal(t, 10, strings.Count(e.text, "word"))
		require.Contains(t, e.text, "[DONE]")
	}
	unchecked()
	watching.Wait()
}

// A balancer that never looks at readiness learns from the closed listener;
// what it sent before is still answered.
func TestDrainFailsNoCallOfABalancerThatOnlyKnowsRefusedConnections(t *testing.T) {
	first, second := newWorldBesideOthers(t, 50*time.Millisecond, time.Minute), newWorld(t)
	first.serve(slowStream)
	second.serve(slowStream)
	b := newBalancer(first, second)
	defer b.close()
	l := b.load(4)
	require.Eventually(t, func() bool { return l.calls[0].Load() > 50 }, 20*time.Second, time.Millisecond)
	began := time.Now()
	first.stop()
	require.Less(t, time.Since(began), 5*time.Second, "it is not waited for to the end of the drain time")
	at := l.calls[1].Load()
	require.Eventually(t, func() bool { return l.calls[1].Load() > at+50 }, 20*time.Second, time.Millisecond)
	l.end(t)
}

func TestDrainingNodeServesOnAndAsksEveryClientToGo(t *testing.T) {
	w := newWorld(t)
	w.serve(answers)
	c, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer c.Close()
	br := bufio.NewReader(c)
	ask := func(text string) *http.Response {
		_, err := fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", theKey, len(text), text)
		require.NoError(t, err)
		resp, err := http.ReadResponse(br, nil)
		require.NoError(t, err)
		_, err = whole(resp)
		require.NoError(t, err)
		return resp
	}
	require.False(t, ask(body("m", "")).Close)
	require.False(t, w.server.Draining())
	w.server.SetDraining(true)
	require.True(t, w.server.Draining())
	resp := ask(body("m", `"stream":true`)) // on a connection from before
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, resp.Close, "a stream's headers say so too")
	_, err = br.ReadByte()
	require.ErrorIs(t, err, io.EOF)

	for _, path := range []string{"/health/readiness", "/health/liveliness", "/nowhere", "/v1/models"} {
		resp, err := http.Get("http://" + w.addr + path)
		require.NoError(t, err)
		_, err = whole(resp)
		require.NoError(t, err)
		require.True(t, resp.Close, path)
	}
	r := w.getFrom("/health/readiness")
	require.Equal(t, 503, r.status)
	require.Equal(t, `{"detail":"Service Unhealthy (draining)"}`, r.body)
	require.Equal(t, 200, w.getFrom("/health/liveliness").status)
	require.Equal(t, 200, w.post(body("m", "")).status)

	w.server.SetDraining(false)
	require.False(t, w.server.Draining())
	require.Equal(t, 200, w.getFrom("/health/readiness").status)
	// A second connection is kept again.
	c, err = net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer c.Close()
	br = bufio.NewReader(c)
	require.False(t, ask(body("m", "")).Close)
}

// A node that is alone has nobody to give notice to.
func TestNodeThatIsAloneStopsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", "")).status)
	began := time.Now()
	w.stop()
	require.Less(t, time.Since(began), 800*time.Millisecond)
}

// Idle connections are kept to the last: whoever uses one during the drain is
// served; who does not finds it closed, without an answer nobody asked for.
func TestIdleConnectionIsServedDuringTheDrainAndClosedSilentlyAtItsEnd(t *testing.T) {
	w := newWorldBesideOthers(t, 400*time.Millisecond, 20*time.Second)
	w.serve(answers)
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	ask := func(c net.Conn, br *bufio.Reader) *http.Response {
		_, err := io.WriteString(c, "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+theKey+"\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(br, nil)
		require.NoError(t, err)
		_, err = whole(resp)
		require.NoError(t, err)
		return resp
	}
	used, usedReader := dial()
	idle, idleReader := dial()
	ask(used, usedReader)
	ask(idle, idleReader)
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	require.Eventually(t, w.server.Draining, 5*time.Second, time.Millisecond)
	resp := ask(used, usedReader)
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, resp.Close)
	fresh, freshReader := dial()
	require.True(t, ask(fresh, freshReader).Close, "new connections are still taken")
	_, err := idleReader.ReadByte()
	require.ErrorIs(t, err, io.EOF, "closed without a word")
	<-stopped
	_, err = net.Dial("tcp", w.addr)
	require.Error(t, err, "the listener is closed")
}
