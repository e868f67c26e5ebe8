package reader

import (
	"errors"
	"fmt"

	"tollgate/ledger/store"
)

// scanFactor bounds how many entries are looked at for one batch, in batches: a
// reader that wants few entries must not walk the whole ledger in one go.
const scanFactor = 20

// batch is a stretch of the ledger: what of it goes to the sink, and where it ends.
type batch struct {
	entries []*store.Entry
	upTo    uint64

	skipped, withheld, damaged uint64
}

// read takes the entries after pos, at most most of them for the sink.
func (r *Reader) read(pos uint64, most int) (*batch, error) {
	last := r.l.LastSeq()
	b := &batch{upTo: pos}
	size, seen := 0, 0
	for e, err := range r.l.Between(pos+1, last) {
		if len(b.entries) == most || size >= r.cfg.MaxBytes || seen == scanFactor*r.cfg.MaxEntries {
			return b, nil
		}
		seen++
		if errors.Is(err, store.ErrCorrupt) {
			// One damaged row must not stop a reader for ever. Its number is not
			// known here: it lies between its neighbours.
			r.log.Error("entry not readable", "after", b.upTo, "error", err)
			b.damaged++
			continue
		}
		if err != nil {
			return nil, err
		}
		switch {
		case r.cfg.Want != nil && !r.cfg.Want(e):
			b.skipped++
			b.upTo = e.Seq
			continue
		case r.cfg.Allow != nil && !r.cfg.Allow(e):
			b.withheld++
			b.upTo = e.Seq
			continue
		}
		if err := r.load(e); err != nil {
			return nil, err
		}
		n := sizeOf(e)
		if len(b.entries) > 0 && size+n > r.cfg.MaxBytes {
			return b, nil
		}
		size += n
		b.entries = append(b.entries, e)
		b.upTo = e.Seq
	}
	b.upTo = max(b.upTo, last)
	return b, nil
}

// load fills an entry's bodies as the sink wants them, or strips the entry where
// it must not have them. Damaged ones stay away: they are an extra.
func (r *Reader) load(e *store.Entry) error {
	if r.cfg.Whole != nil && !r.cfg.Whole(e) {
		e.Strip()
		r.counts.stripped.Add(1)
		return nil
	}
	var err error
	switch r.cfg.Bodies {
	case RowBodies:
		err = r.l.LoadBodies(e)
	case CallbackBodies:
		err = r.l.LoadCallbackBodies(e)
	}
	if errors.Is(err, store.ErrCorrupt) {
		r.log.Error("bodies not readable", "seq", e.Seq, "error", err)
		e.Messages, e.Response, e.Request = nil, nil, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("load bodies: %w", err)
	}
	return nil
}

// sizeOf is about what an entry takes in memory.
func sizeOf(e *store.Entry) int {
	n := 1024 + len(e.Metadata) + len(e.SpendLogsMetadata) + len(e.RawUsage) + len(e.ErrorMessage) +
		len(e.Messages) + len(e.Response) + len(e.Request)
	for _, t := range e.Tags {
		n += len(t)
	}
	return n
}
