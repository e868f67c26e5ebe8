package anthropic_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

// genValue draws a JSON document with texts of all kinds and numbers that no
// float holds.
func genValue(depth int) *rapid.Generator[string] {
	leaf := []*rapid.Generator[string]{
		rapid.Map(rapid.String(), func(s string) string { return string(jsonscan.AppendQuoted(nil, s)) }),
		rapid.SampledFrom([]string{"null", "true", "0", "-1.50", "1e400", "12345678901234567890", `"\u00e9\ud83d\ude00"`, `""`}),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	return rapid.OneOf(append(leaf, genObject(depth-1),
		rapid.Map(rapid.SliceOfN(genValue(depth-1), 0, 3), func(v []string) string { return "[" + strings.Join(v, ",") + "]" }))...)
}

func genObject(depth int) *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(genValue(depth), 0, 3), func(values []string) string {
		b := []byte{'{'}
		for i, v := range values {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `"k`+strconv.Itoa(i)+`":`+v...)
		}
		return string(append(b, '}'))
	})
}

// TestWhatTheModelIsGivenComesBackUnchanged sends an assistant turn to the
// provider, lets it answer with that very turn, whole and in pieces, and wants
// names, arguments, order and text as they were.
func TestWhatTheModelIsGivenComesBackUnchanged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		said := rapid.String().Draw(rt, "text")
		args := rapid.SliceOfN(genObject(2), 0, 4).Draw(rt, "arguments")
		b := append([]byte(`{"model":"claude","messages":[{"role":"user","content":"q"},{"role":"assistant","content":`), jsonscan.AppendQuoted(nil, said)...)
		b = append(b, `,"tool_calls":[`...)
		for i, a := range args {
			if i > 0 {
				b = append(b, ',')
			}
			n := strconv.Itoa(i)
			b = append(b, `{"id":"c`+n+`","type":"function","function":{"name":"f`+n+`","arguments":`...)
			b = append(jsonscan.AppendQuoted(b, a), "}}"...)
		}
		b = append(b, `]},{"role":"user","content":"r"}]}`...)
		r, err := anthropic.New().Request(newCall(t, provider.OpChat, "claude-sonnet-4-5", string(b)))
		require.NoError(rt, err)
		var sent struct {
			Messages []struct {
				Role    string
				Content json.RawMessage
			}
		}
		require.NoError(rt, json.Unmarshal(r.Body, &sent))
		content := "[]"
		for _, m := range sent.Messages {
			if m.Role == "assistant" {
				content = string(m.Content)
			}
		}
		want := said
		if strings.Trim(said, " \n\t\r") == "" {
			want = "" // the API knows no such text
		}

		a, err := anthropic.New().Answer(newCall(t, provider.OpChat, "claude-sonnet-4-5", hello), nil, []byte(`{"id":"m","content":`+content+`,"stop_reason":"tool_use"}`))
		require.NoError(rt, err)
		var got struct {
			Choices []struct {
				Message struct {
					Content   *string
					ToolCalls []struct {
						ID       string
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
			}
		}
		require.NoError(rt, json.Unmarshal(a.Body, &got))
		m := got.Choices[0].Message
		if m.Content != nil {
			require.Equal(rt, want, *m.Content)
		} else {
			require.Empty(rt, want)
		}
		require.Len(rt, m.ToolCalls, len(args))
		for i, c := range m.ToolCalls {
			require.Equal(rt, "c"+strconv.Itoa(i), c.ID)
			require.Equal(rt, "f"+strconv.Itoa(i), c.Function.Name)
			require.Equal(rt, args[i], c.Function.Arguments)
		}

		streamed := pieces(rt, content)
		c := chatCall(t)()
		out, _, err := run(c, strings.NewReader(streamed))
		require.NoError(rt, err)
		again := collect(t, out)
		require.Equal(rt, want, again.text)
		require.Len(rt, again.args, len(args))
		for i := range args {
			require.Equal(rt, "f"+strconv.Itoa(i), again.names[i])
			require.Equal(rt, args[i], again.args[i])
		}
		u := again.usage
		require.NotEmpty(rt, u)
	})
}

// pieces streams content blocks, text and input cut at random places.
func pieces(rt *rapid.T, content string) string {
	docs := []string{msgStart}
	var blocks []struct {
		Type, Text, ID, Name string
		Input                json.RawMessage
	}
	require.NoError(rt, json.Unmarshal([]byte(content), &blocks))
	for i, b := range blocks {
		n := strconv.Itoa(i)
		field, text := "text", b.Text
		kind := "text_delta"
		start := `{"type":"text","text":""}`
		if b.Type == "tool_use" {
			field, text, kind = "partial_json", string(b.Input), "input_json_delta"
			start = `{"type":"tool_use","id":"` + b.ID + `","name":"` + b.Name + `","input":{}}`
		}
		docs = append(docs, blockStart(n, start))
		for runes := []rune(text); len(runes) > 0; {
			k := rapid.IntRange(1, len(runes)).Draw(rt, "cut")
			docs = append(docs, blockDelta(n, `{"type":"`+kind+`","`+field+`":`+string(jsonscan.AppendQuoted(nil, string(runes[:k])))+`}`))
			runes = runes[k:]
		}
		docs = append(docs, blockStop(n))
	}
	return events(append(docs, msgDelta("tool_use", "5"), msgStop)...)
}

// TestUsageAddsUpAndIsNeverNegative holds for whatever counts a provider sends.
func TestUsageAddsUpAndIsNeverNegative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string) string { return strconv.FormatInt(rapid.Int64Range(-5, 1<<40).Draw(rt, name), 10) }
		usage := `{"input_tokens":` + n("in") + `,"cache_read_input_tokens":` + n("read") + `,"cache_creation_input_tokens":` + n("write") +
			`,"cache_creation":{"ephemeral_5m_input_tokens":` + n("5m") + `,"ephemeral_1h_input_tokens":` + n("1h") + `},"output_tokens":` + n("out") +
			`,"output_tokens_details":{"thinking_tokens":` + n("thought") + `}}`
		a, err := anthropic.New().Answer(newCall(t, provider.OpChat, "m", hello), nil, []byte(`{"id":"m","content":[],"usage":`+usage+`}`))
		require.NoError(rt, err)
		var got struct {
			Usage struct {
				Prompt     int64 `json:"prompt_tokens"`
				Completion int64 `json:"completion_tokens"`
				Total      int64 `json:"total_tokens"`
				Details    struct {
					Cached int64 `json:"cached_tokens"`
					Write  int64 `json:"cache_write_tokens"`
				} `json:"prompt_tokens_details"`
			}
		}
		require.NoError(rt, json.Unmarshal(a.Body, &got))
		u := got.Usage
		require.Equal(rt, u.Total, u.Prompt+u.Completion)
		require.GreaterOrEqual(rt, u.Prompt, u.Details.Cached+u.Details.Write)
		require.True(rt, u.Completion >= 0 && u.Details.Cached >= 0 && u.Details.Write >= 0)
		require.LessOrEqual(rt, a.Usage.OutReasoning, a.Usage.OutTotal)
	})
}
