package stream

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// MaxEvent is the most bytes one event may take. Images and tool results pass
// a megabyte easily; beyond this a provider is broken or hostile.
const MaxEvent = 16 << 20

const (
	startBuffer = 4 << 10  // what has arrived together is passed on together
	keepBuffer  = 64 << 10 // a larger one is not kept over Reset
	maxNames    = 32       // distinct event names remembered per stream
)

// ErrTooLarge means that one event passed MaxEvent; the stream cannot be read on.
var ErrTooLarge = errors.New("server-sent event larger than 16 MiB")

// Reader splits a server-sent event stream into events. It is used by one
// goroutine. Lines may end in LF, CRLF or CR; comments and unknown fields are
// dropped; a last event without its blank line counts.
type Reader struct {
	// OnRead, when set, is called with the size of every read, comments
	// included: any byte is a sign of life.
	OnRead func(n int)

	src  io.Reader
	wait func() error // the source's Await; nil: it has none
	err  error        // what the source ended with
	buf  []byte
	base int // first byte of the event being read
	pos  int // first byte of the line being read
	scan int // bytes before this hold no line end
	end  int // bytes after this are free

	begun  bool // the byte order mark is behind us
	skipLF bool // the last line ended in CR: an LF belongs to it
	ready  bool // a whole event waits to be taken

	name     string
	lines    int // data lines of this event
	from, to int // the first data line, counted from base
	joined   [2][]byte
	turn     int // which of joined the event being read uses
	names    []string
}

// Awaiter is a source that can wait without a buffer to read into. While it
// does a reader that has nothing half read holds none either.
type Awaiter interface {
	// Await returns when Read will not wait, be it with an error.
	Await() error
}

var startBuffers = sync.Pool{New: func() any { return new([startBuffer]byte) }}

// Release gives the reader's memory back: the events are over. The data that
// Next returned last must not be used any more.
func (r *Reader) Release() {
	r.giveBuffer()
	if r.err == nil {
		r.err = io.EOF
	}
	r.base, r.pos, r.scan, r.end, r.ready = 0, 0, 0, 0, false
}

func (r *Reader) giveBuffer() {
	if len(r.buf) == startBuffer && cap(r.buf) == startBuffer {
		startBuffers.Put((*[startBuffer]byte)(r.buf))
	}
	r.buf = nil
}

// NewReader reads events from src.
func NewReader(src io.Reader) *Reader {
	r := &Reader{}
	r.Reset(src)
	return r
}

// Reset starts over with another source and keeps the buffer if it is small.
func (r *Reader) Reset(src io.Reader) {
	if cap(r.buf) > keepBuffer {
		r.buf = nil
	}
	for i := range r.joined {
		if cap(r.joined[i]) > keepBuffer {
			r.joined[i] = nil
		}
	}
	var wait func() error
	if a, ok := src.(Awaiter); ok {
		wait = a.Await
	}
	*r = Reader{OnRead: r.OnRead, src: src, wait: wait, buf: r.buf[:cap(r.buf)], joined: r.joined, names: r.names}
}

// Next returns the next event. data joins its data lines with LF and is valid
// until the next call. At the end it returns io.EOF, or what the source failed
// with: then the bytes of an unfinished event are dropped.
func (r *Reader) Next() (name string, data []byte, err error) {
	for {
		if r.ready || r.parse() {
			name, data = r.take()
			return name, data, nil
		}
		if r.err != nil {
			if r.err == io.EOF && r.finish() {
				name, data = r.take()
				return name, data, nil
			}
			return "", nil, r.err
		}
		r.fill()
	}
}

// Buffered reports whether another whole event is here already, so that Next
// will not read: a writer may then put both into one segment. It leaves the
// last event's data valid.
func (r *Reader) Buffered() bool { return r.ready || r.parse() }

func (r *Reader) take() (string, []byte) {
	name, data := r.name, r.data()
	r.ready, r.name, r.lines = false, "", 0
	r.turn ^= 1
	r.base = r.pos
	return name, data
}

func (r *Reader) data() []byte {
	if r.lines > 1 {
		return r.joined[r.turn]
	}
	return r.buf[r.base+r.from : r.base+r.to : r.base+r.to]
}

