package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// ErrWrongRef says that a settlement named another call's intent: nothing was
// written.
var ErrWrongRef = errors.New("intent belongs to another call")

// Begin makes the intent of a call durable. It must have returned before the
// upstream hears of the call. An error means that the call must not be made.
func (l *Ledger) Begin(in *Intent) (Ref, error) {
	if err := l.health.err(); err != nil {
		return Ref{}, err
	}
	if in.Incarnation == 0 {
		in.Incarnation = l.incarnation
	}
	l.counts.begun.Add(1)
	buf := takeBuf()
	defer giveBuf(buf)
	buf.b = appendIntent(buf.b[:0], in)
	ref, err := l.slots.put(buf.b, in.CallID)
	if err == nil {
		return ref, nil
	}
	if !errors.Is(err, errNoSlot) {
		return Ref{}, fmt.Errorf("write intent: %w", err)
	}
	l.counts.overflowed.Add(1)
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Set(callKey(nil, kIntent, in.CallID), buf.b, nil); err != nil {
		return Ref{}, fmt.Errorf("write intent: %w", err)
	}
	if err := l.commitAsMode(b); err != nil {
		return Ref{}, fmt.Errorf("write intent: %w", err)
	}
	return Ref{inDB: true, call: in.CallID}, nil
}

// Amend replaces the intent of a call in flight, because it may now cost more or
// counts against another window. The old one goes only when the new one stands:
// a process that dies between them leaves both, and a start charges the call once.
// After an error the old intent is as it was.
func (l *Ledger) Amend(old Ref, in *Intent) (Ref, error) {
	if old.call != in.CallID {
		return old, ErrWrongRef
	}
	if old.inDB { // one key per call: writing it again replaces it, wherever it fits now
		b := l.db.NewBatch()
		defer b.Close()
		if in.Incarnation == 0 {
			in.Incarnation = l.incarnation
		}
		if err := b.Set(callKey(nil, kIntent, in.CallID), appendIntent(nil, in), nil); err != nil {
			return old, fmt.Errorf("write intent: %w", err)
		}
		if err := l.commitAsMode(b); err != nil {
			return old, fmt.Errorf("write intent: %w", err)
		}
		return old, nil
	}
	fresh, err := l.Begin(in)
	if err != nil {
		return old, err
	}
	return fresh, l.Abort(old)
}

// Abort takes an intent back: nothing was sent upstream, or nothing that costs.
func (l *Ledger) Abort(ref Ref) error {
	switch {
	case ref.inDB:
		b := l.db.NewBatch()
		defer b.Close()
		if err := b.Delete(callKey(nil, kIntent, ref.call), nil); err != nil {
			return fmt.Errorf("drop intent: %w", err)
		}
		if err := l.commitAsMode(b); err != nil {
			return fmt.Errorf("drop intent: %w", err)
		}
	case ref.slot != 0:
		l.slots.release(ref)
	}
	l.counts.aborted.Add(1)
	return nil
}

// Settle books a finished call and ends its intent. When it returns nil the
// entry survives what the mode promises. A call is booked once: settling it
// again changes nothing and returns the first number. ref may be zero for a
// call that was refused before it had an intent.
//
// After an error the call stays open: it may be settled again, and otherwise
// the next start books it at its maximum.
func (l *Ledger) Settle(ref Ref, e *Entry) (seq uint64, err error) {
	if ref != (Ref{}) && ref.call != e.CallID {
		return 0, ErrWrongRef
	}
	p := pendings.Get().(*pending)
	defer givePending(p)
	p.call, p.dup, p.err, p.seq = e.CallID, false, nil, 0
	p.inDB = ref.inDB
	// A call whose intent still stands cannot have been settled long ago; all
	// others are looked up in the index.
	p.check = ref.slot == 0 || !l.slots.holds(ref)
	p.value = appendEntry(p.value[:0], e)
	p.bodies = p.bodies[:0]
	if len(e.Messages)+len(e.Response)+len(e.Request) > 0 {
		p.bodies = l.appendBodies(p.bodies, e)
	}
	p.answer = p.answer[:0]
	if len(e.Answer) > 0 {
		p.answer = l.coders.appendAnswer(p.answer, e.Answer, l.cfg.Clock.Now())
	}
	l.commit(p)
	if p.err != nil {
		return 0, fmt.Errorf("book call: %w", p.err)
	}
	e.Seq = p.seq
	if ref.slot != 0 {
		l.slots.release(ref)
	}
	if p.dup {
		l.counts.duplicates.Add(1)
		return p.seq, nil
	}
	l.counts.settled.Add(1)
	l.totals.add(e)
	return p.seq, nil
}

// pending is one settlement on its way into a batch.
type pending struct {
	call   CallID
	inDB   bool // its intent has a key, which goes in the same batch
	check  bool // may have been settled before
	value  []byte
	bodies []byte
	answer []byte

	seq uint64
	dup bool
	err error
	// turn wakes the waiting caller: false, it is done; true, it leads next.
	turn chan bool
}

var pendings = sync.Pool{New: func() any { return &pending{turn: make(chan bool, 1)} }}

// givePending keeps no buffer that a large body has grown.
func givePending(p *pending) {
	if cap(p.value)+cap(p.bodies)+cap(p.answer) <= 1<<17 {
		pendings.Put(p)
	}
}

