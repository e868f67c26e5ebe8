package rate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Messages begin with a version and a kind, then come the names they use, then
// the rest, which names them by number. What a newer node adds goes behind.
const wireVersion = 1

type op byte

const (
	opAsk op = iota + 1
	opReply
	opGather
	opKnown
	opPush
	opPing
	opPong
	opLook
	opLooked
	opCounts
	opRecall
	opHeld
)

// mode is what the receiver of an ask is to do.
type mode byte

const (
	direct  mode = iota // grant: it is thought to be the owner
	standIn             // the owner does not answer: reach it or take its place
	relay               // pass it on to the owner and do nothing else
)

type flags byte

const (
	flagExhausted flags = 1 << iota // there was less than needed
	flagNotOwner
	flagUnsure    // nobody could be found who grants
	flagUnreached // the owner could not be reached from here
)

const (
	maxNames  = 1 << 12
	maxName   = 128
	maxItems  = 1 << 16
	maxWithin = 64 // parts of one item
	maxUnits  = full / 4
)

var errShort = errors.New("limits message ends early")

// askItem is what a node wants of one limit.
type askItem struct {
	id      uint64
	kind    Kind
	home    string
	limit   int64
	need    int64 // of those who wait
	want    int64 // need and what is expected
	least   int64 // less helps nobody
	hold    int64 // parallel: kept at most from now on
	debt    int64 // used without credit
	seq     uint64
	moves   uint32 // of home
	returns []slotUnits
	source  string // of the ring that the returns are of
	inc     uint32
}

// askMessage is a batch of them.
type askMessage struct {
	mode   mode
	digest uint64
	origin string // who asks; "": who sends
	inc    uint32
	owner  string // for stand-ins and relays: who should have been asked
	items  []askItem
}

// answer is what an owner gives of one limit.
type answer struct {
	flags   flags
	granted uint32
	slot    uint32
	left    int64
	retry   time.Duration
	reset   time.Duration
	source  string // of the ring that the slot is of
	inc     uint32
	owner   string
}

type askReply struct{ answers []answer }

func (r *askReply) unreached() bool {
	for i := range r.answers {
		if r.answers[i].flags&flagUnreached == 0 {
			return false
		}
	}
	return len(r.answers) > 0
}

// encoder builds a message.
type encoder struct {
	names map[string]uint64
	list  []string
	body  []byte
}

func (e *encoder) uint(v uint64) { e.body = binary.AppendUvarint(e.body, v) }
func (e *encoder) int(v int64)   { e.uint(uint64(max(0, v))) }
func (e *encoder) id(v uint64)   { e.body = binary.LittleEndian.AppendUint64(e.body, v) }
func (e *encoder) byte(v byte)   { e.body = append(e.body, v) }

// millis rounds up: who waits too short a time is refused again.
func (e *encoder) millis(d time.Duration) {
	e.int(int64((d + time.Millisecond - 1) / time.Millisecond))
}

func (e *encoder) name(s string) {
	n, ok := e.names[s]
	if !ok {
		if e.names == nil {
			e.names = make(map[string]uint64)
		}
		n = uint64(len(e.list))
		e.names[s] = n
		e.list = append(e.list, s)
	}
	e.uint(n)
}

func (e *encoder) finish(o op) []byte {
	out := make([]byte, 0, len(e.body)+16+32*len(e.list))
	out = append(out, wireVersion, byte(o))
	out = binary.AppendUvarint(out, uint64(len(e.list)))
	for _, s := range e.list {
		s = s[:min(len(s), maxName)]
		out = binary.AppendUvarint(out, uint64(len(s)))
		out = append(out, s...)
	}
	return append(out, e.body...)
}

// decoder reads one. The first fault ends it; what it gives then is zero.
type decoder struct {
	b     []byte
	names []string
	err   error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v := d.uint()
	if v > 1<<62 {
		d.fail(fmt.Errorf("limits message has the number %d", v))
		return 0
	}
	return int64(v)
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > full {
		d.fail(fmt.Errorf("limits message has the number %d", v))
		return 0
	}
	return uint32(v)
}

