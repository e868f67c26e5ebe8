package replica

import (
	"context"
	"fmt"
	"sync"

	"tollgate/ledger/store"
)

// Found is what a copy tells of a call of a node that cannot be asked.
type Found struct {
	Status string // of its entry
	// Answer is what was kept of it for a repeated Idempotency-Key; nil: nothing
	// is here, which does not prove that nothing is anywhere.
	Answer []byte
}

// FindAnswer looks for a call in the copy of a node's ledger that is here; nil when it
// is not there.
func (k *Keeper) FindAnswer(node string, call store.CallID) (*Found, error) {
	return k.findAnswer(node, call, nil)
}

// findAnswer leaves out an answer that may not be told.
func (k *Keeper) findAnswer(node string, call store.CallID, may func(*store.Entry) bool) (*Found, error) {
	for _, c := range k.all() {
		var found *Found
		err := c.use(func(cp *store.Copy) error {
			if cp.State().Holder != node {
				return nil
			}
			l := cp.Ledger()
			if err := l.CatchUp(); err != nil {
				return err
			}
			e, err := l.ByCall(call)
			if err != nil || e == nil {
				return err
			}
			found = &Found{Status: e.Status}
			if may != nil && !may(e) {
				return nil
			}
			found.Answer, err = l.LoadAnswer(e.Seq)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for a call in the copy of %s: %w", c.book, err)
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, nil
}

// FindAnswer asks this node and all others that can be asked for a call of a node that
// cannot. What has the answer is preferred; nil when no copy knows the call.
func (d *Directory) FindAnswer(ctx context.Context, node string, call store.CallID) *Found {
	best, err := d.cfg.Keeper.FindAnswer(node, call)
	if err == nil && best != nil && best.Answer != nil {
		return best
	}
	ctx, end := context.WithTimeout(ctx, askWithin)
	defer end()
	var mu sync.Mutex // guards best
	var wg sync.WaitGroup
	for _, other := range d.cfg.Others() {
		wg.Go(func() {
			answer, err := d.cfg.Call(ctx, other, appendFind(nil, node, call))
			if err != nil {
				return
			}
			found, err := decodeFound(answer)
			if err != nil || found == nil {
				return
			}
			mu.Lock()
			if best == nil || best.Answer == nil && found.Answer != nil {
				best = found
			}
			mu.Unlock()
			if found.Answer != nil {
				end() // nobody can say more
			}
		})
	}
	wg.Wait()
	return best
}

func appendFind(b []byte, node string, call store.CallID) []byte {
	b = append(b, wireVersion, kindFind)
	b = appendBytes(b, []byte(node))
	return append(b, call[:]...)
}

func (k *Keeper) serveFind(from string, rest []byte) ([]byte, error) {
	c := cutter{b: rest}
	node := string(c.bytes())
	raw := c.take(uint64(len(store.CallID{})))
	if c.bad {
		return nil, c.err()
	}
	found, err := k.findAnswer(node, store.CallID(raw), func(e *store.Entry) bool { return k.cfg.Answers == nil || k.cfg.Answers(from, e) })
	if err != nil {
		return nil, err
	}
	return appendFound(nil, found), nil
}

// What a copy has of a call.
const (
	foundNothing byte = iota
	foundEntry
	foundAnswer
)

func appendFound(b []byte, f *Found) []byte {
	b = append(b, wireVersion, kindFind)
	switch {
	case f == nil:
		return append(b, foundNothing)
	case f.Answer == nil:
		return appendBytes(append(b, foundEntry), []byte(f.Status))
	}
	return appendBytes(appendBytes(append(b, foundAnswer), []byte(f.Status)), f.Answer)
}

func decodeFound(b []byte) (*Found, error) {
	kind, rest, err := open(b)
	if err != nil {
		return nil, err
	}
	c := cutter{b: rest}
	what := c.take(1)
	if kind != kindFind || c.bad {
		return nil, ErrWire
	}
	if what[0] == foundNothing {
		return nil, nil
	}
	f := &Found{Status: string(c.bytes())}
	if what[0] == foundAnswer {
		f.Answer = append([]byte{}, c.bytes()...)
	}
	return f, c.err()
}
