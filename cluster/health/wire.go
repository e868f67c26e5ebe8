package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/oklog/ulid/v2"
)

// errWire is wrapped by every refused message.
var errWire = errors.New("not a message about providers")

// report is the body of an upstream message: what a node says of some of its
// deployments. Node is set when another one passes it on. A body has summaries
// or figures, not both: nodes of the first release refuse figures, and get the
// summaries all the same.
type report struct {
	node      string
	inc       uint32
	seq       uint64
	summaries []Summary
	figures   []Figures
}

const (
	reportDirect     = 0
	reportForwarded  = 1
	figuresDirect    = 2
	figuresForwarded = 3
)

const (
	summaryBad = 1 << iota
	summaryOK
)

// encodeReports makes bodies of at most limit bytes.
func encodeReports(r report, limit int) ([][]byte, error) {
	out, err := r.bodies(nil, limit, reportDirect, len(r.summaries), func(b []byte, i int) []byte { return r.summaries[i].append(b) })
	if err != nil {
		return nil, err
	}
	return r.bodies(out, limit, figuresDirect, len(r.figures), func(b []byte, i int) []byte { return r.figures[i].append(b) })
}

// bodies appends those of n entries under a form, or the one after it when the
// report is passed on.
func (r *report) bodies(out [][]byte, limit int, form byte, n int, add func(b []byte, i int) []byte) ([][]byte, error) {
	head := []byte{form}
	if r.node != "" {
		id, err := ulid.ParseStrict(r.node)
		if err != nil {
			return nil, fmt.Errorf("node id %q: %w", r.node, err)
		}
		head = append([]byte{form + 1}, id[:]...)
		head = binary.BigEndian.AppendUint32(head, r.inc)
		head = binary.BigEndian.AppendUint64(head, r.seq)
	}
	body := append([]byte(nil), head...)
	var entry []byte
	for i := range n {
		entry = add(entry[:0], i)
		if len(body)+len(entry) > limit && len(body) > len(head) {
			out = append(out, body)
			body = append([]byte(nil), head...)
		}
		body = append(body, entry...)
	}
	if len(body) > len(head) {
		out = append(out, body)
	}
	return out, nil
}

func (s *Summary) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.ID))
	var flags byte
	if s.Bad {
		flags |= summaryBad
	}
	if s.LastOK >= 0 {
		flags |= summaryOK
	}
	b = append(b, flags)
	for _, n := range [...]uint32{s.OK, s.Limited, s.Server, s.Timeouts, s.Connects, s.Samples} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(max(s.Latency, 0)/time.Microsecond))
	b = binary.AppendUvarint(b, uint64(max(s.FirstToken, 0)/time.Microsecond))
	if s.Bad {
		b = binary.AppendUvarint(b, uint64(max(s.Opened, 0)/time.Millisecond))
	}
	if s.LastOK >= 0 {
		b = binary.AppendUvarint(b, uint64(s.LastOK/time.Millisecond))
	}
	return b
}

// append adds an entry with its length before it, so that later releases can
// say more at its end.
func (f *Figures) append(b []byte) []byte {
	var buf [64]byte
	e := binary.BigEndian.AppendUint64(buf[:0], uint64(f.ID))
	e = binary.AppendUvarint(e, uint64(max(f.PerToken, 0)/time.Microsecond))
	for _, n := range [...]uint64{uint64(f.Samples), f.Requests, f.Tokens, f.InFlight, uint64(max(f.Age, 0) / time.Millisecond)} {
		e = binary.AppendUvarint(e, n)
	}
	return append(append(b, byte(len(e))), e...)
}

// maxCount is more than anybody counts, and few enough that sums of many fit.
const maxCount = 1 << 48

func (r *report) decodeFigures(in *reader) {
	for len(in.b) > 0 && !in.bad {
		e := reader{b: in.take(int(in.byte()))}
		f := Figures{ID: ID(e.uint64())}
		f.PerToken = e.duration(time.Microsecond)
		f.Samples = uint32(e.uvarint(math.MaxUint32))
		for _, n := range [...]*uint64{&f.Requests, &f.Tokens, &f.InFlight} {
			*n = e.uvarint(maxCount)
		}
		f.Age = e.duration(time.Millisecond)
		in.bad = in.bad || e.bad
		r.figures = append(r.figures, f)
	}
}

func decodeReport(b []byte) (report, error) {
	var r report
	in := reader{b: b}
	form := in.byte()
	switch form {
	case reportDirect, figuresDirect:
	case reportForwarded, figuresForwarded:
		id := in.take(16)
		rest := in.take(12)
		if in.bad {
			return report{}, fmt.Errorf("%w: cut short", errWire)
		}
		r.node = ulid.ULID(id).String()
		r.inc, r.seq = binary.BigEndian.Uint32(rest), binary.BigEndian.Uint64(rest[4:])
	default:
		return report{}, fmt.Errorf("%w: form %d", errWire, b[:min(len(b), 1)])
	}
	if form >= figuresDirect {
		r.decodeFigures(&in)
		in.b = nil
	}
	for len(in.b) > 0 && !in.bad {
		s := Summary{ID: ID(in.uint64()), LastOK: -1}
		flags := in.byte()
		for _, n := range [...]*uint32{&s.OK, &s.Limited, &s.Server, &s.Timeouts, &s.Connects, &s.Samples} {
			*n = uint32(in.uvarint(math.MaxUint32))
		}
		s.Latency = in.duration(time.Microsecond)
		s.FirstToken = in.duration(time.Microsecond)
		if flags&summaryBad != 0 {
			s.Bad, s.Opened = true, in.duration(time.Millisecond)
		}
		if flags&summaryOK != 0 {
			s.LastOK = in.duration(time.Millisecond)
		}
		r.summaries = append(r.summaries, s)
	}
	if in.bad {
		return report{}, fmt.Errorf("%w: cut short or out of range", errWire)
	}
	return r, nil
}

const noticeStop = 1

// append adds a notice; several may follow each other.
func (n *Notice) append(b []byte) []byte {
	var flags byte
	if n.Stop {
		flags = noticeStop
	}
	b = append(b, flags, byte(n.Reason))
	b = binary.BigEndian.AppendUint64(b, uint64(n.ID))
	b = binary.BigEndian.AppendUint64(b, n.Event.Origin)
	b = binary.BigEndian.AppendUint32(b, n.Event.Inc)
	b = binary.AppendUvarint(b, n.Event.N)
	return binary.AppendUvarint(b, uint64(max(n.Remaining, 0)/time.Millisecond))
}

func decodeNotices(b []byte) ([]Notice, error) {
	var out []Notice
	in := reader{b: b}
	for len(in.b) > 0 {
		n := Notice{Stop: in.byte()&noticeStop != 0, Reason: Outcome(in.byte()), ID: ID(in.uint64())}
		n.Event.Origin = in.uint64()
		if inc := in.take(4); !in.bad {
			n.Event.Inc = binary.BigEndian.Uint32(inc)
		}
		n.Event.N = in.uvarint(math.MaxUint64)
		n.Remaining = in.duration(time.Millisecond)
		if in.bad {
			return nil, fmt.Errorf("%w: cut short or out of range", errWire)
		}
		out = append(out, n)
	}
	return out, nil
}

// reader takes values off the front of foreign bytes; after the first one that
// is not there it yields zeros and stays bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// duration of foreign origin: a day is longer than anything in here lasts.
func (r *reader) duration(unit time.Duration) time.Duration {
	return time.Duration(r.uvarint(uint64(24*time.Hour/unit))) * unit
}
