package call_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/ledger/store"
)

// failing answers with a status for the hosts named, and well for the others.
func failing(status int, hosts ...string) func(*world, string, net.Conn, *http.Request, []byte) {
	return func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
		for _, h := range hosts {
			if h == host {
				respond(c, status, "", fmt.Sprintf(`{"error":{"message":"no, says %s"}}`, host))
				return
			}
		}
		answers(w, host, c, r, b)
	}
}

func withFallback(cfg *model.Config) { cfg.Router.Fallbacks = map[string][]string{"m": {"spare"}} }

func TestAFallbackIsToldEverywhere(t *testing.T) {
	for _, more := range []string{"", `"stream":true`} {
		w := newWorld(t, withConfig(withFallback))
		w.serve(failing(503, "first.test"))
		got := w.post(body("m", more))
		require.Equal(t, 200, got.status, got.body)
		for name, want := range map[string]string{"x-litellm-attempted-retries": "0", "x-litellm-attempted-fallbacks": "1", "x-litellm-max-retries": "0",
			"x-litellm-model-group": "spare", "x-litellm-model-id": "second", "x-litellm-model-api-base": "http://second.test/v1"} {
			require.Equal(t, want, got.header.Get(name), name)
		}
		e := w.only()
		require.Equal(t, "m", e.Group, "what was asked for")
		require.Equal(t, "second", e.ModelID)
		require.Equal(t, "openai/gpt-y", e.Model)
		require.Equal(t, []int{2, 1, 0}, []int{e.Attempts, e.Fallbacks, e.Retried()})
		require.Equal(t, "spare", e.ServedGroup())
		require.Len(t, e.Tried, 2)
		first, second := e.Tried[0], e.Tried[1]
		require.Equal(t, []string{"m", "first", "", "ServiceUnavailableError"}, []string{first.Group, first.ModelID, first.Reason, first.Class})
		require.Equal(t, 503, first.Status)
		require.Equal(t, []string{"spare", "second", "fallback", ""}, []string{second.Group, second.ModelID, second.Reason, second.Class})
		require.GreaterOrEqual(t, second.After, first.After+first.Took)

		page := w.page()
		count := func(name string, labels ...string) string {
			for line, n := range page {
				found := strings.HasPrefix(line, name+"{")
				for _, l := range labels {
					found = found && strings.Contains(line, l)
				}
				if found {
					return n
				}
			}
			return ""
		}
		require.Equal(t, "1", count("litellm_deployment_failure_responses_total", `model_id="first"`, `exception_status="503"`, `exception_class="ServiceUnavailableError"`))
		require.Equal(t, "1", count("litellm_deployment_total_requests_total", `model_id="first"`))
		require.Equal(t, "0", count("litellm_deployment_success_responses_total", `model_id="first"`))
		require.Equal(t, "1", count("litellm_deployment_success_responses_total", `model_id="second"`))
		require.Equal(t, "1", count("litellm_deployment_total_requests_total", `model_id="second"`))
		require.Equal(t, "1", count("litellm_deployment_successful_fallbacks_total", `requested_model="m"`, `fallback_model="spare"`, `exception_status="503"`, `model_id="second"`))
		require.Empty(t, count("litellm_deployment_failed_fallbacks_total"))
		require.Equal(t, "1", count("tollgate_retries_total", `reason="fallback"`, `exception_class="ServiceUnavailableError"`))
		require.Empty(t, count("litellm_proxy_failed_requests_metric_total"), "the client has its answer")
	}
}

func TestACallThatFailedEverywhereTellsSo(t *testing.T) {
	w := newWorld(t, withConfig(withFallback))
	w.serve(failing(500, "first.test", "second.test"))
	got := w.post(body("m", ""))
	require.Equal(t, 500, got.status)
	require.Contains(t, got.body, "says first.test", "the first failure is the client's")
	require.Equal(t, "1", got.header.Get("x-litellm-attempted-fallbacks"))
	require.Equal(t, "0", got.header.Get("x-litellm-attempted-retries"))
	e := w.only()
	require.Equal(t, store.Failure, e.Status)
	require.Len(t, e.Tried, 2)
	require.Equal(t, "InternalServerError", e.Tried[1].Class)
	found := 0
	for line, n := range w.page() {
		if strings.HasPrefix(line, "litellm_deployment_failed_fallbacks_total{") {
			require.Contains(t, line, `fallback_model="spare"`)
			require.Equal(t, "1", n)
			found++
		}
		if strings.HasPrefix(line, "litellm_deployment_failure_responses_total{") {
			require.Equal(t, "1", n, line)
			found++
		}
	}
	require.Equal(t, 3, found, "one failure each, one fallback that did not help")
}

func TestRetriesAreNoFallbacks(t *testing.T) {
	w := newWorld(t)
	w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
		if w.asked.Load() == 1 {
			respond(c, 429, "retry-after: 0.01\r\n", "{}")
			return
		}
		answers(w, host, c, r, b)
	})
	got := w.post(body("m", `"num_retries":3`))
	require.Equal(t, 200, got.status)
	require.Equal(t, "1", got.header.Get("x-litellm-attempted-retries"))
	require.Equal(t, "0", got.header.Get("x-litellm-attempted-fallbacks"))
	require.Equal(t, "3", got.header.Get("x-litellm-max-retries"))
	require.Equal(t, "m", got.header.Get("x-litellm-model-group"))
	e := w.only()
	require.Equal(t, []int{2, 0, 1, 3}, []int{e.Attempts, e.Fallbacks, e.Retried(), e.MaxRetries})
	require.Equal(t, "retry", e.Tried[1].Reason)
	require.Positive(t, e.Tried[1].Wait)
	require.Empty(t, e.ServedGroup())
}

