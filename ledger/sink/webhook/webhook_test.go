package webhook_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/sink/webhook"
	"tollgate/ledger/store"
)

// got is one request that a receiver had.
type got struct {
	header http.Header
	ids    []string
}

type server struct {
	*httptest.Server
	mu     sync.Mutex // guards got and answer
	got    []got
	answer func(g got, w http.ResponseWriter)
}

func serve(t *testing.T, answer func(g got, w http.ResponseWriter)) *server {
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(z)
			}
		}
		g := got{header: r.Header, ids: ids(body)}
		if err != nil {
			g.ids = []string{err.Error()}
		}
		s.mu.Lock()
		s.got = append(s.got, g)
		s.mu.Unlock()
		if answer != nil {
			answer(g, w)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// ids finds the records of a body, in any of the formats.
func ids(body []byte) (out []string) {
	type record struct {
		ID string `json:"litellm_call_id"`
	}
	var list []record
	if json.Unmarshal(body, &list) != nil {
		sc := bufio.NewScanner(bytes.NewReader(body))
		for sc.Scan() {
			var r record
			if json.Unmarshal(sc.Bytes(), &r) == nil {
				list = append(list, r)
			}
		}
	}
	for _, r := range list {
		out = append(out, r.ID[len(r.ID)-2:])
	}
	return out
}

func batch(n int) (out []*store.Entry) {
	for i := range n {
		e := &store.Entry{Seq: uint64(i + 1), Status: store.Success, Model: "openai/gpt-4o", Provider: "openai"}
		e.CallID[15] = byte(i + 1)
		out = append(out, e)
	}
	return out
}

func sink(t *testing.T, cfg webhook.Config) *webhook.Sink {
	s, err := webhook.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format   webhook.Format
		gzip     bool
		requests int
		kind     string
	}{
		{webhook.JSONArray, false, 1, "application/json"}, {webhook.JSONArray, true, 1, "application/json"},
		{webhook.NDJSON, false, 1, "application/x-ndjson"}, {webhook.NDJSON, true, 1, "application/x-ndjson"},
		{webhook.Single, false, 3, "application/json"},
	} {
		srv := serve(t, nil)
		s := sink(t, webhook.Config{Endpoint: srv.URL, Format: c.format, Gzip: c.gzip, Node: "n1", Agent: "tollgate/test",
			Headers: map[string]string{"Authorization": "Bearer x"}})
		require.NoError(t, s.Deliver(t.Context(), batch(3)))
		require.Len(t, srv.got, c.requests)
		var all []string
		for _, g := range srv.got {
			require.Equal(t, c.kind, g.header.Get("Content-Type"))
			require.Equal(t, "Bearer x", g.header.Get("Authorization"))
			require.Equal(t, "tollgate/test", g.header.Get("User-Agent"))
			require.NotEmpty(t, g.header.Get("Idempotency-Key"))
			all = append(all, g.ids...)
		}
		require.Equal(t, []string{"01", "02", "03"}, all)
	}
}

