package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// restricted is the usual config with every restriction of the whole gateway.
func restricted(f *fake.Server) string {
	config := configFor(f, "")
	const mark = "general_settings:\n"
	return strings.Replace(config, mark, mark+`  admin_only_routes: ["/key/list"]
  allowed_routes: ["llm_api_routes", "management_routes", "/health/*"]
  reject_clientside_metadata_tags: true
  token_rate_limit_type: output
  global_max_parallel_requests: 1
`, 1) + "\ntollgate_settings:\n  budget: {unbounded: reject}\n"
}

func TestRestrictionsOfTheWholeGatewayAreEnforced(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: restricted(f)})
	key := n.newKey(t, `"max_budget":1`)
	for what, c := range map[string]struct {
		method, path, key, body, says string
		status                        int
	}{
		"a route that is not listed":           {"GET", "/global/spend", masterKey, "", "is not allowed on this gateway", 403},
		"an admin's route with another's key":  {"GET", "/key/list", key, "", "for proxy admins only", 403},
		"tags of a client":                     {"POST", "/v1/chat/completions", key, chatBody("gpt", "hi", `"tags":["a"],"max_tokens":5`), "Tags may not be sent", 400},
		"a call against a budget, no maximum":  {"POST", "/v1/chat/completions", key, chatBody("gpt", "hi", ""), "only with a maximum", 400},
		"a call that keeps to all of it":       {"POST", "/v1/chat/completions", key, chatBody("gpt", "hi", `"max_tokens":5`), `"content"`, 200},
		"an admin's route with the master key": {"GET", "/key/list", masterKey, "", `"keys"`, 200},
	} {
		if a := n.do(t, c.method, c.path, c.key, c.body); a.status != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
}

func TestOneCallAtATimeWhenTheGatewayAllowsOne(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: restricted(f)})
	first := make(chan answer, 1)
	go func() { first <- n.chat(t, masterKey, "gpt", "fake:slow=500ms", `"max_tokens":5`) }()
	eventually(t, soon, "the first call to reach the provider", func() error {
		if got := f.Count(); got != 1 {
			return fmt.Errorf("%d calls", got)
		}
		return nil
	})
	if a := n.chat(t, masterKey, "gpt", "hi", `"max_tokens":5`); a.status != 429 || !strings.Contains(a.body, "max_parallel_requests") {
		t.Errorf("a second call at once: %d %s", a.status, a.body)
	}
	if a := <-first; a.status != 200 {
		t.Errorf("the first call: %d %s", a.status, a.body)
	}
}

func TestOnlyOutputTokensCountWhenTheLimitSaysSo(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: restricted(f)})
	key := n.newKey(t, `"tpm_limit":1000`)
	long := strings.Repeat("many words of input ", 400) // about 2,000 tokens
	if a := n.chat(t, key, "gpt", long, `"max_tokens":50`); a.status != 200 {
		t.Errorf("input was counted: %d %s", a.status, a.body)
	}
}
