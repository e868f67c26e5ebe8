package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

// routed is a configuration of which "pair" has two providers, the first of which
// is always asked first, and "other" one of Anthropic's kind.
func routed(first, second, other *fake.Server, router string) string {
	const prices = ", input_cost_per_token: 0.000001, output_cost_per_token: 0.00001"
	return fmt.Sprintf(`model_list:
  - {model_name: pair, model_info: {id: one}, litellm_params: {model: openai/gpt-4o-mini, api_base: %[1]q, api_key: k1, order: 1, timeout: 1, stream_timeout: 1%[4]s}}
  - {model_name: pair, model_info: {id: two}, litellm_params: {model: openai/gpt-4o-mini, api_base: %[2]q, api_key: k2, order: 2, timeout: 20%[4]s}}
  - {model_name: alone, model_info: {id: alone}, litellm_params: {model: openai/gpt-4o-mini, api_base: %[1]q, api_key: k1, timeout: 1, stream_timeout: 1%[4]s}}
  - {model_name: gpt, litellm_params: {model: openai/gpt-4o-mini, api_base: %[2]q, api_key: k2%[4]s}}
  - {model_name: other, model_info: {id: other}, litellm_params: {model: anthropic/claude-3-5-haiku-20241022, api_base: %[3]q, api_key: k3%[4]s}}
router_settings: {disable_cooldowns: true, %[5]s}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
`, first.OpenAI(), second.OpenAI(), other.Anthropic(), prices, router)
}

// sum adds up the lines of a metric that have all of the labels.
func (n *node) sum(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	total := 0.0
next:
	for _, line := range strings.Split(n.get(t, "/metrics", "").body, "\n") {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		total += v
	}
	return total
}

// eachAttempt is what a row tells of its call's attempts: "id reason error".
func eachAttempt(row gjson.Result) []string {
	var out []string
	for _, a := range row.Get("metadata.tollgate.attempts").Array() {
		out = append(out, strings.TrimSpace(strings.Join(strings.Fields(a.Get("model_id").String()+" "+a.Get("reason").String()+" "+a.Get("error").String()), " ")))
	}
	return out
}

// Whatever a provider does, its sibling answers, and nobody but the books sees it.
func TestEveryFailureOfAProviderIsMadeGoodByItsSibling(t *testing.T) {
	t.Parallel()
	bad, good, other := fake.Start(t), fake.Start(t), fake.Start(t)
	n := start(t, options{config: routed(bad, good, other, "num_retries: 2")})
	key := n.newKey(t, `"max_budget":10`)
	calls := 0
	for order, class := range map[string]string{
		"fake:status=500": "InternalServerError", "fake:status=502": "BadGatewayError", "fake:status=503": "ServiceUnavailableError",
		"fake:status=429": "RateLimitError", "fake:status=429 fake:retry-after=30": "RateLimitError", "fake:status=408": "Timeout",
		"fake:status=401": "AuthenticationError", "fake:status=500 fake:html": "InternalServerError", "fake:hang": "Timeout",
		"fake:nothing": "APIConnectionError", "fake:garbage": "", "fake:html": "", "fake:empty": "", "fake:error200": "",
		"fake:half": "", "fake:reset": "",
	} {
		for _, stream := range []string{`"stream":false`, `"stream":true`} {
			if stream == `"stream":true` && strings.Contains("fake:error200 fake:half fake:reset", order) {
				continue // they break after the first words, when nobody else can go on
			}
			t.Run(order+" "+stream, func(t *testing.T) {
				bad.Order(order)
				began := time.Now()
				a := n.chat(t, key, "pair", "hi fake:words=3", stream)
				if a.status != 200 || !strings.Contains(deltas(a.body)+a.body, "word2") {
					t.Fatalf("%d %s", a.status, a.body)
				}
				calls++
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v: nobody has to wait for a sibling", took)
				}
				for name, want := range map[string]string{"x-litellm-attempted-retries": "1", "x-litellm-attempted-fallbacks": "0",
					"x-litellm-max-retries": "2", "x-litellm-model-id": "two", "x-litellm-model-group": "pair"} {
					if got := a.header.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				row := n.row(t, a.header.Get("x-litellm-call-id"))
				tried := eachAttempt(row)
				if len(tried) != 2 || !strings.HasPrefix(tried[0], "one") || !strings.HasSuffix(tried[0], class) || !strings.HasPrefix(tried[1], "two ") {
					t.Errorf("the row tells of the attempts %q", tried)
				}
				if p := row.Get("metadata.previous_models.0"); p.Get("model_id").String() != "one" || row.Get("metadata.attempted_retries").Int() != 1 {
					t.Errorf("the row: %s", row)
				}
			})
		}
	}
	if got := n.sum(t, "litellm_deployment_failure_responses_total", `model_id="one"`); int(got) != calls {
		t.Errorf("%v failures of the first are counted, of %d", got, calls)
	}
	if got := n.sum(t, "litellm_deployment_success_responses_total", `model_id="two"`); int(got) != calls {
		t.Errorf("%v answers of the second are counted, of %d", got, calls)
	}
	if got := n.sum(t, "tollgate_retries_total"); int(got) != calls {
		t.Errorf("%v retries are counted, of %d", got, calls)
	}
	if got := n.sum(t, "litellm_proxy_failed_requests_metric_total"); got != 0 {
		t.Errorf("%v calls are counted as failed", got)
	}
	settled(t, n, key)
}

