package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// shipped is the example config that users start from.
func shipped(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../config/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// shippedFor is the example with its providers moved to the fake, and keys.
func shippedFor(t *testing.T, f *fake.Server) options {
	t.Helper()
	config := strings.ReplaceAll(shipped(t), "api_key: os.environ/OPENAI_API_KEY\n", "api_key: os.environ/OPENAI_API_KEY\n      api_base: "+f.OpenAI()+"\n")
	config = strings.ReplaceAll(config, "api_key: os.environ/ANTHROPIC_API_KEY\n", "api_key: os.environ/ANTHROPIC_API_KEY\n      api_base: "+f.Anthropic()+"\n")
	return options{config: config, env: []string{"OPENAI_API_KEY=sk-up-openai", "ANTHROPIC_API_KEY=sk-up-anthropic"}}
}

func TestTheShippedConfigLoadsWithoutAKeyAndNamesItsCallbacks(t *testing.T) {
	n := start(t, options{config: shipped(t)})
	said := n.log.String()
	for _, name := range []string{"supabase", "langsmith", "langfuse"} {
		if !strings.Contains(said, name) {
			t.Errorf("no warning names the callback %s, which cannot work here:\n%s", name, said)
		}
	}
	if a := n.chat(t, masterKey, "gpt-4o-mini", "hi", ""); a.status != 200 || !strings.Contains(a.body, "Set OPENAI_API_KEY to get real ones") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := n.chat(t, masterKey, "smart-model", "hi", ""); a.status != 200 {
		t.Errorf("the alias: %d %s", a.status, a.body)
	}
}

func TestHealthAndModelsAnswerWithoutAKey(t *testing.T) {
	n := start(t, options{config: shipped(t)})
	if a := n.get(t, "/health", ""); a.status != 200 || a.get("status").String() != "healthy" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := n.get(t, "/v1/models", "")
	if a.status != 200 || !strings.Contains(a.body, `"id":"gpt-4o"`) || !strings.Contains(a.body, `"id":"smart-model"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := n.get(t, "/key/list", ""); a.status != 401 {
		t.Errorf("other routes are open too: %d %s", a.status, a.body)
	}
}

// curls are the sample requests of a LiteLLM set-up, as people paste them.
func curls(t *testing.T, n *node, key string) []string {
	t.Helper()
	raw, err := os.ReadFile("testdata/sessions.sh")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "http://localhost:4000", n.url)
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "your-api-key", key)), "\n\n")
}

func TestTheSampleCurlsRunAsWrittenAndLeaveTheirSessionsInTheBooks(t *testing.T) {
	f := fake.Start(t)
	n := start(t, shippedFor(t, f))
	key := n.newKey(t, "")
	list := curls(t, n, key)
	if len(list) != 5 {
		t.Fatalf("%d curls", len(list))
	}
	for i, text := range list {
		out, err := exec.Command("bash", "-c", strings.Replace(text, "curl ", "curl -sS --fail-with-body --max-time 10 ", 1)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"content"`) && !strings.Contains(string(out), `"tool_calls"`) {
			t.Errorf("curl %d: %v\n%s", i+1, err, out)
		}
	}
	sessions := map[string]string{
		"sess_abc123def456": "CustomerSupportBot", "cs_session_20241203_001": "OrderAssistant", "edu_session_ml_101": "EducationBot",
		"weather_session_nyc_001": "WeatherBot", "dev_session_python_async_001": "CodingAssistant",
	}
	users := map[string]string{"sess_abc123def456": "john_doe_123", "dev_session_python_async_001": "developer_555"}
	rows := n.rowsOfKey(t, key)
	if len(rows) != len(sessions) {
		t.Errorf("%d rows for %d curls", len(rows), len(sessions))
	}
	for _, r := range rows {
		id := r.Get("session_id").String()
		if sessions[id] == "" || r.Get("metadata.session_id").String() != id || r.Get("metadata.agent_name").String() != sessions[id] {
			t.Errorf("the session is not in the row: %s", r)
		}
		if want := users[id]; want != "" && (r.Get("user").String() != want || r.Get("end_user").String() != want) {
			t.Errorf("the user is not in the row: %s", r)
		}
		if r.Get("spend").Float() <= 0 || r.Get("total_tokens").Int() <= 0 || r.Get("cache_hit").String() == "" {
			t.Errorf("figures are missing: %s", r)
		}
		full := n.row(t, r.Get("request_id").String())
		if !full.Get("messages.0.content").Exists() || len(full.Get("response").Raw) < 10 {
			t.Errorf("prompt or answer is not kept, though the config asks for it: %s", full)
		}
	}
}

