package jsonscan

import "bytes"

// Name is the text of a raw quoted key. Clients may spell keys with escapes; a
// key that is read differently here than upstream would be a way around us.
func Name(key []byte) []byte {
	inner := key[1 : len(key)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	text, _ := AppendString(nil, key)
	return text
}

// Member returns the raw value of a key of a raw object, however it is spelled;
// nil when it is absent or null.
func Member(raw []byte, key string) []byte {
	for it := Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return nil
		}
		if string(Name(k)) == key {
			if IsNull(v) {
				return nil
			}
			return v
		}
	}
}

// Text is a member's string, "" when there is none.
func Text(raw []byte, key string) string {
	s, _ := String(Member(raw, key))
	return s
}

// IsObject reports whether a raw value is an object.
func IsObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

// IsArray reports whether a raw value is an array.
func IsArray(raw []byte) bool { return len(raw) > 0 && raw[0] == '[' }
