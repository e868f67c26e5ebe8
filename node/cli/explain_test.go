package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplainAsksForWhatItsFlagsSay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"messages":[]}`), 0o600))
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"--key", "sk-1", "--model", "m"}, `{"key":"sk-1","model":"m","route":"/chat/completions"}`},
		{[]string{"--body", file, "--model", "m", "--route", "/embeddings"}, `{"model":"m","route":"/embeddings","body":{"messages":[]}}`},
		{[]string{"chatcmpl-1"}, `{"request_id":"chatcmpl-1"}`},
	} {
		addr, requests := gateway(t, 200, `{"verdict":"admitted","summary":"Yes."}`)
		bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
		_, said, status := command(t, append([]string{"explain"}, x.args...)...)
		require.Zero(t, status, said)
		require.Equal(t, "/utils/explain", (*requests)[0].target)
		require.JSONEq(t, x.want, (*requests)[0].body)
	}
	bare(t, "LITELLM_MASTER_KEY=sk-admin")
	for args, want := range map[string]string{"": "which call?", "id": "leave out --key"} {
		line := []string{"explain"}
		if args != "" {
			line = append(line, args, "--model", "m")
		}
		_, said, status := command(t, line...)
		require.Equal(t, 1, status)
		require.Contains(t, said, want)
	}
}

func TestExplainDrawsChecksAndDeployments(t *testing.T) {
	addr, _ := gateway(t, 200, `{"verdict":"refused","summary":"The call would be refused with status 429 by the check rate_limit: no.","strategy":"simple-shuffle",
		"checks":[{"name":"key","ok":true,"what":"key ci is known"},{"name":"rate_limit","ok":false,"what":"requests of api_key h: 3 of 3 used","resets_at":"2026-01-02T03:04:05Z"}],
		"candidates":[{"model_group":"m","model_id":"d1","model":"openai/x","verdict":"ok","probability":1},{"model_group":"m","model_id":"d2","model":"openai/y","verdict":"cooling","reason":"cooling until noon: 5 failed","probability":0}],
		"fallbacks":{"general":[{"model":"n","ok":true}]},"retries":{"num_retries":2},"max_cost":{"usd":0.002,"input_tokens":20,"output_tokens":1000,"priced":true},"notes":["a note"]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "explain", "--model", "m")
	require.Zero(t, status, said)
	require.Equal(t, `Checks, in the order in which they are made:
  ok       key         key ci is known
  REFUSED  rate_limit  requests of api_key h: 3 of 3 used, free again at 2026-01-02T03:04:05Z

Deployments, chosen by simple-shuffle:
  GROUP  ID  MODEL     REGION  CHANCE  IN FLIGHT  VERDICT
  m      d1  openai/x  -       100 %   0          ok
  m      d2  openai/y  -       0 %     0          cooling: cooling until noon: 5 failed

  general fallback  n
  retries           2
  at most it costs  $0.002 for up to 20 tokens in and 1000 out

Note: a note.

The call would be refused with status 429 by the check rate_limit: no.
`, out)
}

func TestExplainDrawsWhatBecameOfACall(t *testing.T) {
	addr, _ := gateway(t, 200, `{"summary":"Answered by d2 of n after 1 failed attempt.","request_id":"r1","call_id":"c1","status":"success","start":"2026-01-02T03:04:05Z","duration_ms":120,
		"caller":{"key_alias":"ci","team_id":"t"},"model":"m","node":"n1","books":"PostgreSQL","usage":{"prompt_tokens":1,"completion_tokens":2},
		"attempts":[{"model_group":"m","model_id":"d1","model":"openai/x","error":"RateLimitError","status":429,"took_ms":10},{"model_group":"n","model_id":"d2","model":"openai/y","reason":"fallback","after_ms":11,"took_ms":100}],
		"cost":{"usd":0.5,"input":0.1,"output":0.4,"price_version":"2026-01"},"charges":[{"scope":"api_key","id":"h"}]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "explain", "r1")
	require.Zero(t, status, said)
	for _, want := range []string{"its own id  c1", "RateLimitError 429", "fallback      11 ms", "counts in the budget of  api_key h", "node        n1",
		"\nAnswered by d2 of n after 1 failed attempt.\n"} {
		require.Contains(t, out, want)
	}
}
