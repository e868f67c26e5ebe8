package wildcard_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/wildcard"
)

func pattern() *rapid.Generator[string] { return rapid.StringMatching(`[ab/*.]{0,8}`) }

func TestCapturesAgreeWithGreedyRegularExpressions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pattern().Draw(t, "pattern")
		n := rapid.StringMatching(`[ab/.]{0,10}`).Draw(t, "name")
		re := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `(.*)`) + `$`)
		want := re.FindStringSubmatch(n)
		got, ok := wildcard.Capture(p, n)
		require.Equal(t, want != nil, ok)
		require.Equal(t, ok, wildcard.Match(p, n))
		if ok && len(want) > 1 {
			require.Equal(t, want[1:], got)
		}
	})
}

func TestFillingThePatternWithItsCapturesGivesTheName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pattern().Draw(t, "pattern")
		n := rapid.StringMatching(`[ab/*.]{0,10}`).Draw(t, "name")
		got, ok := wildcard.Capture(p, n)
		if !ok {
			return
		}
		filled, ok := wildcard.Fill(p, got)
		require.True(t, ok)
		require.Equal(t, n, filled)
	})
}

func TestFillKeepsTemplatesWithoutStarsAndRefusesTooManyCaptures(t *testing.T) {
	s, ok := wildcard.Fill("gpt-4o", []string{"x"})
	require.True(t, ok)
	require.Equal(t, "gpt-4o", s)
	_, ok = wildcard.Fill("openai/*", []string{"a", "b"})
	require.False(t, ok)
}
