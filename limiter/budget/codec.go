package budget

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/config/wire"
)

// AppendCommand writes a command. Numbers are varints, strings have their
// length before them; the order of fields is the format.
func AppendCommand(p []byte, c *Command) []byte {
	p = append(p, byte(c.Op))
	p = appendString(p, string(c.Node))
	p = binary.AppendUvarint(p, c.Incarnation)
	switch c.Op {
	case OpBatch:
		p = binary.AppendUvarint(p, uint64(len(c.Items)))
		for i := range c.Items {
			it := &c.Items[i]
			p = appendScope(p, it.Scope)
			p = binary.AppendVarint(p, it.Window)
			p = appendMoney(p, it.S, it.R, it.Want, it.Need, it.Least, it.Call)
			p = append(p, flags(it.Exact))
		}
	case OpClose:
		p = append(p, flags(c.WriteOff, c.Final))
		p = binary.AppendUvarint(p, uint64(len(c.Settled)))
		for i := range c.Settled {
			s := &c.Settled[i]
			p = binary.AppendUvarint(p, s.Incarnation)
			p = appendScope(p, s.Scope)
			p = binary.AppendVarint(p, s.Window)
			p = appendMoney(p, s.S)
		}
	case OpOpen, OpDrop:
		p = binary.AppendUvarint(p, uint64(len(c.Scopes)))
		for _, s := range c.Scopes {
			p = appendScope(p, s)
		}
	}
	return p
}

// DecodeCommand reads what AppendCommand wrote, and nothing else.
func DecodeCommand(p []byte) (*Command, error) {
	r := newReader(p)
	c := &Command{Op: Op(r.Byte()), Node: NodeID(r.Text()), Incarnation: r.Uint()}
	switch c.Op {
	case OpBatch:
		c.Items = make([]Item, 0, r.Count(10))
		for range cap(c.Items) {
			it := Item{Scope: r.scope(), Window: r.Int(), S: r.money(), R: r.money(), Want: r.money(), Need: r.money(), Least: r.money(), Call: r.money()}
			f := r.Flags(1)
			it.Exact = f&1 != 0
			c.Items = append(c.Items, it)
		}
	case OpClose:
		f := r.Flags(2)
		c.WriteOff, c.Final = f&1 != 0, f&2 != 0
		c.Settled = make([]Settled, 0, r.Count(5))
		for range cap(c.Settled) {
			c.Settled = append(c.Settled, Settled{Incarnation: r.Uint(), Scope: r.scope(), Window: r.Int(), S: r.money()})
		}
	case OpOpen, OpDrop:
		c.Scopes = make([]model.Scope, 0, r.Count(2))
		for range cap(c.Scopes) {
			c.Scopes = append(c.Scopes, r.scope())
		}
	case OpRegister, OpForget, OpLeave:
	default:
		return nil, fmt.Errorf("op %d is unknown", c.Op)
	}
	return c, r.End()
}

// AppendAnswer writes an answer for the way back from the leader.
func AppendAnswer(p []byte, a *Answer) []byte {
	msg := ""
	if a.Err != nil {
		msg = a.Err.Error()
	}
	p = append(p, Version)
	p = appendString(p, msg)
	p = binary.AppendUvarint(p, uint64(len(a.Grants)))
	for i := range a.Grants {
		g := &a.Grants[i]
		p = appendScope(p, g.Scope)
		p = binary.AppendVarint(p, g.Window)
		p = binary.AppendVarint(p, g.End)
		p = appendMoney(p, g.G, g.Settled)
		p = binary.AppendVarint(p, int64(g.Free)) // below zero after a limit was lowered
		p = appendMoney(p, g.Share)
		p = binary.AppendUvarint(p, uint64(g.Nodes))
		p = append(p, flags(g.Tight, g.Closed, g.Unknown))
	}
	return p
}

// DecodeAnswer reads what AppendAnswer wrote.
func DecodeAnswer(p []byte) (*Answer, error) {
	r := newReader(p)
	if v := r.Byte(); v != Version {
		return nil, fmt.Errorf("budget answer version %d: this node knows %d", v, Version)
	}
	a := &Answer{}
	if msg := r.Text(); msg != "" {
		a.Err = errors.New(msg)
	}
	a.Grants = make([]Grant, 0, r.Count(10))
	for range cap(a.Grants) {
		g := Grant{Scope: r.scope(), Window: r.Int(), End: r.Int(), G: r.money(), Settled: r.money(),
			Free: unit.Money(r.Int()), Share: r.money(), Nodes: int(r.Uint() & math.MaxInt32)}
		f := r.Flags(3)
		g.Tight, g.Closed, g.Unknown = f&1 != 0, f&2 != 0, f&4 != 0
		a.Grants = append(a.Grants, g)
	}
	return a, r.End()
}

func appendString(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

func appendScope(p []byte, s model.Scope) []byte {
	return appendString(append(p, byte(s.Dim)), s.ID)
}

func appendMoney(p []byte, ms ...unit.Money) []byte {
	for _, m := range ms {
		p = binary.AppendUvarint(p, uint64(max(0, m)))
	}
	return p
}

func flags(bits ...bool) byte {
	f := byte(0)
	for i, b := range bits {
		if b {
			f |= 1 << i
		}
	}
	return f
}

// reader reads what this room writes.
type reader struct{ wire.Reader }

func newReader(p []byte) *reader { return &reader{wire.NewReader(p)} }

func (r *reader) money() unit.Money {
	v := r.Uint()
	if v > math.MaxInt64 {
		r.Fail(fmt.Errorf("amount %d is out of range", v))
		return 0
	}
	return unit.Money(v)
}

func (r *reader) scope() model.Scope {
	return model.Scope{Dim: model.Dim(r.Byte()), ID: r.Text()}
}
