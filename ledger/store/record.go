package store

import (
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Record is an entry in its stored form, as it goes from one node to another:
// a node keeps also what only a newer release can read of it.
type Record struct {
	Seq    uint64
	Entry  []byte
	Bodies []byte // compressed; empty when none were kept
	Answer []byte // as stored; empty when none is kept
}

// Decode reads the entry, without its bodies.
func (r *Record) Decode() (*Entry, error) { return decodeEntry(r.Seq, r.Entry) }

// Bare is the record of the same call without what must not leave a region.
func (r *Record) Bare(e *Entry) Record {
	bare := *e
	bare.Strip()
	return Record{Seq: r.Seq, Entry: appendEntry(nil, &bare)}
}

// Records gives the entries after one number up to another as they are stored,
// whatever can be read of them. The bytes are the caller's.
func (l *Ledger) Records(after, last uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		last = min(last, l.durable.Load())
		if after >= last {
			return
		}
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kEntry, after+1), UpperBound: seqKey(nil, kEntry, last+1)})
		if err != nil {
			yield(Record{}, fmt.Errorf("read entries: %w", err))
			return
		}
		defer it.Close()
		// Most entries have no bodies: one walk beside the other finds that out
		// for all of them, where a look for each costs more than the entry.
		bodies, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kBody, after+1), UpperBound: seqKey(nil, kBody, last+1)})
		if err != nil {
			yield(Record{}, fmt.Errorf("read bodies: %w", err))
			return
		}
		defer bodies.Close()
		bodies.First()
		answers, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kAnswer, after+1), UpperBound: seqKey(nil, kAnswer, last+1)})
		if err != nil {
			yield(Record{}, fmt.Errorf("read answers: %w", err))
			return
		}
		defer answers.Close()
		answers.First()
		for it.First(); it.Valid(); it.Next() {
			r := Record{Seq: seqOf(it.Key()), Entry: append([]byte(nil), it.Value()...)}
			for bodies.Valid() && seqOf(bodies.Key()) < r.Seq { // their entry is not readable any more
				bodies.Next()
			}
			if bodies.Valid() && seqOf(bodies.Key()) == r.Seq {
				r.Bodies = append([]byte(nil), bodies.Value()...)
			}
			for answers.Valid() && seqOf(answers.Key()) < r.Seq {
				answers.Next()
			}
			if answers.Valid() && seqOf(answers.Key()) == r.Seq {
				r.Answer = append([]byte(nil), answers.Value()...)
			}
			if err := answers.Error(); err != nil {
				yield(Record{}, fmt.Errorf("read answer of %d: %w", r.Seq, err))
				return
			}
			if err := bodies.Error(); err != nil {
				yield(Record{}, fmt.Errorf("read bodies of %d: %w", r.Seq, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(Record{}, fmt.Errorf("read entries: %w", err))
		}
	}
}

// FirstSeq is the oldest entry that is kept, 0 when there is none.
func (l *Ledger) FirstSeq() (uint64, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kEntry}, UpperBound: []byte{kEntry + 1}})
	if err != nil {
		return 0, fmt.Errorf("look for the oldest entry: %w", err)
	}
	var seq uint64
	if it.First() {
		seq = seqOf(it.Key())
	}
	return seq, it.Close()
}

// callOf reads a stored entry's call id, which its first field is.
func callOf(entry []byte) (id CallID, err error) {
	if len(entry) == 0 || entry[0] != wireVersion {
		return id, fmt.Errorf("%w: entry version", ErrCorrupt)
	}
	tag, n := binary.Uvarint(entry[1:])
	rest := entry[1+max(n, 0):]
	if n <= 0 || tag != fCallID<<1|wireBytes || len(rest) < 1+len(id) || rest[0] != byte(len(id)) {
		return id, fmt.Errorf("%w: entry without a call id", ErrCorrupt)
	}
	copy(id[:], rest[1:])
	return id, nil
}

// OpenIntent is the intent of a call in flight in its stored form.
type OpenIntent struct {
	CallID CallID
	At     time.Time // when it began
	Raw    []byte
	// Settling: its entry is being written or has just been.
	Settling bool
}

// ReadOpenIntent checks an intent's stored form.
func ReadOpenIntent(raw []byte) (OpenIntent, error) {
	in, err := decodeIntent(raw)
	if err != nil {
		return OpenIntent{}, err
	}
	return OpenIntent{CallID: in.CallID, At: in.At, Raw: raw}, nil
}

// OpenIntents gives the calls in flight. One that has been amended just now may
// come twice.
func (l *Ledger) OpenIntents(fn func(OpenIntent)) error {
	take := func(in *Intent) {
		l.commits.recentMu.Lock()
		_, settling := l.commits.recent[in.CallID]
		l.commits.recentMu.Unlock()
		fn(OpenIntent{CallID: in.CallID, At: in.At, Raw: appendIntent(nil, in), Settling: settling})
	}
	err := l.slots.left(func(_ Ref, in *Intent) error {
		if in != nil { // else it is being written or released at this moment
			take(in)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read open calls: %w", err)
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kIntent}, UpperBound: []byte{kIntent + 1}})
	if err != nil {
		return fmt.Errorf("read open calls: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if in, err := decodeIntent(it.Value()); err == nil {
			take(in)
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read open calls: %w", err)
	}
	return nil
}

// metaBook is under which name the ledger is known.
const metaBook = "book"

// BookID is the name under which this ledger's entries are counted elsewhere. It
// is the id of the node that first opened it, and stays when the directory is
// made a member again under another id: its entries must not count twice.
func (l *Ledger) BookID(node string) (string, error) {
	v, err := l.meta(metaBook)
	if err != nil || v != nil {
		return string(v), err
	}
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Set(metaKey(metaBook), []byte(node), nil); err != nil {
		return "", fmt.Errorf("name the ledger: %w", err)
	}
	if err := l.commitDurably(b); err != nil {
		return "", fmt.Errorf("name the ledger: %w", err)
	}
	return node, nil
}
