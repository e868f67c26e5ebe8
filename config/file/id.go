package file

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// deploymentID is the id that LiteLLM gives a deployment without one: the
// SHA-256 of the group name and every parameter as Python prints it, in the
// order of the file, with environment references resolved. Spend rows and
// dashboards of an existing installation hold these ids.
func deploymentID(group string, params *value) string {
	var b strings.Builder
	b.WriteString(group)
	for _, f := range params.fields {
		b.WriteString(f.name)
		switch f.v.kind {
		case kindText:
			b.WriteString(f.v.text)
		case kindMap:
			pyJSON(&b, f.v)
		default:
			pyRepr(&b, f.v)
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// pyRepr prints a value as Python's repr does.
func pyRepr(b *strings.Builder, v *value) {
	switch v.kind {
	case kindNull:
		b.WriteString("None")
	case kindBool:
		if v.text == "true" {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case kindInt:
		b.WriteString(v.text)
	case kindFloat:
		b.WriteString(pyFloat(v.text))
	case kindText:
		pyString(b, v.text)
	case kindList:
		b.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			pyRepr(b, item)
		}
		b.WriteByte(']')
	case kindMap:
		b.WriteByte('{')
		for i, f := range v.fields {
			if i > 0 {
				b.WriteString(", ")
			}
			pyString(b, f.name)
			b.WriteString(": ")
			pyRepr(b, f.v)
		}
		b.WriteByte('}')
	}
}

// pyString quotes as Python does: single quotes unless only those occur in it.
func pyString(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\x`)
			b.WriteString(hex.EncodeToString([]byte{byte(r)}))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(quote)
}

// pyFloat is Python's repr of a float: the shortest form, with an exponent
// only outside 1e-4 … 1e16.
func pyFloat(text string) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// pyJSON prints as Python's json.dumps does by default: spaces after the
// separators, everything beyond ASCII escaped.
func pyJSON(b *strings.Builder, v *value) {
	switch v.kind {
	case kindNull:
		b.WriteString("null")
	case kindBool, kindInt:
		b.WriteString(v.text)
	case kindFloat:
		b.WriteString(pyFloat(v.text))
	case kindText:
		pyJSONString(b, v.text)
	case kindList:
		b.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			pyJSON(b, item)
		}
		b.WriteByte(']')
	case kindMap:
		b.WriteByte('{')
		for i, f := range v.fields {
			if i > 0 {
				b.WriteString(", ")
			}
			pyJSONString(b, f.name)
			b.WriteString(": ")
			pyJSON(b, f.v)
		}
		b.WriteByte('}')
	}
}

func pyJSONString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ' || (r >= utf8.RuneSelf && r < 0x10000):
			escape16(b, uint16(r))
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			escape16(b, uint16(hi))
			escape16(b, uint16(lo))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

func escape16(b *strings.Builder, u uint16) {
	b.WriteString(`\u`)
	b.WriteString(hex.EncodeToString([]byte{byte(u >> 8), byte(u)}))
}

func itoa(n int) string { return strconv.Itoa(n) }
