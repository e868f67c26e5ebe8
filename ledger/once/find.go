package once

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"tollgate/ledger/store"
)

// state is what became of a call, as nodes tell each other.
type state byte

const (
	stateUnknown   state = iota
	stateRunning         // it is not over
	stateKept            // answered, and the answer is here
	stateNothing         // over without an answer: the key is free
	stateNotKept         // answered, and the answer is gone
	stateConflict        // never sent
	stateElsewhere       // answered, and the answer may not go where it is asked for
)

type became struct {
	state  state
	answer []byte
}

// longest is how long one question to another node waits for a call's end: the
// asker asks again, so that neither side holds on to a dead one.
const longest = 20 * time.Second

// find tells what became of a claim's call. With wait it waits for the call's end
// as long as ctx lasts.
func (d *Desk) find(ctx context.Context, c *Claim, wait bool) became {
	if wait {
		d.counts.waited.Add(1)
	}
	for {
		b, err := d.look(ctx, c, wait)
		switch {
		case err != nil && ctx.Err() != nil:
			return became{state: stateRunning}
		case err != nil: // the node is away: it may have died with the call
			d.cfg.Logger.Debug("the node that made a call cannot be asked for it", "node", c.Node, "error", err)
			return d.fromCopies(ctx, c)
		case b.state != stateRunning || !wait || ctx.Err() != nil:
			return b
		}
	}
}

func (d *Desk) look(ctx context.Context, c *Claim, wait bool) (became, error) {
	if c.Node == d.cfg.Node {
		return d.own(ctx, c, wait, nil), nil
	}
	asking, end := context.WithTimeout(ctx, longest+5*time.Second)
	defer end()
	answer, err := d.cfg.Ask(asking, c.Node, appendQuestion(nil, c, wait))
	if err != nil {
		return became{}, err
	}
	return decodeBecame(answer)
}

// own tells what became of a call of this node. may says whether the answer may be
// told; nil: it stays here.
func (d *Desk) own(ctx context.Context, c *Claim, wait bool, may func(*store.Entry) bool) became {
	if r := d.running(c.Call); r != nil {
		select {
		case <-r.ended:
		default:
			if !wait {
				return became{state: stateRunning}
			}
			limit := time.NewTimer(longest)
			defer limit.Stop()
			select {
			case <-r.ended:
			case <-limit.C:
				return became{state: stateRunning}
			case <-ctx.Done():
				return became{state: stateRunning}
			}
		}
		if r.nothing {
			return became{state: stateNothing}
		}
	}
	b, err := d.fromLedger(c, may)
	if err != nil {
		d.cfg.Logger.Error("a call's answer could not be looked for", "error", err)
	}
	return b
}

func (d *Desk) fromLedger(c *Claim, may func(*store.Entry) bool) (became, error) {
	l := d.cfg.Ledger
	if err := l.CatchUp(); err != nil {
		return became{}, fmt.Errorf("look for a call: %w", err)
	}
	e, err := l.ByCall(c.Call)
	if err != nil {
		return became{}, fmt.Errorf("look for a call: %w", err)
	}
	if e == nil {
		return d.neverBegun(c)
	}
	answer, err := l.LoadAnswer(e.Seq)
	switch {
	case err != nil:
		return became{}, err
	case answer != nil && may != nil && !may(e):
		return became{state: stateElsewhere}, nil
	case answer != nil:
		return became{stateKept, answer}, nil
	case e.Status == store.Failure:
		return became{state: stateNothing}, nil
	case e.Status == store.Interrupted:
		return became{}, nil
	}
	return became{state: stateNotKept}, nil
}

// neverBegun judges a call of the start before this one that stands nowhere. What
// was begun has at least an entry at its maximum, unless power was lost or the
// ledger has let it go; an older entry proves that it has not.
func (d *Desk) neverBegun(c *Claim) (became, error) {
	if c.Incarnation+1 != d.cfg.Incarnation || d.cfg.LostPower {
		return became{}, nil
	}
	l := d.cfg.Ledger
	first, err := l.FirstSeq()
	if err != nil || first == 0 {
		return became{}, err
	}
	e, err := l.Get(first)
	if err != nil || e == nil || !e.End.Before(c.At) {
		return became{}, err
	}
	return became{state: stateNothing}, nil
}

// fromCopies tells what the copies know. One without the answer may be bare, or
// older than the answer: the answer may be where the node is.
func (d *Desk) fromCopies(ctx context.Context, c *Claim) became {
	status, answer, known := d.cfg.Copies(ctx, c.Node, c.Call)
	switch {
	case !known:
		return became{}
	case answer != nil:
		return became{stateKept, answer}
	case status == store.Failure:
		return became{state: stateNothing}
	}
	return became{}
}

// Serve answers another node's question about a call of this node.
func (d *Desk) Serve(ctx context.Context, from string, payload []byte) ([]byte, error) {
	c, wait, err := decodeQuestion(payload)
	if err != nil {
		return nil, err
	}
	c.Node = d.cfg.Node
	b := d.own(ctx, c, wait, func(e *store.Entry) bool { return d.cfg.May == nil || d.cfg.May(from, e) })
	return appendBecame(nil, b), nil
}

func appendQuestion(p []byte, c *Claim, wait bool) []byte {
	p = append(append(p, Version), c.Call[:]...)
	p = binary.AppendUvarint(p, c.Incarnation)
	p = binary.AppendVarint(p, c.At.UnixNano())
	if wait {
		return append(p, 1)
	}
	return append(p, 0)
}

func decodeQuestion(p []byte) (*Claim, bool, error) {
	r := newReader(p)
	if v := r.Byte(); r.Err() == nil && v != Version {
		return nil, false, fmt.Errorf("question about a call of version %d: this node knows %d", v, Version)
	}
	c := &Claim{Call: CallID(r.sixteen()), Incarnation: r.Uint(), At: time.Unix(0, r.Int()).UTC()}
	wait := r.Flag()
	if err := r.End(); err != nil {
		return nil, false, fmt.Errorf("read question about a call: %w", err)
	}
	return c, wait, nil
}

func appendBecame(p []byte, b became) []byte {
	p = append(p, Version, byte(b.state))
	if b.state == stateKept {
		p = append(p, b.answer...)
	}
	return p
}

func decodeBecame(p []byte) (became, error) {
	r := newReader(p)
	v, s := r.Byte(), state(r.Byte())
	switch {
	case r.Err() != nil:
		return became{}, fmt.Errorf("read what became of a call: %w", r.Err())
	case v != Version || s > stateElsewhere || s == stateConflict:
		return became{}, fmt.Errorf("what became of a call is told in version %d, state %d: this node knows version %d", v, s, Version)
	case s == stateKept:
		return became{s, r.Take(r.Len())}, nil
	}
	if err := r.End(); err != nil {
		return became{}, fmt.Errorf("read what became of a call: %w", err)
	}
	return became{state: s}, nil
}
