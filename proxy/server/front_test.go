package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/refusal"
	"tollgate/proxy/server"
)

const master = "sk-master-1234"

// rooms stands for what is behind the front: an echo as the management API, and
// a node that is as ready as it is told.
type rooms struct {
	mu       sync.Mutex // guards notReady
	notReady error
}

func (*rooms) Handle(ctx *fasthttp.RequestCtx, _ *auth.Principal) (bool, *refusal.Refusal) {
	ctx.SetBody(ctx.PostBody())
	return true, nil
}

func (*rooms) Methods(path string) []string {
	if path == "/echo" {
		return []string{"POST"}
	}
	return nil
}

// room is a further room that serves one path with one word.
func room(path, word string) server.Management { return oneRoom{path, word} }

type oneRoom struct{ path, word string }

func (r oneRoom) Handle(ctx *fasthttp.RequestCtx, _ *auth.Principal) (bool, *refusal.Refusal) {
	ctx.SetBodyString(r.word)
	return true, nil
}

func (r oneRoom) Methods(path string) []string {
	if path == r.path {
		return []string{"GET", "POST"}
	}
	return nil
}

func (r *rooms) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notReady
}

func (*rooms) Facts() map[string]any { return map[string]any{"db": "Not connected"} }

func front(t testing.TB) (addr string, behind *rooms) {
	t.Helper()
	behind = &rooms{}
	st := state.NewStore(nil)
	srv := server.New(server.Deps{State: st, MasterHash: func() string { return auth.Hash([]byte(master)) },
		Calls: call.New(call.Deps{State: st}), Management: behind, More: []server.Management{room("/cluster/one", "first"), room("/cluster/one", "shadowed"), room("/cluster/two", "second")}, Readiness: behind, Gatherer: prometheus.NewRegistry(),
		Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Version: "1.2.3"})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Run(ctx, ln, time.Second) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return ln.Addr().String(), behind
}

// wire sends bytes as they are and reads answers from the same connection.
type wire struct {
	t testing.TB
	net.Conn
	br *bufio.Reader
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	t.Cleanup(func() { _ = c.Close() })
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) say(format string, args ...any) *wire {
	w.t.Helper()
	_, err := fmt.Fprintf(w, format, args...)
	require.NoError(w.t, err)
	return w
}

func (w *wire) hear(method string) (status int, header http.Header, body string) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.br, &http.Request{Method: method})
	require.NoError(w.t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, resp.Header, string(b)
}

const keyed = "Host: x\r\nAuthorization: Bearer " + master + "\r\n"

func TestHealthRoutesAnswerWithoutAKey(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/health/liveliness", 200, `"I'm alive!"`},
		{"GET", "/health/liveness", 200, `"I'm alive!"`},
		{"OPTIONS", "/health/liveliness", 200, `"I'm alive!"`},
		{"HEAD", "/health/liveliness", 200, ""},
		{"HEAD", "/health/readiness", 200, ""},
		{"OPTIONS", "/health/readiness", 200, `{"db":"Not connected","status":"healthy"}`},
		{"GET", "/health/readiness", 200, `{"db":"Not connected","status":"healthy"}`},
		{"GET", "/health", 200, `{"db":"Not connected","status":"healthy"}`},
		{"POST", "/health/readiness", 405, `{"detail":"Method Not Allowed"}`},
		{"DELETE", "/metrics", 405, `{"detail":"Method Not Allowed"}`},
		{"GET", "/v1/chat/completions", 405, `{"detail":"Method Not Allowed"}`},
		{"GET", "/echo", 405, `{"detail":"Method Not Allowed"}`},
		{"GET", "/nowhere", 404, `{"detail":"Not Found"}`},
		{"POST", "/v1/nowhere", 404, `{"detail":"Not Found"}`},
		{"GET", "/v1/models", 401, `{"error":{"message":"Authentication Error, No api key passed in.","type":"auth_error","param":"None","code":"401"}}`},
	} {
		w.say("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", tc.method, tc.path)
		status, header, body := w.hear(tc.method)
		require.Equal(t, tc.status, status, "%s %s", tc.method, tc.path)
		require.Equal(t, tc.body, body, "%s %s", tc.method, tc.path)
		if status == 405 {
			require.NotEmpty(t, header.Get("Allow"))
		}
	}
}

func TestNodeThatIsNotReadySaysWhy(t *testing.T) {
	addr, behind := front(t)
	behind.mu.Lock()
	behind.notReady = errors.New("the disk is full")
	behind.mu.Unlock()
	w := dial(t, addr)
	w.say("GET /health/readiness HTTP/1.1\r\nHost: x\r\n\r\n")
	status, _, body := w.hear("GET")
	require.Equal(t, 503, status)
	require.Equal(t, `{"detail":"Service Unhealthy (the disk is full)"}`, body)
	w.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	status, _, body = w.hear("GET")
	require.Equal(t, 503, status)
	require.JSONEq(t, `{"db":"Not connected","status":"unhealthy","reason":"the disk is full"}`, body)
	w.say("GET /health/liveliness HTTP/1.1\r\nHost: x\r\n\r\n")
	status, _, _ = w.hear("GET")
	require.Equal(t, 200, status, "alive, though not ready")
	w.say("GET /health HTTP/1.1\r\n%s\r\n", keyed)
	status, header, _ := w.hear("GET")
	require.Equal(t, 503, status, "a fault of ours is no 401")
	require.NotEmpty(t, header.Get("Retry-After"))
}