func TestEachKindOfFallback(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		settings, order, more, model string
		status                       int
		by, reason                   string // who answers, and why it was asked
	}{
		"any error":                          {settings: "fallbacks: [{alone: [other]}]", order: "fake:status=500", status: 200, by: "other", reason: "fallback"},
		"a limit":                            {settings: "fallbacks: [{alone: [other]}]", order: "fake:status=429", status: 200, by: "other", reason: "fallback"},
		"a timeout":                          {settings: "fallbacks: [{alone: [other]}]", order: "fake:hang", status: 200, by: "other", reason: "fallback"},
		"to one's id":                        {settings: "fallbacks: [{alone: [two]}]", order: "fake:status=500", status: 200, by: "two", reason: "fallback"},
		"to an alias":                        {settings: "fallbacks: [{alone: [al]}], model_group_alias: {al: [other]}", order: "fake:status=500", status: 200, by: "other", reason: "fallback"},
		"the next after one that is nowhere": {settings: "fallbacks: [{alone: [nobody, other]}]", order: "fake:status=500", status: 200, by: "other", reason: "fallback"},
		"of everything":                      {settings: "default_fallbacks: [other]", order: "fake:status=500", status: 200, by: "other", reason: "fallback"},
		"of a model that is nowhere":         {settings: "default_fallbacks: [other]", model: "nobody-has-this", status: 200, by: "other"},
		"none for a caller's mistake":        {settings: "fallbacks: [{alone: [other]}]", order: "fake:status=400", status: 400},
		"too long, its own":                  {settings: "context_window_fallbacks: [{alone: [other]}]", order: "fake:too=long", status: 200, by: "other", reason: "context_window_fallback"},
		"too long, by the general":           {settings: "fallbacks: [{alone: [other]}]", order: "fake:too=long", status: 200, by: "other", reason: "fallback"},
		"too long, own without entry":        {settings: "context_window_fallbacks: [{pair: [other]}], fallbacks: [{alone: [other]}]", order: "fake:too=long", status: 400},
		"not too long":                       {settings: "context_window_fallbacks: [{alone: [other]}]", order: "fake:status=500", status: 500},
		"too rude, its own":                  {settings: "content_policy_fallbacks: [{alone: [other]}]", order: "fake:too=rude", status: 200, by: "other", reason: "content_policy_fallback"},
		"too rude, own without entry":        {settings: "content_policy_fallbacks: [{pair: [other]}], fallbacks: [{alone: [other]}]", order: "fake:too=rude", status: 400},
		"by the request":                     {order: "fake:status=500", more: `"fallbacks":["other"]`, status: 200, by: "other", reason: "fallback"},
		"by the request, switched off":       {settings: "fallbacks: [{alone: [other]}]", order: "fake:status=500", more: `"disable_fallbacks":true`, status: 500},
		"a rehearsal":                        {settings: "fallbacks: [{alone: [other]}]", more: `"mock_testing_fallbacks":true`, status: 200, by: "other", reason: "fallback"},
		"a rehearsal of too long":            {settings: "context_window_fallbacks: [{alone: [other]}]", more: `"mock_testing_context_fallbacks":true`, status: 200, by: "other", reason: "context_window_fallback"},
		"a rehearsal of too rude":            {settings: "content_policy_fallbacks: [{alone: [other]}]", more: `"mock_testing_content_policy_fallbacks":true`, status: 200, by: "other", reason: "content_policy_fallback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good, other := fake.Start(t), fake.Start(t), fake.Start(t)
			n := start(t, options{config: routed(bad, good, other, "num_retries: 0, "+tc.settings)})
			key := n.newKey(t, `"max_budget":10`)
			bad.Order(tc.order)
			model := tc.model
			if model == "" {
				model = "alone"
			}
			for _, stream := range []string{`"stream":false`, `"stream":true`} {
				more := stream
				if tc.more != "" {
					more += "," + tc.more
				}
				a := n.chat(t, key, model, "hi fake:words=3", more)
				if a.status != tc.status {
					t.Fatalf("%s: %d %s", stream, a.status, a.body)
				}
				if tc.by == "" {
					continue
				}
				if !strings.Contains(deltas(a.body)+a.body, "word2") || a.header.Get("x-litellm-model-id") != tc.by {
					t.Errorf("%s: by %q: %s", stream, a.header.Get("x-litellm-model-id"), a.body)
				}
				row := n.row(t, a.header.Get("x-litellm-call-id"))
				if got := row.Get("model_group").String(); got != model {
					t.Errorf("the row's model_group is %q", got)
				}
				if tc.reason == "" {
					continue
				}
				if a.header.Get("x-litellm-attempted-fallbacks") != "1" || row.Get("metadata.attempted_fallbacks").Int() != 1 {
					t.Errorf("fallbacks: header %q, row %s", a.header.Get("x-litellm-attempted-fallbacks"), row)
				}
				tried := eachAttempt(row)
				if len(tried) == 0 || tried[len(tried)-1] != tc.by+" "+tc.reason {
					t.Errorf("attempts %q", tried)
				}
				if n.sum(t, "litellm_deployment_successful_fallbacks_total", `model_id="`+tc.by+`"`) == 0 {
					t.Error("the fallback is not counted")
				}
			}
			settled(t, n, key)
		})
	}
}

