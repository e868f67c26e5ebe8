package anthropic_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/proxy/anthropic"
	"tollgate/proxy/provider"
)

type sink struct{ strings.Builder }

func (s *sink) Emit(frame []byte) { s.Write(frame) }

func delta(d string) string {
	return `{"id":"chatcmpl-1","choices":[{"index":0,"delta":` + d + `,"finish_reason":null}]}`
}
func finish(reason string) string {
	return `{"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
}

var counted = price.Usage{Known: true, InUncached: 10, CacheRead: 20, OutTotal: 7}

func run(t rapidTB, docs ...string) (string, error) {
	t.Helper()
	s := anthropic.Wrap(chatOnly{name: "openai", usage: counted}).Stream(newCall(t, `{"model":"gpt","messages":[],"stream":true}`))
	var got sink
	for _, d := range docs {
		if err := s.Event("", []byte(d), &got); err != nil {
			return got.String(), err
		}
	}
	err := s.End(&got)
	return got.String(), err
}

// message is a Messages stream put together as the official SDKs do it.
type message struct {
	ID, Model string
	Input     int64 // of message_start
	Blocks    []*block
	Stop      string
	Usage     map[string]int64
	Pings     int
}

type block struct {
	Type, Text, Thinking, Signature, Data, ID, Name, JSON string
	closed                                                bool
}

// assemble checks the grammar of a stream: every event named, one start, dense
// indexes, blocks that never overlap, one end.
func assemble(t rapidTB, out string) *message {
	t.Helper()
	var m *message
	open, ended := -1, false
	for _, frame := range strings.SplitAfter(out, "\n\n") {
		if frame == "" {
			continue
		}
		name, rest, ok := strings.Cut(frame, "\n")
		require.True(t, ok && strings.HasPrefix(name, "event: ") && strings.HasPrefix(rest, "data: "), frame)
		var e struct {
			Type    string
			Message struct {
				ID, Model string
				Usage     map[string]int64
			}
			Index        int
			ContentBlock struct{ Type, ID, Name, Data string } `json:"content_block"`
			Delta        struct {
				Type, Text, Thinking, Signature string
				PartialJSON                     string `json:"partial_json"`
				StopReason                      string `json:"stop_reason"`
			}
			Usage map[string]int64
		}
		require.NoError(t, json.Unmarshal([]byte(strings.TrimSpace(rest[len("data: "):])), &e), frame)
		require.Equal(t, "event: "+e.Type, name)
		require.False(t, ended, "nothing follows message_stop")
		if e.Type != "message_start" {
			require.NotNil(t, m, "message_start comes first")
		}
		switch e.Type {
		case "message_start":
			require.Nil(t, m)
			m = &message{ID: e.Message.ID, Model: e.Message.Model, Input: e.Message.Usage["input_tokens"]}
		case "ping":
			m.Pings++
		case "content_block_start":
			require.Equal(t, -1, open, "blocks never overlap")
			require.Equal(t, len(m.Blocks), e.Index, "indexes are dense")
			open = e.Index
			m.Blocks = append(m.Blocks, &block{Type: e.ContentBlock.Type, ID: e.ContentBlock.ID, Name: e.ContentBlock.Name, Data: e.ContentBlock.Data})
		case "content_block_delta":
			require.Equal(t, open, e.Index)
			b := m.Blocks[open]
			b.Text += e.Delta.Text
			b.Thinking += e.Delta.Thinking
			b.Signature += e.Delta.Signature
			b.JSON += e.Delta.PartialJSON
		case "content_block_stop":
			require.Equal(t, open, e.Index)
			if m.Blocks[open].Type == "tool_use" && m.Stop == "" {
				m.Blocks[open].closed = true
			}
			open = -1
		case "message_delta":
			require.Equal(t, -1, open)
			m.Stop, m.Usage = e.Delta.StopReason, e.Usage
		case "message_stop":
			require.NotEmpty(t, m.Stop)
			ended = true
		default:
			t.Fatalf("unknown event %q", e.Type)
		}
	}
	return m
}

func TestTextChunksBecomeOneBlock(t *testing.T) {
	out, err := run(t, delta(`{"role":"assistant","content":""}`), delta(`{"content":"Hé\u00df"}`), delta(`{"content":" \"x\"\n"}`), finish("stop"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Equal(t, "msg_1", m.ID)
	require.Equal(t, "gpt", m.Model)
	require.Equal(t, int64(77), m.Input, "the estimate, never 0")
	require.Equal(t, 1, m.Pings)
	require.Len(t, m.Blocks, 1)
	require.Equal(t, "Héß \"x\"\n", m.Blocks[0].Text)
	require.Equal(t, "end_turn", m.Stop)
	require.Equal(t, map[string]int64{"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 7}, m.Usage)
}

func TestReasoningTextAndCallsFollowOneAnother(t *testing.T) {
	out, err := run(t, delta(`{"role":"assistant","reasoning_content":"let "}`), delta(`{"reasoning_content":"me"}`), delta(`{"content":"I call"}`),
		delta(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}`),
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":\"\\u00"}}]}`), delta(`{"tool_calls":[{"index":0,"function":{"arguments":"e9\"}"}}]}`),
		finish("tool_calls"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Len(t, m.Blocks, 3)
	require.Equal(t, "let me", m.Blocks[0].Thinking)
	require.Equal(t, "I call", m.Blocks[1].Text)
	require.Equal(t, `{"q":"\u00e9"}`, m.Blocks[2].JSON)
	require.Equal(t, "tool_use", m.Stop)
}

func TestInterleavedCallsBecomeBlocksThatDoNotOverlap(t *testing.T) {
	out, err := run(t,
		delta(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\""}},{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}`),
		delta(`{"tool_calls":[{"index":1,"function":{"arguments":"{\"y\":"}}]}`), delta(`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`),
		delta(`{"tool_calls":[{"index":1,"function":{"arguments":"2}"}}]}`), delta(`{"tool_calls":[{"index":2,"id":"c","function":{"name":"h"}}]}`), delta(`{"content":"done"}`),
		finish("tool_calls"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Len(t, m.Blocks, 4)
	for i, want := range []block{{ID: "a", Name: "f", JSON: `{"x":1}`}, {ID: "b", Name: "g", JSON: `{"y":2}`}, {ID: "c", Name: "h", JSON: "{}"}} {
		require.Equal(t, want.ID, m.Blocks[i].ID)
		require.Equal(t, want.Name, m.Blocks[i].Name)
		require.Equal(t, want.JSON, m.Blocks[i].JSON)
	}
	require.Equal(t, "done", m.Blocks[3].Text)
}

