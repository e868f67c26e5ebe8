package mock_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/mock"
	"tollgate/proxy/stream"
)

type sink struct{ bytes.Buffer }

func (s *sink) Emit(frame []byte) { s.Write(frame) }

func call(t require.TestingT, op provider.Op, body string) *provider.Call {
	c := &provider.Call{Op: op, Body: []byte(body), Fields: new(jsonscan.Object), Model: "up", PublicName: "pub", CallID: "c1", InputEstimate: 7, Now: time.Unix(100, 0)}
	require.NoError(t, c.Fields.Parse(c.Body))
	return c
}

func TestFixedTextIsAnsweredInEveryDialect(t *testing.T) {
	for _, c := range []struct {
		op         provider.Op
		body, want string
	}{
		{provider.OpChat, `{}`, `{"id":"chatcmpl-c1","object":"chat.completion","created":100,"model":"pub","choices":[{"index":0,"message":{"role":"assistant","content":"Say \"hi\""},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`},
		{provider.OpCompletion, `{}`, `{"id":"cmpl-c1","object":"text_completion","created":100,"model":"pub","choices":[{"index":0,"text":"Say \"hi\"","logprobs":null,"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`},
		{provider.OpMessages, `{}`, `{"id":"msg_c1","type":"message","role":"assistant","model":"pub","content":[{"type":"text","text":"Say \"hi\""}],"stop_reason":"end_turn","stop_sequence":null,` +
			`"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}`},
	} {
		a, err := mock.Answer(call(t, c.op, c.body), `Say "hi"`)
		require.NoError(t, err)
		require.Equal(t, c.want, string(a.Body))
		require.Equal(t, price.Usage{InUncached: 7, OutTotal: 2, Known: true, Estimated: true}, a.Usage)
		require.Equal(t, "stop", a.FinishReason)
	}
}

func TestStreamedTextJoinsToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Filter(func(s string) bool { return !strings.HasPrefix(s, "Exception: ") }).Draw(t, "text")
		op := rapid.SampledFrom([]provider.Op{provider.OpChat, provider.OpCompletion, provider.OpMessages}).Draw(t, "op")
		c := call(t, op, `{"stream":true}`)
		c.WantUsage = rapid.Bool().Draw(t, "usage")
		st, err := mock.NewStream(c, text)
		require.NoError(t, err)
		var out sink
		require.NoError(t, st.End(&out))
		var joined strings.Builder
		usages, last := 0, ""
		for r := stream.NewReader(&out); ; {
			_, data, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if last = string(data); stream.IsDone(data) {
				continue
			}
			var e struct {
				Choices []struct {
					Text  string
					Delta struct{ Content string }
				}
				Delta struct{ Text string }
				Usage *struct{}
			}
			require.NoError(t, json.Unmarshal(data, &e), "%s", data)
			joined.WriteString(e.Delta.Text)
			for _, ch := range e.Choices {
				joined.WriteString(ch.Text + ch.Delta.Content)
			}
			if e.Usage != nil && op != provider.OpMessages {
				usages++
			}
		}
		require.Equal(t, strings.ToValidUTF8(text, "\ufffd"), joined.String())
		require.True(t, st.Info().Done)
		if op == provider.OpMessages {
			require.Contains(t, last, "message_stop")
			return
		}
		require.Equal(t, "[DONE]", last)
		require.Equal(t, c.WantUsage, usages == 1)
	})
}

func TestErrorFormsRaiseTheirClass(t *testing.T) {
	for text, want := range map[string]provider.Class{
		"litellm.RateLimitError":                provider.RateLimit,
		"litellm.InternalServerError: it broke": provider.InternalServer,
		"litellm.ContextWindowExceededError":    provider.ContextWindow,
		"Exception: content_filter_policy":      provider.ContentPolicy,
		"Exception: mock_timeout_error":         provider.Timeout,
		"Exception: anything else":              provider.APIError,
	} {
		var e *provider.Error
		_, err := mock.Answer(call(t, provider.OpChat, `{}`), text)
		require.ErrorAs(t, err, &e, text)
		require.Equal(t, want, e.Class)
		require.NotEmpty(t, e.Message)
		_, err = mock.NewStream(call(t, provider.OpMessages, `{}`), text)
		require.ErrorAs(t, err, &e, text)
	}
	for _, text := range []string{"litellm is nice", "litellm.Unknown", "An Exception: no"} {
		_, err := mock.Answer(call(t, provider.OpChat, `{}`), text)
		require.NoError(t, err, text)
	}
}

func TestAMockedAnswerKeepsWithinItsLimits(t *testing.T) {
	long := strings.Repeat("é", 100)
	for body, most := range map[string]int64{`{"max_tokens":5}`: 5, `{"max_completion_tokens":3,"max_tokens":9}`: 3, `{"max_tokens":10,"n":2}`: 20} {
		a, err := mock.Answer(call(t, provider.OpChat, body), long)
		require.NoError(t, err)
		require.LessOrEqual(t, a.Usage.OutTotal, most)
		require.Equal(t, "length", a.FinishReason)
		require.True(t, json.Valid(a.Body))
	}
	c := call(t, provider.OpChat, `{"n":2}`)
	c.MaxOutput = 8
	a, err := mock.Answer(c, long)
	require.NoError(t, err)
	require.EqualValues(t, 8, a.Usage.OutTotal)
	require.Equal(t, 2, strings.Count(string(a.Body), `"index"`))
}

func TestCutEndsTheStreamInOrder(t *testing.T) {
	for _, op := range []provider.Op{provider.OpChat, provider.OpMessages} {
		st, err := mock.NewStream(call(t, op, `{}`), "text")
		require.NoError(t, err)
		var out sink
		st.Cut("length", &out)
		require.NotContains(t, out.String(), "text\"}")
		require.Zero(t, st.Info().Usage.OutTotal)
		require.Equal(t, "length", st.Info().FinishReason)
	}
}

func TestEmbeddingsAreSteadyVectors(t *testing.T) {
	get := func(body, text string) (vectors []json.RawMessage) {
		a, err := mock.Answer(call(t, provider.OpEmbedding, body), text)
		require.NoError(t, err)
		var v struct {
			Data []struct{ Embedding json.RawMessage }
		}
		require.NoError(t, json.Unmarshal(a.Body, &v))
		require.EqualValues(t, 7, a.Usage.Prompt())
		for _, d := range v.Data {
			vectors = append(vectors, d.Embedding)
		}
		return vectors
	}
	two := get(`{"input":["a","b"],"dimensions":4}`, "x")
	require.Len(t, two, 2)
	require.NotEqual(t, string(two[0]), string(two[1]))
	require.Equal(t, two[:1], get(`{"input":"a","dimensions":4}`, "y"))
	require.Len(t, get(`{"input":[1,2,3]}`, "x"), 1, "token ids are one input")
	require.Len(t, get(`{"input":[[1],[2]]}`, "x"), 2)
	require.JSONEq(t, `[0.5,-1]`, string(get(`{"input":"a"}`, "[0.5, -1]")[0]))
	var text string
	require.NoError(t, json.Unmarshal(get(`{"input":"a","encoding_format":"base64"}`, "[0.5, -1]")[0], &text))
	raw, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf}, raw)
	_, err = mock.NewStream(call(t, provider.OpEmbedding, `{}`), "x")
	require.Error(t, err)
}