func TestRequestWithTwoLengthsIsRefused(t *testing.T) {
	addr, _ := front(t)
	for name, lengths := range map[string]string{
		"both":              "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
		"both, turned":      "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
		"both, odd case":    "content-LENGTH: 4\r\ntransfer-encoding: Chunked\r\n",
		"two lengths":       "Content-Length: 4\r\nContent-Length: 5\r\n",
		"list of lengths":   "Content-Length: 4, 4\r\n",
		"signed length":     "Content-Length: +4\r\n",
		"negative length":   "Content-Length: -4\r\n",
		"unknown coding":    "Transfer-Encoding: xchunked\r\n",
		"two codings":       "Transfer-Encoding: gzip, chunked\r\n",
		"coding twice":      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"space in the name": "Content-Length : 4\r\nTransfer-Encoding: chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, addr)
			w.say("POST /echo HTTP/1.1\r\n%s%s\r\n0\r\n\r\nGET /health/liveliness HTTP/1.1\r\nHost: x\r\n\r\n", keyed, lengths)
			status, _, body := w.hear("POST")
			require.Equal(t, 400, status, body)
			require.True(t, json.Valid([]byte(body)), body)
			require.Contains(t, body, "invalid_request_error")
			_, err := w.br.ReadByte()
			require.Error(t, err, "nothing behind it is taken for a request")
		})
	}
}

func TestHeadersThatAreTooLargeGetTheirStatus(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	w.say("GET /health/liveliness HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n", strings.Repeat("x", 11<<10))
	status, _, _ := w.hear("GET")
	require.Equal(t, 200, status, "12 KiB are allowed")
	w.say("GET /health/liveliness HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	status, header, body := w.hear("GET")
	require.Equal(t, 431, status)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.JSONEq(t, `{"error":{"message":"The request's headers are larger than 12288 bytes.","type":"invalid_request_error","param":null,"code":"431"}}`, body)
}

func TestClientThatAsksBeforeItSendsIsAnswered(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	w.say("POST /echo HTTP/1.1\r\n%sContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", keyed)
	line, err := w.br.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = w.br.ReadString('\n')
	require.NoError(t, err)
	w.say("hello")
	status, _, body := w.hear("POST")
	require.Equal(t, 200, status)
	require.Equal(t, "hello", body)
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	var all strings.Builder
	for i := range 20 {
		fmt.Fprintf(&all, "POST /echo HTTP/1.1\r\n%sContent-Length: 2\r\n\r\n%02d", keyed, i)
	}
	w.say("%s", all.String())
	for i := range 20 {
		status, _, body := w.hear("POST")
		require.Equal(t, 200, status)
		require.Equal(t, fmt.Sprintf("%02d", i), body)
	}
}

func TestChunkedBodyArrivesWhole(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	w.say("POST /echo HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", keyed)
	status, _, body := w.hear("POST")
	require.Equal(t, 200, status)
	require.Equal(t, "hello", body)
}

func TestGarbageIsRefusedInJSON(t *testing.T) {
	addr, _ := front(t)
	for _, text := range []string{"hello\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\nNo colon\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"} {
		w := dial(t, addr)
		w.say("%s", text)
		status, header, body := w.hear("GET")
		require.Equal(t, 400, status, "%q", text)
		require.Equal(t, "application/json", header.Get("Content-Type"))
		require.True(t, json.Valid([]byte(body)), body)
	}
}

func TestPagesOfOtherOriginsMayCall(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	w.say("OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, content-type\r\n\r\n")
	status, header, _ := w.hear("OPTIONS")
	require.Equal(t, 200, status)
	require.Equal(t, "*", header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, header.Get("Access-Control-Allow-Methods"), "POST")
	require.Equal(t, "authorization, content-type", header.Get("Access-Control-Allow-Headers"))
	require.Empty(t, header.Get("Access-Control-Allow-Credentials"), "nothing here reads cookies")
	w.say("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nContent-Length: 2\r\n\r\n{}")
	status, header, _ = w.hear("POST")
	require.Equal(t, 401, status)
	require.Equal(t, "*", header.Get("Access-Control-Allow-Origin"), "also where the answer is no")
	w.say("GET /health/liveliness HTTP/1.1\r\nHost: x\r\n\r\n")
	_, header, _ = w.hear("GET")
	require.Empty(t, header.Get("Access-Control-Allow-Origin"))
}

func TestEveryAnswerNamesItsRequest(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	w.say("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	status, header, body := w.hear("POST")
	require.Equal(t, 401, status)
	id := header.Get("x-litellm-call-id")
	require.NotEmpty(t, id)
	require.Equal(t, id, header.Get("request-id"))
	require.Equal(t, id, header.Get("x-request-id"))
	require.JSONEq(t, `{"type":"error","error":{"type":"authentication_error","message":"Authentication Error, No api key passed in."},"request_id":"`+id+`"}`, body)
	require.Equal(t, "1.2.3", header.Get("x-litellm-version"))
}

func TestFurtherRoomsServeWhatTheFirstDoesNotKnow(t *testing.T) {
	addr, _ := front(t)
	w := dial(t, addr)
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/cluster/one", "first", 200},
		{"GET", "/cluster/two", "second", 200},
		{"POST", "/cluster/two", "second", 200},
		{"DELETE", "/cluster/two", `{"detail":"Method Not Allowed"}`, 405},
		{"GET", "/cluster/three", `{"detail":"Not Found"}`, 404},
	} {
		w.say("%s %s HTTP/1.1\r\n%sContent-Length: 0\r\n\r\n", tc.method, tc.path, keyed)
		status, _, body := w.hear(tc.method)
		require.Equal(t, tc.status, status, tc.path)
		require.Equal(t, tc.body, body, tc.path)
	}
	w.say("GET /cluster/one HTTP/1.1\r\nHost: x\r\n\r\n")
	status, _, _ := w.hear("GET")
	require.Equal(t, 401, status, "not without a key")
}
