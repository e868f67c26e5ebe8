package store

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// dropSteps bounds how many batches of the retention one look at the space drops.
const dropSteps = 20

// freeEntries gives up, for space, the oldest entries that every reader has
// taken. It does so only where a reader holds the books that entries would
// otherwise have to stay for: without one the entries are the books. At the end
// readers that the books do not depend on lose what they lag behind.
func (l *Ledger) freeEntries(last bool) error {
	cursors, err := l.Cursors()
	if err != nil {
		return err
	}
	loose, err := l.looseNames()
	if err != nil {
		return err
	}
	bound, books := l.index.done.Load(), false
	for name, seq := range cursors {
		if !loose[name] {
			bound, books = min(bound, seq), true
		}
	}
	if !books {
		return nil
	}
	for name, seq := range cursors {
		switch {
		case !loose[name] || seq >= bound:
		case last:
			if err := l.takeClaim(name, bound); err != nil {
				return err
			}
		default:
			bound = seq
		}
	}
	before, _, err := l.Pending(0, bound)
	if err != nil || before == 0 {
		return err
	}
	for range dropSteps {
		more, err := l.dropEntries(bound + 1)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	left, _, err := l.Pending(0, bound)
	if err != nil {
		return err
	}
	l.counts.entriesDropped.Add(before - left)
	// What is deleted takes room until its mark has reached the tables.
	if _, err := l.db.AsyncFlush(); err != nil {
		return fmt.Errorf("drop entries: %w", err)
	}
	return nil
}

// takeClaim moves the cursor of a reader that is away, running or not.
func (l *Ledger) takeClaim(name string, to uint64) error {
	l.claims.mu.Lock()
	c := l.claims.loose[name]
	l.claims.mu.Unlock()
	if c == nil { // nobody reads under this name now
		var err error
		if c, err = l.openCursor(name, 0); err != nil {
			return err
		}
	}
	lost, oldest, err := l.Pending(c.Seq(), to)
	if err != nil {
		return err
	}
	if err := c.Advance(to); err != nil {
		return err
	}
	c.lost.Add(lost)
	l.counts.claimsTaken.Add(lost)
	l.cfg.Logger.Error("entries given up for space that a reader has not taken", "reader", name, "entries", lost, "oldest", oldest)
	return nil
}

// Pending counts the entries after one number up to another, and names the end
// of the first of these calls. It looks at few keys, however many entries there are.
func (l *Ledger) Pending(after, last uint64) (n uint64, oldest time.Time, err error) {
	last = min(last, l.durable.Load())
	if after >= last {
		return 0, time.Time{}, nil
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kEntry, after+1), UpperBound: seqKey(nil, kEntry, last+1)})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count entries: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok; {
		first := seqOf(it.Key())
		if n == 0 {
			if e, err := decodeEntry(first, it.Value()); err == nil {
				oldest = e.End
			}
		}
		next := Seq(Incarnation(first)+1, 0)
		if !it.SeekLT(seqKey(nil, kEntry, next)) {
			break
		}
		n += seqOf(it.Key()) - first + 1 // numbers are dense within an incarnation
		ok = it.SeekGE(seqKey(nil, kEntry, next))
	}
	if err := it.Error(); err != nil {
		return 0, time.Time{}, fmt.Errorf("count entries: %w", err)
	}
	return n, oldest, nil
}
