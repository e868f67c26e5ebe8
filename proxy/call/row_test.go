package call_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/provider"
)

func TestRowTellsRetriesAndOurOwnShareOfTheTime(t *testing.T) {
	w := newWorld(t, withKey(limited))
	w.serve(func(w *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		timer := time.NewTimer(60 * time.Millisecond)
		<-timer.C
		if w.asked.Load() == 1 {
			respond(c, 500, "", "{}")
			return
		}
		respond(c, 200, "", wholeAnswer)
	})
	got := w.post(body("m", `"num_retries":2,"metadata":{"spend_logs_metadata":{"job":7},"user_api_key":"forged"}`))
	require.Equal(t, 200, got.status)
	e := w.only()
	require.Equal(t, 2, e.Attempts)
	require.Equal(t, 2, e.MaxRetries)
	require.JSONEq(t, `{"job":7}`, string(e.SpendLogsMetadata))
	require.Positive(t, e.Overhead)
	require.Less(t, e.Overhead, 55*time.Millisecond, "neither attempts nor the pause between them are ours")
	require.Equal(t, "1", got.header.Get("x-litellm-attempted-retries"))
}

func TestFreeDataOfTheRowComesFromItsHeaderFirst(t *testing.T) {
	w := newWorld(t)
	w.serve(answers)
	w.post(body("m", `"metadata":{"spend_logs_metadata":{"from":"body"}}`), "x-litellm-spend-logs-metadata", `{"from":"header"}`)
	require.JSONEq(t, `{"from":"header"}`, string(w.only().SpendLogsMetadata))
}

func TestEndUserIsFoundInLiteLLMsOrder(t *testing.T) {
	// Each source is struck out in turn; the next one must be found.
	all := []struct{ header, field string }{
		{header: "x-litellm-customer-id"}, {header: "x-litellm-end-user-id"}, {header: "x-tenant"},
		{field: `"user":"%s"`}, {field: `"litellm_metadata":{"user":"%s"}`}, {field: `"metadata":{"user_id":"%s"}`}, {field: `"safety_identifier":"%s"`},
	}
	for first := range all {
		w := newWorld(t, withConfig(func(c *model.Config) { c.General.UserHeaderName = "X-Tenant" }))
		w.serve(answers)
		var header, fields []string
		for i, s := range all[first:] {
			name := fmt.Sprintf("u%d", first+i)
			if s.header != "" {
				header = append(header, s.header, name)
			} else {
				fields = append(fields, fmt.Sprintf(s.field, name))
			}
		}
		require.Equal(t, 200, w.post(body("m", strings.Join(fields, ",")), header...).status)
		require.Equal(t, fmt.Sprintf("u%d", first), w.only().EndUser)
	}
}

func TestSessionIsFoundInItsOrder(t *testing.T) {
	all := []struct{ header, field string }{
		{field: `"session_id":"%s"`}, {field: `"litellm_session_id":"%s"`}, {field: `"litellm_trace_id":"%s"`}, {header: "x-litellm-trace-id"}, {header: "x-litellm-session-id"},
		{header: "x-acme-session-id"}, {field: `"metadata":{"session_id":"%s"`}, {field: `"trace_id":"%s"}`},
	}
	for first := range all {
		w := newWorld(t)
		w.serve(answers)
		var header, fields []string
		for i, s := range all[first:] {
			name, field := fmt.Sprintf("session-%d", first+i), s.field
			if first+i == len(all)-1 && first == len(all)-1 {
				field = `"metadata":{` + field
			}
			if s.header != "" {
				header = append(header, s.header, name)
			} else {
				fields = append(fields, fmt.Sprintf(field, name))
			}
		}
		require.Equal(t, 200, w.post(body("m", strings.Join(fields, ",")), header...).status)
		require.Equal(t, fmt.Sprintf("session-%d", first), w.only().Session)
	}
	w := newWorld(t)
	w.serve(answers)
	got := w.post(body("m", ""))
	require.Equal(t, got.header.Get("x-litellm-call-id"), w.only().Session, "never empty")
}

