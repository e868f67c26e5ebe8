package secret

import (
	"log/slog"
	"strings"
)

const mask = "[redacted]"

// Redacted is a string that must not be shown. It masks itself wherever it is
// printed, logged or marshalled; Reveal is the one way to the text.
type Redacted string

// Reveal is the text itself.
func (r Redacted) Reveal() string { return string(r) }

// String is a mask.
func (Redacted) String() string { return mask }

// GoString is a mask, for %#v.
func (Redacted) GoString() string { return mask }

// LogValue is a mask.
func (Redacted) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalJSON is a mask.
func (Redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// secretNames are attribute and header names whose value is never shown. Names
// are compared without case, dashes and underscores.
var secretNames = map[string]bool{
	"authorization": true, "proxyauthorization": true, "apikey": true, "xapikey": true, "xgoogapikey": true,
	"xlitellmapikey": true, "xlitellmkey": true, "cookie": true, "setcookie": true, "password": true,
	"masterkey": true, "saltkey": true, "secret": true, "clientsecret": true, "token": true, "accesstoken": true,
	"awssecretaccesskey": true, "awssessiontoken": true, "databaseurl": true, "ocpapimsubscriptionkey": true,
}

// ReplaceAttr is for slog.HandlerOptions: it masks attributes with secret names
// and keys that stand inside other texts.
func ReplaceAttr(_ []string, a slog.Attr) slog.Attr {
	if secretNames[fold(a.Key)] {
		return slog.String(a.Key, mask)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); suspicious(s) {
			return slog.String(a.Key, Mask(s))
		}
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			if s := v.Error(); suspicious(s) {
				return slog.String(a.Key, Mask(s))
			}
		case interface{ String() string }:
			if s := v.String(); suspicious(s) {
				return slog.String(a.Key, Mask(s))
			}
		case []byte:
			if s := string(v); suspicious(s) {
				return slog.String(a.Key, Mask(s))
			}
		}
	}
	return a
}

// marks are what keys in running text begin with: keys of the API, join tokens,
// sealed values.
var marks = []string{"sk-", "Bearer ", "bearer ", "tg1.", prefix}

func suspicious(s string) bool {
	for _, m := range marks {
		if strings.Contains(s, m) {
			return true
		}
	}
	return strings.Contains(s, "://") && strings.Contains(s, "@")
}

// minKey is how many characters make a key of a word that begins like one:
// "sk-learn" is none.
const minKey = 12

// Mask replaces keys, bearer and join tokens, sealed values and passwords in URLs that
// stand inside a text.
func Mask(s string) string {
	for _, m := range marks {
		s = maskAfter(s, m)
	}
	return maskURLs(s)
}

func maskAfter(s, mark string) string {
	if !strings.Contains(s, mark) {
		return s
	}
	var b strings.Builder
	for {
		i := strings.Index(s, mark)
		if i < 0 {
			break
		}
		n := i + len(mark)
		end := n
		for end < len(s) && keyByte(s[end]) {
			end++
		}
		b.WriteString(s[:n])
		if startsWord(s, i) && end-i >= minKey {
			b.WriteString(mask)
			s = s[end:]
		} else {
			s = s[n:]
		}
	}
	b.WriteString(s)
	return b.String()
}

func maskURLs(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			break
		}
		rest := s[i+3:]
		end := strings.IndexAny(rest, "/ \t\r\n\"'<>?#")
		if end < 0 {
			end = len(rest)
		}
		at := strings.LastIndexByte(rest[:end], '@')
		b.WriteString(s[:i+3])
		if at >= 0 {
			if colon := strings.IndexByte(rest[:at], ':'); colon >= 0 {
				b.WriteString(rest[:colon+1] + mask)
				rest = rest[at:]
			}
		}
		s = rest
	}
	b.WriteString(s)
	return b.String()
}

func startsWord(s string, i int) bool { return i == 0 || !isAlnum(s[i-1]) }

func keyByte(c byte) bool {
	return isAlnum(c) || c == '-' || c == '_' || c == '.' || c == '+' || c == '/' || c == '='
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == '_' || r == ' ':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
