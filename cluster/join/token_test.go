package join_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
)

func sample() *join.Token {
	t := &join.Token{ID: "0123456789abcdef"}
	for i := range t.Secret {
		t.Fingerprint[i], t.Secret[i] = byte(i), byte(3*i)
	}
	return t
}

func text(t require.TestingT, tok *join.Token) string {
	s, err := tok.Text()
	require.NoError(t, err)
	return s
}

func TestTokenReadsAsPasted(t *testing.T) {
	s := text(t, sample())
	require.Len(t, s, 4+125)
	require.Equal(t, "tg1.000g40r40m30e209185gr38e1w8124gk2gahc5rr34d1p70x3rfg0h1j2k3m4n5p6q7g00r61460y4gn30dhw8944wn2tc1k6rwkrft28n44pkjhahbnmq9h3py54", s, "the form has changed")
	for name, pasted := range map[string]string{
		"as it is": s, "with blanks": "  " + s + "\n", "broken over lines": s[:60] + "\n  " + s[60:], "in quotes": `"` + s + `"`,
		"in capitals": strings.ToUpper(s), "with look-alikes": strings.ReplaceAll(strings.ReplaceAll(s[4:], "0", "O"), "1", "l"),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "with look-alikes" {
				pasted = "tg1." + pasted
			}
			got, err := join.ParseToken(pasted)
			require.NoError(t, err)
			require.Equal(t, sample(), got)
		})
	}
}

func TestBrokenTokenSaysWhatIsWrong(t *testing.T) {
	s := text(t, sample())
	for name, c := range map[string]struct{ text, says string }{
		"nothing":          {"  ", "the token is empty"},
		"something else":   {"sk-1234", "one begins with tg1."},
		"a later form":     {"tg2.abc", "begins with tg2., this release reads tg1."},
		"three missing":    {s[:len(s)-3], "the token is cut short: 3 characters are missing at its end"},
		"one missing":      {s[:len(s)-1], "1 character is missing at its end"},
		"two more":         {s + "aa", "2 characters too long"},
		"a strange sign":   {s[:10] + "!" + s[11:], "'!' at place 11"},
		"one sign changed": {s[:10] + swap(s[10]) + s[11:], "its check characters do not match: copy it again"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := join.ParseToken(c.text)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func swap(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

func TestAnyOneChangedCharacterIsNoticed(t *testing.T) {
	s := text(t, sample())
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(4, len(s)-1).Draw(t, "place")
		r := rapid.SampledFrom([]byte("0123456789abcdefghjkmnpqrstvwxyz")).Draw(t, "sign")
		if s[i] == r {
			return
		}
		_, err := join.ParseToken(s[:i] + string(r) + s[i+1:])
		require.Error(t, err)
	})
}

func TestTokenHidesItsSecretWhenPrinted(t *testing.T) {
	tok := sample()
	s := text(t, tok)
	secret := s[4+70:]
	for _, shown := range []string{fmt.Sprint(tok), fmt.Sprintf("%v %+v %#v", *tok, *tok, *tok), tok.LogValue().String()} {
		require.NotContains(t, shown, secret[:20])
		require.NotContains(t, shown, "0x3, 0x6")
	}
}

func TestTokensOfBadInvitationsAreNotMade(t *testing.T) {
	c := newCluster(t, clusterID)
	for _, ttl := range []time.Duration{-1, 0, 25 * time.Hour} {
		_, _, err := join.MakeToken(c.box, c.state.State().CA, join.Invitation{Role: members.RoleNode, Uses: 1, TTL: ttl}, time.Now())
		require.ErrorContains(t, err, "at most 24h")
	}
	_, _, err := join.MakeToken(c.box, nil, join.Invitation{TTL: time.Hour}, time.Now())
	require.ErrorContains(t, err, "no certificate authority yet")
}
