package call_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// heard is what providers were asked, by host and body.
type heard struct {
	mu    sync.Mutex
	calls []string
}

func (h *heard) add(host string, body []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, host+" "+string(body))
	return len(h.calls)
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.calls...)
}

// fleetOf serves by host: what the hosts are not said to do is an answer.
func fleetOf(w *world, does map[string]func(c net.Conn, n int)) *heard {
	h := &heard{}
	w.serve(func(w *world, host string, c net.Conn, req *http.Request, body []byte) {
		n := h.add(host, body)
		if f := does[strings.Split(host, ":")[0]]; f != nil {
			f(c, n)
			return
		}
		answers(w, host, c, req, body)
	})
	return h
}

func erring(status int, message string) func(c net.Conn, n int) {
	return func(c net.Conn, _ int) { respond(c, status, "", `{"error":{"message":"`+message+`"}}`) }
}

func TestFallbacksOwnFieldsReachItsProviderAlone(t *testing.T) {
	w := newWorld(t)
	h := fleetOf(w, map[string]func(net.Conn, int){"first.test": erring(500, "broken")})
	got := w.post(body("m", `"temperature":1,"fallbacks":[{"model":"spare","temperature":0,"num_retries":3,"messages":[{"role":"user","content":"shorter"}]}]`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "second", got.header.Get("x-litellm-model-id"))
	calls := h.all()
	require.Len(t, calls, 2)
	require.Contains(t, calls[0], "hello there")
	require.Contains(t, calls[0], `"temperature":1`)
	require.Contains(t, calls[1], "shorter")
	require.NotContains(t, calls[1], "hello there")
	require.Contains(t, calls[1], `"temperature":0`)
	require.Contains(t, calls[1], `"model":"gpt-y"`)
	require.NotContains(t, calls[1], "num_retries")
}

func TestFallbacksOwnFieldsObeyTheRulesOfRequests(t *testing.T) {
	w := newWorld(t)
	h := fleetOf(w, nil)
	for _, fields := range []string{`"api_base":"http://evil.test"`, `"api_key":"sk-mine"`, `"max_tokens":"many"`, `"n":1000`} {
		got := w.post(body("m", `"fallbacks":[{"model":"spare",`+fields+`}]`))
		require.Equal(t, 400, got.status, fields)
	}
	require.Empty(t, h.all())
}

func TestBudgetsHoldWhatAFallbacksOwnFieldsMayCost(t *testing.T) {
	// 10 tokens of answer are affordable, 900 are not.
	w := newWorld(t, withBudget(unit.Dollar/1000))
	fleetOf(w, map[string]func(net.Conn, int){"first.test": erring(500, "broken")})
	got := w.post(body("m", `"max_tokens":10,"fallbacks":[{"model":"spare","max_tokens":900}]`))
	require.Equal(t, 429, got.status, got.body)
	require.Contains(t, got.body, "Budget has been exceeded")
	got = w.post(body("m", `"max_tokens":10,"fallbacks":[{"model":"spare","messages":[{"role":"user","content":"`+strings.Repeat("long ", 400)+`"}]}]`))
	require.Equal(t, 429, got.status, got.body)
	got = w.post(body("m", `"max_tokens":10,"fallbacks":["spare"]`))
	require.Equal(t, 200, got.status, got.body)
}

func TestClientIsToldTheFirstFailureAndHowTheFallbackFailed(t *testing.T) {
	w := newWorld(t)
	fleetOf(w, map[string]func(net.Conn, int){"first.test": erring(503, "too busy"), "second.test": erring(429, "slow down")})
	got := w.post(body("m", `"fallbacks":["spare"]`))
	require.Equal(t, 503, got.status, got.body)
	var e struct{ Error struct{ Message string } }
	require.NoError(t, json.Unmarshal([]byte(got.body), &e))
	require.Contains(t, e.Error.Message, "too busy. Received Model Group=m\nAvailable Model Group Fallbacks=['spare']\nError doing the fallback: litellm.RateLimitError")
	require.Contains(t, e.Error.Message, "slow down. Received Model Group=spare")
}

func TestRehearsedFailuresNeedNoProvider(t *testing.T) {
	w := newWorld(t, withConfig(func(cfg *model.Config) {
		cfg.Router.Fallbacks = map[string][]string{"m": {"spare"}}
		cfg.Router.ContextFallbacks = map[string][]string{"m": {"mocked"}}
	}))
	h := fleetOf(w, nil)
	got := w.post(body("m", `"mock_testing_fallbacks":true`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "second", got.header.Get("x-litellm-model-id"))
	require.Len(t, h.all(), 1)
	require.NotContains(t, h.all()[0], "mock_testing")

	for _, name := range []string{"mock_testing_context_fallbacks", "mock_testing_context_window_fallbacks"} {
		got = w.post(body("m", `"`+name+`":true`))
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "hello", content(t, got.body))
	}
	require.Len(t, h.all(), 1)

	got = w.post(body("m", `"mock_testing_fallbacks":true,"disable_fallbacks":true`))
	require.Equal(t, 500, got.status, got.body)
	require.Contains(t, got.body, "This is a mock exception for model=m, to trigger a fallback.")
	require.Len(t, h.all(), 1)
}

func content(t *testing.T, text string) string {
	t.Helper()
	var a struct {
		Choices []struct{ Message struct{ Content string } }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &a))
	require.NotEmpty(t, a.Choices, text)
	return a.Choices[0].Message.Content
}

