package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// Whatever a provider does, the caller hears of it in its own dialect, the
// reservation comes back, and the node goes on.
func TestBrokenProvidersBecomeClearErrorsInBothDialects(t *testing.T) {
	f := fake.Start(t)
	// Each order is to reach the provider, however the one before has ended.
	n := start(t, options{config: strings.Replace(configFor(f, ""), "router_settings:\n", "router_settings:\n  disable_cooldowns: true\n", 1)})
	key := n.newKey(t, `"max_budget":1`)
	for order, status := range map[string]int{
		"fake:garbage":         500,
		"fake:html":            500,
		"fake:html status=502": 502,
		"fake:empty":           500,
		"fake:nothing":         500,
		"fake:half":            500,
		"fake:reset":           500,
		"fake:error200":        500,
		"fake:status=400":      400,
		"fake:status=401":      401,
		"fake:status=403":      403,
		"fake:status=404":      404,
		"fake:status=408":      408,
		"fake:status=422":      422,
		"fake:status=429":      429,
		"fake:status=500":      500,
		"fake:status=502":      502,
		"fake:status=503":      503,
		"fake:status=504":      408,
		"fake:status=302":      500,
	} {
		order = strings.ReplaceAll(order, " status", " fake:status")
		for dialect, d := range dialects {
			for _, model := range []string{"gpt", "claude"} {
				t.Run(dialect+" "+model+" "+order, func(t *testing.T) {
					a := n.do(t, "POST", d.path, key, d.body(model, order, ""))
					if a.status != status {
						t.Errorf("status %d, want %d: %s", a.status, status, a.body)
					}
					d.shape(t, a)
					if a.header.Get("x-should-retry") != "false" {
						t.Error("the client is not told that retrying is the gateway's work")
					}
					if strings.Contains(a.body, "<h1>") || strings.Contains(a.body, "sk-upstream") {
						t.Errorf("the provider's raw answer is passed on: %s", a.body)
					}
				})
			}
		}
	}
	settled(t, n, key)
}

func TestAStreamThatBreaksSaysSoInItsLastFrame(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":1`)
	for _, order := range []string{"fake:half", "fake:reset", "fake:cut", "fake:error200"} {
		for dialect, d := range dialects {
			for _, model := range []string{"gpt", "claude"} {
				t.Run(dialect+" "+model+" "+order, func(t *testing.T) {
					a := n.do(t, "POST", d.path, key, d.body(model, order+" fake:words=12", `"stream":true`))
					if a.status != 200 {
						return // it broke before anything could be sent: an error with a status
					}
					if !strings.Contains(deltas(a.body), "word0 ") {
						t.Errorf("what the provider had sent is missing:\n%s", a.body)
					}
					if strings.Contains(a.body, "[DONE]") || strings.Contains(a.body, "message_stop") {
						t.Errorf("a broken stream ends like a whole one:\n%s", a.body)
					}
					last := a.body[strings.LastIndex(strings.TrimRight(a.body, "\n"), "\n\n")+2:]
					want := `data: {"error":{`
					if dialect == "anthropic" {
						want = "event: error\ndata: {\"type\":\"error\""
					}
					if !strings.HasPrefix(last, want) {
						t.Errorf("the last frame is no error: %s", last)
					}
					row := n.row(t, a.header.Get("x-litellm-call-id"))
					if row.Get("spend").Float() <= 0 || row.Get("metadata.status").String() != "failure" {
						t.Errorf("what was streamed is not billed as a failed call: %s", row)
					}
				})
			}
		}
	}
	settled(t, n, key)
}

func TestAProviderThatHangsIsATimeout(t *testing.T) {
	f := fake.Start(t)
	config := strings.ReplaceAll(configFor(f, ""), "api_key: sk-upstream-openai", "api_key: sk-upstream-openai\n      timeout: 0.3\n      stream_timeout: 0.3")
	n := start(t, options{config: config})
	key := n.newKey(t, `"max_budget":1`)
	for _, more := range []string{"", `"stream":true`} {
		for dialect, d := range dialects {
			a := n.do(t, "POST", d.path, key, d.body("gpt", "fake:hang", more))
			if a.status != http.StatusRequestTimeout {
				t.Errorf("%s %s: %d %s", dialect, more, a.status, a.body)
			}
			if got := a.header.Get("x-litellm-timeout"); got != "0.3" {
				t.Errorf("x-litellm-timeout is %q", got)
			}
			d.shape(t, a)
		}
	}
	a := n.chat(t, key, "claude", "fake:hang", "", "x-litellm-timeout", "0.2")
	if a.status != 408 {
		t.Errorf("the caller's own timeout: %d %s", a.status, a.body)
	}
	a = n.chat(t, key, "gpt", "fake:stall fake:words=20", `"stream":true`)
	if a.status != 200 || !strings.Contains(a.body, "litellm.Timeout") || strings.Contains(a.body, "[DONE]") {
		t.Errorf("a stream that falls silent: %d %s", a.status, a.body)
	}
	for _, r := range f.Received() {
		if !strings.Contains(string(r.Body), "fake:hang") && !strings.Contains(string(r.Body), "fake:stall") {
			continue
		}
		select {
		case <-r.Gone:
		case <-time.After(soon):
			t.Errorf("a call that timed out is still open at the provider: %s", r.Body)
		}
	}
	settled(t, n, key)
}

func TestAProviderThatIsNotThereIsAnErrorAndAFallbackAnswers(t *testing.T) {
	f := fake.Start(t)
	nobody := freePort(t)
	config := strings.ReplaceAll(configFor(f, ""), "num_retries: 0", `num_retries: 1
  fallbacks:
    - gone: ["claude"]`)
	config = strings.Replace(config, "model_list:\n", fmt.Sprintf(`model_list:
  - model_name: gone
    litellm_params: {model: openai/gpt-4o, api_base: "http://%s/v1", api_key: sk-x}
  - model_name: alone
    litellm_params: {model: openai/gpt-4o, api_base: "http://%s/v1", api_key: sk-x}
`, nobody, nobody), 1)
	n := start(t, options{config: config})
	a := n.chat(t, masterKey, "gone", "hi", "")
	if a.status != 200 || !strings.Contains(a.body, "claude-3-5-haiku") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a.header.Get("x-litellm-attempted-fallbacks") != "1" {
		t.Errorf("attempted fallbacks is %q", a.header.Get("x-litellm-attempted-fallbacks"))
	}
	a = n.chat(t, masterKey, "alone", "hi", "")
	if a.status != 500 || !strings.HasPrefix(a.get("error.message").String(), "litellm.APIConnectionError: OpenAIException - ") {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = n.chat(t, masterKey, "gone", "hi", `"disable_fallbacks":true`)
	if a.status != 500 {
		t.Errorf("fallbacks are off: %d %s", a.status, a.body)
	}
}