func TestAnswerHeadersTellWhatLiteLLMsTell(t *testing.T) {
	rpm, tpm, budget := int64(10), int64(100_000), unit.Dollar
	w := newWorld(t, withKey(func(k *model.Key) { k.RPM, k.TPM, k.MaxBudget = &rpm, &tpm, &budget }))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		respond(c, 200, "openai-processing-ms: 12\r\nset-cookie: a=b\r\nx-ratelimit-limit-requests: 999\r\n", wholeAnswer)
	})
	got := w.post(body("m", `"max_tokens":50`), "x-litellm-call-id", "call-from-the-client")
	h := got.header
	for name, want := range map[string]string{
		"x-litellm-call-id": "call-from-the-client", "x-litellm-model-id": "first", "x-litellm-model-api-base": "http://first.test/v1",
		"x-litellm-model-group": "m", "x-litellm-version": "test", "x-litellm-response-cost": "0.0002", "x-litellm-key-rpm-limit": "10",
		"x-litellm-key-tpm-limit": "100000", "x-litellm-key-max-budget": "1", "x-litellm-key-spend": "0.0002",
		"x-litellm-attempted-retries": "0", "x-litellm-attempted-fallbacks": "0", "x-ratelimit-limit-requests": "10",
		"x-ratelimit-remaining-requests": "9", "x-ratelimit-api_key-limit-requests": "10", "x-ratelimit-api_key-remaining-requests": "9",
		"llm_provider-openai-processing-ms": "12", "set-cookie": "", "llm_provider-set-cookie": "", "x-litellm-model-region": "", "x-litellm-cache-key": "",
	} {
		require.Equal(t, want, h.Get(name), name)
	}
	require.NotEmpty(t, h.Get("x-litellm-response-duration-ms"))
	require.NotEmpty(t, h.Get("x-litellm-overhead-duration-ms"))
	w.quiet()

	got = w.post(body("m", `"stream":true`))
	require.Empty(t, got.header.Get("x-litellm-response-cost"), "unknown when a stream begins")
}

// echo hands back what it is given, as a translator does that has nothing to
// change.
type echo struct{ provider.Provider }

func (echo) Request(c *provider.Call) (*provider.Request, error) {
	// What it builds and what it was given must not lie in the same memory.
	mine := append(c.Space[:0], bytes.Repeat([]byte{'#'}, len(c.Body))...)
	if bytes.HasPrefix(c.Body, mine) {
		return nil, provider.NewError(provider.InternalServer, "the call's body was written over")
	}
	return &provider.Request{Method: "POST", URL: "http://first.test/v1/x", Body: c.Body}, nil
}

func (echo) Answer(c *provider.Call, _ func(string) string, body []byte) (*provider.Answer, error) {
	_ = append(c.Space[:0], bytes.Repeat([]byte{'#'}, len(body))...)
	return &provider.Answer{Body: body, ID: "x"}, nil
}

func TestMemoryOfOneCallIsNeverWrittenByAnother(t *testing.T) {
	w := newWorld(t)
	w.calls.Providers = func(string, provider.Op) (provider.Provider, bool) { return echo{}, true }
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, body []byte) { respond(c, 200, "", string(body)) })
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	for i := range 50 {
		text := body("m", fmt.Sprintf(`"user":"%s"`, strings.Repeat(fmt.Sprint(i%10), 100+37*(i%7))))
		req, err := http.NewRequest(http.MethodPost, "http://"+w.addr+"/v1/chat/completions", strings.NewReader(text))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+theKey)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, text, got.String())
	}
	w.quiet()
	for i, e := range w.entries() {
		require.Equal(t, strings.Repeat(fmt.Sprint(i%10), 100+37*(i%7)), e.EndUser)
	}
}

func TestFloodOfRefusedCallsWritesFewRows(t *testing.T) {
	w := newWorld(t)
	w.serve(answers)
	began := time.Now()
	for range 400 {
		require.Equal(t, 400, w.post(body("nobody", "")).status)
	}
	seconds := int(time.Since(began)/time.Second) + 2
	rows := len(w.entries())
	require.GreaterOrEqual(t, rows, 100)
	require.LessOrEqual(t, rows, 100*seconds)
	require.Equal(t, 200, w.post(body("m", "")).status)
	require.Len(t, w.entries(), rows+1, "a call that is answered is always booked")
}

func TestASessionIdInTheBodyStaysAtTheGateway(t *testing.T) {
	w := newWorld(t)
	var sent string
	w.serve(func(w *world, name string, c net.Conn, r *http.Request, b []byte) {
		sent = string(b)
		answers(w, name, c, r, b)
	})
	require.Equal(t, 200, w.post(body("m", `"session_id":"sess-1"`)).status)
	require.Equal(t, "sess-1", w.only().Session)
	require.NotContains(t, sent, "session_id")
}