func TestARehearsedRateLimitIsRetried(t *testing.T) {
	w := newWorld(t)
	h := fleetOf(w, nil)
	got := w.post(body("m", `"mock_testing_rate_limit_error":true`))
	require.Equal(t, 429, got.status, "the settings retry nothing")
	require.Empty(t, h.all())
	got = w.post(body("m", `"mock_testing_rate_limit_error":true,"num_retries":1`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "1", got.header.Get("x-litellm-attempted-retries"))
	require.Len(t, h.all(), 1)
}

func TestARehearsedTimeoutTakesItsTime(t *testing.T) {
	w := newWorld(t)
	h := fleetOf(w, nil)
	begun := time.Now()
	got := w.post(body("m", `"mock_timeout":true,"timeout":0.05`))
	require.Equal(t, 408, got.status, got.body)
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond)
	require.Empty(t, h.all())
}

const filtered = `{"id":"chatcmpl-0","object":"chat.completion","created":1,"model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"I"},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`

func filters(c net.Conn, _ int) { respond(c, 200, "llm-mark: first\r\n", filtered) }

func TestAFilteredAnswerGoesToItsFallbackAndBothAreBilled(t *testing.T) {
	w := newWorld(t, withBudget(unit.Dollar), withConfig(func(cfg *model.Config) {
		cfg.Router.ContentFallbacks = map[string][]string{"m": {"spare"}}
	}))
	fleetOf(w, map[string]func(net.Conn, int){"first.test": filters})
	got := w.post(body("m", `"max_tokens":60`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "second", got.header.Get("x-litellm-model-id"))
	require.Equal(t, "hi", content(t, got.body))
	for name := range got.header {
		require.NotContains(t, strings.ToLower(name), "llm-mark", "the first provider's headers")
	}
	e := w.only()
	require.Equal(t, store.Success, e.Status)
	// 10 and 5 tokens at the first, 100 and 50 at the second.
	require.Equal(t, 220*unit.Dollar/1000_000, e.Cost.Total)
	require.Equal(t, e.Cost.Total, e.Cost.Input+e.Cost.Output)
	require.Equal(t, "0.00022", got.header.Get("x-litellm-response-cost"))
}

func TestAFilteredAnswerStaysWhereNothingIsMeantForItOrTheBudgetHoldsNoOther(t *testing.T) {
	for name, options := range map[string][]option{
		"no fallback":        nil,
		"general fallbacks":  {withConfig(func(cfg *model.Config) { cfg.Router.Fallbacks = map[string][]string{"m": {"spare"}} })},
		"the budget is full": {withBudget(90 * unit.Dollar / 1000_000), withConfig(func(cfg *model.Config) { cfg.Router.ContentFallbacks = map[string][]string{"m": {"spare"}} })},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options...)
			h := fleetOf(w, map[string]func(net.Conn, int){"first.test": filters})
			got := w.post(body("m", `"max_tokens":10`))
			require.Equal(t, 200, got.status, got.body)
			require.Equal(t, "first", got.header.Get("x-litellm-model-id"))
			require.Equal(t, 20*unit.Dollar/1000_000, w.only().Cost.Total)
			require.Len(t, h.all(), 1)
		})
	}
}

func TestThoughtsThatAProviderRefusesAreLeftOutOnce(t *testing.T) {
	withClaude := withConfig(func(cfg *model.Config) {
		p := model.Params{}
		for k, v := range map[string]string{"model": "anthropic/claude-3-7-sonnet", "api_key": "sk-ant", "api_base": "http://third.test", "input_cost_per_token": "0", "output_cost_per_token": "0"} {
			p[k], _ = json.Marshal(v)
		}
		cfg.Deployments = append(cfg.Deployments, model.Deployment{ID: "claude", Group: "claude", Params: p})
	})
	const chat = `{"model":"claude","max_tokens":4000,"messages":[{"role":"user","content":"q"},` +
		`{"role":"assistant","content":"a","thinking_blocks":[{"type":"thinking","thinking":"FOREIGN","signature":"c2ln"}]},{"role":"user","content":"more"}]}`
	const native = `{"model":"claude","max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"q"},` +
		`{"role":"assistant","content":[{"type":"thinking","thinking":"FOREIGN","signature":"c2ln"},{"type":"text","text":"a"}]},{"role":"user","content":"more"}]}`
	const answer = `{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"done"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":1}}`
	const refused = `{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid ` + "`signature` in `thinking`" + ` block"}}`
	for path, text := range map[string]string{"/v1/chat/completions": chat, "/v1/messages": native} {
		for name, yields := range map[string]bool{"answered": true, "refused again": false} {
			t.Run(path+" "+name, func(t *testing.T) {
				w := newWorld(t, withClaude)
				h := fleetOf(w, map[string]func(net.Conn, int){"third.test": func(c net.Conn, n int) {
					if n == 1 || !yields {
						respond(c, 400, "", refused)
						return
					}
					respond(c, 200, "", answer)
				}})
				got := w.postTo(path, text)
				calls := h.all()
				require.Len(t, calls, 2, "once as it is, once without")
				require.Contains(t, calls[0], "FOREIGN")
				require.NotContains(t, calls[1], "FOREIGN")
				require.NotContains(t, calls[1], `"enabled"`)
				if !yields {
					require.Equal(t, 400, got.status)
					return
				}
				require.Equal(t, 200, got.status, got.body)
				require.Equal(t, "0", got.header.Get("x-litellm-attempted-retries"))
			})
		}
	}
}

func TestAConnectionThatIsCutBeforeAnAnswerIsRetriedElsewhere(t *testing.T) {
	w := newWorld(t)
	fleetOf(w, map[string]func(net.Conn, int){"first.test": func(c net.Conn, _ int) {
		_, _ = io.WriteString(c, "HTTP/1.1 2")
		_ = c.Close()
	}})
	got := w.post(body("m", `"fallbacks":["spare"]`))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, "second", got.header.Get("x-litellm-model-id"))
}
