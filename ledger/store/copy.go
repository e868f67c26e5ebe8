package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Copy is another node's ledger as far as it has been sent here. It is a ledger
// of its own, so that all that reads a ledger reads a copy too; only its numbers
// are given by the node that it is of.
type Copy struct {
	l *Ledger

	mu     sync.Mutex // guards what follows, and is held while a batch is written
	base   uint64     // it has all entries after this one that were sent …
	pos    uint64     // … up to this one
	floor  uint64     // the owner needs nothing up to here
	taken  bool
	holder string
}

// CopyBatch is a stretch of another node's ledger: all its entries after After
// up to UpTo that may be here.
type CopyBatch struct {
	Holder      string // the node that sends it
	After, UpTo uint64
	// Floor is how far the owner needs no copy any more.
	Floor   uint64
	Entries []Record
	// Reset says that Intents are all that are open, beside those to follow.
	Reset   bool
	Intents []OpenIntent
	Gone    []CallID // intents that are open no more
}

// ErrGap says that a batch begins after what is there: it must be sent from
// the copy's position on.
var ErrGap = errors.New("entries are missing before these")

// ErrTaken says that a copy has been taken over and takes nothing any more.
var ErrTaken = errors.New("the copy was taken over")

// Names of a copy's meta keys.
const (
	metaCopyBase   = "copy/base"
	metaCopyPos    = "copy/position"
	metaCopyFloor  = "copy/floor"
	metaCopyTaken  = "copy/taken"
	metaCopyHolder = "copy/holder"
)

// OpenCopy opens or makes the copy in cfg.Dir. Nothing runs in it by itself.
func OpenCopy(cfg Config) (*Copy, error) {
	cfg.Ballast = -1 // the node's own ledger has one
	if cfg.memTable == 0 {
		cfg.memTable = 4 << 20
	}
	l, err := newLedger(cfg.WithDefaults())
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	if err := l.openDB(); err != nil {
		return nil, fmt.Errorf("open copy %s: %w", cfg.Dir, err)
	}
	c := &Copy{l: l}
	if err := c.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open copy %s: %w", cfg.Dir, err), l.Close())
	}
	return c, nil
}

func (c *Copy) load() error {
	l := c.l
	format, err := l.metaUint(metaFormat)
	if err != nil {
		return err
	}
	if format > formatVersion {
		return fmt.Errorf("format %d is newer than this program, which knows %d", format, formatVersion)
	}
	for name, v := range map[string]*uint64{metaCopyBase: &c.base, metaCopyPos: &c.pos, metaCopyFloor: &c.floor} {
		if *v, err = l.metaUint(name); err != nil {
			return err
		}
	}
	taken, err := l.metaUint(metaCopyTaken)
	if err != nil {
		return err
	}
	holder, err := l.meta(metaCopyHolder)
	if err != nil {
		return err
	}
	last, err := l.lastSeq()
	if err != nil {
		return err
	}
	c.taken, c.holder = taken != 0, string(holder)
	l.durable.Store(max(c.pos, last))
	l.commits.recent = map[CallID]uint64{}
	if l.cfg.MaxBytes == 0 {
		l.cfg.MaxBytes = l.defaultMaxBytes()
	}
	return l.index.load(l)
}

// Ledger is the copy to read from. Settling into it is not for callers.
func (c *Copy) Ledger() *Ledger { return c.l }

// CopyState is where a copy stands.
type CopyState struct {
	Holder string // the node that sent it
	// All entries after Base up to Position are here, but for what the owner
	// needs no more: it does not need what is up to Floor.
	Base, Position, Floor uint64
	Taken                 bool // taken over: the node was lost
}

// State is where the copy stands.
func (c *Copy) State() CopyState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CopyState{Holder: c.holder, Base: c.base, Position: c.pos, Floor: c.floor, Taken: c.taken}
}

// Put writes a batch to the disk. What is there already is left out; a batch that
// begins later than the copy ends is refused with ErrGap, unless the owner needs
// nothing of what lies between: so a new copy begins where it is first needed.
func (c *Copy) Put(b *CopyBatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken {
		return ErrTaken
	}
	if err := c.l.health.err(); err != nil {
		return fmt.Errorf("keep a copy: %w", err)
	}
	if b.UpTo < b.After {
		return fmt.Errorf("keep a copy: %w: it ends before it begins", ErrCorrupt)
	}
	next := CopyState{Holder: b.Holder, Base: c.base, Position: c.pos, Floor: max(c.floor, b.Floor)}
	batch := c.l.db.NewBatch()
	defer batch.Close()
	switch {
	case b.After > c.pos && b.After <= b.Floor:
		// What lies between is needed by nobody.
		next.Base, next.Position = b.After, b.After
	case b.After > c.pos:
		return fmt.Errorf("%w: the copy ends at %d, they begin after %d", ErrGap, c.pos, b.After)
	}
	if err := c.fill(batch, b, next.Position); err != nil {
		return err
	}
	next.Position = max(next.Position, b.UpTo)
	if err := c.note(batch, next); err != nil {
		return err
	}
	if err := c.l.commitDurably(batch); err != nil {
		return fmt.Errorf("keep a copy: %w", err)
	}
	c.base, c.pos, c.floor, c.holder = next.Base, next.Position, next.Floor, next.Holder
	c.l.durable.Store(max(c.l.durable.Load(), c.pos))
	c.l.waiters.wake()
	return nil
}