// A stream that falls silent ends in the time it may be silent, with an error
// that says so, and what came is paid.
func TestATimeLimitEndsWhatHangs(t *testing.T) {
	t.Parallel()
	bad, good, other := fake.Start(t), fake.Start(t), fake.Start(t)
	n := start(t, options{config: routed(bad, good, other, "num_retries: 0")})
	key := n.newKey(t, `"max_budget":10`)
	for _, stream := range []string{`"stream":false`, `"stream":true`} {
		began := time.Now()
		a := n.chat(t, key, "alone", "fake:hang", stream)
		if a.status != 408 || a.header.Get("x-litellm-timeout") != "1.0" || a.get("error.type").String() == "" {
			t.Errorf("%s: %d %q %s", stream, a.status, a.header.Get("x-litellm-timeout"), a.body)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", stream, took)
		}
	}
	a := n.chat(t, key, "alone", "fake:hang", "", "x-litellm-timeout", "0.2")
	if a.status != 408 || a.header.Get("x-litellm-timeout") != "0.2" {
		t.Errorf("the request's own limit: %d %q %s", a.status, a.header.Get("x-litellm-timeout"), a.body)
	}
	a = n.chat(t, key, "alone", "fake:stall fake:words=20", `"stream":true`)
	if a.status != 200 || !strings.Contains(a.body, "word0") || !strings.Contains(a.body, "Timeout") || strings.Contains(a.body, "[DONE]") {
		t.Errorf("a stream that falls silent: %d %s", a.status, a.body)
	}
	row := n.row(t, a.header.Get("x-litellm-call-id"))
	if row.Get("spend").Float() <= 0 || row.Get("metadata.error_information.error_class").String() != "Timeout" {
		t.Errorf("its row: %s", row)
	}
	settled(t, n, key)
}

