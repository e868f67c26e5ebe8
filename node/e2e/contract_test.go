package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

func TestAKeyIsFoundInEveryHeaderThatClientsUse(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, "")
	for name, headers := range map[string][]string{
		"Bearer":                        {"Authorization", "Bearer " + key},
		"bearer":                        {"Authorization", "bearer " + key},
		"Basic with raw text":           {"Authorization", "Basic " + key},
		"an AWS signature":              {"Authorization", "AWS4-HMAC-SHA256 Credential=Bearer " + key + "/20260101/us-east-1/bedrock/aws4_request"},
		"x-litellm-api-key":             {"x-litellm-api-key", key},
		"x-litellm-api-key with Bearer": {"x-litellm-api-key", "Bearer " + key},
		"x-litellm-api-key before all":  {"x-litellm-api-key", key, "Authorization", "Bearer sk-wrong", "x-api-key", "sk-wrong"},
		"Authorization before others":   {"Authorization", "Bearer " + key, "x-api-key", "sk-wrong"},
		"another scheme is no key":      {"Authorization", "Digest whatever", "x-api-key", key},
		"api-key":                       {"api-key", key},
		"x-api-key":                     {"x-api-key", key},
		"x-goog-api-key":                {"x-goog-api-key", key},
		"Ocp-Apim-Subscription-Key":     {"Ocp-Apim-Subscription-Key", key},
	} {
		t.Run(name, func(t *testing.T) {
			word := fmt.Sprintf("w%x", len(f.Received()))
			a := n.do(t, "POST", "/v1/chat/completions", "", chatBody("gpt", word, ""), headers...)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for header, values := range f.Last(word).Header {
				if strings.Contains(strings.Join(values, " "), key) {
					t.Errorf("the caller's key reached the provider in %s", header)
				}
			}
		})
	}
}

func TestAConfiguredKeyHeaderIsTheOnlyOneThatCounts(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  litellm_key_header_name: X-Our-Key\n")})
	if a := n.do(t, "POST", "/v1/chat/completions", "", chatBody("gpt", "hi", ""), "X-Our-Key", "Bearer "+masterKey); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 401 {
		t.Errorf("Authorization counts too: %d %s", a.status, a.body)
	}
}

func TestTheEndUserIsTheFirstThatIsNamed(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  user_header_name: X-Person\n")})
	steps := []struct {
		header, body string
		want         string
	}{ // each step adds a source that stands before all of those above it
		{"", `"safety_identifier":"by-safety"`, "by-safety"},
		{"", `"metadata":{"user_id":"by-metadata"}`, "by-metadata"},
		{"", `"litellm_metadata":{"user":"by-litellm-metadata"}`, "by-litellm-metadata"},
		{"", `"user":"by-body"`, "by-body"},
		{"X-Person", "", "by-header"},
		{"x-litellm-end-user-id", "", "by-end-user-id"},
		{"x-litellm-customer-id", "", "by-customer-id"},
	}
	var body, headers []string
	for _, s := range steps {
		if s.body != "" {
			body = append(body, s.body)
		}
		if s.header != "" {
			headers = append(headers, s.header, s.want)
		}
		a := n.chat(t, masterKey, "gpt", "hi", strings.Join(body, ","), headers...)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if got := n.row(t, a.header.Get("x-litellm-call-id")).Get("end_user").String(); got != s.want {
			t.Errorf("end user %q, want %q", got, s.want)
		}
	}
}

