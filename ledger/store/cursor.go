package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Cursor is how far one reader of the ledger has come. Entries stay until every
// cursor has passed them.
type Cursor struct {
	l    *Ledger
	name string
	seq  uint64
}

// Cursor opens a reader's cursor; a new one stands before the oldest entry. One
// name has one user at a time.
func (l *Ledger) Cursor(name string) (*Cursor, error) {
	v, err := l.meta(metaCursor + name)
	if err != nil {
		return nil, err
	}
	c := &Cursor{l: l, name: name}
	if v == nil {
		return c, c.put(0) // so that retention knows of it
	}
	if len(v) != 8 {
		return nil, fmt.Errorf("%w: cursor %s", ErrCorrupt, name)
	}
	c.seq = binary.BigEndian.Uint64(v)
	return c, nil
}

// Seq is the last entry that the reader has handled.
func (c *Cursor) Seq() uint64 { return c.seq }

// Advance moves the cursor to seq; it never moves back. The move is durable as
// the next settlement is: after a crash the reader may see some entries again.
func (c *Cursor) Advance(seq uint64) error {
	if seq <= c.seq {
		return nil
	}
	if err := c.put(seq); err != nil {
		return err
	}
	c.seq = seq
	return nil
}

func (c *Cursor) put(seq uint64) error {
	b := c.l.db.NewBatch()
	defer b.Close()
	if err := b.Set(metaKey(metaCursor+c.name), binary.BigEndian.AppendUint64(nil, seq), nil); err != nil {
		return fmt.Errorf("move cursor %s: %w", c.name, err)
	}
	if err := c.l.apply(b, false); err != nil {
		return fmt.Errorf("move cursor %s: %w", c.name, err)
	}
	return nil
}

// DropCursor forgets a reader that is gone: nothing is kept for it any more.
func (l *Ledger) DropCursor(name string) error {
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Delete(metaKey(metaCursor+name), nil); err != nil {
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