// fill adds what is new after from. An entry ends its call's intent.
func (c *Copy) fill(batch *pebble.Batch, b *CopyBatch, from uint64) error {
	if b.Reset {
		if err := batch.DeleteRange([]byte{kIntent}, []byte{kIntent + 1}, nil); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
	}
	for i := range b.Intents {
		if err := batch.Set(callKey(nil, kIntent, b.Intents[i].CallID), b.Intents[i].Raw, nil); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
	}
	last := b.After
	for i := range b.Entries {
		r := &b.Entries[i]
		if r.Seq <= last || r.Seq > b.UpTo {
			return fmt.Errorf("keep a copy: %w: entry %d is out of its order", ErrCorrupt, r.Seq)
		}
		last = r.Seq
		call, err := callOf(r.Entry)
		if err != nil {
			return fmt.Errorf("keep a copy of %d: %w", r.Seq, err)
		}
		if err := batch.Delete(callKey(nil, kIntent, call), nil); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
		if r.Seq <= from {
			continue
		}
		if err := batch.Set(seqKey(nil, kEntry, r.Seq), r.Entry, nil); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
		if len(r.Bodies) > 0 {
			if err := batch.Set(seqKey(nil, kBody, r.Seq), r.Bodies, nil); err != nil {
				return fmt.Errorf("build batch: %w", err)
			}
		}
		if len(r.Answer) > 0 {
			if err := batch.Set(seqKey(nil, kAnswer, r.Seq), r.Answer, nil); err != nil {
				return fmt.Errorf("build batch: %w", err)
			}
		}
	}
	for _, call := range b.Gone {
		if err := batch.Delete(callKey(nil, kIntent, call), nil); err != nil {
			return fmt.Errorf("build batch: %w", err)
		}
	}
	return nil
}

func (c *Copy) note(batch *pebble.Batch, s CopyState) error {
	for name, v := range map[string]uint64{metaFormat: formatVersion, metaCopyBase: s.Base, metaCopyPos: s.Position, metaCopyFloor: s.Floor} {
		if err := batch.Set(metaKey(name), binary.BigEndian.AppendUint64(nil, v), nil); err != nil {
			return fmt.Errorf("note the copy's state: %w", err)
		}
	}
	if err := batch.Set(metaKey(metaCopyHolder), []byte(s.Holder), nil); err != nil {
		return fmt.Errorf("note the copy's state: %w", err)
	}
	return nil
}

// Trim deletes what the owner needs no more.
func (c *Copy) Trim() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor := min(c.floor, c.pos)
	first, err := c.l.FirstSeq()
	if err != nil {
		return fmt.Errorf("trim the copy: %w", err)
	}
	if c.taken || first == 0 || first > floor {
		return nil
	}
	// First the note, then the entries: a copy must not claim what it has not.
	batch := c.l.db.NewBatch()
	defer batch.Close()
	next := CopyState{Holder: c.holder, Base: max(c.base, floor), Position: c.pos, Floor: c.floor}
	if err := c.note(batch, next); err != nil {
		return err
	}
	if c.l.index.done.Load() == 0 { // no other key tells of them
		for _, kind := range [...]byte{kEntry, kBody, kAnswer} {
			if err := batch.DeleteRange([]byte{kind}, seqKey(nil, kind, floor+1), nil); err != nil {
				return fmt.Errorf("trim the copy: %w", err)
			}
		}
	}
	if err := c.l.apply(batch, false); err != nil {
		return fmt.Errorf("trim the copy: %w", err)
	}
	c.base = next.Base
	if c.l.index.done.Load() == 0 {
		return nil
	}
	for more := true; more; {
		var err error
		if more, err = c.l.dropEntries(floor + 1); err != nil {
			return fmt.Errorf("trim the copy: %w", err)
		}
	}
	return nil
}

// Take closes the copy of a node that is lost: it takes nothing any more, and
// the calls that were open are booked in it at their maximum, behind the last
// entry that was sent. Done again it goes on where it was.
func (c *Copy) Take() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken {
		return nil
	}
	l := c.l
	if err := l.CatchUp(); err != nil { // the index tells which calls are over
		return err
	}
	l.incarnation = Incarnation(l.durable.Load()) + 1
	l.commits.next = Seq(l.incarnation, 1)
	l.wal.want.Add(1)
	err := l.chargeKept()
	l.wal.want.Add(-1)
	if err != nil {
		return fmt.Errorf("take over the copy: %w", err)
	}
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Set(metaKey(metaCopyTaken), binary.BigEndian.AppendUint64(nil, 1), nil); err != nil {
		return fmt.Errorf("take over the copy: %w", err)
	}
	if err := l.commitDurably(b); err != nil {
		return fmt.Errorf("take over the copy: %w", err)
	}
	c.taken = true
	return nil
}

// Left are the calls that Take has booked at their maximum.
func (c *Copy) Left() ([]*Entry, error) {
	var out []*Entry
	for e, err := range c.l.Entries(c.State().Position) {
		if err != nil {
			return nil, fmt.Errorf("read calls left open: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// CountOpen is how many calls are open as far as the copy knows.
func (c *Copy) CountOpen() (int, error) {
	it, err := c.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kIntent}, UpperBound: []byte{kIntent + 1}})
	if err != nil {
		return 0, fmt.Errorf("count open calls: %w", err)
	}
	n := 0
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	return n, it.Close()
}

// Upkeep looks at the copy's size, and lets old entries of a lost node go.
func (c *Copy) Upkeep(now time.Time) error {
	c.l.checkSpace()
	if err := c.l.dropAnswers(now); err != nil {
		return err
	}
	if c.State().Taken {
		return c.l.Retain(now)
	}
	return c.Trim()
}

// Close closes the copy's files; nobody may read it any more.
func (c *Copy) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.l.Close()
}
