package cache_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/unit"
	"tollgate/proxy/cache"
)

// Whoever may write to a shared store may write anything.
func FuzzDecodeOfKeptAnswers(f *testing.F) {
	f.Add((&cache.Value{At: time.Unix(1, 0), Kind: "acompletion", ID: "i", Body: []byte(`{"id":"x","choices":[{"index":0,"message":{"content":"hi","tool_calls":[{"id":"a","function":{"name":"n","arguments":"{}"}}]},"finish_reason":"stop"}]}`)}).Encode())
	f.Add((&cache.Value{At: time.Unix(1, 0), Kind: "anthropic_messages", Body: []byte(`{"type":"message","content":[{"type":"thinking","thinking":"a","signature":"b"},{"type":"tool_use","input":{"a":1}}],"stop_reason":"end_turn"}`)}).Encode())
	f.Add((&cache.Value{At: time.Unix(1, 0), Kind: "aembedding", Body: []byte(`{"embedding":[1,2],"tokens":3}`)}).Encode())
	f.Add([]byte(`{"timestamp":1,"response":"{}"}`))
	f.Add([]byte(`{"v":1,"timestamp":1e400,"response":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := cache.Decode(data)
		if err != nil {
			return
		}
		again, err := cache.Decode(v.Encode())
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if !bytes.Equal(again.Body, v.Body) || again.ID != v.ID || again.Cost != v.Cost {
			t.Fatalf("%+v is not %+v", again, v)
		}
		emit := func(frame []byte) {
			for line := range bytes.SplitSeq(bytes.TrimSpace(frame), []byte{'\n'}) {
				data, ok := bytes.CutPrefix(line, []byte("data: "))
				if ok && string(data) != "[DONE]" && !json.Valid(data) && json.Valid(v.Body) {
					t.Fatalf("a frame that is no JSON: %s", frame)
				}
			}
		}
		cache.Replay(v.Body, "m", true, emit)
		cache.ReplayMessage(v.Body, "m", emit)
		if whole := cache.Embeddings([][]byte{v.Body}, "m", nil); json.Valid(v.Body) && !json.Valid(whole) {
			t.Fatalf("no JSON: %s", whole)
		}
		cache.Whole(v.Body, true)
		cache.Whole(v.Body, false)
	})
}

// The frames of a stream are the provider's, put into a dialect by us.
func FuzzAssembleOfStreams(f *testing.F) {
	f.Add([]byte("data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"), false)
	f.Add([]byte("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{}}\n\ndata: {\"type\":\"message_stop\"}\n\n"), true)
	f.Fuzz(func(t *testing.T, frames []byte, messages bool) {
		doc, ok := cache.Assemble(frames, messages, nil)
		if ok && !json.Valid(bytes.ToValidUTF8(doc, []byte("?"))) {
			t.Fatalf("no JSON: %s", doc)
		}
	})
}

func TestAKeptAnswerIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(map[string]string{rapid.String().Draw(t, "name"): rapid.String().Draw(t, "value")})
		require.NoError(t, err)
		v := cache.Value{At: time.UnixMicro(rapid.Int64Range(1, 4e15).Draw(t, "at")), Kind: "acompletion", ID: rapid.StringMatching(`[ -~]*`).Draw(t, "id"),
			Model: "m", Deployment: "d", Cost: unit.Money(rapid.Int64Range(0, 1e15).Draw(t, "cost")), Body: body}
		got, err := cache.Decode(v.Encode())
		require.NoError(t, err)
		require.WithinDuration(t, v.At, got.At, 2*time.Microsecond)
		got.At = v.At
		require.Equal(t, &v, got)
	})
}
