package jsonscan

import "strconv"

// Kind says what is wrong with a document.
type Kind uint8

// The kinds of refusal.
const (
	Syntax        Kind = iota + 1 // a byte that JSON does not allow there
	UnexpectedEnd                 // the document stops in the middle
	NotObject                     // valid or not, it does not start with {
	TrailingData                  // bytes after the closing brace
	InvalidUTF8                   // text that is not UTF-8
	TooDeep                       // nesting beyond MaxDepth
	DuplicateKey                  // one object holds the same key twice
	TooLarge                      // more bytes than offsets can count
)

// Error is why a document was refused, and where.
type Error struct {
	Kind   Kind
	Offset int    // of the offending byte, from 0
	Key    string // the key, when Kind is DuplicateKey
}

// Error is one clause fit for "Invalid JSON payload: …".
func (e *Error) Error() string {
	at := " at byte " + strconv.Itoa(e.Offset)
	switch e.Kind {
	case UnexpectedEnd:
		return "unexpected end of input" + at
	case NotObject:
		return "expected an object" + at
	case TrailingData:
		return "unexpected data after the object" + at
	case InvalidUTF8:
		return "invalid UTF-8" + at
	case TooDeep:
		return "nesting deeper than " + strconv.Itoa(MaxDepth) + at
	case DuplicateKey:
		return "duplicate key " + strconv.Quote(e.Key) + at
	case TooLarge:
		return "document too large" + at
	}
	return "unexpected character" + at
}
