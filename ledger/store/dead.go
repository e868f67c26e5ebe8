package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// DeadLetter is an entry that a reader's sink has refused for good. It holds a
// copy of the entry, without bodies, so that retention need not wait for it.
type DeadLetter struct {
	Seq    uint64
	At     time.Time // when it was refused
	Reason string
	Entry  *Entry
}

// Field numbers of a dead letter.
const (
	dAt = 1 + iota
	dReason
	dEntry
)

// maxReason bounds what a sink may say of one entry.
const maxReason = 2048

func deadPrefix(name string) []byte { return appendText([]byte{kDead}, name) }

func deadKey(name string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(deadPrefix(name), seq)
}

func appendDead(b []byte, d *DeadLetter) []byte {
	b = append(b, wireVersion)
	b = putTime(b, dAt, d.At)
	b = putString(b, dReason, d.Reason[:min(len(d.Reason), maxReason)])
	return putBytes(b, dEntry, appendEntry(nil, d.Entry))
}

func decodeDead(seq uint64, data []byte) (*DeadLetter, error) {
	if len(data) == 0 || data[0] != wireVersion {
		return nil, fmt.Errorf("%w: dead letter", ErrCorrupt)
	}
	d := &DeadLetter{Seq: seq}
	r := reader{b: string(data[1:])}
	for {
		n, v, s := r.next()
		switch n {
		case 0:
			if r.err == nil && d.Entry == nil {
				r.err = fmt.Errorf("%w: dead letter without an entry", ErrCorrupt)
			}
			if r.err != nil {
				return nil, r.err
			}
			return d, nil
		case dAt:
			d.At = timeOf(v)
		case dReason:
			d.Reason = s
		case dEntry:
			var err error
			if d.Entry, err = decodeEntry(seq, []byte(s)); err != nil {
				return nil, err
			}
		}
	}
}

func setDead(b *pebble.Batch, name string, dead []DeadLetter) error {
	for i := range dead {
		if err := b.Set(deadKey(name, dead[i].Seq), appendDead(nil, &dead[i]), nil); err != nil {
			return fmt.Errorf("put aside an entry of %s: %w", name, err)
		}
	}
	return nil
}

// PutAside writes dead letters and moves the cursor to seq in one commit: an
// entry that was refused is either still before the cursor or among the letters.
func (c *Cursor) PutAside(seq uint64, dead []DeadLetter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq = max(seq, c.seq.Load())
	if err := c.put(seq, dead); err != nil {
		return err
	}
	c.seq.Store(seq)
	return nil
}

// Dead gives what the sink of one reader has refused, oldest entry first. What
// is damaged comes as an error and the walk goes on.
func (l *Ledger) Dead(name string) iter.Seq2[*DeadLetter, error] {
	return func(yield func(*DeadLetter, error) bool) {
		prefix := deadPrefix(name)
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
		if err != nil {
			yield(nil, fmt.Errorf("read dead letters of %s: %w", name, err))
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			seq, ok := deadSeq(prefix, it.Key())
			if !ok {
				continue
			}
			d, err := decodeDead(seq, it.Value())
			if err != nil {
				err = fmt.Errorf("read dead letter %d of %s: %w", seq, name, err)
			}
			if !yield(d, err) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(nil, fmt.Errorf("read dead letters of %s: %w", name, err))
		}
	}
}

func deadSeq(prefix, key []byte) (uint64, bool) {
	if len(key) != len(prefix)+8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(prefix):]), true
}

// CountDead is how many dead letters one reader has.
func (l *Ledger) CountDead(name string) (int, error) {
	n := 0
	err := l.eachDead(name, func([]byte, []byte) bool { n++; return true })
	return n, err
}

func (l *Ledger) eachDead(name string, fn func(key, value []byte) bool) error {
	prefix := deadPrefix(name)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return fmt.Errorf("read dead letters of %s: %w", name, err)
	}
	for it.First(); it.Valid() && fn(it.Key(), it.Value()); it.Next() {
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("read dead letters of %s: %w", name, err)
	}
	return nil
}

// DropDead forgets dead letters that are given up.
func (l *Ledger) DropDead(name string, seqs ...uint64) error {
	return l.ReplaceDead(name, seqs, nil)
}

// ReplaceDead forgets the dead letters that were delivered after all and writes
// those that were refused again.
func (l *Ledger) ReplaceDead(name string, gone []uint64, again []DeadLetter) error {
	b := l.db.NewBatch()
	defer b.Close()
	for _, seq := range gone {
		if err := b.Delete(deadKey(name, seq), nil); err != nil {
			return fmt.Errorf("drop dead letters of %s: %w", name, err)
		}
	}
	if err := setDead(b, name, again); err != nil {
		return err
	}
	return l.apply(b, false)
}

// TrimDead drops a reader's oldest dead letters beyond keep, and those refused
// before the given time; it says how many it dropped and how many are left.
func (l *Ledger) TrimDead(name string, keep int, before time.Time) (dropped, left int, err error) {
	var seqs []uint64
	var old []bool
	prefix := deadPrefix(name)
	err = l.eachDead(name, func(key, value []byte) bool {
		if seq, ok := deadSeq(prefix, key); ok {
			seqs, old = append(seqs, seq), append(old, deadBefore(value, before))
		}
		return true
	})
	if err != nil {
		return 0, 0, err
	}
	var drop []uint64
	for i, seq := range seqs {
		if old[i] || i < len(seqs)-keep {
			drop = append(drop, seq)
		}
	}
	if len(drop) == 0 {
		return 0, len(seqs), nil
	}
	return len(drop), len(seqs) - len(drop), l.DropDead(name, drop...)
}

// deadBefore looks at the time alone, which comes first in a letter.
func deadBefore(value []byte, t time.Time) bool {
	if len(value) == 0 || value[0] != wireVersion {
		return false
	}
	r := reader{b: string(value[1:min(len(value), 1+2*binary.MaxVarintLen64)])}
	n, v, _ := r.next()
	return n == dAt && timeOf(v).Before(t)
}
