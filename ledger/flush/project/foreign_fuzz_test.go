package project_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"tollgate/ledger/flush/project"
)

// FuzzStorable: what PostgreSQL gets is JSON still, without what it refuses.
func FuzzStorable(f *testing.F) {
	for _, s := range []string{`"a\u0000b"`, `{"\ud800":"\ud83d\ude00"}`, `"\\u0000"`, `"\udc00\ud800x"`, `"\u00"`, `\u`, `"\ud800\u0041"`, `"\ud83d\ud83d\ude00"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := project.Storable(bytes.Clone(data))
		if !json.Valid(data) {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q became %q", data, out)
		}
		var v any
		if json.Unmarshal(out, &v) == nil && holds(v, 0) {
			t.Fatalf("%q still holds a zero in %q", data, out)
		}
		if again := project.Storable(bytes.Clone(out)); !bytes.Equal(again, out) {
			t.Fatalf("%q became %q and then %q", data, out, again)
		}
	})
}

func holds(v any, r rune) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, r)
	case []any:
		for _, x := range v {
			if holds(x, r) {
				return true
			}
		}
	case map[string]any:
		for k, x := range v {
			if strings.ContainsRune(k, r) || holds(x, r) {
				return true
			}
		}
	}
	return false
}

// FuzzDecrypt: no text opens but what was encrypted, and that opens to itself.
func FuzzDecrypt(f *testing.F) {
	f.Add("sk-provider", "salt")
	f.Add("v2:gcm:AAAA", "salt")
	f.Add("v3:gcm:"+strings.Repeat("A", 80), "")
	f.Add("", "salt")
	f.Fuzz(func(t *testing.T, text, key string) {
		if plain, err := project.Decrypt(text, key); err == nil {
			t.Fatalf("%q opened to %q", text, plain)
		}
		if key == "" || text == "" {
			return
		}
		hidden, err := project.Encrypt(text, key)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := project.Decrypt(hidden, key); err != nil || plain != text {
			t.Fatalf("%q came back as %q (%v)", text, plain, err)
		}
		if _, err := project.Decrypt(hidden, key+"x"); err == nil {
			t.Fatal("another key opened it")
		}
	})
}

// FuzzRowsOfLiteLLM: whatever stands in a row, it gives a key that the state
// takes, or none.
func FuzzRowsOfLiteLLM(f *testing.F) {
	for _, s := range []string{
		`{"token":"x","spend":1e-7,"max_budget":3,"budget_duration":"1d","metadata":{"tags":["a"],"model_rpm_limit":{"gpt":3},"temp_budget_increase":"5","temp_budget_expiry":"2027-01-01T00:00:00"}}`,
		`{"aliases":"{\"a\":\"b\"}","model_max_budget":{"gpt":{"budget_limit":1,"time_period":"1d"},"x":2},"budget_limits":[{"budget_duration":"1d","max_budget":2}]}`,
		`{"expires":"2026-11-18T10:00:00.123","rotation_count":2,"metadata":"[]","config":"x","permissions":null}`,
		`{"metadata":{"tags":"no list","model_tpm_limit":{"a":-1,"b":1e300}},"model_max_budget":{"a":{"budget_limit":"x"}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := project.KeyOfRow(data)
		if err != nil || k == nil {
			return
		}
		if _, err := json.Marshal(k); err != nil {
			t.Fatalf("%q gives a key that cannot be proposed: %v", data, err)
		}
		for _, n := range k.ModelRPM {
			if n < 0 {
				t.Fatalf("limit %d", n)
			}
		}
		if k.MaxBudget != nil && *k.MaxBudget < 0 {
			t.Fatalf("budget %v", *k.MaxBudget)
		}
	})
}