func TestADeploymentThatDiesUnderLoadCostsNoClientItsCall(t *testing.T) {
	t.Parallel()
	dying, living, other := fake.Start(t), fake.Start(t), fake.Start(t)
	config := strings.ReplaceAll(routed(dying, living, other, "num_retries: 2"), "disable_cooldowns: true, ", "")
	config = strings.NewReplacer("order: 1", "weight: 1", "order: 2", "weight: 1").Replace(config)
	n := start(t, options{config: config})
	key := n.newKey(t, `"max_budget":1000`)
	load := trafficFor(t, n, key, "pair", 8, 4, 4)
	load.moves(t, 100, 10)
	for _, death := range []string{"fake:status=500", "fake:nothing", "fake:hang", "fake:status=429", "fake:garbage"} {
		dying.Order(death)
		load.moves(t, 150, 10)
		dying.Order("")
		load.moves(t, 50, 5)
	}
	load.end()
	if wrong := load.wrong(time.Time{}); len(wrong) > 0 {
		t.Errorf("%d calls failed, the first: %+v", len(wrong), wrong[0])
	}
	retried, failures := n.sum(t, "tollgate_retries_total"), n.sum(t, "litellm_deployment_failure_responses_total", `model_id="one"`)
	calls, streams := load.done()
	t.Logf("%d calls and %d streams; %v failures of the dying one, %v attempts made again", calls, streams, failures, retried)
	if retried == 0 || failures < 5 || retried != failures {
		t.Errorf("the metrics tell of %v failures and %v attempts made again", failures, retried)
	}
	if got := n.sum(t, "litellm_deployment_failure_responses_total", `model_id="two"`); got != 0 {
		t.Errorf("the living one is counted with %v failures", got)
	}
	// The streams break by their end at most, so all that was asked was answered.
	if got := n.sum(t, "litellm_proxy_failed_requests_metric_total"); got != 0 {
		t.Errorf("%v calls are counted as failed", got)
	}
	settled(t, n, key)
}

// The shipped example has the fallbacks and the alias of a LiteLLM set-up.
func TestTheExamplesFallbacksAndAliasWorkAndAreBookedByTheirNames(t *testing.T) {
	t.Parallel()
	openai, claude := fake.Start(t), fake.Start(t)
	o := shippedFor(t, openai)
	for _, want := range []string{`- gpt-4o: ["claude-3-5-sonnet", "gpt-4o-mini"]`, `smart-model: ["gpt-4o", "claude-3-5-sonnet"]`} {
		if !strings.Contains(o.config, want) {
			t.Fatalf("the example has no line %s", want)
		}
	}
	o.config = strings.ReplaceAll(o.config, "api_base: "+openai.Anthropic()+"\n", "api_base: "+claude.Anthropic()+"\n")
	n := start(t, o)
	key := n.newKey(t, "")
	models := map[string]int{}
	for range 24 {
		a := n.chat(t, key, "smart-model", "hi", "")
		if a.status != 200 || a.header.Get("x-litellm-model-group") != "smart-model" {
			t.Fatalf("%d %q %s", a.status, a.header.Get("x-litellm-model-group"), a.body)
		}
		row := n.row(t, a.header.Get("x-litellm-call-id"))
		if row.Get("model_group").String() != "smart-model" {
			t.Errorf("the row's model_group is %s", row.Get("model_group"))
		}
		models[row.Get("model").String()]++
	}
	if len(models) != 2 || models["openai/gpt-4o"] == 0 {
		t.Errorf("an alias of two models was served by %v", models)
	}
	openai.Fail(500)
	for _, model := range []string{"gpt-4o", "smart-model"} {
		for range 4 {
			a := n.chat(t, key, model, "hi", "")
			if a.status != 200 {
				t.Fatalf("%s: %d %s", model, a.status, a.body)
			}
			row := n.row(t, a.header.Get("x-litellm-call-id"))
			if !strings.HasPrefix(row.Get("model").String(), "anthropic/claude-3-5-sonnet") || row.Get("model_group").String() != model {
				t.Errorf("asked for %s, booked %s as %s", model, row.Get("model"), row.Get("model_group"))
			}
			if model == "gpt-4o" && row.Get("metadata.model_group").String() != "claude-3-5-sonnet" {
				t.Errorf("the metadata name %s", row.Get("metadata.model_group"))
			}
		}
	}
	claude.Fail(500)
	if a := n.chat(t, key, "gpt-4o", "hi", ""); a.status != 500 || !strings.Contains(a.body, "claude-3-5-sonnet") {
		t.Errorf("when all fail: %d %s", a.status, a.body)
	}
}

func TestTheOfficialPackageStreamsThroughAFallback(t *testing.T) {
	t.Parallel()
	needs(t, "sdk/python/.venv/bin/python")
	bad, good, other := fake.Start(t), fake.Start(t), fake.Start(t)
	n := start(t, options{config: routed(bad, good, other, "num_retries: 1, fallbacks: [{alone: [other]}]")})
	bad.Order("fake:status=503")
	sdk(t, n, "sdk/python", filepath.Join(".venv", "bin", "python"), "fallback.py")
}
