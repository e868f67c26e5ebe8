package call_test

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
)

// page is the metrics page by line, without the times that calls took.
func (w *world) page() map[string]string {
	w.t.Helper()
	r := w.getFrom("/metrics")
	require.Equal(w.t, 200, r.status, r.body)
	out := map[string]string{}
	for line := range strings.Lines(r.body) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			out[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return out
}

func TestMetricsHaveLiteLLMsNamesAndLabels(t *testing.T) {
	w := newWorld(t, withKey(func(k *model.Key) { k.Alias, k.UserID = "ci", "u-1" }))
	w.serve(answers)
	require.Equal(t, 200, w.post(body("m", "")).status)
	require.Equal(t, 200, w.post(body("m", `"stream":true`)).status)
	require.NotEqual(t, 200, w.post(body("nobody-has-this", "")).status)
	w.quiet()

	hash := auth.Hash([]byte(theKey))
	key := fmt.Sprintf(`api_key_alias="ci",end_user="None",hashed_api_key="%s"`, hash)
	caller := key + `,model="gpt-x",model_id="first",requested_model="m",team="None",team_alias="None",user="u-1",user_email="None"`
	timed := key + `,model="gpt-x",model_id="first",requested_model="m",team="None",team_alias="None",user="u-1"`
	place := fmt.Sprintf(`api_base="http://first.test/v1",api_key_alias="ci",api_provider="openai",hashed_api_key="%s",litellm_model_name="gpt-x",model_id="first",requested_model="m",team="None",team_alias="None"`, hash)
	page := w.page()
	for line, want := range map[string]string{
		"litellm_proxy_total_requests_metric_total{" + key + `,model_id="first",requested_model="m",route="None",status_code="200",team="None",team_alias="None",user="u-1",user_email="None"}`: "2",
		"litellm_spend_metric_total{" + caller + "}":                           "0.0004",
		"litellm_total_tokens_metric_total{" + caller + "}":                    "300",
		"litellm_input_tokens_metric_total{" + caller + "}":                    "200",
		"litellm_output_tokens_metric_total{" + caller + "}":                   "100",
		"litellm_deployment_total_requests_total{" + place + "}":               "2",
		"litellm_deployment_success_responses_total{" + place + "}":            "2",
		"litellm_request_total_latency_metric_count{" + timed + "}":            "2",
		"litellm_llm_api_latency_metric_count{" + timed + "}":                  "1",
		"litellm_llm_api_time_to_first_token_metric_count{" + timed + "}":      "1",
		"litellm_request_total_latency_metric_bucket{" + timed + `,le="300"}`:  "2",
		"litellm_request_total_latency_metric_bucket{" + timed + `,le="+Inf"}`: "2",
		fmt.Sprintf(`litellm_overhead_latency_metric_count{api_base="http://first.test/v1",api_key_alias="ci",api_provider="openai",hashed_api_key="%s",litellm_model_name="gpt-x",model_group="m",model_id="first"}`, hash): "1",
	} {
		require.Equal(t, want, page[line], line)
	}
	refused := regexp.MustCompile(`^litellm_proxy_failed_requests_metric_total\{.*requested_model="None",route="/chat/completions"`)
	found := 0
	for line := range page {
		if refused.MatchString(line) {
			found++
		}
		require.NotContains(t, line, "nobody-has-this")
	}
	require.Equal(t, 1, found)
}

func TestFailuresOfAProviderAreCountedByClass(t *testing.T) {
	w := newWorld(t)
	w.serve(func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		respond(c, 400, "", `{"error":{"message":"no"}}`)
	})
	w.post(body("m", ""))
	w.quiet()
	found := 0
	for line, n := range w.page() {
		if strings.HasPrefix(line, "litellm_deployment_failure_responses_total{") || strings.HasPrefix(line, "litellm_proxy_failed_requests_metric_total{") {
			require.Contains(t, line, `exception_status="400"`)
			require.Contains(t, line, `model_id="first"`)
			require.Equal(t, "1", n)
			found++
		}
	}
	require.Equal(t, 2, found)
}

// Keys beyond the bound are counted together: the page and the memory stay
// bounded however many keys call.
func TestKeysBeyondTheBoundAreCountedAsOther(t *testing.T) {
	secrets := make([]string, 5)
	w := newWorld(t, func(b *state.Builder, _ *model.Config) {
		for i := range secrets {
			secrets[i] = fmt.Sprintf("sk-many-%d", i)
			k := &model.Key{Hash: auth.Hash([]byte(secrets[i])), Name: "sk-...", Alias: fmt.Sprintf("alias-%d", i)}
			k.CreatedAt = time.Now()
			b.Put(k)
		}
	})
	w.calls.Metrics.BoundSeries(2)
	w.serve(answers)
	for range 2 {
		for _, s := range secrets {
			require.Equal(t, 200, w.post(body("m", ""), "Authorization", "Bearer "+s).status)
		}
	}
	w.quiet()
	counts := map[string]string{}
	alias := regexp.MustCompile(`api_key_alias="([^"]*)"`)
	for line, n := range w.page() {
		if strings.HasPrefix(line, "litellm_request_total_latency_metric_count") {
			counts[alias.FindStringSubmatch(line)[1]] = n
		}
	}
	require.Equal(t, map[string]string{"alias-0": "2", "alias-1": "2", "other": "6"}, counts)
}
