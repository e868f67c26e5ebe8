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

func TestExplainDrawsChecksLimitsAndDeployments(t *testing.T) {
	const hash = "9f4ec465a64f2d93f01cec66f0caaf7fa2dd55fc05862d4176009f6309d98a1f"
	addr, _ := gateway(t, 200, `{"verdict":"refused","at":"2026-01-02T03:04:00.5Z","route":"/chat/completions","model":"m","strategy":"simple-shuffle",
		"summary":"The call would be refused with status 429 by the check rate_limit: no more for `+hash+`.",
		"caller":{"key_hash":"`+hash+`","key_alias":"ci","team_id":"t"},
		"checks":[{"name":"key","ok":true,"what":"key ci is known"},{"name":"data_regions","ok":true,"skipped":true,"what":"none hold"},
			{"name":"budget","ok":true,"what":"","scope":"team","id":"t","unit":"usd","limit":1,"used":0.25,"reserved":0.5,"resets_at":"2026-02-01T00:00:00Z"},
			{"name":"rate_limit","ok":false,"what":"","scope":"api_key","id":"`+hash+`","unit":"requests","limit":3,"used":3,"resets_at":"2026-01-02T03:04:05Z","uncertain":true}],
		"candidates":[{"model_group":"m","model_id":"d1","model":"openai/x","verdict":"ok","probability":1},{"model_group":"m","model_id":"d2","model":"openai/y","verdict":"cooling","reason":"cooling until noon: 5 failed","probability":0},
			{"model_group":"n","model_id":"d3","model":"openai/z","region":"eu","fallback":true,"verdict":"order","reason":"others come first","probability":0}],
		"fallbacks":{"general":[{"model":"n","ok":true},{"model":"o","ok":false,"why":"there is no such model"}]},"retries":{"num_retries":2},"max_cost":{"usd":0.002,"input_tokens":20,"output_tokens":1000,"priced":true},"notes":["a note"]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "explain", "--model", "m")
	require.Zero(t, status, said)
	require.Equal(t, `Key ci (team t) calls m on /chat/completions.

  ok  key             key ci is known
  -   nothing to ask  data_regions

Budgets and limits:
           LEVEL    ID  UNIT      USED  OF  HELD  RESETS
  ok       team     t   usd       0.25  1   0.5   2026-02-01 00:00:00 UTC
  REFUSED  api_key  ci  requests  3+    3   -     in 5 s
  +: not all nodes have answered, more may be used

Deployments, by simple-shuffle:
  ID  MODEL     CHANCE  IN FLIGHT  VERDICT
  d1  openai/x  100 %   0          ok
  d2  openai/y  -       0          cooling until noon: 5 failed

Fallbacks, for when those fail:
  GROUP  ID  MODEL     REGION  IN FLIGHT  VERDICT
  n      d3  openai/z  eu      0          order: others come first

  general fallbacks  n, o (never: there is no such model)
  retries            2
  costs at most      $0.002 for up to 20 tokens in and 1000 out

Note: a note.

The call would be refused with status 429 by the check rate_limit: no more for ci.
`, out)
}

func TestExplainDrawsWhatBecameOfACall(t *testing.T) {
	const id = "798a291c9ae7358a9af0b7a3d1fdce7230020ea80008703d20fec20aec8d0b74"
	addr, _ := gateway(t, 200, `{"summary":"Answered by `+id+` of n after 1 failed attempt.","request_id":"r1","call_id":"c1","status":"success","start":"2026-01-02T03:04:05.25Z","duration_ms":1200,
		"caller":{"key_alias":"ci","key_hash":"h","team_id":"t","team_alias":"Red"},"model":"m","node":"n1","books":"PostgreSQL","usage":{"prompt_tokens":1,"completion_tokens":2},
		"attempts":[{"model_group":"m","model_id":"d1","model":"openai/x","error":"RateLimitError","status":429,"took_ms":10},{"model_group":"n","model_id":"`+id+`","model":"openai/y","reason":"fallback","after_ms":11,"took_ms":1189.25}],
		"cost":{"usd":0.5,"input":0.1,"output":0.4,"price_version":"2026-01"},"charges":[{"scope":"api_key","id":"h"},{"scope":"team","id":"t","window_start":"2026-01-01T00:00:00Z"}],"notes":["seen"]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "explain", "r1")
	require.Zero(t, status, said)
	require.Equal(t, `  call        r1
  its own id  c1
  when        2026-01-02 03:04:05 UTC, took 1.20 s
  key         ci (h)
  team        Red (t)
  model       m
  node        n1
  books       PostgreSQL

  GROUP  ID             MODEL     WHY           BEGAN AFTER  TOOK    OUTCOME
  m      d1             openai/x  first choice  -            10 ms   RateLimitError 429
  n      798a291c9ae7…  openai/y  fallback      11 ms        1.19 s  answered

  cost              $0.5 (input $0.1, output $0.4) by prices of 2026-01
  tokens            1 in, 2 out
  in the budget of  api_key h
  in the budget of  team t, since 2026-01-01 00:00:00 UTC

Note: seen.

Answered by 798a291c9ae7… of n after 1 failed attempt.
`, out)
}

func TestExplainDrawsTheLimitThatRefusedACall(t *testing.T) {
	addr, _ := gateway(t, 200, `{"summary":"Refused.","request_id":"r1","start":"2026-01-02T03:04:05Z","duration_ms":0,"caller":{},"model":"m","books":"PostgreSQL","attempts":[],
		"cost":{"usd":0},"refusal":{"code":"429","class":"RateLimitError","scope":"team","id":"t","unit":"usd","limit":1,"used":0.75,"reserved":0.2,"needed":0.1,"resets_at":"2026-02-01T00:00:00Z"}}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "explain", "r1")
	require.Zero(t, status, said)
	require.Equal(t, `  call   r1
  when   2026-01-02 03:04:05 UTC, took 0 ms
  model  m
  books  PostgreSQL

  refused with   429 RateLimitError
  by             usd of team t
  stood at       0.75 of 1 used, 0.2 held by other calls, 0.1 needed
  free again at  2026-02-01 00:00:00 UTC

Refused.
`, out)
	addr, _ = gateway(t, 200, `{"summary":"Several calls have this id.","calls":[{"request_id":"r1","attempts":[]},{"request_id":"r2","attempts":[]}]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, _, _ = command(t, "explain", "r1")
	require.Contains(t, out, "r1\n")
	require.Contains(t, out, "r2\n")
	require.Contains(t, out, "\nSeveral calls have this id.\n")
}
