package anthropic

import (
	"bytes"
	"strconv"

	"tollgate/proxy/jsonscan"
)

// nameOf is the text of a raw quoted key. Clients may spell keys with escapes;
// a key that is read differently here than upstream would be a way around us.
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

// text is a member's string, "" when there is none.
func text(raw []byte, key string) string {
	s, _ := jsonscan.String(member(raw, key))
	return s
}

func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }
func isArray(raw []byte) bool  { return len(raw) > 0 && raw[0] == '[' }

// isBlank reports a raw string of nothing but white space: the API refuses
// such text blocks.
func isBlank(raw []byte) bool {
	if len(raw) < 2 {
		return true
	}
	in := raw[1 : len(raw)-1]
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case ' ':
		case '\\':
			i++
			if i >= len(in) || in[i] != 'n' && in[i] != 't' && in[i] != 'r' {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// setMember puts a member into a raw object, replacing one of that name.
func setMember(raw []byte, key string, value []byte) []byte {
	var o jsonscan.Object
	if len(raw) == 0 || o.ParseTop(raw) != nil {
		raw = []byte("{}")
		_ = o.ParseTop(raw) // an empty object always parses
	}
	return o.Rewrite(make([]byte, 0, len(raw)+len(key)+len(value)+4), []jsonscan.Edit{{Key: key, Value: value}}, nil)
}

func appendKey(dst []byte, key string) []byte {
	if len(dst) > 0 && dst[len(dst)-1] != '{' {
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

// appendList appends raw values as an array.
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

func appendNumber(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
