package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// KeepAnswers is how long a kept answer stays: a repeated Idempotency-Key is
// given it for as long as the key holds.
const KeepAnswers = 24 * time.Hour

// An answer is kept apart from the bodies: those are for people and receivers to
// see, and this for the caller alone. Its stored form is a version, when it was
// kept, and its bytes compressed.
const answerHead = 1 + 8

// appendAnswer puts an answer into its stored form.
func (z coders) appendAnswer(b []byte, answer []byte, at time.Time) []byte {
	b = binary.BigEndian.AppendUint64(append(b, wireVersion), uint64(at.UnixNano()))
	return z.enc.EncodeAll(answer, b)
}

func answerTime(v []byte) (time.Time, error) {
	if len(v) < answerHead || v[0] != wireVersion {
		return time.Time{}, fmt.Errorf("%w: kept answer", ErrCorrupt)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(v[1:]))), nil
}

// LoadAnswer gives the answer that was kept of an entry's call, nil when there is
// none.
func (l *Ledger) LoadAnswer(seq uint64) ([]byte, error) {
	v, closer, err := l.db.Get(seqKey(nil, kAnswer, seq))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read answer of %d: %w", seq, err)
	}
	defer closer.Close()
	if _, err := answerTime(v); err != nil {
		return nil, err
	}
	raw, err := l.coders.dec.DecodeAll(v[answerHead:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: answer of %d: %w", ErrCorrupt, seq, err)
	}
	return raw, nil
}

// FirstAnswer is the oldest entry whose answer is kept, 0 when there is none. A
// copy on another node is needed from there on, wherever else the entries are.
func (l *Ledger) FirstAnswer() (uint64, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kAnswer}, UpperBound: []byte{kAnswer + 1}})
	if err != nil {
		return 0, fmt.Errorf("look for kept answers: %w", err)
	}
	var seq uint64
	if it.First() {
		seq = seqOf(it.Key())
	}
	return seq, it.Close()
}

// dropAnswers deletes the answers whose time is over.
func (l *Ledger) dropAnswers(now time.Time) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kAnswer}, UpperBound: []byte{kAnswer + 1}})
	if err != nil {
		return fmt.Errorf("look for kept answers: %w", err)
	}
	var last uint64
	for it.First(); it.Valid(); it.Next() {
		at, err := answerTime(it.Value())
		if err == nil && now.Sub(at) < KeepAnswers {
			break
		}
		last = seqOf(it.Key())
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("look for kept answers: %w", err)
	}
	if last == 0 {
		return nil
	}
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange([]byte{kAnswer}, seqKey(nil, kAnswer, last+1), nil); err != nil {
		return fmt.Errorf("drop old answers: %w", err)
	}
	if err := l.apply(b, false); err != nil {
		return fmt.Errorf("drop old answers: %w", err)
	}
	return nil
}