func TestFieldsForTheGatewayStayHereAndExtraHeadersBecomeHeaders(t *testing.T) {
	f := fake.Start(t)
	n := start(t, shippedFor(t, f))
	for model, word := range map[string]string{"gpt-4o": "to-openai", "claude-3-5-haiku": "to-anthropic"} {
		a := n.chat(t, masterKey, model, word, `"metadata":{"session_id":"s-1","agent_name":"bot"},"request_tags":["blue","green"],
			"extra_headers":{"X-Session-Type":"educational","X-Content-Category":"tutorial","Authorization":"Bearer stolen"}`)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got := f.Last(word)
		if got == nil {
			t.Fatal("nothing reached the provider")
		}
		if got.Header.Get("X-Session-Type") != "educational" || got.Header.Get("X-Content-Category") != "tutorial" {
			t.Errorf("extra headers are missing: %v", got.Header)
		}
		if auth := got.Header.Get("Authorization") + got.Header.Get("X-Api-Key"); strings.Contains(auth, "stolen") || strings.Contains(auth, masterKey) || !strings.Contains(auth, "sk-up-") {
			t.Errorf("the provider's credential is %q", auth)
		}
		for _, field := range []string{"metadata", "request_tags", "extra_headers", "agent_name", "blue"} {
			if strings.Contains(string(got.Body), field) {
				t.Errorf("%s reached the provider: %s", field, got.Body)
			}
		}
		row := n.row(t, a.header.Get("x-litellm-call-id"))
		if tags := row.Get("request_tags").Raw; tags != `["blue","green"]` {
			t.Errorf("the row's tags are %s", tags)
		}
	}
}

// The example's limits are those of every caller without its own; here they are
// small, so that they can be reached.
func TestACallerWithoutLimitsGetsThoseOfTheConfig(t *testing.T) {
	f := fake.Start(t)
	o := shippedFor(t, f)
	o.config = strings.Replace(o.config, "rpm: 6000", "rpm: 3", 1)
	o.config = strings.Replace(o.config, "tpm: 1000000", "tpm: 50000", 1)
	o.config = strings.Replace(o.config, "max_budget: 100\n", "max_budget: 0.01\n", 1)
	n := start(t, o)

	a := n.chat(t, n.newKey(t, ""), "gpt-4o-mini", "hi", `"max_tokens":20`)
	if a.status != 200 || a.header.Get("x-ratelimit-limit-requests") != "3" || a.header.Get("x-ratelimit-limit-tokens") != "50000" ||
		a.header.Get("x-ratelimit-remaining-requests") != "2" {
		t.Errorf("%d %v", a.status, a.header)
	}

	key := n.newKey(t, "")
	for range 3 {
		if a := n.chat(t, key, "gpt-4o-mini", "hi", `"max_tokens":20`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := n.chat(t, key, "gpt-4o-mini", "hi", `"max_tokens":20`); a.status != 429 || !strings.Contains(a.body, "Limit type: requests. Current limit: 3, Remaining: 0.") {
		t.Errorf("the fourth call of a minute: %d %s", a.status, a.body)
	}

	key = n.newKey(t, `"max_budget":5`)
	if a := n.chat(t, key, "gpt-4o-mini", "fake:words=60000", `"max_tokens":60000`); a.status != 200 {
		t.Fatalf("%d %s", a.status, tail(a.body, 300))
	}
	if a := n.chat(t, key, "gpt-4o-mini", "hi", ""); a.status != 429 || !strings.Contains(a.body, "Limit type: tokens. Current limit: 50000, Remaining: 0.") {
		t.Errorf("a call after the tokens of a minute are used: %d %s", a.status, a.body)
	}

	// gpt-4o's 4,000 output tokens cost at least four cents: four months' money.
	a = n.chat(t, n.newKey(t, ""), "gpt-4o", "hi", `"max_tokens":4000`)
	if a.status != 429 || a.get("error.type").String() != "budget_exceeded" || !strings.Contains(a.body, "Max budget: 0.01") {
		t.Errorf("a call beyond the caller's budget: %d %s", a.status, a.body)
	}

	own := n.newKey(t, `"rpm_limit":50,"tpm_limit":900000,"max_budget":5`)
	a = n.chat(t, own, "gpt-4o", "hi", `"max_tokens":4000`)
	if a.status != 200 || a.header.Get("x-ratelimit-limit-requests") != "50" || a.header.Get("x-litellm-key-max-budget") != "5" {
		t.Errorf("a caller with limits of its own: %d %v %s", a.status, a.header, a.body)
	}
	for range 5 {
		if a := n.chat(t, masterKey, "gpt-4o-mini", "hi", ""); a.status != 200 {
			t.Errorf("the master key is limited: %d %s", a.status, a.body)
		}
	}
}

func TestTheBudgetOfTheConfigIsOfACallerAndACalendarMonth(t *testing.T) {
	f := fake.Start(t)
	o := shippedFor(t, f)
	o.config = strings.Replace(o.config, "max_budget: 100\n", "max_budget: 0.01\n", 1)
	n := start(t, o)
	for _, fields := range []string{`"user_id":"ann"`, `"user_id":"bob"`} {
		key := n.newKey(t, fields)
		a := n.chat(t, key, "gpt-4o", "hi", `"max_tokens":4000`)
		if a.status != 429 || !strings.Contains(a.body, "Resets at: ") || !strings.Contains(a.body, "-01 00:00:00 UTC") {
			t.Errorf("the refusal does not name the first of the next month: %d %s", a.status, a.body)
		}
		if a := n.chat(t, key, "gpt-4o-mini", "hi", `"max_tokens":20`); a.status != 200 {
			t.Errorf("a small call: %d %s", a.status, a.body)
		}
	}
}