func TestAWholeCallIsClosedWhenTheNextBegins(t *testing.T) {
	s := anthropic.Wrap(chatOnly{name: "openai"}).Stream(newCall(t, `{"model":"gpt","messages":[]}`))
	var got sink
	for _, d := range []string{delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}`), delta(`{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\""}}]}`)} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	require.Contains(t, got.String(), `"partial_json":"{\"y\""`, "the second call streams without waiting for the end")
}

func TestCallsAllNumberedZeroAreToldApartByTheirIDs(t *testing.T) {
	out, err := run(t, delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"a\":1}"}}]}`), delta(`{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{\"b\":"}}]}`),
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"2}"}}]}`), finish("stop"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Len(t, m.Blocks, 2)
	require.Equal(t, `{"a":1}`, m.Blocks[0].JSON)
	require.Equal(t, `{"b":2}`, m.Blocks[1].JSON)
	require.Equal(t, "tool_use", m.Stop)
}

func TestSignedThoughtsKeepTheirSignature(t *testing.T) {
	out, err := run(t, delta(`{"reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":""}]}`),
		delta(`{"thinking_blocks":[{"type":"thinking","thinking":"","signature":"c2ln"}]}`), delta(`{"thinking_blocks":[{"type":"redacted_thinking","data":"b3Bh"}]}`), delta(`{"content":"x"}`), finish("stop"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Len(t, m.Blocks, 3)
	require.Equal(t, "hm", m.Blocks[0].Thinking)
	require.Equal(t, "c2ln", m.Blocks[0].Signature)
	require.Equal(t, "b3Bh", m.Blocks[1].Data)
	require.Equal(t, "x", m.Blocks[2].Text)
}

func TestNothingIsSentBeforeContentSoThatFailuresCanBeRetried(t *testing.T) {
	out, err := run(t, delta(`{"role":"assistant","content":""}`), "fail")
	require.Error(t, err)
	require.Empty(t, out)
}

func TestFailuresReachTheCaller(t *testing.T) {
	out, err := run(t, delta(`{"content":"half"}`), "fail")
	var e *provider.Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, provider.InternalServer, e.Class)
	require.NotContains(t, out, "message_stop")

	out, err = run(t, delta(`{"content":"half"}`))
	require.Error(t, err, "a stream that was cut is no answer")
	require.NotContains(t, out, "message_stop")

	_, err = run(t, `{"error":{"message":"boom","type":"server_error"}}`)
	require.ErrorContains(t, err, "boom")
	_, err = run(t, `{"choices":[`)
	require.Error(t, err)
}

func TestCutClosesWhatIsOpen(t *testing.T) {
	s := anthropic.Wrap(chatOnly{name: "openai", usage: counted}).Stream(newCall(t, `{"model":"gpt","messages":[]}`))
	var got sink
	for _, d := range []string{delta(`{"content":"half"}`), delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"y\""}}]}`)} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	s.Cut("length", &got)
	m := assemble(t, got.String())
	require.Equal(t, "max_tokens", m.Stop)
	require.Equal(t, int64(7), m.Usage["output_tokens"])
	require.True(t, strings.HasSuffix(got.String(), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
}

func TestAnAnswerOfNothingIsStillAMessage(t *testing.T) {
	out, err := run(t, delta(`{"role":"assistant","content":""}`), finish("stop"), "[DONE]")
	require.NoError(t, err)
	m := assemble(t, out)
	require.Empty(t, m.Blocks)
	require.Equal(t, "end_turn", m.Stop)
}

func TestAFourMegabyteChunk(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 4<<16)
	out, err := run(t, delta(`{"content":"`+big+`"}`), finish("length"), "[DONE]")
	require.NoError(t, err)
	require.Equal(t, big, assemble(t, out).Blocks[0].Text)
}

// rapidTB is what *testing.T, *testing.F and *rapid.T have in common.
type rapidTB interface {
	require.TestingT
	Helper()
	Fatalf(format string, args ...any)
}
