package jsonscan

import "strconv"

// AppendKey begins a member: a comma where one is due, the key, a colon.
func AppendKey(dst []byte, key string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' && dst[n-1] != '[' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

// AppendRaw appends a member whose value is raw JSON.
func AppendRaw(dst []byte, key string, raw []byte) []byte {
	return append(AppendKey(dst, key), raw...)
}

// AppendText appends a member whose value is a string.
func AppendText(dst []byte, key, value string) []byte {
	return AppendQuoted(AppendKey(dst, key), value)
}

// AppendInt appends a member whose value is a whole number.
func AppendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(AppendKey(dst, key), n, 10)
}

// AppendList appends a member whose value is an array of raw values.
func AppendList(dst []byte, key string, values [][]byte) []byte {
	dst = append(AppendKey(dst, key), '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
	return append(dst, ']')
}

// Quoted is a string as raw JSON.
func Quoted(s string) []byte { return AppendQuoted(nil, s) }

// Compact drops the white space of a valid raw value and nothing else.
func Compact(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			end := Skip(raw, i)
			dst = append(dst, raw[i:end]...)
			i = end
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
