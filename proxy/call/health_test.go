package call_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/route"
)

// experience keeps what calls report, and lets nobody cool but those named.
type experience struct {
	mu      sync.Mutex // guards what follows
	told    []route.Outcome
	of      []string
	cooling string
}

func (e *experience) Cooling(d *state.Deployment) (time.Time, string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Add(time.Minute), "quota", d.ID == e.cooling
}

func (e *experience) Report(d *state.Deployment, o route.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of, e.told = append(e.of, d.ID), append(e.told, o)
}

func (e *experience) all() ([]route.Outcome, []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told, e.of
}

func TestEveryAttemptTellsHowItWent(t *testing.T) {
	says := func(status int, header, body string) func(*world, string, net.Conn, *http.Request, []byte) {
		return func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { respond(c, status, header, body) }
	}
	const fault = `{"error":{"message":"no","type":"%","code":"%"}}`
	of := func(code string) string { return strings.ReplaceAll(fault, "%", code) }
	for name, tc := range map[string]struct {
		provider func(*world, string, net.Conn, *http.Request, []byte)
		more     string
		kind     route.Kind
		reset    time.Duration
		silent   bool // nothing is told
		model    string
		settings option
	}{
		"an answer":                  {provider: answers},
		"a stream":                   {provider: answers, more: `"stream":true`},
		"limited, says for how long": {provider: says(429, "Retry-After: 7\r\n", of("rate_limit_exceeded")), kind: route.RateLimited, reset: 7 * time.Second},
		"limited, tells its windows": {provider: says(429, "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m30s\r\nx-ratelimit-remaining-tokens: 5\r\nx-ratelimit-reset-tokens: 9m\r\n", of("rate_limit_exceeded")),
			kind: route.RateLimited, reset: 90 * time.Second},
		"limited, says nothing":                 {provider: says(429, "", of("rate_limit_exceeded")), kind: route.RateLimited},
		"out of money":                          {provider: says(429, "", of("insufficient_quota")), kind: route.Quota},
		"payment required":                      {provider: says(402, "", of("x")), kind: route.Quota},
		"wrong key":                             {provider: says(401, "", of("invalid_api_key")), kind: route.Auth},
		"no right, or no such words":            {provider: says(403, "", of("moderation")), silent: true},
		"it failed":                             {provider: says(500, "", of("x")), kind: route.ServerError},
		"overloaded":                            {provider: says(503, "", of("x")), kind: route.ServerError},
		"nonsense":                              {provider: says(200, "", `<html>`), kind: route.ServerError},
		"the client's mistake":                  {provider: says(400, "", of("x")), kind: route.OK},
		"no such model":                         {provider: says(404, "", of("model_not_found")), kind: route.NotFound},
		"it hangs up":                           {provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { _ = c.Close() }, kind: route.Connect},
		"it takes too long":                     {provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { _, _ = io.Copy(io.Discard, c) }, settings: func(_ *state.Builder, cfg *model.Config) { cfg.Router.Timeout = 0.05 }, kind: route.Timeout},
		"it takes longer than the client waits": {provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { _, _ = io.Copy(io.Discard, c) }, more: `"timeout":0.05`, silent: true},
		"an answer of our own":                  {model: "mocked", silent: true},
		"it was never asked":                    {more: `"mock_response":"x"`, silent: true},
		"failed behind the first": {provider: func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
			beginStream(c)
			_ = chunk(c, delta("a")+`data: {"error":{"message":"x","type":"server_error"}}`+"\n\n")
			_ = c.Close()
		}, more: `"stream":true`, kind: route.ServerError},
	} {
		t.Run(name, func(t *testing.T) {
			e := &experience{}
			var options []option
			if tc.settings != nil {
				options = append(options, tc.settings)
			}
			w := openWorld(t, &world{t: t, health: e}, options...)
			w.serve(tc.provider)
			if tc.model == "" {
				tc.model = "m"
			}
			w.post(body(tc.model, tc.more))
			w.quiet()
			told, of := e.all()
			if tc.silent {
				require.Empty(t, told)
				return
			}
			require.Len(t, told, 1)
			require.Equal(t, "first", of[0])
			require.Equal(t, tc.kind.String(), told[0].Kind.String())
			require.Equal(t, tc.reset, told[0].Reset)
			if strings.HasPrefix(name, "a") {
				require.Positive(t, told[0].FirstToken)
			}
			if name == "an answer" {
				require.Positive(t, told[0].Tokens)
			}
			if name == "an answer" || tc.kind != route.OK {
				require.Positive(t, told[0].Latency)
			}
		})
	}
}

// A stream that breaks later has told twice: that it began well, and that not.
func TestStreamThatBreaksTellsBoth(t *testing.T) {
	e := &experience{}
	w := openWorld(t, &world{t: t, health: e})
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("a"))
		time.Sleep(50 * time.Millisecond) // the first chunk leaves alone
		_ = c.Close()
	})
	w.post(body("m", `"stream":true`))
	w.quiet()
	told, _ := e.all()
	require.Len(t, told, 2)
	require.Equal(t, route.OK, told[0].Kind)
	require.Equal(t, route.Connect, told[1].Kind)
	require.False(t, told[0].Late)
	require.True(t, told[1].Late, "it is the same attempt")
}

func TestClientThatLeavesTellsNothingOfTheProvider(t *testing.T) {
	e := &experience{}
	w := openWorld(t, &world{t: t, health: e})
	asked := make(chan struct{})
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		close(asked)
		_, _ = io.Copy(io.Discard, c)
	})
	c := w.rawCall(body("m", ""))
	<-asked
	require.NoError(t, c.Close())
	w.quiet()
	told, _ := e.all()
	require.Empty(t, told)
}

func TestFallbackAnswersWhileTheGroupCools(t *testing.T) {
	e := &experience{cooling: "first"}
	w := openWorld(t, &world{t: t, health: e})
	w.serve(answers)
	got := w.post(body("m", `"fallbacks":["spare"]`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "second", got.header.Get("x-litellm-model-id"))
	_, of := e.all()
	require.Equal(t, []string{"second"}, of)
	require.EqualValues(t, 1, w.asked.Load())

	got = w.post(body("m", ""))
	require.Equal(t, 429, got.status, "nothing else is there")
	require.Contains(t, got.body, "No deployments available for selected model, Try again in ")
	require.Contains(t, got.body, "Passed model=m. pre-call-checks=False, cooldown_list=['first']")
	require.NotEmpty(t, got.header.Get("retry-after"))
	require.EqualValues(t, 1, w.asked.Load())
}
