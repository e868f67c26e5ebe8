package run

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStartingNodeSaysWhyItIsNotReadyAndGivesItsListenerBack(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	s := answerWhileStarting(ln, 0)
	s.say("waiting for a leader")
	base := "http://" + ln.Addr().String()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/health/liveliness":   {200, "I'm alive!"},
		"/health/readiness":    {503, "waiting for a leader"},
		"/v1/chat/completions": {503, `"code":"starting"`},
		"/v1/messages":         {503, `"type":"error"`},
	} {
		res, err := client.Get(base + path)
		require.NoError(t, err, path)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want.status, res.StatusCode, path)
		require.Contains(t, string(body), want.body, path)
	}
	s.end()
	go func() { _ = http.Serve(ln, http.NotFoundHandler()) }() // ends with the listener
	res, err := client.Get(base + "/health/liveliness")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 404, res.StatusCode, "the next server has the listener")
}

func TestACallToANodeThatStartsQuicklyIsServedInsteadOfRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	s := answerWhileStarting(ln, time.Hour)
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	status := make(chan int)
	conn, err := net.Dial("tcp", ln.Addr().String()) // the call is there before the node is ready
	require.NoError(t, err)
	defer conn.Close()
	go func() {
		res, err := client.Get("http://" + ln.Addr().String() + "/v1/models")
		if err != nil {
			status <- 0
			return
		}
		status <- res.StatusCode
		_ = res.Body.Close() // it has been read enough
	}()
	s.end()
	go func() { _ = http.Serve(ln, http.NotFoundHandler()) }() // ends with the listener
	require.Equal(t, 404, <-status, "the node itself answers")
}
