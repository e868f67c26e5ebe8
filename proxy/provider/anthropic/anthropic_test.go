package anthropic_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
	"tollgate/proxy/stream"
)

var now = time.Unix(1793000000, 0).UTC()

func newCall(t testing.TB, op provider.Op, modelName, body string) *provider.Call {
	t.Helper()
	o := new(jsonscan.Object)
	require.NoError(t, o.Parse([]byte(body)))
	return &provider.Call{
		Op: op, Body: []byte(body), Fields: o, Model: modelName, PublicName: "claude", Now: now, CallID: "call-1",
		Deployment: &state.Deployment{Provider: "anthropic", Model: modelName, APIKey: "sk-ant-api03-x", Info: model.Params{}},
	}
}

// sameJSON compares documents by value, numbers by their digits.
func sameJSON(t testing.TB, want, got string) {
	t.Helper()
	read := func(s string) any {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var v any
		require.NoError(t, d.Decode(&v), s)
		return v
	}
	if diff := cmp.Diff(read(want), read(got)); diff != "" {
		t.Fatalf("-want +got\n%s\ngot %s", diff, got)
	}
}

func request(t testing.TB, c *provider.Call) *provider.Request {
	t.Helper()
	r, err := anthropic.New().Request(c)
	require.NoError(t, err)
	return r
}

func refusal(t testing.TB, c *provider.Call) *provider.Error {
	t.Helper()
	_, err := anthropic.New().Request(c)
	var e *provider.Error
	require.True(t, errors.As(err, &e), "got %v", err)
	return e
}

func header(r *provider.Request, name string) string {
	var values []string
	for _, h := range r.Header {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	return strings.Join(values, "|")
}

// sink collects frames.
type sink struct{ strings.Builder }

func (s *sink) Emit(frame []byte) { s.Write(frame) }

// run feeds a whole upstream stream and ends it.
func run(c *provider.Call, upstream io.Reader) (out string, s provider.Stream, err error) {
	s = anthropic.New().Stream(c)
	var got sink
	r := stream.NewReader(upstream)
	for {
		name, data, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return got.String(), s, err
		}
		if err := s.Event(name, data, &got); err != nil {
			return got.String(), s, err
		}
	}
	err = s.End(&got)
	return got.String(), s, err
}

// everyWay runs a stream in all the ways its bytes may arrive and demands the
// same result each time.
func everyWay(t *testing.T, newC func() *provider.Call, upstream string) (string, provider.Stream, error) {
	t.Helper()
	out, s, err := run(newC(), strings.NewReader(upstream))
	for name, in := range map[string]io.Reader{
		"one byte a read": iotest.OneByteReader(strings.NewReader(upstream)),
		"half reads":      iotest.HalfReader(strings.NewReader(upstream)),
		"CRLF":            strings.NewReader(strings.ReplaceAll(upstream, "\n", "\r\n")),
		"CRLF by byte":    iotest.OneByteReader(strings.NewReader(strings.ReplaceAll(upstream, "\n", "\r\n"))),
		"CR":              strings.NewReader(strings.ReplaceAll(upstream, "\n", "\r")),
	} {
		out2, s2, err2 := run(newC(), in)
		require.Equal(t, out, out2, name)
		require.Equal(t, err, err2, name)
		require.Equal(t, s.Info(), s2.Info(), name)
	}
	return out, s, err
}

// events writes upstream events with names, as Anthropic frames them.
func events(docs ...string) string {
	var b strings.Builder
	for _, d := range docs {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(d), &e)
		b.WriteString("event: " + e.Type + "\ndata: " + d + "\n\n")
	}
	return b.String()
}

const (
	msgStart = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":3},"output_tokens":1,"service_tier":"standard"}}}`
	ping     = `{"type":"ping"}`
	msgStop  = `{"type":"message_stop"}`
)

func blockStart(i, block string) string {
	return `{"type":"content_block_start","index":` + i + `,"content_block":` + block + `}`
}
func blockDelta(i, delta string) string {
	return `{"type":"content_block_delta","index":` + i + `,"delta":` + delta + `}`
}
func blockStop(i string) string { return `{"type":"content_block_stop","index":` + i + `}` }
func msgDelta(reason, out string) string {
	return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":{"output_tokens":` + out + `}}`
}

// chunk is what tests look at in a chat chunk.
type chunk struct {
	ID      string
	Object  string
	Created int64
	Model   string
	Choices []struct {
		Index int
		Delta struct {
			Role             string
			Content          *string
			Refusal          *string
			ReasoningContent string            `json:"reasoning_content"`
			ThinkingBlocks   []json.RawMessage `json:"thinking_blocks"`
			ReasoningDetails []json.RawMessage `json:"reasoning_details"`
			ToolCalls        []struct {
				Index    int
				ID       string
				Type     string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Text         string
		FinishReason *string `json:"finish_reason"`
	}
	Usage json.RawMessage
}

// collected is a chat stream put together again.
type collected struct {
	text, reasoning, finish, refusal string
	names, ids, args                 []string
	usage                            string
	chunks, usageChunks, done        int
	thinking, details                []string
}

func collect(t testing.TB, out string) collected {
	t.Helper()
	var c collected
	for _, frame := range strings.SplitAfter(out, "\n\n") {
		if frame == "" {
			continue
		}
		require.True(t, strings.HasPrefix(frame, "data: ") && strings.HasSuffix(frame, "\n\n"), frame)
		data := strings.TrimSuffix(frame[len("data: "):], "\n\n")
		require.Zero(t, c.done, "nothing may follow [DONE]")
		if data == "[DONE]" {
			c.done++
			continue
		}
		var k chunk
		require.NoError(t, json.Unmarshal([]byte(data), &k), data)
		require.NotEmpty(t, k.ID)
		require.Equal(t, "claude", k.Model)
		require.Equal(t, now.Unix(), k.Created)
		c.chunks++
		if len(k.Choices) == 0 {
			c.usageChunks++
			c.usage = string(k.Usage)
			continue
		}
		d := k.Choices[0].Delta
		if c.chunks == 1 && k.Object == "chat.completion.chunk" {
			require.Equal(t, "assistant", d.Role, "the first delta carries the role")
		}
		if d.Content != nil {
			c.text += *d.Content
		}
		if d.Refusal != nil {
			c.refusal += *d.Refusal
		}
		c.text += k.Choices[0].Text
		c.reasoning += d.ReasoningContent
		for _, b := range d.ThinkingBlocks {
			c.thinking = append(c.thinking, string(b))
		}
		for _, b := range d.ReasoningDetails {
			c.details = append(c.details, string(b))
		}
		for _, call := range d.ToolCalls {
			if call.ID != "" {
				require.Equal(t, len(c.ids), call.Index, "ordinals are dense from 0")
				require.Equal(t, "function", call.Type)
				c.ids, c.names, c.args = append(c.ids, call.ID), append(c.names, call.Function.Name), append(c.args, "")
			}
			c.args[call.Index] += call.Function.Arguments
		}
		if f := k.Choices[0].FinishReason; f != nil {
			require.Empty(t, c.finish, "one finish only")
			c.finish = *f
		}
	}
	return c
}