// parse consumes whole lines from the buffer until an event is complete.
func (r *Reader) parse() bool {
	if !r.begun && !r.begin(false) {
		return false
	}
	for {
		if r.skipLF {
			if r.pos >= r.end {
				return false
			}
			r.skipLF = false
			if r.buf[r.pos] == '\n' {
				if r.base == r.pos {
					r.base++
				}
				r.pos++
			}
			r.scan = max(r.scan, r.pos)
		}
		i := lineEnd(r.buf[r.scan:r.end])
		if i < 0 {
			r.scan = r.end
			return false
		}
		i += r.scan
		line := r.buf[r.pos:i]
		r.skipLF = r.buf[i] == '\r'
		start := r.pos
		r.pos, r.scan = i+1, i+1
		if len(line) == 0 {
			if r.lines > 0 {
				r.ready = true
				return true
			}
			r.name = ""
		} else {
			r.line(line, start)
		}
		if r.lines == 0 {
			r.base = r.pos // nothing of it will be needed: floods of comments cost no memory
		}
	}
}

// lineEnd finds the first LF or CR.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// begin skips a byte order mark; false means that more bytes must show whether
// there is one.
func (r *Reader) begin(eof bool) bool {
	const bom = "\xef\xbb\xbf"
	have := r.buf[r.pos:r.end]
	if !eof && len(have) < len(bom) && bom[:len(have)] == string(have) {
		return false
	}
	r.begun = true
	if len(have) >= len(bom) && string(have[:len(bom)]) == bom {
		r.pos += len(bom)
		r.base, r.scan = r.pos, r.pos
	}
	return true
}

// line takes one line of an event; start is its offset in the buffer.
func (r *Reader) line(line []byte, start int) {
	value, at := line[:0], len(line)
	field := line
	if i := bytes.IndexByte(line, ':'); i >= 0 {
		field, at = line[:i], i+1
		if at < len(line) && line[at] == ' ' {
			at++
		}
		value = line[at:]
	}
	switch string(field) {
	case "data":
		r.addData(value, start+at)
	case "event":
		r.name = r.intern(value)
	}
}

func (r *Reader) addData(value []byte, at int) {
	r.lines++
	if r.lines == 1 {
		r.from, r.to = at-r.base, at-r.base+len(value)
		return
	}
	j := r.joined[r.turn]
	if r.lines == 2 {
		j = append(j[:0], r.buf[r.base+r.from:r.base+r.to]...)
	}
	r.joined[r.turn] = append(append(j, '\n'), value...)
}

// intern keeps one string per event name, so that naming an event allocates
// nothing after its first time.
func (r *Reader) intern(b []byte) string {
	for _, n := range r.names {
		if n == string(b) {
			return n
		}
	}
	n := string(b)
	if len(r.names) < maxNames && len(n) <= 64 {
		r.names = append(r.names, n)
	}
	return n
}

// finish takes what stands behind the last line end when the source is at its end.
func (r *Reader) finish() bool {
	if !r.begun {
		r.begin(true)
	}
	if r.pos < r.end {
		line, start := r.buf[r.pos:r.end], r.pos
		r.pos, r.scan = r.end, r.end
		r.line(line, start)
	}
	return r.lines > 0
}

// fill reads once, making room first.
func (r *Reader) fill() {
	if r.wait != nil {
		if r.base == r.end && len(r.buf) <= startBuffer {
			r.giveBuffer()
			r.base, r.pos, r.scan, r.end = 0, 0, 0, 0
		}
		if r.err = r.wait(); r.err != nil {
			return
		}
	}
	if r.end == len(r.buf) {
		if r.base > 0 {
			r.shift()
		} else if len(r.buf) >= MaxEvent {
			r.err = ErrTooLarge
			return
		} else {
			grown := r.larger()
			copy(grown, r.buf[:r.end])
			r.giveBuffer()
			r.buf = grown
		}
	} else if r.base == r.end && r.base > 0 {
		r.shift()
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		if n < 0 || n > len(r.buf)-r.end {
			r.err = errors.New("read server-sent events: reader returned an impossible count")
			return
		}
		r.end += n
		r.err = err
		if n > 0 && r.OnRead != nil {
			r.OnRead(n)
		}
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

func (r *Reader) larger() []byte {
	if len(r.buf) == 0 {
		return startBuffers.Get().(*[startBuffer]byte)[:]
	}
	return make([]byte, min(2*len(r.buf), MaxEvent))
}

func (r *Reader) shift() {
	copy(r.buf, r.buf[r.base:r.end])
	r.end -= r.base
	r.pos -= r.base
	r.scan -= r.base
	r.base = 0
}
