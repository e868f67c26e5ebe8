package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Audit is one change of the replicated state: who made it, and the object
// before and after. Every node keeps the same records, under the same numbers.
type Audit struct {
	Index  uint64          `json:"-"` // of the log entry that made the change
	Part   uint32          `json:"-"` // among the changes of that entry
	At     time.Time       `json:"at"`
	By     string          `json:"by,omitempty"`
	ByKey  string          `json:"by_key,omitempty"`
	Table  string          `json:"table"`
	ID     string          `json:"id"`
	Before json.RawMessage `json:"before,omitempty"` // nil: there was none
	After  json.RawMessage `json:"after,omitempty"`  // nil: deleted
}

func auditKey(index uint64, part uint32) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kAudit}, index)
	return binary.BigEndian.AppendUint32(b, part)
}

// PutAudits keeps records. Repeating one changes nothing, so a node that applies
// its log anew after a crash puts back what the crash may have taken.
func (l *Ledger) PutAudits(records []Audit) error {
	b := l.db.NewBatch()
	defer b.Close()
	for i := range records {
		r := &records[i]
		v, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode audit record of %s: %w", r.Table, err)
		}
		if err := b.Set(auditKey(r.Index, r.Part), v, nil); err != nil {
			return fmt.Errorf("keep audit record: %w", err)
		}
	}
	if err := l.apply(b, false); err != nil {
		return fmt.Errorf("keep audit records: %w", err)
	}
	return nil
}

// Audits walks the records of log entries after the one given, oldest first.
func (l *Ledger) Audits(after uint64) iter.Seq2[Audit, error] {
	return l.audits(after+1, false)
}

// LatestAudits walks the records backwards, the newest first.
func (l *Ledger) LatestAudits() iter.Seq2[Audit, error] { return l.audits(0, true) }

func (l *Ledger) audits(from uint64, back bool) iter.Seq2[Audit, error] {
	return func(yield func(Audit, error) bool) {
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: auditKey(from, 0), UpperBound: []byte{kAudit + 1}})
		if err != nil {
			yield(Audit{}, fmt.Errorf("read audit records: %w", err))
			return
		}
		defer it.Close()
		first, next := it.First, it.Next
		if back {
			first, next = it.Last, it.Prev
		}
		for ok := first(); ok; ok = next() {
			if !yield(readAudit(it.Key(), it.Value())) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(Audit{}, fmt.Errorf("read audit records: %w", err))
		}
	}
}

func readAudit(key, value []byte) (Audit, error) {
	if len(key) != 13 {
		return Audit{}, fmt.Errorf("%w: audit key of %d bytes", ErrCorrupt, len(key))
	}
	r := Audit{Index: binary.BigEndian.Uint64(key[1:]), Part: binary.BigEndian.Uint32(key[9:])}
	if err := json.Unmarshal(value, &r); err != nil {
		return r, errors.Join(ErrCorrupt, fmt.Errorf("audit record %d: %w", r.Index, err))
	}
	return r, nil
}

// AuditsFrom is the log entry from which on this node has every record; known is
// false when it never had any.
func (l *Ledger) AuditsFrom() (index uint64, known bool, err error) {
	v, err := l.meta(metaAudit)
	if err != nil || v == nil {
		return 0, false, err
	}
	if len(v) != 8 {
		return 0, false, fmt.Errorf("%w: start of the audit records", ErrCorrupt)
	}
	return binary.BigEndian.Uint64(v), true, nil
}

// SetAuditsFrom notes that records before an index are missing here: the node
// took over a state instead of applying what led to it.
func (l *Ledger) SetAuditsFrom(index uint64) error {
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Set(metaKey(metaAudit), binary.BigEndian.AppendUint64(nil, index), nil); err != nil {
		return fmt.Errorf("note the start of the audit records: %w", err)
	}
	return l.apply(b, false)
}

// DropAudits deletes the records of log entries up to one.
func (l *Ledger) DropAudits(upTo uint64) error {
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(auditKey(0, 0), auditKey(upTo+1, 0), nil); err != nil {
		return fmt.Errorf("drop old audit records: %w", err)
	}
	return l.apply(b, false)
}
