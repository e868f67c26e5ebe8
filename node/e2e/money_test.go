package e2e

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"tollgate/node/e2e/fake"
)

// A stream that states no maximum runs until the budget ends, and not one token
// further than what is held for it.
func TestAStreamIsCutWhereTheBudgetEnds(t *testing.T) {
	for _, model := range []string{"gpt", "claude"} {
		t.Run(model, func(t *testing.T) {
			f := fake.Start(t)
			n := start(t, options{config: configFor(f, "")})
			key := n.newKey(t, `"max_budget":0.03`) // 3,000 words
			a := n.chat(t, key, model, "fake:words=100000", `"stream":true,"stream_options":{"include_usage":true}`)
			if a.status != 200 || !strings.Contains(a.body, "data: [DONE]") || !strings.Contains(a.body, `"finish_reason":"length"`) {
				t.Errorf("%d, it does not end in order: %s", a.status, tail(a.body, 600))
			}
			row := n.row(t, a.header.Get("x-litellm-call-id"))
			spend := row.Get("spend").Float()
			if spend > 0.03 {
				t.Errorf("%v of 0.03 is spent", spend)
			}
			if spend < 0.01 {
				t.Errorf("only %v of 0.03 could be used", spend)
			}
			if got := n.spendOf(t, key); math.Abs(got-spend) > 1e-9 {
				t.Errorf("the key's spend is %v, the row's %v", got, spend)
			}
			t.Logf("%v spent for %d words", spend, strings.Count(a.body, "word"))
		})
	}
}

func TestManyStreamsTogetherStayWithinOneBudget(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":0.1`)
	var crew sync.WaitGroup
	for range 40 {
		crew.Go(func() {
			a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "fake:words=2000", `"stream":true`))
			if err != nil || a.status != 200 && a.status != 429 {
				t.Errorf("%v %d %s", err, a.status, tail(a.body, 300))
			}
		})
	}
	crew.Wait()
	var total float64
	for _, r := range n.rowsOfKey(t, key) {
		total += r.Get("spend").Float()
	}
	if total > 0.1+1e-9 {
		t.Errorf("%v of 0.1 is spent", total)
	}
	if got := n.spendOf(t, key); math.Abs(got-total) > 1e-9 {
		t.Errorf("the key's spend is %v, its rows add up to %v", got, total)
	}
	t.Logf("%v spent", total)
}

func TestACallThatStatesAMaximumBeyondTheBudgetIsRefused(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":0.01`)
	for body, want := range map[string]int{
		chatBody("gpt", "hi", `"max_tokens":900`):                        200,
		chatBody("gpt", "hi", `"max_tokens":1100`):                       429,
		chatBody("gpt", "hi", `"max_completion_tokens":1100`):            429,
		chatBody("gpt", "hi", `"max_tokens":100,"n":20`):                 429, // each choice is billed
		chatBody("gpt", strings.Repeat("word ", 4000), `"max_tokens":1`): 429, // the prompt alone costs more
	} {
		if a := n.do(t, "POST", "/v1/chat/completions", key, body); a.status != want {
			t.Errorf("%d, want %d: %s\n%s", a.status, want, tail(body, 80), a.body)
		}
	}
	a := n.chat(t, key, "gpt", "hi", `"max_tokens":1100`)
	if a.header.Get("x-should-retry") != "false" || a.header.Get("retry-after") != "" {
		t.Errorf("an SDK would wait and retry in vain: %v", a.header)
	}
}

func TestEveryLevelsBudgetIsChargedAndShown(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for path, body := range map[string]string{
		"/team/new":     `{"team_id":"crew","max_budget":1}`,
		"/user/new":     `{"user_id":"ann","max_budget":1,"auto_create_key":false}`,
		"/customer/new": `{"user_id":"visitor"}`,
	} {
		if a := n.do(t, "POST", path, masterKey, body); a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	ofTeam, ofUser := n.newKey(t, `"team_id":"crew"`), n.newKey(t, `"user_id":"ann"`)
	for _, key := range []string{ofTeam, ofTeam, ofUser} {
		if a := n.chat(t, key, "gpt", "fake:words=100", `"user":"visitor"`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	const call = 10*0.000001 + 100*0.00001
	for path, want := range map[string]struct {
		field string
		calls float64
	}{
		"/team/info?team_id=crew":            {"team_info.spend", 2},
		"/user/info?user_id=ann":             {"user_info.spend", 1},
		"/customer/info?end_user_id=visitor": {"spend", 3},
		"/key/info?key=" + ofTeam:            {"info.spend", 2},
		"/global/spend":                      {"spend", 3},
	} {
		a := n.get(t, path, masterKey)
		if got := a.get(want.field).Float(); a.status != 200 || math.Abs(got-want.calls*call) > 1e-9 {
			t.Errorf("%s: %s is %v, want %v: %s", path, want.field, got, want.calls*call, tail(a.body, 300))
		}
	}
}

func TestExplicitZeroUsageCostsNothingAndMissingUsageIsCounted(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for _, more := range []string{"", `"stream":true`} {
		a := n.chat(t, masterKey, "gpt", "fake:nousage fake:words=400", more)
		row := n.row(t, a.header.Get("x-litellm-call-id"))
		if row.Get("spend").Float() <= 0 || row.Get("completion_tokens").Int() < 300 || !strings.Contains(row.Raw, "estimated") {
			t.Errorf("%q: what the provider did not count is not estimated: %s", more, row)
		}
	}
}

func TestLargeInlineImagesPassAndAreNotCountedAsText(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":0.05`)
	image := strings.Repeat("iVBORw0KGgo", 1<<20) // 11 MiB
	a := n.do(t, "POST", "/v1/chat/completions", key, fmt.Sprintf(`{"model":"gpt","max_tokens":100,"messages":[{"role":"user","content":[
		{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}]}`, image))
	if a.status != 200 || !strings.Contains(a.body, "I saw 1 image.") {
		t.Errorf("%d %s", a.status, tail(a.body, 300))
	}
	a = n.do(t, "POST", "/v1/messages", key, fmt.Sprintf(`{"model":"claude","max_tokens":100,"messages":[{"role":"user","content":[
		{"type":"text","text":"what is this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%s"}}]}]}`, image))
	if a.status != 200 || !strings.Contains(a.body, "I saw 1 image.") {
		t.Errorf("%d %s", a.status, tail(a.body, 300))
	}
}
