package call_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
)

// History as clients hand it back after turns of several providers: signed and
// sealed thoughts of Claude, thoughts of others, signatures of Gemini's.
const (
	chatHistory = `{"model":%q,"max_tokens":4000,"messages":[{"role":"user","content":"q"},
		{"role":"assistant","content":"a","reasoning_content":"plain","provider_specific_fields":{"x":1},"reasoning_details":[{"type":"reasoning.encrypted","data":"SEALED-BY-OPENROUTER"}],
		 "thinking_blocks":[{"type":"thinking","thinking":"deep","signature":"SIGNED-BY-CLAUDE"},{"type":"redacted_thinking","data":"SEALED-BY-CLAUDE"}],
		 "tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"},"provider_specific_fields":{"thought_signature":"SIGNED-BY-GEMINI"},"extra_content":{"google":{"thought_signature":"SIGNED-BY-GEMINI"}}}]},
		{"role":"tool","tool_call_id":"t1","content":"r"},
		{"role":"assistant","content":[{"type":"thinking","thinking":"in a part","signature":"SIGNED-BY-CLAUDE"},{"type":"text","text":"b"}]},
		{"role":"user","content":"what is thinking?"}]}`
	messagesHistory = `{"model":%q,"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"q"},
		{"role":"assistant","content":[{"type":"thinking","thinking":"signed","signature":"SIGNED-BY-CLAUDE"},{"type":"redacted_thinking","data":"SEALED-BY-CLAUDE"},{"type":"text","text":"a"},{"type":"tool_use","id":"t1","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"r"}]},
		{"role":"assistant","content":[{"type":"thinking","thinking":"of another model","signature":""},{"type":"tool_use","id":"t2","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"t2","content":"s"}]}]}`
)

// A call that goes from one provider to another takes no signature or sealed
// thought of the first along, on either route and in either direction.
func TestThoughtsOfOneProviderNeverReachAnother(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		add := func(id, name, host string) {
			c.Deployments = append(c.Deployments, model.Deployment{ID: id, Group: id, Params: model.Params{
				"model": []byte(`"` + name + `"`), "api_key": []byte(`"k"`), "api_base": []byte(`"http://` + host + `.test"`)}})
		}
		add("claude", "anthropic/claude-sonnet-4-20250514", "claude")
		add("deepseek", "deepseek/deepseek-reasoner", "deepseek")
		add("openrouter", "openrouter/x/y", "openrouter")
		add("gpt", "openai/gpt-4o", "gpt")
		c.Router.Fallbacks = map[string][]string{"gpt": {"claude", "deepseek", "openrouter"}, "claude": {"gpt"}}
	}))
	sent := map[string][]byte{}
	var route string
	w.serve(func(_ *world, host string, c net.Conn, _ *http.Request, b []byte) {
		name := route + "-" + strings.TrimSuffix(host, ".test")
		if before, again := sent[name]; again && !bytes.Equal(before, b) {
			t.Errorf("%s is sent one thing first and another as a fallback", name)
		}
		sent[name] = bytes.Clone(b)
		respond(c, 500, "", `{}`)
	})
	for _, group := range []string{"gpt", "claude"} {
		route = "chat"
		require.Equal(t, 500, w.post(fmt.Sprintf(chatHistory, group)).status)
		route = "messages"
		require.Equal(t, 500, w.postTo("/v1/messages", fmt.Sprintf(messagesHistory, group)).status)
	}
	w.quiet()
	require.Len(t, sent, 8)
	for name, body := range sent {
		for maker, theirs := range map[string]string{"CLAUDE": "claude", "OPENROUTER": "openrouter", "GEMINI": "gemini"} {
			if strings.HasSuffix(name, theirs) {
				continue
			}
			require.NotContains(t, string(body), "-BY-"+maker, name)
		}
		require.True(t, json.Valid(body), name)
		path := filepath.Join("testdata", "foreign", name+".golden.json")
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, body, "", "  "))
		indented.WriteByte('\n')
		if os.Getenv("UPDATE_GOLDEN") != "" {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, indented.Bytes(), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), indented.String(), name)
	}
	require.Contains(t, string(sent["chat-claude"]), "SIGNED-BY-CLAUDE", "its own come back to it")
	require.Contains(t, string(sent["messages-claude"]), "SEALED-BY-CLAUDE")
	require.NotContains(t, string(sent["messages-claude"]), "of another model", "an empty signature is refused")
	require.NotContains(t, string(sent["messages-claude"]), "budget_tokens", "a tool loop whose thoughts are gone does not think on")
	require.Contains(t, string(sent["chat-gpt"]), "what is thinking?")
}
