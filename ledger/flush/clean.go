package flush

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Longest texts in bytes. An entry of an index has at most 2,704 bytes, and the
// daily sums have one over seven columns.
const (
	longestID    = 1000
	longestDaily = 300
	longestText  = 8 << 10
)

// text is s as PostgreSQL takes it: valid UTF-8 without NUL, and not longer than
// most bytes. What is cut gets a hash of the whole, so that two stay two.
func text(s string, most int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\ufffd")
	}
	if len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:most-17], "") + "~" + hex.EncodeToString(sum[:8])
}

// jsonText is valid JSON as jsonb takes it: without \u0000, without halves of
// surrogate pairs, and of valid UTF-8. Anything else stays byte for byte.
func jsonText(b []byte) []byte {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\ufffd"))
	}
	at := suspicious(b)
	if at < 0 {
		return b
	}
	out := append(make([]byte, 0, len(b)), b[:at]...)
	for i := at; i < len(b); {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			i++
			continue
		}
		r, ok := escaped(b[i:])
		switch {
		case !ok: // \n, \\, …
			out = append(out, b[i], b[i+1])
			i += 2
		case utf16.IsSurrogate(r):
			if low, ok := escaped(b[i+6:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				out = append(out, b[i:i+12]...)
				i += 12
				continue
			}
			out = append(out, `\ufffd`...)
			i += 6
		case r == 0:
			out = append(out, `\ufffd`...)
			i += 6
		default:
			out = append(out, b[i:i+6]...)
			i += 6
		}
	}
	return out
}

// suspicious finds the first escape that may have to be replaced, -1 if none.
func suspicious(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\\')
		if i < 0 {
			return -1
		}
		i += from
		if r, ok := escaped(b[i:]); ok && (r == 0 || utf16.IsSurrogate(r)) {
			return i
		}
		from = min(i+2, len(b))
	}
}

// escaped reads \uXXXX.
func escaped(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	return rune(v), err == nil
}