func TestAnswersAreJudged(t *testing.T) {
	for _, c := range []struct {
		status int
		header map[string]string
		later  time.Duration // -1: no wish
	}{
		{429, map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{429, nil, 0},
		{503, map[string]string{"Retry-After": "Sat, 14 Mar 2026 15:10:26 GMT", "Date": "Sat, 14 Mar 2026 15:09:26 GMT"}, time.Minute},
		{503, nil, -1}, {500, nil, -1}, {502, nil, -1}, {408, nil, -1}, {425, nil, -1},
		{401, nil, -1}, {403, nil, -1}, {404, nil, -1}, {302, map[string]string{"Location": "/x"}, -1},
	} {
		srv := serve(t, func(_ got, w http.ResponseWriter) {
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(c.status)
		})
		err := sink(t, webhook.Config{Endpoint: srv.URL}).Deliver(t.Context(), batch(2))
		require.Error(t, err, c.status)
		var no *reader.Rejected
		require.False(t, errors.As(err, &no), "%d speaks of no entry", c.status)
		var later *reader.Later
		require.Equal(t, c.later >= 0, errors.As(err, &later), c.status)
		if later != nil {
			require.Equal(t, c.later, later.After)
		}
	}
}

func TestRefusedContentIsFoundByHalves(t *testing.T) {
	srv := serve(t, func(g got, w http.ResponseWriter) {
		for _, id := range g.ids {
			if id == "03" || id == "0b" {
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = w.Write([]byte("no\n such\tfield"))
				return
			}
		}
	})
	err := sink(t, webhook.Config{Endpoint: srv.URL}).Deliver(t.Context(), batch(16))
	var no *reader.Rejected
	require.ErrorAs(t, err, &no)
	require.Len(t, no.Entries, 2)
	require.ErrorContains(t, no.Entries[3], "422: no such field")
	require.Contains(t, no.Entries, uint64(11))
	require.Less(t, len(srv.got), 20)
}

func TestReceiverThatRefusesEverythingIsNotObeyed(t *testing.T) {
	refuse := true
	srv := serve(t, func(_ got, w http.ResponseWriter) {
		if refuse {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	s := sink(t, webhook.Config{Endpoint: srv.URL})
	var no *reader.Rejected
	err := s.Deliver(t.Context(), batch(50))
	require.ErrorContains(t, err, "everything is refused")
	require.False(t, errors.As(err, &no), "nothing is put aside")
	require.Less(t, len(srv.got), 20)
	refuse = false
	require.NoError(t, s.Deliver(t.Context(), batch(50)))
}

func TestPartThatWasTakenBeforeAFaultIsNotSentAgain(t *testing.T) {
	left := 2
	srv := serve(t, func(_ got, w http.ResponseWriter) {
		if left--; left == -1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := sink(t, webhook.Config{Endpoint: srv.URL, Format: webhook.Single})
	require.Error(t, s.Deliver(t.Context(), batch(4)))
	require.NoError(t, s.Deliver(t.Context(), batch(4)))
	var all []string
	for _, g := range srv.got {
		all = append(all, g.ids...)
	}
	require.Equal(t, []string{"01", "02", "03", "03", "04"}, all)
}

func TestRedirectToAnotherHostIsNotFollowed(t *testing.T) {
	other := serve(t, nil)
	srv := serve(t, nil)
	at := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/here":
			http.Redirect(w, r, "/there", http.StatusPermanentRedirect)
		default:
			srv.Config.Handler.ServeHTTP(w, r)
		}
	}))
	front := httptest.NewServer(at)
	defer front.Close()
	require.ErrorContains(t, sink(t, webhook.Config{Endpoint: front.URL + "/away"}).Deliver(t.Context(), batch(1)), "another host")
	require.Empty(t, other.got)
	require.NoError(t, sink(t, webhook.Config{Endpoint: front.URL + "/here"}).Deliver(t.Context(), batch(1)))
	require.Len(t, srv.got, 1)
}

func TestReceiversThatHangCloseEarlyOrTalkNonsense(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"hangs":   func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"closes":  func(c net.Conn) { _ = c.Close() },
		"garbage": func(c net.Conn) { _, _ = c.Write([]byte("\x00\xffSSH-2.0\r\n\r\n")); _ = c.Close() },
		"half": func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\nhalf"))
			_ = c.Close()
		},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go talk(c)
			}
		}()
		s := sink(t, webhook.Config{Endpoint: "http://user:canary@" + l.Addr().String() + "/canary", Timeout: 200 * time.Millisecond})
		err = s.Deliver(t.Context(), batch(1))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "canary", "addresses are secrets")
		require.NoError(t, l.Close())
	}
}

func TestLinkLocalAddressesAreNotCalled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := sink(t, webhook.Config{Endpoint: "http://169.254.169.254/latest"}).Deliver(ctx, batch(1))
	require.ErrorContains(t, err, "link-local")
}

func TestWrongSettingsAreTold(t *testing.T) {
	for _, cfg := range []webhook.Config{
		{}, {Endpoint: "ftp://x"}, {Endpoint: "http://x", Format: "xml"}, {Endpoint: "http://x", Headers: map[string]string{"a b": "c"}},
		{Endpoint: "http://x", Headers: map[string]string{"a": "c\r\nd: e"}},
	} {
		_, err := webhook.New(cfg)
		require.Error(t, err)
	}
}

func TestContentIsToldAsTheOptionsSay(t *testing.T) {
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}))
	defer srv.Close()
	entries := batch(2)
	for _, e := range entries {
		e.Messages = []byte(`[{"content":"canary"}]`)
	}
	s := sink(t, webhook.Config{Endpoint: srv.URL, Options: func(e *store.Entry) payload.Options {
		return payload.Options{Redact: e.Seq == 1}
	}})
	require.NoError(t, s.Deliver(t.Context(), entries))
	require.Equal(t, 1, strings.Count(body, "canary"))
}
