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

	"tollgate/config/wire"
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
	r := newReader(p)
	c := &Command{Node: r.Text(), Incarnation: r.Uint()}
	c.Ops = make([]Op, 0, r.Count(1+16+16))
	for range cap(c.Ops) {
		o := Op{Kind: Kind(r.Byte()), ID: ID(r.sixteen()), Call: CallID(r.sixteen())}
		switch o.Kind {
		case Take:
			o.Body = r.sixteen()
			if r.Flag() {
				o.Instead = CallID(r.sixteen())
				if o.Instead == (CallID{}) {
					r.Fail(errors.New("a claim instead of no call"))
				}
			}
		case Release:
		default:
			r.Fail(fmt.Errorf("operation %d is unknown", o.Kind))
		}
		c.Ops = append(c.Ops, o)
	}
	if err := r.End(); err != nil {
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
	r := newReader(p)
	if v := r.Byte(); r.Err() == nil && v != Version {
		return nil, fmt.Errorf("answer about claims of version %d: this node knows %d", v, Version)
	}
	a := &Answer{}
	if text := r.Text(); text != "" {
		a.Err = errors.New(text)
	}
	a.Told = make([]Told, 0, r.Count(1))
	for range cap(a.Told) {
		t := Told{Verdict: Verdict(r.Byte())}
		switch t.Verdict {
		case Held, OtherBody:
			t.Claim = Claim{Node: r.Text(), Incarnation: r.Uint(), Call: CallID(r.sixteen()), At: time.Unix(0, r.Int()).UTC()}
		case Yours, Full, Released:
		default:
			r.Fail(fmt.Errorf("verdict %d is unknown", t.Verdict))
		}
		a.Told = append(a.Told, t)
	}
	if err := r.End(); err != nil {
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
	k := claim{body: r.sixteen(), call: CallID(r.sixteen()), at: r.Int()}
	k.owner = unique.Make(owner{r.Text(), r.Uint()})
	return id, k
}

func appendText(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

// reader reads what this room writes.
type reader struct{ wire.Reader }

func newReader(p []byte) *reader { return &reader{wire.NewReader(p)} }

func (r *reader) sixteen() (v Sum) {
	copy(v[:], r.Take(len(v)))
	return v
}
