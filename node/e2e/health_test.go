package e2e

import (
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

func TestMetricsCountWhatWasServedAndAreLockedOnDemand(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, "")
	n.chat(t, key, "gpt", "hi", "")
	n.chat(t, key, "gpt", "fake:status=500", "")
	a := n.get(t, "/metrics", "")
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, name := range []string{"litellm_spend_metric", "litellm_proxy_total_requests_metric", "litellm_proxy_failed_requests_metric",
		"litellm_request_total_latency_metric", "litellm_llm_api_latency_metric", "litellm_input_tokens", "litellm_output_tokens", "tollgate_"} {
		if !strings.Contains(a.body, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if strings.Contains(a.body, key) {
		t.Error("a plain key stands in the metrics")
	}

	locked := start(t, options{config: configFor(f, "litellm_settings:\n  require_auth_for_metrics_endpoint: true\n")})
	if a := locked.get(t, "/metrics", ""); a.status != 401 {
		t.Errorf("without a key: %d", a.status)
	}
	if a := locked.get(t, "/metrics", masterKey); a.status != 200 {
		t.Errorf("with a key: %d %s", a.status, a.body)
	}
}

func TestHealthWithAKeyProbesTheModels(t *testing.T) {
	f := fake.Start(t)
	config := strings.Replace(configFor(f, ""), "model_list:\n", "model_list:\n  - model_name: gone\n    litellm_params: {model: openai/gpt-4o, api_base: \"http://"+freePort(t)+"/v1\", api_key: sk-x}\n", 1)
	n := start(t, options{config: config})
	a := n.get(t, "/health", masterKey)
	if a.status != 200 || a.get("healthy_count").Int() != 3 || a.get("unhealthy_count").Int() != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if strings.Contains(a.body, "sk-upstream") || strings.Contains(a.body, "sk-x") {
		t.Errorf("a provider's key is shown: %s", a.body)
	}
}

// No secret may stand in what a node prints, whatever fails.
func TestLogsTellNoSecrets(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, ""), args: []string{"--detailed_debug"}})
	key := n.newKey(t, `"key_alias":"quiet"`)
	for _, order := range []string{"hi", "fake:status=401", "fake:nothing", "fake:html"} {
		n.chat(t, key, "gpt", order, "")
		n.chat(t, key, "claude", order, `"stream":true`)
	}
	n.chat(t, "sk-a-guess-of-somebody", "gpt", "hi", "")
	n.stop()
	said := n.log.String()
	for _, secret := range []string{key, masterKey, "sk-upstream-openai", "sk-upstream-anthropic", "sk-a-guess-of-somebody"} {
		if strings.Contains(said, secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}
