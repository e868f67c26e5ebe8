package jsonscan

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// String unescapes a raw JSON string; false when raw is no string. Half
// surrogates become U+FFFD, as the standard library does.
func String(raw []byte) (string, bool) {
	if !IsString(raw) {
		return "", false
	}
	in := raw[1 : len(raw)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in), true
	}
	return string(appendUnescaped(make([]byte, 0, len(in)), in)), true
}

// AppendString appends the text of a raw JSON string; false when raw is no string.
func AppendString(dst, raw []byte) ([]byte, bool) {
	if !IsString(raw) {
		return dst, false
	}
	return appendUnescaped(dst, raw[1:len(raw)-1]), true
}

// IsString reports whether raw is a JSON string; raw must be valid JSON.
func IsString(raw []byte) bool { return len(raw) >= 2 && raw[0] == '"' }

// IsNull reports whether raw is null or nothing at all.
func IsNull(raw []byte) bool { return len(raw) == 0 || raw[0] == 'n' }

// Bool reads true or false; the second result is false for anything else.
func Bool(raw []byte) (value, ok bool) {
	switch string(raw) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// Int reads a whole number. Forms such as 1e3 and 2.0 count when they are
// whole and small enough to be exact; everything else is refused.
func Int(raw []byte) (int64, bool) {
	if len(raw) == 0 || len(raw) > 40 || (raw[0] != '-' && raw[0]-'0' > 9) {
		return 0, false
	}
	neg, digits := raw[0] == '-', raw
	if neg {
		digits = raw[1:]
	}
	if len(digits) > 0 && len(digits) <= 18 {
		var n int64
		for i := 0; i < len(digits); i++ {
			d := digits[i] - '0'
			if d > 9 {
				return wholeFloat(raw)
			}
			n = n*10 + int64(d)
		}
		if neg {
			n = -n
		}
		return n, true
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	return wholeFloat(raw)
}

func wholeFloat(raw []byte) (int64, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, false
	}
	return int64(f), true
}

// TextLen is the length in bytes of a raw string's text, without unescaping
// it; 0 when raw is no string.
func TextLen(raw []byte) int {
	if !IsString(raw) {
		return 0
	}
	in := raw[1 : len(raw)-1]
	n := len(in)
	for {
		i := bytes.IndexByte(in, '\\')
		if i < 0 || i+1 >= len(in) {
			return n
		}
		if in[i+1] != 'u' {
			n, in = n-1, in[i+2:]
			continue
		}
		r, size := unescapeRune(in[i:])
		n, in = n-size+utf8.RuneLen(r), in[i+size:]
	}
}

func appendUnescaped(dst, in []byte) []byte {
	for {
		i := bytes.IndexByte(in, '\\')
		if i < 0 || i+1 >= len(in) {
			return append(dst, in...)
		}
		dst = append(dst, in[:i]...)
		switch c := in[i+1]; c {
		case 'u':
			r, size := unescapeRune(in[i:])
			dst = utf8.AppendRune(dst, r)
			in = in[i+size:]
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		in = in[i+2:]
	}
}

// unescapeRune reads \uXXXX at the start of in, with its second half when it
// is a surrogate pair. Cut short, as no valid string is, it takes what is there.
func unescapeRune(in []byte) (r rune, size int) {
	if len(in) < 6 {
		return utf8.RuneError, len(in)
	}
	r = hex4(in)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(in) >= 12 && in[6] == '\\' && in[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(in[6:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

func hex4(in []byte) rune {
	var r rune
	for _, c := range in[2:6] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune((c|0x20)-'a'+10)
		}
	}
	return r
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends s as a JSON string. Bytes that are no UTF-8 become
// U+FFFD; markup characters are not escaped.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
