package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Cursor is how far one reader of the ledger has come. Entries stay until every
// cursor has passed them.
type Cursor struct {
	l    *Ledger
	name string
	lost atomic.Uint64

	mu  sync.Mutex // guards writes of seq, which two may make: its reader and the ledger
	seq atomic.Uint64
}

// claims are the cursors in use that may lose their claim.
type claims struct {
	mu    sync.Mutex // guards loose
	loose map[string]*Cursor
}

// Cursor opens a reader's cursor; a new one stands before the oldest entry. One
// name has one user at a time. What such a reader has not taken is never given up.
func (l *Ledger) Cursor(name string) (*Cursor, error) {
	c, err := l.openCursor(name, 0)
	if err != nil {
		return nil, err
	}
	return c, l.setLoose(name, nil)
}

// LooseCursor opens the cursor of a reader that the books do not depend on; a
// new one stands behind from. When the ledger is nearly full and that helps, such
// a reader loses its claim on entries that the other readers have.
func (l *Ledger) LooseCursor(name string, from uint64) (*Cursor, error) {
	c, err := l.openCursor(name, from)
	if err != nil {
		return nil, err
	}
	return c, l.setLoose(name, c)
}

func (l *Ledger) openCursor(name string, from uint64) (*Cursor, error) {
	v, err := l.meta(metaCursor + name)
	if err != nil {
		return nil, err
	}
	c := &Cursor{l: l, name: name}
	if v == nil {
		c.seq.Store(from)
		return c, c.put(from, nil) // so that retention knows of it
	}
	if len(v) != 8 {
		return nil, fmt.Errorf("%w: cursor %s", ErrCorrupt, name)
	}
	c.seq.Store(binary.BigEndian.Uint64(v))
	return c, nil
}

// setLoose marks a cursor as loose, or takes the mark off. The mark is durable:
// a reader that nobody opens any more keeps it.
func (l *Ledger) setLoose(name string, c *Cursor) error {
	l.claims.mu.Lock()
	if l.claims.loose == nil {
		l.claims.loose = map[string]*Cursor{}
	}
	if c == nil {
		delete(l.claims.loose, name)
	} else {
		l.claims.loose[name] = c
	}
	l.claims.mu.Unlock()
	old, err := l.meta(metaLoose + name)
	if err != nil || (old != nil) == (c != nil) {
		return err
	}
	b := l.db.NewBatch()
	defer b.Close()
	if c != nil {
		err = b.Set(metaKey(metaLoose+name), []byte{1}, nil)
	} else {
		err = b.Delete(metaKey(metaLoose+name), nil)
	}
	if err != nil {
		return fmt.Errorf("mark cursor %s: %w", name, err)
	}
	return l.apply(b, false)
}

// Seq is the last entry that the reader has handled.
func (c *Cursor) Seq() uint64 { return c.seq.Load() }

// Lost counts the entries that the reader has lost its claim on in this run.
func (c *Cursor) Lost() uint64 { return c.lost.Load() }

// Advance moves the cursor to seq; it never moves back. The move is durable as
// the next settlement is: after a crash the reader may see some entries again.
func (c *Cursor) Advance(seq uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq <= c.seq.Load() {
		return nil
	}
	if err := c.put(seq, nil); err != nil {
		return err
	}
	c.seq.Store(seq)
	return nil
}

// Rewind moves the cursor back to seq, so that retention keeps again what is
// still there: for a sink that has lost what it took, such as a database that
// was restored from a backup.
func (c *Cursor) Rewind(seq uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq >= c.seq.Load() {
		return nil
	}
	if err := c.put(seq, nil); err != nil {
		return err
	}
	c.seq.Store(seq)
	return nil
}

// put writes the position, and what goes with it in the same commit.
func (c *Cursor) put(seq uint64, dead []DeadLetter) error {
	b := c.l.db.NewBatch()
	defer b.Close()
	if err := b.Set(metaKey(metaCursor+c.name), binary.BigEndian.AppendUint64(nil, seq), nil); err != nil {
		return fmt.Errorf("move cursor %s: %w", c.name, err)
	}
	if err := setDead(b, c.name, dead); err != nil {
		return err
	}
	if err := c.l.apply(b, false); err != nil {
		return fmt.Errorf("move cursor %s: %w", c.name, err)
	}
	return nil
}

// DropCursor forgets a reader that is gone: nothing is kept for it any more,
// what its sink refused included.
func (l *Ledger) DropCursor(name string) error {
	if err := l.setLoose(name, nil); err != nil {
		return err
	}
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Delete(metaKey(metaCursor+name), nil); err != nil {
		return fmt.Errorf("drop cursor %s: %w", name, err)
	}
	prefix := deadPrefix(name)
	if err := b.DeleteRange(prefix, keyAfter(prefix), nil); err != nil {
		return fmt.Errorf("drop cursor %s: %w", name, err)
	}
	return l.apply(b, false)
}

// Cursors lists all readers and how far they have come.
func (l *Ledger) Cursors() (map[string]uint64, error) {
	prefix := metaKey(metaCursor)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	out := map[string]uint64{}
	for it.First(); it.Valid(); it.Next() {
		if len(it.Value()) != 8 {
			return nil, errors.Join(fmt.Errorf("%w: cursor %s", ErrCorrupt, it.Key()[len(prefix):]), it.Close())
		}
		out[string(it.Key()[len(prefix):])] = binary.BigEndian.Uint64(it.Value())
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	return out, nil
}

// looseNames are the readers that may lose their claim, in use or not.
func (l *Ledger) looseNames() (map[string]bool, error) {
	prefix := metaKey(metaLoose)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	out := map[string]bool{}
	for it.First(); it.Valid(); it.Next() {
		out[string(it.Key()[len(prefix):])] = true
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	return out, nil
}
