package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/anthropic"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
)

func overOpenAI(t *testing.T) provider.Provider {
	t.Helper()
	for _, row := range openai.Rows() {
		if row.Name == "openai" {
			return anthropic.Wrap(openai.New(row))
		}
	}
	t.Fatal("no row for openai")
	return nil
}

const agentTurn = `{"model":"gpt","max_tokens":50,"stream":true,"system":"S","messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}`

func TestAnAgentRunsOnAModelOfOpenAIs(t *testing.T) {
	p := overOpenAI(t)
	c := newCall(t, agentTurn)
	c.Stream, c.Deployment.APIKey, c.Model = true, "sk-x", "gpt-4o"
	r, err := p.Request(c)
	require.NoError(t, err)
	require.Equal(t, "https://api.openai.com/v1/chat/completions", r.URL)
	var sent struct {
		Model         string
		Stream        bool
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Messages []struct{ Role string }
	}
	require.NoError(t, json.Unmarshal(r.Body, &sent))
	require.Equal(t, "gpt-4o", sent.Model)
	require.True(t, sent.Stream && sent.StreamOptions.IncludeUsage)
	require.Len(t, sent.Messages, 4)

	s := p.Stream(c)
	var got sink
	for _, d := range []string{
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`,
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}`,
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]},"finish_reason":null}]}`,
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
		`{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024","choices":[],"usage":{"prompt_tokens":30,"completion_tokens":7,"total_tokens":37,"prompt_tokens_details":{"cached_tokens":20}}}`,
		`[DONE]`,
	} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	require.NoError(t, s.End(&got))
	m := assemble(t, got.String())
	require.Equal(t, "hi", m.Blocks[0].Text)
	require.Equal(t, `{"a":1}`, m.Blocks[1].JSON)
	require.Equal(t, "tool_use", m.Stop)
	require.Equal(t, map[string]int64{"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 7}, m.Usage)
}

func TestAWholeAnswerOfOpenAIsIsAMessage(t *testing.T) {
	p := overOpenAI(t)
	c := newCall(t, strings.Replace(agentTurn, `"stream":true,`, "", 1))
	a, err := p.Answer(c, func(string) string { return "" }, []byte(`{"id":"chatcmpl-9","object":"chat.completion","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":7,"total_tokens":37,"prompt_tokens_details":{"cached_tokens":20}}}`))
	require.NoError(t, err)
	sameJSON(t, `{"id":"msg_9","type":"message","role":"assistant","model":"gpt","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":20,"output_tokens":7}}`, string(a.Body))
}
