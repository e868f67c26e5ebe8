package project

import (
	"bytes"
	"strings"
)

// storable is JSON that PostgreSQL takes: it has no place for the character 0
// and none for half of a surrogate pair.
func storable(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\u`)) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 == len(data) {
			out = append(out, data[i])
			continue
		}
		if data[i+1] != 'u' {
			out = append(out, data[i], data[i+1])
			i++
			continue
		}
		r, ok := unit16(data[i:])
		low, pair := unit16(data[min(i+6, len(data)):])
		switch {
		case !ok:
			out = append(out, data[i])
			continue
		case r >= 0xd800 && r < 0xdc00 && pair && low >= 0xdc00 && low < 0xe000:
			out = append(out, data[i:i+12]...)
			i += 11
			continue
		case r == 0 || r >= 0xd800 && r < 0xe000:
			out = append(out, `\ufffd`...)
		default:
			out = append(out, data[i:i+6]...)
		}
		i += 5
	}
	return out
}

// unit16 reads an escape of the form \uXXXX.
func unit16(b []byte) (r uint32, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// storableText is text that PostgreSQL takes.
func storableText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
