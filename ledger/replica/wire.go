package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"tollgate/ledger/store"
)

// What is sent begins with a version and what it is. Entries and intents are in
// the ledger's own stored form, which tells its version by itself.
const wireVersion = 1

const (
	kindPut     = 1 // a stretch of the sender's ledger
	kindRelease = 2 // the sender needs a copy no more
	kindStates  = 3 // which copies are there
	kindQuery   = 4 // a question about spend to a copy
	kindFind    = 5 // what became of a call, by the copies that are there
)

// ErrWire says that bytes from another node cannot be read.
var ErrWire = errors.New("message about copies is damaged")

// flags of a put.
const (
	flagAnew    = 1 << iota // throw away what is there
	flagReset               // the intents are all that are open
	flagAsk                 // nothing to keep, only the state is wanted
	flagAnswers             // entries have a kept answer behind their bodies, which may be empty
)

// put is a stretch of a ledger on its way.
type put struct {
	book      string
	turn      turn
	anew, ask bool
	store.CopyBatch
}

// turn is which message of a ledger's sender this is. One that comes after a
// later one, because it hung somewhere, would undo what that has done.
type turn struct{ incarnation, number uint64 }

func (t turn) after(u turn) bool {
	if t.incarnation != u.incarnation {
		return t.incarnation > u.incarnation
	}
	return t.number > u.number
}

func appendPut(b []byte, p *put) []byte {
	b = append(b, wireVersion, kindPut)
	answers := slices.ContainsFunc(p.Entries, func(r store.Record) bool { return len(r.Answer) > 0 })
	var flags uint64
	for bit, on := range map[uint64]bool{flagAnew: p.anew, flagReset: p.Reset, flagAsk: p.ask, flagAnswers: answers} {
		if on {
			flags |= bit
		}
	}
	b = binary.AppendUvarint(b, flags)
	b = appendBytes(b, []byte(p.book))
	b = binary.AppendUvarint(b, p.turn.incarnation)
	b = binary.AppendUvarint(b, p.turn.number)
	b = binary.AppendUvarint(b, p.After)
	b = binary.AppendUvarint(b, p.UpTo)
	b = binary.AppendUvarint(b, p.Floor)
	b = binary.AppendUvarint(b, uint64(len(p.Entries)))
	for i := range p.Entries {
		b = binary.AppendUvarint(b, p.Entries[i].Seq)
		b = appendBytes(b, p.Entries[i].Entry)
		b = appendBytes(b, p.Entries[i].Bodies)
		if answers {
			b = appendBytes(b, p.Entries[i].Answer)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(p.Intents)))
	for i := range p.Intents {
		b = appendBytes(b, p.Intents[i].Raw)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Gone)))
	for i := range p.Gone {
		b = append(b, p.Gone[i][:]...)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// cutter takes values off the front of a message.
type cutter struct {
	b   []byte
	bad bool
}

func (c *cutter) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cutter) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cutter) bytes() []byte { return c.take(c.uint()) }

// count is how many things follow, each of which takes least bytes.
func (c *cutter) count(least int) int {
	n := c.uint()
	if n > uint64(len(c.b)/least) {
		c.bad, c.b = true, nil
		return 0
	}
	return int(n)
}

func (c *cutter) err() error {
	if c.bad {
		return ErrWire
	}
	return nil
}

// open checks version and kind.
func open(b []byte) (kind byte, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, ErrWire
	}
	if b[0] != wireVersion {
		return 0, nil, fmt.Errorf("%w: version %d is not known here", ErrWire, b[0])
	}
	return b[1], b[2:], nil
}

// decodePut reads a put's rest. What it gives shares b.
func decodePut(b []byte) (*put, error) {
	c := cutter{b: b}
	p := &put{}
	flags := c.uint()
	p.anew, p.Reset, p.ask = flags&flagAnew != 0, flags&flagReset != 0, flags&flagAsk != 0
	p.book = string(c.bytes())
	p.turn = turn{c.uint(), c.uint()}
	p.After, p.UpTo, p.Floor = c.uint(), c.uint(), c.uint()
	for range c.count(3) {
		r := store.Record{Seq: c.uint(), Entry: c.bytes(), Bodies: c.bytes()}
		if flags&flagAnswers != 0 {
			r.Answer = c.bytes()
		}
		p.Entries = append(p.Entries, r)
	}
	for range c.count(1) {
		in, err := store.ReadOpenIntent(c.bytes())
		if err != nil {
			return nil, errors.Join(ErrWire, err)
		}
		p.Intents = append(p.Intents, in)
	}
	for range c.count(len(store.CallID{})) {
		p.Gone = append(p.Gone, store.CallID(c.take(uint64(len(store.CallID{})))))
	}
	return p, c.err()
}

// Answers to a put.
const (
	answerKept = 1 + iota
	answerGap  // it is to go on from the position
	answerHave // to an ask
)

// place is where a copy stands, as its keeper answers.
type place struct {
	answer         byte
	base, position uint64
}

func appendPlace(b []byte, p place) []byte {
	b = append(b, wireVersion, p.answer)
	b = binary.AppendUvarint(b, p.base)
	return binary.AppendUvarint(b, p.position)
}

func decodePlace(b []byte) (place, error) {
	answer, rest, err := open(b)
	if err != nil {
		return place{}, err
	}
	c := cutter{b: rest}
	p := place{answer: answer, base: c.uint(), position: c.uint()}
	return p, c.err()
}

func appendRelease(b []byte, book string, upTo uint64) []byte {
	b = append(b, wireVersion, kindRelease)
	b = appendBytes(b, []byte(book))
	return binary.AppendUvarint(b, upTo)
}

// State tells of one copy.
type State struct {
	Book string // whose entries they are
	store.CopyState
}

func appendStates(b []byte, all []State) []byte {
	b = append(b, wireVersion, kindStates)
	b = binary.AppendUvarint(b, uint64(len(all)))
	for i := range all {
		s := &all[i]
		b = appendBytes(b, []byte(s.Book))
		b = appendBytes(b, []byte(s.Holder))
		b = binary.AppendUvarint(b, s.Base)
		b = binary.AppendUvarint(b, s.Position)
		b = binary.AppendUvarint(b, s.Floor)
		taken := byte(0)
		if s.Taken {
			taken = 1
		}
		b = append(b, taken)
	}
	return b
}

func decodeStates(b []byte) ([]State, error) {
	kind, rest, err := open(b)
	if err != nil {
		return nil, err
	}
	if kind != kindStates {
		return nil, ErrWire
	}
	c := cutter{b: rest}
	var all []State
	for range c.count(6) {
		s := State{Book: string(c.bytes())}
		s.Holder = string(c.bytes())
		s.Base, s.Position, s.Floor = c.uint(), c.uint(), c.uint()
		taken := c.take(1)
		s.Taken = len(taken) == 1 && taken[0] == 1
		all = append(all, s)
	}
	return all, c.err()
}

func appendQuery(b []byte, book string, question []byte) []byte {
	b = append(b, wireVersion, kindQuery)
	b = appendBytes(b, []byte(book))
	return append(b, question...)
}
