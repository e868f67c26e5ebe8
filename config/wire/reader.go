// Package wire reads the binary payloads that nodes agree on and keep: raft
// commands and the tables of snapshots. It knows numbers, texts and how many
// follow; what they mean is the payload's owner's.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort means that a payload ends before its last value.
var ErrShort = errors.New("the payload ends early")

// Reader takes values off a payload. After the first fault it yields zeros, and
// End reports the fault: a decoder reads on without looking and asks once.
type Reader struct {
	p   []byte
	err error
}

// NewReader reads p, which it shares.
func NewReader(p []byte) Reader { return Reader{p: p} }

// Fail makes err the fault, unless there is one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.p = nil
}

// Err is the fault so far.
func (r *Reader) Err() error { return r.err }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.p) }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.p) == 0 {
		r.Fail(ErrShort)
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

// Flag reads a byte that is 0 or 1.
func (r *Reader) Flag() bool {
	b := r.Byte()
	if b > 1 {
		r.Fail(fmt.Errorf("flag %d", b))
	}
	return b == 1
}

// Flags reads a byte of which only the lowest bits are known.
func (r *Reader) Flags(known int) byte {
	f := r.Byte()
	if int(f) >= 1<<known {
		r.Fail(fmt.Errorf("unknown flags %#x", f))
	}
	return f
}

// Uint reads a number in base 128.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.Fail(ErrShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

// Int reads a signed number, zigzag in base 128.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.p)
	if n <= 0 {
		r.Fail(ErrShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

// Take reads n bytes, which stay the payload's.
func (r *Reader) Take(n int) []byte {
	if n > len(r.p) {
		r.Fail(ErrShort)
		return nil
	}
	b := r.p[:n:n]
	r.p = r.p[n:]
	return b
}

// Bytes reads a length and as many bytes, which stay the payload's.
func (r *Reader) Bytes() []byte { return r.Take(r.Count(1)) }

// Text reads a length and a text.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Count reads how many elements follow, each at least size bytes long, so that a
// lying count cannot allocate more than the payload's own size allows.
func (r *Reader) Count(size int) int {
	n := r.Uint()
	if n > uint64(len(r.p)/size) {
		r.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// End reports the first fault, or bytes that nobody has read.
func (r *Reader) End() error {
	if r.err == nil && len(r.p) > 0 {
		return fmt.Errorf("%d bytes too many", len(r.p))
	}
	return r.err
}
