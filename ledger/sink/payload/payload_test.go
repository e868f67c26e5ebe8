package payload_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/store"
)

var t0 = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

func chat() *store.Entry {
	return &store.Entry{
		Seq: 1<<40 | 7, CallID: store.CallID{1, 2, 3, 4}, RequestID: "chatcmpl-9xYbR2mZk4", CallType: "acompletion", Status: store.Success,
		Start: t0, End: t0.Add(820 * time.Millisecond), FirstToken: t0.Add(210 * time.Millisecond),
		Key: "88dc28d0", KeyAlias: "ci", User: "u-1", Team: "t-1", TeamAlias: "platform", Organization: "org-1", EndUser: "customer-7",
		Group: "gpt-4o", Model: "openai/gpt-4o-2024-08-06", ModelID: "d-1", Provider: "openai",
		APIBase: "https://api.openai.com/v1", IP: "10.0.0.9", Session: "s-1", Tags: []string{"a", "b"},
		Metadata:          []byte(`{"agent_name":"x","headers":{"cookie":"c"},"user_api_key_hash":"forged","user_api_key":"forged"}`),
		SpendLogsMetadata: []byte(`{"job":1}`),
		Usage:             price.Usage{InUncached: 100, CacheRead: 20, OutTotal: 50, OutReasoning: 5, Known: true},
		Cost:              price.Cost{Total: 750_000, Input: 240_000, CacheRead: 10_000, Output: 500_000, Priced: true},
		Stream:            true, CacheHit: "False", Overhead: 730 * time.Microsecond,
		Messages: []byte(`[{"role":"user","content":"hi"}]`), Response: []byte(`{"choices":[]}`),
		Request: []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"temperature":0.7,"stream":true,"metadata":{"a":1},"user":"customer-7"}`),
	}
}

func failed() *store.Entry {
	return &store.Entry{
		CallID: store.CallID{9}, CallType: "aembedding", Status: store.Failure, Start: t0, End: t0.Add(time.Second), Key: "88dc28d0",
		Model: "azure/embed", Provider: "azure", Group: "embed", ErrorClass: "RateLimitError", ErrorCode: "429", ErrorMessage: "slow down",
		Request: []byte(`{"model":"embed","input":["a","b"],"dimensions":3}`),
	}
}

func golden(t *testing.T, name string, e *store.Entry, o payload.Options) {
	t.Helper()
	r, err := payload.Of(e, o)
	require.NoError(t, err)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, json.Indent(&out, text, "", "  "))
	out.WriteByte('\n')
	path := "testdata/" + name + ".golden.json"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

func TestRecordsHaveLiteLLMsFields(t *testing.T) {
	golden(t, "chat", chat(), payload.Options{})
	golden(t, "failed", failed(), payload.Options{})
	golden(t, "redacted", chat(), payload.Options{Redact: true, HideCaller: true})
}

func TestRedactedRecordHoldsNoContent(t *testing.T) {
	e := chat()
	e.Messages, e.Response = []byte(`[{"content":"canary-1"}]`), []byte(`{"text":"canary-2"}`)
	e.Request = []byte(`{"messages":"canary-3","tools":["canary-4"]}`)
	r, err := payload.Of(e, payload.Options{Redact: true})
	require.NoError(t, err)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(text), "canary")
	require.Contains(t, string(text), payload.Redacted)
}

func TestCallerCannotForgeWhoCalled(t *testing.T) {
	r, err := payload.Of(chat(), payload.Options{HideCaller: true})
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(r.Metadata, &m))
	require.NotContains(t, m, "user_api_key_hash")
	require.NotContains(t, m, "user_api_key")
	require.Equal(t, "x", m["agent_name"])
	require.NotContains(t, m, "headers")
}

// Bodies and metadata are foreign bytes: whatever they are, a record is JSON.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`[]`), []byte(`{"input":1}`))
	f.Add([]byte(`[`), []byte("\xff"), []byte(`{"prompt":"x","prompt":2}`))
	f.Fuzz(func(t *testing.T, metadata, messages, request []byte) {
		e := chat()
		e.Metadata, e.SpendLogsMetadata, e.Messages, e.Response, e.Request = metadata, metadata, messages, messages, request
		r, err := payload.Of(e, payload.Options{})
		require.NoError(t, err)
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.True(t, json.Valid(text))
	})
}

func TestRecordTellsEveryAttemptOfACall(t *testing.T) {
	e := chat()
	e.Attempts, e.Fallbacks = 3, 1
	e.Tried = []store.Attempt{
		{Group: "gpt-4o", ModelID: "d-1", Model: "openai/gpt-4o", Provider: "openai", Class: "InternalServerError", Status: 503, Took: 20 * time.Millisecond},
		{Group: "gpt-4o", ModelID: "d-2", Model: "openai/gpt-4o", Provider: "openai", Reason: "retry", Class: "Timeout", After: 21 * time.Millisecond, Took: time.Second},
		{Group: "claude", ModelID: "d-3", Model: "anthropic/claude", Provider: "anthropic", Reason: "fallback", After: 1100 * time.Millisecond, Took: time.Second},
	}
	e.Metadata = []byte(`{"tollgate_attempts":"forged","model_group":"forged","mine":1}`)
	r, err := payload.Of(e, payload.Options{})
	require.NoError(t, err)
	require.Equal(t, "gpt-4o", *r.ModelGroup)
	var m map[string]any
	require.NoError(t, json.Unmarshal(r.Metadata, &m))
	require.EqualValues(t, 1, m["attempted_retries"])
	require.EqualValues(t, 1, m["attempted_fallbacks"])
	require.Equal(t, "claude", m["model_group"])
	require.Len(t, m["tollgate_attempts"], 3)
	require.EqualValues(t, 1, m["mine"])

	e.Attempts, e.Fallbacks, e.Tried = 1, 0, nil
	r, err = payload.Of(e, payload.Options{})
	require.NoError(t, err)
	clear(m)
	require.NoError(t, json.Unmarshal(r.Metadata, &m))
	require.NotContains(t, m, "tollgate_attempts")
	require.NotContains(t, m, "model_group")
}
