package openai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
)

type sunk struct{ bytes.Buffer }

func (s *sunk) Emit(frame []byte) { s.Write(frame) }

func patterned(text, extra string) []byte {
	quoted, _ := json.Marshal(text)
	return fmt.Appendf(nil, `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]%s}`, quoted, extra)
}

func TestChunksPassedByThePatternOfTheLastAreTheSameAsChunksRead(t *testing.T) {
	row := openai.Rows()[0]
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " a", "\n", "\"", "\\", "é", "日本", "\u2028"})), 1, 12).Draw(t, "texts")
		call := func() *provider.Call {
			return &provider.Call{Op: provider.OpChat, Stream: true, PublicName: "public", Deployment: &state.Deployment{}, CallID: "x"}
		}
		quick, read := openai.New(row).Stream(call()), openai.New(row).Stream(call())
		var a, b sunk
		for i, text := range texts {
			if err := quick.Event("", patterned(text, ""), &a); err != nil {
				t.Fatal(err)
			}
			// A field of its own keeps each chunk from following the last one's pattern.
			if err := read.Event("", patterned(text, fmt.Sprintf(`,"n":%d`, i)), &b); err != nil {
				t.Fatal(err)
			}
		}
		want := b.Bytes()
		for i := range texts {
			want = bytes.Replace(want, fmt.Appendf(nil, `,"n":%d`, i), nil, 1)
		}
		if !bytes.Equal(a.Bytes(), want) {
			t.Fatalf("by pattern:\n%s\nread:\n%s", a.Bytes(), want)
		}
		if q, r := quick.Info(), read.Info(); q.OutputBytes != r.OutputBytes || q.SawContent != r.SawContent {
			t.Fatalf("by pattern %d bytes, read %d", q.OutputBytes, r.OutputBytes)
		}
	})
}

func TestAChunkThatBreaksThePatternInsideItsTextIsRead(t *testing.T) {
	row := openai.Rows()[0]
	s := openai.New(row).Stream(&provider.Call{Op: provider.OpChat, Stream: true, PublicName: "public", Deployment: &state.Deployment{}, CallID: "x"})
	var out sunk
	if err := s.Event("", patterned("one", ""), &out); err != nil {
		t.Fatal(err)
	}
	// The text closes early and the same tail follows: one more member, not text.
	if err := s.Event("", []byte(`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"x","tool_calls":[{"index":0,"function":{"arguments":"{}"}}],"z":""},"finish_reason":null}]}`), &out); err != nil {
		t.Fatal(err)
	}
	if got := s.Info().OutputBytes; got != int64(len("one")+len("x")+len("{}")) {
		t.Fatalf("counted %d bytes of output", got)
	}
	if err := s.Event("", []byte(`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"\q"},"finish_reason":null}]}`), &out); err == nil {
		t.Fatal("an invalid escape was passed on")
	}
}
