package dialect_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/proxy/dialect"
	"tollgate/proxy/refusal"
)

func TestRouteDecidesTheDialect(t *testing.T) {
	for path, want := range map[string]dialect.Dialect{
		"/v1/messages": dialect.Anthropic, "/messages": dialect.Anthropic, "/v1/messages/count_tokens": dialect.Anthropic,
		"/v1/chat/completions": dialect.OpenAI, "/v1/messagesx": dialect.OpenAI, "/": dialect.OpenAI, "": dialect.OpenAI, "/key/generate": dialect.OpenAI,
	} {
		require.Equal(t, want, dialect.OfPath(path), path)
	}
}

func TestErrorsHaveTheFormOfTheirDialectAndEra(t *testing.T) {
	plain := refusal.New(400, "", "", "no")
	for name, tc := range map[string]struct {
		d    dialect.Dialect
		r    *refusal.Refusal
		old  bool
		want string
	}{
		"openai, new":  {dialect.OpenAI, plain, false, `{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"400"}}`},
		"openai, old":  {dialect.OpenAI, plain, true, `{"error":{"message":"no","type":"None","param":"None","code":"400"}}`},
		"auth layer":   {dialect.OpenAI, refusal.New(401, "auth_error", refusal.None, "no"), false, `{"error":{"message":"no","type":"auth_error","param":"None","code":"401"}}`},
		"own code":     {dialect.OpenAI, refusal.Unavailable("ledger_unavailable", "no", time.Second), false, `{"error":{"message":"no","type":"internal_server_error","param":null,"code":"ledger_unavailable"}}`},
		"detail":       {dialect.OpenAI, &refusal.Refusal{Status: 404, Detail: true, Message: "Not Found"}, false, `{"detail":"Not Found"}`},
		"anthropic":    {dialect.Anthropic, refusal.New(429, "", "", "slow"), false, `{"type":"error","error":{"type":"rate_limit_error","message":"slow"},"request_id":"r-1"}`},
		"overloaded":   {dialect.Anthropic, refusal.New(529, "", "", "busy"), false, `{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"r-1"}`},
		"needs quotes": {dialect.OpenAI, refusal.New(400, "", "", "a \"b\"\n"), false, `{"error":{"message":"a \"b\"\n","type":"invalid_request_error","param":null,"code":"400"}}`},
	} {
		require.Equal(t, tc.want, string(tc.d.AppendError(nil, tc.r, "r-1", tc.old)), name)
	}
}

func TestStreamErrorsAreOneEventOfTheirDialect(t *testing.T) {
	r := refusal.New(500, "", "", "cut")
	require.Equal(t, "data: {\"error\":{\"message\":\"cut\",\"type\":\"internal_server_error\",\"param\":null,\"code\":\"500\"}}\n\n",
		string(dialect.OpenAI.AppendStreamError(nil, r, "r-1")))
	require.Equal(t, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"cut\"},\"request_id\":\"r-1\"}\n\n",
		string(dialect.Anthropic.AppendStreamError(nil, r, "r-1")))
}

func TestErrorsAreJSONWhateverTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := refusal.New(rapid.IntRange(400, 599).Draw(t, "status"), rapid.String().Draw(t, "type"), rapid.String().Draw(t, "param"), string(rapid.SliceOf(rapid.Byte()).Draw(t, "message")))
		for _, d := range []dialect.Dialect{dialect.OpenAI, dialect.Anthropic} {
			if b := d.AppendError(nil, r, rapid.String().Draw(t, "id"), rapid.Bool().Draw(t, "old")); !json.Valid(b) {
				t.Fatalf("no JSON: %q", b)
			}
		}
	})
}

func TestUnavailableSaysWhenToComeAgain(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1500 * time.Millisecond: "2", 5 * time.Second: "5"} {
		r := refusal.Unavailable("x", "y", after)
		require.Equal(t, [][2]string{{"retry-after", want}}, r.Header)
		require.Equal(t, 503, r.Status)
	}
}