func TestAnswersCarryTheHeadersThatClientsRead(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"rpm_limit":50,"tpm_limit":90000,"max_budget":3,"model_rpm_limit":{"gpt":40}`)
	const id = "0196f3a2-7c1e-7b60-9c53-5a0d5b1c2d3e"
	a := n.chat(t, key, "gpt", "hi", `"max_tokens":20`, "x-litellm-call-id", id)
	for name, want := range map[string]string{
		"x-litellm-call-id":                           id,
		"x-litellm-model-group":                       "gpt",
		"x-litellm-model-api-base":                    f.OpenAI(),
		"x-litellm-key-rpm-limit":                     "50",
		"x-litellm-key-tpm-limit":                     "90000",
		"x-litellm-key-max-budget":                    "3",
		"x-litellm-attempted-retries":                 "0",
		"x-litellm-attempted-fallbacks":               "0",
		"x-litellm-response-cost":                     "6e-05", // ten tokens in, five out
		"x-litellm-key-spend":                         "6e-05", // including this call
		"x-ratelimit-limit-requests":                  "50",
		"x-ratelimit-limit-tokens":                    "90000",
		"x-ratelimit-remaining-requests":              "49",
		"x-ratelimit-api_key-limit-requests":          "50",
		"x-ratelimit-api_key-remaining-requests":      "49",
		"x-ratelimit-model_per_key-limit-requests":    "40",
		"x-litellm-key-remaining-requests-gpt":        "39",
		"llm_provider-x-ratelimit-remaining-requests": "4242",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"x-litellm-model-id", "x-litellm-version", "x-litellm-response-duration-ms", "x-litellm-overhead-duration-ms",
		"x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests", "llm_provider-x-request-id", "x-request-id"} {
		if a.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	for name, values := range a.header {
		if strings.Join(values, "") == "" || values[0] == "None" {
			t.Errorf("%s is there without a value", name)
		}
	}

	a = n.chat(t, masterKey, "gpt", "hi", "")
	for name := range a.header {
		if strings.HasPrefix(strings.ToLower(name), "x-litellm-key-") {
			t.Errorf("%s is shown to the master key, which has no limits", name)
		}
	}
	if got := a.header.Get("x-ratelimit-remaining-requests"); got != "4242" {
		t.Errorf("without limits of ours the provider's count should stand, found %q", got)
	}
	a = n.chat(t, key, "gpt", "fake:status=500", "")
	if a.header.Get("x-litellm-call-id") == "" || a.header.Get("x-litellm-model-group") != "" && a.header.Get("x-litellm-model-group") != "gpt" {
		t.Errorf("an error's headers: %v", a.header)
	}
}

func TestRequestHeadersSteerTheCall(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	a := n.chat(t, masterKey, "gpt", "tagged", "", "x-litellm-tags", "blue, green", "x-litellm-session-id", "session-9",
		"x-litellm-spend-logs-metadata", `{"cost_center":"42"}`, "x-litellm-customer-id", "c-7")
	row := n.row(t, a.header.Get("x-litellm-call-id"))
	for path, want := range map[string]string{"request_tags.0": "blue", "request_tags.1": "green", "session_id": "session-9",
		"metadata.spend_logs_metadata.cost_center": "42", "end_user": "c-7"} {
		if got := row.Get(path).String(); got != want {
			t.Errorf("%s is %q, want %q in %s", path, got, want, row)
		}
	}

	a = n.chat(t, masterKey, "gpt", "traced", "", "x-litellm-trace-id", "trace-1", "x-litellm-session-id", "session-9")
	if got := n.row(t, a.header.Get("x-litellm-call-id")).Get("session_id").String(); got != "trace-1" {
		t.Errorf("the session is %q: the trace id stands first", got)
	}
	a = n.chat(t, masterKey, "gpt", "vendor", "", "x-claude-code-session-id", "abcdefgh-1")
	if got := n.row(t, a.header.Get("x-litellm-call-id")).Get("session_id").String(); got != "abcdefgh-1" {
		t.Errorf("the session is %q: an agent's own header is not read", got)
	}

	before := f.Count()
	a = n.chat(t, masterKey, "gpt", "fake:status=500", "", "x-litellm-num-retries", "2")
	if a.status != 500 || f.Count()-before != 3 {
		t.Errorf("with two retries the provider was asked %d times: %d %s", f.Count()-before, a.status, a.body)
	}

	n.do(t, "POST", "/v1/messages", masterKey, messagesBody("claude", "versions", ""), "anthropic-version", "2023-06-01", "anthropic-beta", "some-beta-1",
		"X-Mine", "yes", "openai-organization", "org-mine", "x-stainless-lang", "js")
	got := f.Last("versions").Header
	if got.Get("anthropic-version") != "2023-06-01" || got.Get("anthropic-beta") != "some-beta-1" {
		t.Errorf("Anthropic's headers are not handed on: %v", got)
	}
	if got.Get("X-Mine")+got.Get("openai-organization")+got.Get("x-stainless-lang") != "" {
		t.Errorf("headers of the client's reached the provider: %v", got)
	}
}

func TestClientHeadersAreForwardedOnlyWhereTheConfigSaysSo(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  forward_client_headers_to_llm_api: true\n  forward_openai_org_id: true\n")})
	n.chat(t, masterKey, "gpt", "forwarded", "", "X-Mine", "yes", "openai-organization", "org-mine", "x-stainless-lang", "js", "x-api-key", "sk-mine", "Cookie", "a=b")
	got := f.Last("forwarded").Header
	if got.Get("X-Mine") != "yes" || got.Get("openai-organization") != "org-mine" {
		t.Errorf("headers are missing: %v", got)
	}
	if got.Get("x-stainless-lang")+got.Get("x-api-key")+got.Get("Cookie") != "" {
		t.Errorf("headers that never leave have left: %v", got)
	}
}

func TestCallIDsOfEqualProviderIDsKeepEveryRow(t *testing.T) {
	n := start(t, options{config: `model_list:
  - model_name: m
    litellm_params: {model: openai/gpt-4o-mini, mock_response: "the same"}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
`})
	key := n.newKey(t, "")
	const id = "0196f3a2-7c1e-7b60-9c53-5a0d5b1c2d3e"
	for range 3 {
		if a := n.chat(t, key, "m", "hi", "", "x-litellm-call-id", id); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if rows := n.rowsOfKey(t, key); len(rows) != 3 {
		t.Errorf("%d rows for three calls of one id", len(rows))
	}
}