func (d *decoder) id() uint64 {
	if len(d.b) < 8 {
		d.fail(errShort)
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) millis() time.Duration {
	return time.Duration(min(d.int(), int64(24*time.Hour/time.Millisecond))) * time.Millisecond
}

func (d *decoder) name() string {
	n := d.uint()
	if n >= uint64(len(d.names)) {
		d.fail(fmt.Errorf("limits message uses name %d of %d", n, len(d.names)))
		return ""
	}
	return d.names[n]
}

// count is a number of things of at least size bytes each.
func (d *decoder) count(most, size int) int {
	n := d.uint()
	if n > uint64(most) || n*uint64(size) > uint64(len(d.b)) {
		d.fail(fmt.Errorf("limits message claims %d things in %d bytes", n, len(d.b)))
		return 0
	}
	return int(n)
}

// openMessage reads what all messages begin with.
func openMessage(b []byte) (op, *decoder, error) {
	if len(b) < 2 {
		return 0, nil, errShort
	}
	if b[0] != wireVersion {
		return 0, nil, fmt.Errorf("limits message of version %d: this node knows version %d", b[0], wireVersion)
	}
	d := &decoder{b: b[2:]}
	for range d.count(maxNames, 1) {
		n := d.count(maxName, 1)
		d.names = append(d.names, string(d.b[:n]))
		d.b = d.b[n:]
	}
	return op(b[1]), d, d.err
}

func openReply(b []byte, want op) (*decoder, error) {
	got, d, err := openMessage(b)
	if err != nil {
		return nil, err
	}
	if got != want {
		return nil, fmt.Errorf("limits answer of kind %d instead of %d", got, want)
	}
	return d, nil
}

func (m *askMessage) encode() []byte {
	var e encoder
	e.byte(byte(m.mode))
	e.id(m.digest)
	e.name(m.origin)
	e.uint(uint64(m.inc))
	e.name(m.owner)
	e.int(int64(len(m.items)))
	for i := range m.items {
		it := &m.items[i]
		e.id(it.id)
		e.byte(byte(it.kind))
		e.name(it.home)
		e.int(it.limit)
		e.int(it.need)
		e.int(it.want)
		e.int(it.least)
		e.int(it.hold)
		e.int(it.debt)
		e.uint(it.seq)
		e.int(int64(len(it.returns)))
		for _, r := range it.returns {
			e.uint(uint64(r.slot))
			e.int(r.units)
		}
		if len(it.returns) > 0 {
			e.name(it.source)
			e.uint(uint64(it.inc))
		}
	}
	e.moves(len(m.items), func(i int) uint32 { return m.items[i].moves })
	return e.finish(opAsk)
}

// moves comes behind the limits of a message, of those whose home has ever been
// another: nodes of before the first such limit do not look there.
func (e *encoder) moves(n int, of func(int) uint32) {
	some := 0
	for i := range n {
		if of(i) > 0 {
			some++
		}
	}
	if some == 0 {
		return
	}
	e.int(int64(some))
	for i := range n {
		if v := of(i); v > 0 {
			e.int(int64(i))
			e.uint(uint64(v))
		}
	}
}

func (d *decoder) moves(n int, set func(i int, moves uint32)) {
	if d.err != nil || len(d.b) == 0 {
		return
	}
	for range d.count(n, 2) {
		i, v := d.uint(), d.uint32()
		if d.err == nil && i < uint64(n) {
			set(int(i), v)
		}
	}
}

func (m *askMessage) decode(d *decoder) error {
	m.mode = mode(d.byte())
	m.digest = d.id()
	m.origin, m.inc, m.owner = d.name(), d.uint32(), d.name()
	m.items = make([]askItem, d.count(maxItems, 18))
	for i := range m.items {
		it := &m.items[i]
		it.id, it.kind, it.home = d.id(), Kind(d.byte()), d.name()
		it.limit, it.need, it.want, it.least = d.int(), d.int(), d.int(), d.int()
		it.hold, it.debt, it.seq = min(d.int(), maxUnits), min(d.int(), maxUnits), d.uint()
		if n := d.count(maxWithin, 2); n > 0 {
			it.returns = make([]slotUnits, n)
			for j := range it.returns {
				it.returns[j] = slotUnits{d.uint32(), min(d.int(), maxUnits)}
			}
			it.source, it.inc = d.name(), d.uint32()
		}
		if d.err == nil && (it.kind < Requests || it.kind > Parallel) {
			d.fail(fmt.Errorf("limits ask of unknown kind %d", it.kind))
		}
	}
	d.moves(len(m.items), func(i int, v uint32) { m.items[i].moves = v })
	if d.err == nil && m.mode > relay {
		d.fail(fmt.Errorf("limits ask of unknown mode %d", m.mode))
	}
	if d.err != nil {
		return fmt.Errorf("read limits ask: %w", d.err)
	}
	return nil
}

func (r *askReply) encode() []byte {
	var e encoder
	e.int(int64(len(r.answers)))
	for i := range r.answers {
		a := &r.answers[i]
		e.byte(byte(a.flags))
		e.uint(uint64(a.granted))
		e.uint(uint64(a.slot))
		e.int(a.left)
		e.millis(a.retry)
		e.millis(a.reset)
		e.name(a.source)
		e.uint(uint64(a.inc))
		if a.flags&flagNotOwner != 0 {
			e.name(a.owner)
		}
	}
	return e.finish(opReply)
}

func decodeReply(b []byte, items int) (*askReply, error) {
	d, err := openReply(b, opReply)
	if err != nil {
		return nil, err
	}
	r := &askReply{answers: make([]answer, d.count(maxItems, 8))}
	for i := range r.answers {
		a := &r.answers[i]
		a.flags, a.granted, a.slot = flags(d.byte()), d.uint32(), d.uint32()
		a.left, a.retry, a.reset = d.int(), d.millis(), d.millis()
		a.source, a.inc = d.name(), d.uint32()
		if a.flags&flagNotOwner != 0 {
			a.owner = d.name()
		}
	}
	if d.err == nil && len(r.answers) != items {
		d.fail(fmt.Errorf("%d answers to %d asks", len(r.answers), items))
	}
	if d.err != nil {
		return nil, fmt.Errorf("read limits answer: %w", d.err)
	}
	return r, nil
}

func pong() []byte { return (&encoder{}).finish(opPong) }
