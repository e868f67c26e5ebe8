package jsonscan

import (
	"math"
)

// MaxDepth is the deepest nesting accepted, the outermost object counted as 1.
const MaxDepth = 64

// keepFields is how many index entries a reused Object keeps allocated: one
// hostile body must not pin its memory in a pool.
const keepFields = 1024

// Field is one member of the top-level object. Key is unescaped; Value is the
// raw JSON. Both are valid until the Object is parsed again and as long as the
// source bytes stay unchanged.
type Field struct {
	Key   []byte
	Value []byte

	keyStart, valStart, valEnd int
}

// Object is the index of one JSON object. The zero value is ready; parsing
// again reuses what was allocated. It aliases the source bytes.
type Object struct {
	src    []byte
	fields []Field
	open   int // offset of the outermost {

	seen   []keyRef // keys of the objects being scanned, outermost first
	arena  []byte   // unescaped keys
	strict bool
	fail   Error
}

// Parse validates src as one JSON object and indexes its members. It refuses
// duplicate keys at every level, compared unescaped, because two readers that
// disagree on which of them counts are a way around an authorisation.
func (o *Object) Parse(src []byte) error { return o.parse(src, true) }

// ParseTop is Parse for answers of providers: the grammar is checked and the
// top level indexed, but duplicate keys and broken UTF-8 are let through, as
// some servers cut a character in two between chunks. Of two equal keys the
// last one counts.
func (o *Object) ParseTop(src []byte) error { return o.parse(src, false) }

func (o *Object) parse(src []byte, strict bool) error {
	if cap(o.fields) > keepFields {
		o.fields = nil
	}
	if cap(o.seen) > keepFields {
		o.seen, o.arena = nil, nil
	}
	o.src, o.strict = src, strict
	o.fields, o.seen, o.arena = o.fields[:0], o.seen[:0], o.arena[:0]
	if !o.document() {
		o.fields = o.fields[:0]
		e := o.fail
		return &e
	}
	return nil
}

func (o *Object) document() bool {
	if len(o.src) > math.MaxInt32 {
		return o.refuse(TooLarge, math.MaxInt32)
	}
	i := space(o.src, 0)
	if i >= len(o.src) {
		return o.refuse(UnexpectedEnd, i)
	}
	if o.src[i] != '{' {
		return o.refuse(NotObject, i)
	}
	o.open = i
	if i = o.object(i+1, 1); i < 0 {
		return false
	}
	if i = space(o.src, i); i < len(o.src) {
		return o.refuse(TrailingData, i)
	}
	return true
}

// Reset forgets the document, so that a pooled Object does not keep it alive.
func (o *Object) Reset() {
	clear(o.fields)
	o.src, o.fields, o.seen, o.arena = nil, o.fields[:0], o.seen[:0], o.arena[:0]
}

// Src is the document that was parsed.
func (o *Object) Src() []byte { return o.src }

// Fields are the members in the order of the document.
func (o *Object) Fields() []Field { return o.fields }

// Get returns the raw value of a member.
func (o *Object) Get(key string) ([]byte, bool) {
	for i := len(o.fields) - 1; i >= 0; i-- {
		if string(o.fields[i].Key) == key {
			return o.fields[i].Value, true
		}
	}
	return nil, false
}

// Has reports whether the member is there, null included.
func (o *Object) Has(key string) bool {
	_, ok := o.Get(key)
	return ok
}

func (o *Object) refuse(k Kind, at int) bool {
	o.fail = Error{Kind: k, Offset: at}
	return false
}
