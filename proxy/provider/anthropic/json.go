package anthropic

import (
	"strconv"

	"tollgate/proxy/jsonscan"
)

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

func appendNumber(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