func TestTheUsualCallsEntryTellsNoAttempts(t *testing.T) {
	w := newWorld(t, withConfig(withFallback))
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", "")).status)
	require.Empty(t, w.only().Tried)
	for line := range w.page() {
		require.NotContains(t, line, "tollgate_retries_total")
		require.NotContains(t, line, "fallbacks_total")
	}
}

func TestFallbacksThatRequestsNameFillNoMemory(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		c.Deployments = append(c.Deployments, model.Deployment{ID: "any", Group: "any/*", Params: model.Params{
			"model": []byte(`"openai/*"`), "api_key": []byte(`"k"`), "api_base": []byte(`"http://second.test/v1"`)}})
	}))
	w.serve(failing(500, "first.test"))
	for i := range 70 {
		require.Equal(t, 200, w.post(body("m", fmt.Sprintf(`"fallbacks":["any/%d"]`, i))).status)
	}
	w.quiet()
	lines, others := 0, 0
	for line := range w.page() {
		if strings.HasPrefix(line, "litellm_deployment_successful_fallbacks_total{") {
			lines++
			if strings.Contains(line, `fallback_model="other"`) {
				others++
			}
		}
	}
	require.Equal(t, 65, lines)
	require.Equal(t, 1, others)
}

func TestTimeLimitsAreTakenInLiteLLMsOrder(t *testing.T) {
	const slow = 400 * time.Millisecond
	const short, long = 0.05, 30.0
	type limits struct{ call, deployment, router, settings float64 }
	for name, tc := range map[string]struct {
		plain, stream limits // of calls and of streams
		streamed, cut bool
	}{
		"nothing is said":  {},
		"the call":         {plain: limits{call: short, deployment: long, router: long}, cut: true},
		"the call, longer": {plain: limits{call: long, deployment: short, router: short}},
		"the deployment":   {plain: limits{deployment: short, router: long}, cut: true},
		"the router":       {plain: limits{router: short, settings: long}, cut: true},
		"the settings":     {plain: limits{settings: short}, cut: true},
		"what is said of streams is not of calls":   {stream: limits{call: short, deployment: short, router: short}},
		"a stream by the call's word for streams":   {streamed: true, stream: limits{call: short, deployment: long}, cut: true},
		"a stream by the deployment's":              {streamed: true, stream: limits{deployment: short, router: long}, plain: limits{call: long}, cut: true},
		"a stream by the router's":                  {streamed: true, stream: limits{router: short}, plain: limits{call: long, deployment: long}, cut: true},
		"a stream by what is said of calls":         {streamed: true, plain: limits{call: short}, cut: true},
		"a stream's own limit is above that of all": {streamed: true, stream: limits{router: long}, plain: limits{call: short, deployment: short}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			number := func(f float64) []byte { return []byte(fmt.Sprint(f)) }
			w := newWorld(t, withConfig(func(c *model.Config) {
				p := c.Deployments[0].Params
				if f := tc.plain.deployment; f > 0 {
					p["timeout"] = number(f)
				}
				if f := tc.stream.deployment; f > 0 {
					p["stream_timeout"] = number(f)
				}
				c.Router.Timeout, c.Router.StreamTimeout, c.LiteLLM.RequestTimeout = tc.plain.router, tc.stream.router, tc.plain.settings
			}))
			w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
				timer := time.NewTimer(slow)
				<-timer.C
				answers(w, host, c, r, b)
			})
			more := fmt.Sprintf(`"stream":%t`, tc.streamed)
			if tc.plain.call > 0 {
				more += fmt.Sprintf(`,"timeout":%g`, tc.plain.call)
			}
			if tc.stream.call > 0 {
				more += fmt.Sprintf(`,"stream_timeout":%g`, tc.stream.call)
			}
			got := w.post(body("m", more))
			if !tc.cut {
				require.Equal(t, 200, got.status, got.body)
				return
			}
			require.Equal(t, 408, got.status, got.body)
			require.Equal(t, "0.05", got.header.Get("x-litellm-timeout"))
			require.Equal(t, "Timeout", w.only().ErrorClass)
		})
	}
}

func TestAStreamMayHaveAnEnd(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) { c.LiteLLM.MaxStreaming = 0.2 }))
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		for chunk(c, delta("word ")) == nil {
			timer := time.NewTimer(20 * time.Millisecond)
			<-timer.C
		}
	})
	began := time.Now()
	got := w.post(body("m", `"stream":true`))
	require.Equal(t, 200, got.status)
	require.Contains(t, got.body, "Timeout")
	require.Less(t, time.Since(began), 5*time.Second)
	e := w.only()
	require.Equal(t, "Timeout", e.ErrorClass)
	require.Positive(t, e.Cost.Total, "what came is paid")
}
