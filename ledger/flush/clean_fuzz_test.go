package flush_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush"
)

func FuzzJSONIsMadeAcceptableAndElseLeftAlone(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `"\u0000"`, `"\\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"\ud83d\ud83d"`, `"\\\u0000"`, "\"\xff\"", `"\uD800\u0000"`, `"\ud800\`, `[1,2`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := flush.JSONText(in)
		require.True(t, utf8.Valid(out))
		if !json.Valid(in) {
			return
		}
		require.True(t, json.Valid(out), "%q became %q", in, out)
		if !utf8.Valid(in) { // runs of bad bytes become one character, the decoder makes it several
			return
		}
		var a, b any
		require.NoError(t, json.Unmarshal(in, &a))
		require.NoError(t, json.Unmarshal(out, &b))
		require.Equal(t, replaced(a), b)
	})
}

// replaced does to a value what has to happen to its text: NUL becomes the
// replacement character, as the decoder does with the rest already.
func replaced(v any) any {
	switch v := v.(type) {
	case string:
		out := []rune(v)
		for i, r := range out {
			if r == 0 {
				out[i] = utf8.RuneError
			}
		}
		return string(out)
	case []any:
		for i := range v {
			v[i] = replaced(v[i])
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[replaced(k).(string)] = replaced(x)
		}
		return out
	}
	return v
}

func FuzzTextIsMadeAcceptableAndStaysApart(f *testing.F) {
	f.Add("plain", "other")
	f.Add("a\x00b", "\xff\xfe")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			out := flush.Text(s, 40)
			require.LessOrEqual(t, len(out), 40)
			require.True(t, utf8.ValidString(out))
			require.NotContains(t, out, "\x00")
			if len(s) <= 40 && utf8.ValidString(s) {
				require.Len(t, []rune(out), len([]rune(s)))
			}
		}
	})
}

func FuzzAddressIsReadOrRefused(f *testing.F) {
	for _, s := range []string{"postgres://u:p@h:1/d?schema=x", "host=h dbname=d", "postgres://", "postgresql://%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := flush.ParseAddress(s); err != nil {
			require.ErrorIs(t, err, flush.ErrAddress)
		}
	})
}
