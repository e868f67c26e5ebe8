package call_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/once"
	"tollgate/ledger/store"
)

// withAnswers gives the node a desk of its own, alone in its cluster.
func withAnswers(t *testing.T, w *world) *once.Claims {
	t.Helper()
	claims := once.NewClaims()
	var one sync.Mutex
	desk := once.NewDesk(once.Config{Node: "a", Incarnation: w.ledger.Incarnation(), Ledger: w.ledger,
		Propose: func(_ context.Context, p []byte) (*once.Answer, error) {
			one.Lock()
			defer one.Unlock()
			return claims.Apply(1, time.Now(), once.Version, p).(*once.Answer), nil
		}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = desk.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	w.calls.Answers = desk
	return claims
}

const key = "Idempotency-Key"

func TestARepeatedKeyGetsTheSameBytesAndCostsNothing(t *testing.T) {
	for name, text := range map[string]string{"whole": body("m", ""), "stream": body("m", `"stream":true`),
		"mocked": body("mocked", ""), "mocked stream": body("mocked", `"stream":true`)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			withAnswers(t, w)
			w.serve(answers)
			first := w.post(text, key, "k1")
			require.Equal(t, 200, first.status, first.body)
			require.Empty(t, first.header.Get("X-Tollgate-Idempotent-Replay"))
			asked := w.asked.Load()
			for range 3 {
				again := w.post(text, key, "k1")
				require.Equal(t, 200, again.status, again.body)
				require.Equal(t, first.body, again.body)
				require.Equal(t, "true", again.header.Get("X-Tollgate-Idempotent-Replay"))
				require.Equal(t, "0", again.header.Get("X-Litellm-Response-Cost"))
				for _, h := range []string{"Content-Type", "X-Litellm-Call-Id", "X-Litellm-Model-Id", "X-Litellm-Model-Group"} {
					require.Equal(t, first.header.Get(h), again.header.Get(h), h)
				}
			}
			require.Equal(t, asked, w.asked.Load())
			e := w.only()
			require.NoError(t, w.ledger.LoadCallbackBodies(e))
			require.Empty(t, e.Response, "what is kept for the caller is no body")
		})
	}
}

func TestWhatMustNotPassUnderAKey(t *testing.T) {
	w := newWorld(t)
	withAnswers(t, w)
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", ""), key, "k1").status)
	for name, again := range map[string]reply{
		"another body":  w.post(body("m", `"n":2`), key, "k1"),
		"another route": w.postTo("/v1/completions", `{"model":"m","prompt":"x"}`, key, "k1"),
	} {
		require.Equal(t, 422, again.status, name)
		require.Contains(t, again.body, `"code":"idempotency_key_reused"`, name)
		require.NotEmpty(t, again.header.Get("X-Tollgate-First-Call-Id"), name)
	}
	anthropic := w.postTo("/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}`, key, "k1")
	require.Equal(t, 422, anthropic.status)
	require.Contains(t, anthropic.body, `"type":"error"`)
	require.Equal(t, 400, w.post(body("m", ""), key, strings.Repeat("k", 256)).status)
	require.Equal(t, int64(1), w.asked.Load())
}

func TestCallsThatEndWithoutAnAnswerLeaveTheirKeysFree(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		fails   func(w *world, host string, c net.Conn, req *http.Request, body []byte)
		options []option
		status  int
	}{
		"the provider fails": {body("m", ""), func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { respond(c, 500, "", `{}`) }, nil, 500},
		"the stream breaks off": {body("m", `"stream":true`), func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
			beginStream(c)
			_ = chunk(c, delta("half"))
			_ = c.Close()
		}, nil, 200},
		"the budget refuses":   {body("m", ""), answers, []option{withBudget(1)}, 429},
		"the model is unknown": {body("nobody", ""), answers, nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.options...)
			claims := withAnswers(t, w)
			w.serve(tc.fails)
			first := w.post(tc.text, key, "k1")
			require.Equal(t, tc.status, first.status, first.body)
			require.Eventually(t, func() bool { return claims.Len() == 0 }, 5*time.Second, time.Millisecond)
			w.serve(answers)
			if tc.status < 429 && tc.status != 200 || tc.options != nil {
				return
			}
			again := w.post(tc.text, key, "k1")
			require.Equal(t, 200, again.status, again.body)
			require.Empty(t, again.header.Get("X-Tollgate-Idempotent-Replay"))
			require.Equal(t, again.body, w.post(tc.text, key, "k1").body)
		})
	}
}

func TestACallWithAKeyIsHeardOutWhenItsClientLeaves(t *testing.T) {
	for name, more := range map[string]string{"whole": "", "stream": `"stream":true`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			withAnswers(t, w)
			asked, goOn := make(chan struct{}), make(chan struct{})
			w.serve(func(w *world, host string, c net.Conn, req *http.Request, b []byte) {
				if more != "" {
					beginStream(c)
					_ = chunk(c, delta("first words"))
				}
				close(asked)
				<-goOn
				if more == "" {
					answers(w, host, c, req, b)
					return
				}
				_ = chunk(c, delta("last words"))
				endStream(c)
			})
			text := body("m", more)
			conn, err := net.Dial("tcp", w.addr)
			require.NoError(t, err)
			_, err = fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s: k1\r\nContent-Length: %d\r\n\r\n%s", theKey, key, len(text), text)
			require.NoError(t, err)
			<-asked
			if more != "" {
				_, err = io.ReadFull(conn, make([]byte, 16))
				require.NoError(t, err)
			}
			require.NoError(t, conn.Close())
			waiting := make(chan reply, 1)
			go func() { waiting <- w.post(text, key, "k1") }()
			close(goOn)
			got := <-waiting
			require.Equal(t, 200, got.status, got.body)
			require.Equal(t, "true", got.header.Get("X-Tollgate-Idempotent-Replay"))
			if more != "" {
				require.Contains(t, got.body, "last words")
				require.True(t, strings.HasSuffix(got.body, "data: [DONE]\n\n"), got.body)
			}
			require.Equal(t, int64(1), w.asked.Load())
			require.Contains(t, []string{store.Success, store.ClientClosed}, w.only().Status)
		})
	}
}
