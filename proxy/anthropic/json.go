package anthropic

import (
	"bytes"
	"strconv"

	"tollgate/proxy/jsonscan"
)

// nameOf is the text of a raw quoted key, escapes resolved.
func nameOf(key []byte) []byte {
	inner := key[1 : len(key)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	text, _ := jsonscan.AppendString(nil, key)
	return text
}

// member returns the raw value of a key of a raw object, nil when it is absent
// or null.
func member(raw []byte, key string) []byte {
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return nil
		}
		if string(nameOf(k)) == key {
			if jsonscan.IsNull(v) {
				return nil
			}
			return v
		}
	}
}

func text(raw []byte, key string) string {
	s, _ := jsonscan.String(member(raw, key))
	return s
}

func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }
func isArray(raw []byte) bool  { return len(raw) > 0 && raw[0] == '[' }

func appendKey(dst []byte, key string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' && dst[n-1] != '[' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

func appendRaw(dst []byte, key string, raw []byte) []byte {
	return append(appendKey(dst, key), raw...)
}

func appendText(dst []byte, key, value string) []byte {
	return jsonscan.AppendQuoted(appendKey(dst, key), value)
}

func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(dst, key), n, 10)
}

func appendList(dst []byte, key string, values [][]byte) []byte {
	dst = append(appendKey(dst, key), '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
	return append(dst, ']')
}

func quoted(s string) []byte { return jsonscan.AppendQuoted(nil, s) }

// compact drops the white space of a valid raw value and nothing else.
func compact(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			end := jsonscan.Skip(raw, i)
			dst = append(dst, raw[i:end]...)
			i = end
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
