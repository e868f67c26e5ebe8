// Package once keeps a model call that carries an Idempotency-Key from being made
// twice: it remembers, for all nodes alike, which call answers for a key, and
// finds that call's answer wherever it is kept. It does not judge callers, makes
// no call itself and books nothing: what became of a call, the ledger tells.
package once

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unique"

	"tollgate/ledger/store"
)

// Version of commands, answers and records.
const Version = 1

// ID names a caller's key. What the caller wrote cannot be read from it.
type ID [16]byte

// Sum is the hash of what a call asks for.
type Sum [16]byte

// CallID is the call that claims a key.
type CallID = store.CallID

// IDOf is the name of one caller's key: the same text of another is another key.
func IDOf(caller, key string) ID {
	return ID(sum(caller, []byte(key)))
}

// SumOf is the hash of a request as it was received: its route and its body.
func SumOf(route string, body []byte) Sum { return sum(route, body) }

func sum(head string, rest []byte) Sum {
	h := sha256.New()
	h.Write(binary.AppendUvarint(nil, uint64(len(head))))
	h.Write([]byte(head))
	h.Write(rest)
	var out [sha256.Size]byte
	return Sum(h.Sum(out[:0])[:16])
}

// Kind is what an Op does.
type Kind byte

// The kinds of operations. They stand in logs and are never reused.
const (
	Take    Kind = 1 // the call claims the key
	Release Kind = 2 // the call has ended without an answer
)

// Op claims a key or gives it back.
type Op struct {
	Kind Kind
	ID   ID
	Call CallID
	// Body and Instead are a claim's. Instead names the call that may be replaced:
	// it is known to have ended without an answer.
	Body    Sum
	Instead CallID
}

// Command is what one start of a node proposes at once.
type Command struct {
	Node        string
	Incarnation uint64
	Ops         []Op
}

// Verdict is what became of an Op.
type Verdict byte

// The verdicts.
const (
	Yours     Verdict = 1 // the key stands for the call
	Held      Verdict = 2 // another call has it, and asks for the same
	OtherBody Verdict = 3 // another call has it, and asks for something else
	Full      Verdict = 4 // there are too many claims
	Released  Verdict = 5
)

// Claim is a call that has a key.
type Claim struct {
	Node        string
	Incarnation uint64
	Call        CallID
	At          time.Time
}

// Told is the answer to one Op; Claim is set when another call has the key.
type Told struct {
	Verdict Verdict
	Claim   Claim
}

// Answer is what applying a Command gave. Err is set when its bytes could not be
// read; nothing was changed then.
type Answer struct {
	Told []Told
	Err  error
}

// AppendCommand writes a command.
func AppendCommand(p []byte, c *Command) []byte {
	p = appendText(p, c.Node)
	p = binary.AppendUvarint(p, c.Incarnation)
	p = binary.AppendUvarint(p, uint64(len(c.Ops)))
	for i := range c.Ops {
		o := &c.Ops[i]
		p = append(p, byte(o.Kind))
		p = append(p, o.ID[:]...)
		p = append(p, o.Call[:]...)
		if o.Kind != Take {
			continue
		}
		p = append(p, o.Body[:]...)
		if o.Instead == (CallID{}) {
			p = append(p, 0)
		} else {
			p = append(append(p, 1), o.Instead[:]...)
		}
	}
	return p
}

// DecodeCommand reads what AppendCommand wrote, and nothing else.
func DecodeCommand(p []byte) (*Command, error) {
	r := reader{p: p}
	c := &Command{Node: r.text(), Incarnation: r.uint()}
	c.Ops = make([]Op, 0, r.count(1+16+16))
	for range cap(c.Ops) {
		o := Op{Kind: Kind(r.byte()), ID: ID(r.sixteen()), Call: CallID(r.sixteen())}
		switch o.Kind {
		case Take:
			o.Body = r.sixteen()
			if r.flag() {
				o.Instead = CallID(r.sixteen())
				if o.Instead == (CallID{}) {
					r.fail(errors.New("a claim instead of no call"))
				}
			}
		case Release:
		default:
			r.fail(fmt.Errorf("operation %d is unknown", o.Kind))
		}
		c.Ops = append(c.Ops, o)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	return c, nil
}

// AppendAnswer writes an answer for the way back from the leader.
func AppendAnswer(p []byte, a *Answer) []byte {
	text := ""
	if a.Err != nil {
		text = a.Err.Error()
	}
	p = appendText(append(p, Version), text)
	p = binary.AppendUvarint(p, uint64(len(a.Told)))
	for i := range a.Told {
		t := &a.Told[i]
		p = append(p, byte(t.Verdict))
		if t.Verdict == Held || t.Verdict == OtherBody {
			p = appendText(p, t.Claim.Node)
			p = binary.AppendUvarint(p, t.Claim.Incarnation)
			p = append(p, t.Claim.Call[:]...)
			p = binary.AppendVarint(p, t.Claim.At.UnixNano())
		}
	}
	return p
}

// DecodeAnswer reads what AppendAnswer wrote.
func DecodeAnswer(p []byte) (*Answer, error) {
	r := reader{p: p}
	if v := r.byte(); r.err == nil && v != Version {
		return nil, fmt.Errorf("answer about claims of version %d: this node knows %d", v, Version)
	}
	a := &Answer{}
	if text := r.text(); text != "" {
		a.Err = errors.New(text)
	}
	a.Told = make([]Told, 0, r.count(1))
	for range cap(a.Told) {
		t := Told{Verdict: Verdict(r.byte())}
		switch t.Verdict {
		case Held, OtherBody:
			t.Claim = Claim{Node: r.text(), Incarnation: r.uint(), Call: CallID(r.sixteen()), At: time.Unix(0, r.int()).UTC()}
		case Yours, Full, Released:
		default:
			r.fail(fmt.Errorf("verdict %d is unknown", t.Verdict))
		}
		a.Told = append(a.Told, t)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("read answer about claims: %w", err)
	}
	return a, nil
}

func appendClaim(p []byte, id ID, k *claim) []byte {
	p = append(p, id[:]...)
	p = append(p, k.body[:]...)
	p = append(p, k.call[:]...)
	p = binary.AppendVarint(p, k.at)
	o := k.owner.Value()
	return binary.AppendUvarint(appendText(p, o.node), o.incarnation)
}

func (r *reader) claim() (ID, claim) {
	id := ID(r.sixteen())
	k := claim{body: r.sixteen(), call: CallID(r.sixteen()), at: r.int()}
	k.owner = unique.Make(owner{r.text(), r.uint()})
	return id, k
}

func appendText(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

var errShort = errors.New("it ends early")

// reader takes values off a payload; after the first fault it yields zeros, and
// end reports the fault.
type reader struct {
	p   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.p = nil
}

func (r *reader) byte() byte {
	if len(r.p) == 0 {
		r.fail(errShort)
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *reader) flag() bool {
	b := r.byte()
	if b > 1 {
		r.fail(fmt.Errorf("flag %d", b))
	}
	return b == 1
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.p)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) sixteen() (v Sum) {
	if len(r.p) < len(v) {
		r.fail(errShort)
		return v
	}
	copy(v[:], r.p)
	r.p = r.p[len(v):]
	return v
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.p)) {
		r.fail(errShort)
		return nil
	}
	s := r.p[:n:n]
	r.p = r.p[n:]
	return s
}

// count reads how many elements follow, each at least size bytes long, so that a
// lying count cannot allocate more than the payload allows.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.p)/size) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) end() error {
	if r.err == nil && len(r.p) > 0 {
		return fmt.Errorf("%d bytes too many", len(r.p))
	}
	return r.err
}
