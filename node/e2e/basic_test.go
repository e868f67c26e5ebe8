package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

const greeting = "Héllo 世界 🙂 from gpt-4o-mini."

func TestBothDialectsReachBothKindsOfProvider(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for model, want := range map[string]string{"gpt": greeting, "claude": "Héllo 世界 🙂 from claude-3-5-haiku-20241022."} {
		a := n.chat(t, masterKey, model, "hi", "")
		if a.status != 200 || a.get("choices.0.message.content").String() != want {
			t.Errorf("chat with %s: %d %s", model, a.status, a.body)
		}
		a = n.do(t, "POST", "/v1/messages", masterKey, messagesBody(model, "hi", ""))
		if a.status != 200 || a.get("content.0.text").String() != want {
			t.Errorf("messages with %s: %d %s", model, a.status, a.body)
		}
	}
}

// Every odd framing that a provider may choose must give the same text.
func TestStreamsSurviveCruelFraming(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for _, order := range []string{"", "fake:chunks=1byte", "fake:crlf", "fake:comments", "fake:crlf fake:chunks=1byte fake:comments"} {
		for _, model := range []string{"gpt", "claude"} {
			for path, body := range map[string]string{
				"/v1/chat/completions": chatBody(model, order, `"stream":true`),
				"/v1/messages":         messagesBody(model, order, `"stream":true`),
			} {
				t.Run(fmt.Sprintf("%s %s %s", path, model, order), func(t *testing.T) {
					a := n.do(t, "POST", path, masterKey, body)
					if got := deltas(a.body); a.status != 200 || !strings.HasPrefix(got, "Héllo 世界 🙂 from ") {
						t.Errorf("%d, text %q of\n%s", a.status, got, a.body)
					}
					end := "data: [DONE]\n\n"
					if path == "/v1/messages" {
						end = "event: message_stop\n"
					}
					if !strings.Contains(a.body, end) {
						t.Errorf("no end marker in\n%s", a.body)
					}
					if strings.Contains(a.body, "still here") {
						t.Errorf("a provider's comment was passed on:\n%s", a.body)
					}
				})
			}
		}
	}
}

func TestAProviderThatIgnoresStreamIsStreamedAllTheSame(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	a := n.chat(t, masterKey, "gpt", "fake:json", `"stream":true`)
	if a.status != 200 || deltas(a.body) != greeting || !strings.Contains(a.body, "data: [DONE]") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Nothing is held back: the second word arrives while the provider is silent.
func TestEachChunkLeavesBeforeTheNextArrives(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	s := n.open(t, "/v1/chat/completions", masterKey, chatBody("gpt", "fake:stall fake:words=50", `"stream":true`))
	s.until(t, "word2 ")
}

func TestAzurePathsNameTheModel(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	a := n.do(t, "POST", "/openai/deployments/gpt/chat/completions?api-version=2024-10-21", "", chatBody("ignored", "hi", ""), "api-key", masterKey)
	if a.status != 200 || a.get("choices.0.message.content").String() != greeting {
		t.Errorf("chat: %d %s", a.status, a.body)
	}
	a = n.do(t, "POST", "/openai/deployments/embed/embeddings?api-version=2024-10-21", "", `{"input":"four"}`, "api-key", masterKey)
	if a.status != 200 || a.get("data.0.embedding.0").Float() != 4 {
		t.Errorf("embeddings: %d %s", a.status, a.body)
	}
	a = n.do(t, "POST", "/engines/gpt/chat/completions", masterKey, chatBody("ignored", "hi", ""))
	if a.status != 200 {
		t.Errorf("engines: %d %s", a.status, a.body)
	}
}

func TestARestartKeepsKeysConfigAndSpend(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"key_alias":"kept","max_budget":5`)
	for range 3 {
		if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	spent := n.spendOf(t, key)
	if spent <= 0 {
		t.Fatalf("spend is %v after three calls", spent)
	}
	if status := n.stop(); status != 0 {
		t.Fatalf("the stop ended with status %d:\n%s", status, n.log)
	}
	n.o.config = "" // what was proposed is kept without the file
	n.again()
	if got := n.spendOf(t, key); got != spent {
		t.Errorf("spend is %v after the restart, was %v", got, spent)
	}
	if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("the key or the model is gone: %d %s", a.status, a.body)
	}
	if rows := n.rowsOfKey(t, key); len(rows) != 4 {
		t.Errorf("%d rows, want 4", len(rows))
	}
}

func TestAClientThatLeavesAStreamIsBilledAndTheProviderIsFreed(t *testing.T) {
	for _, model := range []string{"gpt", "claude"} {
		t.Run(model, func(t *testing.T) {
			f := fake.Start(t)
			n := start(t, options{config: configFor(f, "")})
			key := n.newKey(t, `"max_budget":5`)
			s := n.open(t, "/v1/chat/completions", key, chatBody(model, "fake:gap=10ms fake:words=2000", `"stream":true`))
			s.until(t, "word9 ")
			id := s.resp.Header.Get("x-litellm-call-id")
			s.cancel()
			left := time.Now()
			select {
			case <-f.Last("fake:gap").Gone:
			case <-time.After(soon):
				t.Error("the provider's connection is still open long after the client left")
			}
			t.Logf("freed after %s", time.Since(left))
			row := n.row(t, id)
			if got := row.Get("metadata.status").String(); got != "client_closed" && row.Get("status").String() != "client_closed" {
				t.Errorf("the row does not say that the client closed: %s", row)
			}
			if row.Get("completion_tokens").Int() < 8 || row.Get("spend").Float() <= 0 {
				t.Errorf("what was streamed is not billed: %s", row)
			}
		})
	}
}

func TestTokensAreCountedForEveryModelWithoutACallOrARow(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for _, model := range []string{"gpt", "claude"} {
		a := n.do(t, "POST", "/v1/messages/count_tokens", masterKey, `{"model":"`+model+`","messages":[{"role":"user","content":"How many tokens are in this?"}]}`)
		if count := a.get("input_tokens").Int(); a.status != 200 || count < 5 || count > 50 {
			t.Errorf("%s: %d %s", model, a.status, a.body)
		}
	}
	if got := f.Count(); got != 0 {
		t.Errorf("%d calls reached the provider", got)
	}
	if a := n.do(t, "GET", "/global/spend", masterKey, ""); a.get("spend").Float() != 0 {
		t.Errorf("counting was charged: %s", a.body)
	}
}
