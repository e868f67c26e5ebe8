package anthropic

import (
	"bytes"

	"tollgate/proxy/jsonscan"
)

// cleanSchema fits a JSON schema to what structured output accepts: objects
// closed, oneOf as anyOf, limits on numbers, lengths and patterns moved into
// the description, unknown string formats likewise. Order is kept.
func cleanSchema(raw []byte) []byte {
	return appendSchema(make([]byte, 0, len(raw)+64), raw)
}

func appendSchema(dst, raw []byte) []byte {
	if !jsonscan.IsObject(raw) { // true, false: a schema too
		return append(dst, raw...)
	}
	var limits []byte // what moves into the description
	var description []byte
	object, closed := false, false
	dst = append(dst, '{')
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			break
		}
		switch name := string(jsonscan.Name(k)); name {
		case "description":
			description = v
			continue
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
			"maxItems", "uniqueItems", "minProperties", "maxProperties":
			limits = appendLimit(limits, name, v)
			continue
		case "minItems":
			if n, ok := jsonscan.Int(v); !ok || n > 1 {
				limits = appendLimit(limits, name, v)
				continue
			}
			dst = appendMember(dst, k, v)
		case "format":
			if s, _ := jsonscan.String(v); !knownFormat(s) {
				limits = appendLimit(limits, name, v)
				continue
			}
			dst = appendMember(dst, k, v)
		case "type":
			object = object || bytes.Contains(v, []byte(`"object"`))
			dst = appendMember(dst, k, v)
		case "properties":
			object = true
			dst = appendSchemaMap(jsonscan.AppendKey(dst, "properties"), v)
		case "$defs", "definitions":
			dst = appendSchemaMap(jsonscan.AppendKey(dst, name), v)
		case "additionalProperties":
			object, closed = true, true
			dst = jsonscan.AppendRaw(dst, name, []byte("false"))
		case "oneOf", "anyOf":
			dst = appendSchemaList(jsonscan.AppendKey(dst, "anyOf"), v)
		case "allOf":
			dst = appendSchemaList(jsonscan.AppendKey(dst, name), v)
		case "items":
			dst = appendSchema(jsonscan.AppendKey(dst, name), v)
		default:
			dst = appendMember(dst, k, v)
		}
	}
	if object && !closed {
		dst = jsonscan.AppendRaw(dst, "additionalProperties", []byte("false"))
	}
	if s, ok := jsonscan.String(description); ok || len(limits) > 0 {
		if s != "" && len(limits) > 0 {
			s += " "
		}
		if len(limits) > 0 {
			s += "(" + string(limits) + ")"
		}
		dst = jsonscan.AppendText(dst, "description", s)
	}
	return append(dst, '}')
}

func appendMember(dst, key, value []byte) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, key...)
	return append(append(dst, ':'), value...)
}

func appendSchemaMap(dst, raw []byte) []byte {
	if !jsonscan.IsObject(raw) {
		return append(dst, raw...)
	}
	dst = append(dst, '{')
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return append(dst, '}')
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(dst, k...), ':')
		dst = appendSchema(dst, v)
	}
}

func appendSchemaList(dst, raw []byte) []byte {
	if !jsonscan.IsArray(raw) {
		return append(dst, raw...)
	}
	dst = append(dst, '[')
	for it := jsonscan.Walk(raw); ; {
		v, ok := it.Element()
		if !ok {
			return append(dst, ']')
		}
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = appendSchema(dst, v)
	}
}

func appendLimit(dst []byte, name string, value []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, ", "...)
	}
	dst = append(append(dst, name...), ": "...)
	return append(dst, value...)
}

func knownFormat(s string) bool {
	switch s {
	case "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid":
		return true
	}
	return false
}
