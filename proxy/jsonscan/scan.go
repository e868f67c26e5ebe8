package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// The scanning methods take the offset of the next byte and return the offset
// behind what they read, or -1 with o.fail set.

func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		if c := b[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return i
		}
		i++
	}
	return i
}

func (o *Object) bad(k Kind, at int) int {
	if k == Syntax && at >= len(o.src) {
		k, at = UnexpectedEnd, len(o.src)
	}
	o.refuse(k, at)
	return -1
}

// object reads the members after an opening brace, up to and with the closing one.
func (o *Object) object(i, depth int) int {
	src, base := o.src, len(o.seen)
	i = space(src, i)
	if i < len(src) && src[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(src) || src[i] != '"' {
			return o.bad(Syntax, i)
		}
		keyStart := i
		end, esc := o.str(i + 1)
		if end < 0 {
			return -1
		}
		key := src[i+1 : end-1]
		if depth == 1 || o.strict {
			if esc {
				key = o.unescapeKey(key)
			}
			if o.strict && !o.distinct(base, key, keyStart) {
				return -1
			}
		}
		i = space(src, end)
		if i >= len(src) || src[i] != ':' {
			return o.bad(Syntax, i)
		}
		i = space(src, i+1)
		valStart := i
		if i = o.value(i, depth); i < 0 {
			return -1
		}
		if depth == 1 {
			o.fields = append(o.fields, Field{Key: key, Value: src[valStart:i:i],
				keyStart: keyStart, valStart: valStart, valEnd: i})
		}
		i = space(src, i)
		if i >= len(src) {
			return o.bad(UnexpectedEnd, i)
		}
		switch src[i] {
		case ',':
			i = space(src, i+1)
		case '}':
			if o.strict {
				if len(o.seen)-base > linearKeys && !o.distinctMany(o.seen[base:]) {
					return -1
				}
				o.seen = o.seen[:base]
			}
			return i + 1
		default:
			return o.bad(Syntax, i)
		}
	}
}

func (o *Object) array(i, depth int) int {
	src := o.src
	i = space(src, i)
	if i < len(src) && src[i] == ']' {
		return i + 1
	}
	for {
		if i = o.value(i, depth); i < 0 {
			return -1
		}
		i = space(src, i)
		if i >= len(src) {
			return o.bad(UnexpectedEnd, i)
		}
		switch src[i] {
		case ',':
			i = space(src, i+1)
		case ']':
			return i + 1
		default:
			return o.bad(Syntax, i)
		}
	}
}

// value reads one value inside a container of the given depth.
func (o *Object) value(i, depth int) int {
	src := o.src
	if i >= len(src) {
		return o.bad(UnexpectedEnd, i)
	}
	switch c := src[i]; c {
	case '"':
		end, _ := o.str(i + 1)
		return end
	case '{', '[':
		if depth >= MaxDepth {
			return o.bad(TooDeep, i)
		}
		if c == '{' {
			return o.object(i+1, depth+1)
		}
		return o.array(i+1, depth+1)
	case 't':
		return o.literal(i, "true")
	case 'f':
		return o.literal(i, "false")
	case 'n':
		return o.literal(i, "null")
	}
	return o.number(i)
}

func (o *Object) literal(i int, word string) int {
	if len(o.src)-i >= len(word) && string(o.src[i:i+len(word)]) == word {
		return i + len(word)
	}
	for k := 0; k < len(word); k++ {
		if i+k >= len(o.src) || o.src[i+k] != word[k] {
			return o.bad(Syntax, i+k)
		}
	}
	return o.bad(Syntax, i)
}

func (o *Object) number(i int) int {
	src := o.src
	if src[i] == '-' {
		i++
	}
	if i < len(src) && src[i] == '0' {
		i++
	} else if i = o.digits(i); i < 0 {
		return -1
	}
	if i < len(src) && src[i] == '.' {
		if i = o.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if i = o.digits(i); i < 0 {
			return -1
		}
	}
	return i
}

func (o *Object) digits(i int) int {
	start := i
	for i < len(o.src) && o.src[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return o.bad(Syntax, i)
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stops marks, in the high bit of each byte, the bytes that end a run of plain
// string characters: controls, quote, backslash, non-ASCII. Borrows can mark
// too much above a true mark, so only the lowest mark may be trusted.
func stops(x uint64) uint64 {
	return ((x - ones*' ') | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones) | x) & highs
}

// str reads a string after its opening quote and reports whether it holds escapes.
func (o *Object) str(i int) (end int, escaped bool) {
	src := o.src
	for {
		for i+8 <= len(src) {
			m := stops(binary.LittleEndian.Uint64(src[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(src) {
			return o.bad(UnexpectedEnd, i), escaped
		}
		switch c := src[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = o.escape(i + 1); i < 0 {
				return -1, escaped
			}
		case c < ' ':
			return o.bad(Syntax, i), escaped
		case c < utf8.RuneSelf:
			i++
		case !o.strict:
			i++
		default:
			if i = o.wide(i); i < 0 {
				return -1, escaped
			}
		}
	}
}

// wide reads a run of characters beyond ASCII.
func (o *Object) wide(i int) int {
	src := o.src
	for i < len(src) && src[i] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return o.bad(InvalidUTF8, i)
		}
		i += size
	}
	return i
}

func (o *Object) escape(i int) int {
	src := o.src
	if i >= len(src) {
		return o.bad(UnexpectedEnd, i)
	}
	switch src[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for k := i + 1; k < i+5; k++ {
			if k >= len(src) || !isHex(src[k]) {
				return o.bad(Syntax, k)
			}
		}
		return i + 5
	}
	return o.bad(Syntax, i)
}

func isHex(c byte) bool {
	return c-'0' <= 9 || (c|0x20)-'a' <= 5
}

// linearKeys is up to how many keys an object's keys are compared one by one;
// beyond that they are sorted once, so that an object of n keys never costs n².
const linearKeys = 12

type keyRef struct {
	key []byte
	at  int32
}

// distinct remembers one key of the object whose keys begin at base and
// compares it with the others while they are few.
func (o *Object) distinct(base int, key []byte, at int) bool {
	have := o.seen[base:]
	if len(have) < linearKeys {
		for k := range have {
			if len(have[k].key) == len(key) && string(have[k].key) == string(key) {
				return o.duplicate(key, at)
			}
		}
	}
	o.seen = append(o.seen, keyRef{key: key, at: int32(at)})
	return true
}

// distinctMany sorts the keys of a finished object and looks for neighbours
// that are equal.
func (o *Object) distinctMany(keys []keyRef) bool {
	slices.SortFunc(keys, func(a, b keyRef) int {
		if len(a.key) != len(b.key) {
			return len(a.key) - len(b.key)
		}
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(a.at) - int(b.at)
	})
	for k := 1; k < len(keys); k++ {
		if string(keys[k].key) == string(keys[k-1].key) {
			return o.duplicate(keys[k].key, int(keys[k].at))
		}
	}
	return true
}

func (o *Object) duplicate(key []byte, at int) bool {
	o.fail = Error{Kind: DuplicateKey, Offset: at, Key: string(key)}
	return false
}

func (o *Object) unescapeKey(raw []byte) []byte {
	start := len(o.arena)
	o.arena = appendUnescaped(o.arena, raw)
	return o.arena[start:len(o.arena):len(o.arena)]
}
