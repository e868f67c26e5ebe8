package join

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"tollgate/cluster/members"
	"tollgate/config/secret"
)

// tokenPrefix heads every token; its number is the form of what follows.
const tokenPrefix = "tg1."

// The fields of a token, in bytes.
const (
	printSize  = sha256.Size
	idSize     = 10
	secretSize = 32
	checkSize  = 4
	tokenSize  = printSize + idSize + secretSize + checkSize
)

// digits are Crockford's base 32: no i, l, o or u, so that what is read aloud or
// typed from paper survives. Letters of either case mean the same.
const digits = "0123456789abcdefghjkmnpqrstvwxyz"

func encoding() *base32.Encoding {
	return base32.NewEncoding(digits).WithPadding(base32.NoPadding)
}

// Token is an invitation as its holder has it.
type Token struct {
	Fingerprint [printSize]byte // of the authority's certificate: whom to trust
	ID          string
	Secret      [secretSize]byte
}

// Text is the token for the operator, who sees it once.
func (t *Token) Text() (string, error) {
	id, err := encoding().DecodeString(t.ID)
	if err != nil || len(id) != idSize {
		return "", fmt.Errorf("write token: id %q is not one of a token", t.ID)
	}
	raw := make([]byte, 0, tokenSize)
	raw = append(raw, t.Fingerprint[:]...)
	raw = append(raw, id...)
	raw = append(raw, t.Secret[:]...)
	raw = append(raw, checkOf(raw)...)
	return tokenPrefix + encoding().EncodeToString(raw), nil
}

// Invites reports whether the token is of the cluster whose certificate this is.
func (t *Token) Invites(id *Identity) bool {
	return t.Fingerprint == sha256.Sum256(id.authority.Raw)
}

// String hides the secret.
func (t Token) String() string { return tokenPrefix + "…" + t.ID }

// GoString hides the secret.
func (t Token) GoString() string { return t.String() }

// LogValue hides the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// key is what both sides know of the secret; the state has nothing else.
func (t *Token) key() []byte {
	k := sha256.Sum256(t.Secret[:])
	return k[:]
}

func checkOf(fields []byte) []byte {
	sum := sha256.Sum256(append([]byte(tokenPrefix), fields...))
	return sum[:checkSize]
}

// ParseToken reads a token as pasted: blanks, line breaks and quotes around it
// do no harm. What is wrong with it is said exactly.
func ParseToken(text string) (*Token, error) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1 // a terminal breaks long lines
		}
		return unicode.ToLower(r)
	}, strings.Trim(strings.TrimSpace(text), `"'`))
	if text == "" {
		return nil, errors.New("the token is empty")
	}
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		if form, _, found := strings.Cut(text, "."); found && len(form) <= 4 && strings.HasPrefix(form, "tg") {
			return nil, fmt.Errorf("the token begins with %s., this release reads %s: it was made by another release", form, tokenPrefix)
		}
		return nil, fmt.Errorf("this is no join token: one begins with %s", tokenPrefix)
	}
	body = strings.NewReplacer("o", "0", "i", "1", "l", "1").Replace(body)
	for i, r := range body {
		if !strings.ContainsRune(digits, r) {
			return nil, fmt.Errorf("the token has %q at place %d, which no token has: copy it again", r, len(tokenPrefix)+i+1)
		}
	}
	want := encoding().EncodedLen(tokenSize)
	switch missing := want - len(body); {
	case missing == 1:
		return nil, errors.New("the token is cut short: 1 character is missing at its end")
	case missing > 1:
		return nil, fmt.Errorf("the token is cut short: %d characters are missing at its end", missing)
	case missing < 0:
		return nil, fmt.Errorf("the token is %d characters too long: something was pasted behind it", -missing)
	}
	raw, err := encoding().DecodeString(body)
	if err != nil || encoding().EncodeToString(raw) != body || string(checkOf(raw[:tokenSize-checkSize])) != string(raw[tokenSize-checkSize:]) {
		return nil, errors.New("the token is damaged: its check characters do not match: copy it again")
	}
	t := &Token{ID: encoding().EncodeToString(raw[printSize : printSize+idSize])}
	copy(t.Fingerprint[:], raw)
	copy(t.Secret[:], raw[printSize+idSize:])
	return t, nil
}

// Invitation is what a new token shall allow.
type Invitation struct {
	Role members.Role
	Uses int
	TTL  time.Duration
	By   string
}

// MakeToken makes a token of the cluster with this authority: the text for the
// operator and what to propose.
func MakeToken(box *secret.Box, ca *members.CA, in Invitation, now time.Time) (text string, t *members.Token, err error) {
	if ca == nil {
		return "", nil, errors.New("make token: the cluster has no certificate authority yet: try again")
	}
	if in.TTL <= 0 || in.TTL > members.MaxTTL {
		return "", nil, fmt.Errorf("make token: a life of %s: want more than none and at most %s", in.TTL, members.MaxTTL)
	}
	cert, err := parseCert(ca.Cert)
	if err != nil {
		return "", nil, fmt.Errorf("make token: read the authority's certificate: %w", err)
	}
	tok := Token{Fingerprint: sha256.Sum256(cert.Raw)}
	var id [idSize]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", nil, fmt.Errorf("make token: %w", err)
	}
	if _, err := rand.Read(tok.Secret[:]); err != nil {
		return "", nil, fmt.Errorf("make token: %w", err)
	}
	tok.ID = encoding().EncodeToString(id[:])
	if text, err = tok.Text(); err != nil {
		return "", nil, err
	}
	sealed, err := box.Seal("token/"+tok.ID, "key", base64.StdEncoding.EncodeToString(tok.key()))
	if err != nil {
		return "", nil, fmt.Errorf("make token: %w", err)
	}
	return text, &members.Token{
		ID: tok.ID, SealedKey: sealed, Role: in.Role, Uses: in.Uses, Expires: now.Add(in.TTL).UTC().Truncate(time.Second), By: in.By,
	}, nil
}

// openTokenKey is the key of a token in the state.
func openTokenKey(box *secret.Box, t *members.Token) ([]byte, error) {
	text, err := box.Open("token/"+t.ID, "key", t.SealedKey)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}