type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuf() *buffer { return buffers.Get().(*buffer) }

func giveBuf(b *buffer) {
	if cap(b.b) <= 1<<16 {
		buffers.Put(b)
	}
}

// committer joins settlements that arrive together into one batch. The first
// caller leads: it takes all that wait, writes them and wakes them; whoever
// came meanwhile is led by the first of them. A single caller writes alone and
// waits for nobody. Numbers are given by the leader, so entries become visible
// in the order of their numbers and readers can never pass over one.
type committer struct {
	mu      sync.Mutex // guards queue, spare and leading
	queue   []*pending
	spare   []*pending
	leading bool

	recentMu sync.Mutex // guards recent
	recent   map[CallID]uint64

	next uint64 // the next number; only the leader touches it
}

// maxBatchBytes keeps one batch far below the size at which the engine would
// turn it into a table of its own.
const maxBatchBytes = 4 << 20

func (l *Ledger) commit(p *pending) {
	c := &l.commits
	c.mu.Lock()
	c.queue = append(c.queue, p)
	if c.leading {
		c.mu.Unlock()
		if lead := <-p.turn; !lead {
			return
		}
	} else {
		c.leading = true
		c.mu.Unlock()
	}
	// Let whoever is ready to run come first: calls that are about to settle
	// join this write instead of making one each. Alone it costs nothing.
	runtime.Gosched()
	c.mu.Lock()
	n, size := 0, 0
	for n < len(c.queue) && (n == 0 || size < maxBatchBytes) {
		size += len(c.queue[n].value) + len(c.queue[n].bodies) + len(c.queue[n].answer)
		n++
	}
	group := c.queue
	c.queue = append(c.spare[:0], group[n:]...)
	group = group[:n]
	c.mu.Unlock()

	err := l.write(group)
	for _, q := range group {
		q.err = err // a duplicate of a call in a group that failed has failed too
		if q != p {
			q.turn <- false
		}
	}

	clear(group)
	c.mu.Lock()
	c.spare = group[:0]
	var heir *pending
	if len(c.queue) > 0 {
		heir = c.queue[0]
	} else {
		c.leading = false
	}
	c.mu.Unlock()
	if heir != nil {
		heir.turn <- true
	}
}

// write commits one group as one batch.
func (l *Ledger) write(group []*pending) error {
	if err := l.writable(); err != nil {
		return err
	}
	c := &l.commits
	b := l.db.NewBatch()
	defer b.Close()
	first := c.next
	c.recentMu.Lock()
	err := l.fill(b, group)
	c.recentMu.Unlock()
	if err == nil && c.next != first {
		err = l.commitAsMode(b)
	}
	if err != nil {
		c.recentMu.Lock()
		for _, p := range group {
			if p.seq >= first && !p.dup {
				delete(c.recent, p.call)
			}
		}
		c.recentMu.Unlock()
		if l.health.broken() == nil {
			c.next = first // nothing reached the engine
		}
		return err
	}
	if c.next != first {
		l.durable.Store(c.next - 1)
		l.counts.batches.Add(1)
		l.waiters.wake()
	}
	return nil
}

// fill numbers the group's calls and puts them into b; called with recentMu held.
func (l *Ledger) fill(b *pebble.Batch, group []*pending) error {
	c := &l.commits
	for _, p := range group {
		// The order matters: the indexer writes the index before it forgets
		// the call here.
		if seq, ok := c.recent[p.call]; ok {
			p.seq, p.dup = seq, true
			continue
		}
		if p.check {
			seq, err := l.lookupCall(p.call)
			if err != nil {
				return err
			}
			if seq != 0 {
				p.seq, p.dup = seq, true
				continue
			}
		}
		p.seq = c.next
		c.next++
		c.recent[p.call] = p.seq
		op := b.SetDeferred(9, len(p.value))
		op.Key = seqKey(op.Key[:0], kEntry, p.seq)
		copy(op.Value, p.value)
		if err := op.Finish(); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
		if len(p.bodies) > 0 {
			if err := b.Set(seqKey(nil, kBody, p.seq), p.bodies, nil); err != nil {
				return fmt.Errorf("build batch: %w", err)
			}
		}
		if len(p.answer) > 0 {
			if err := b.Set(seqKey(nil, kAnswer, p.seq), p.answer, nil); err != nil {
				return fmt.Errorf("build batch: %w", err)
			}
		}
		if p.inDB {
			if err := b.Delete(callKey(nil, kIntent, p.call), nil); err != nil {
				return fmt.Errorf("build batch: %w", err)
			}
		}
	}
	return nil
}

// commitAsMode commits a batch as surely as the mode promises.
func (l *Ledger) commitAsMode(b *pebble.Batch) error {
	switch l.cfg.Sync {
	case SyncAlways:
		start := time.Now()
		err := l.commitDurably(b)
		l.counts.syncNanos.Add(int64(time.Since(start)))
		return err
	case SyncNone:
		return l.apply(b, false)
	}
	return l.apply(b, true)
}

// lookupCall finds the entry of a call in the index, 0 when there is none.
func (l *Ledger) lookupCall(call CallID) (uint64, error) {
	v, closer, err := l.db.Get(callKey(nil, kLookup, call))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up call: %w", err)
	}
	seq := seqOf(append([]byte{kLookup}, v...))
	return seq, closer.Close()
}
