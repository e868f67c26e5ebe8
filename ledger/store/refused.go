package store

import (
	"fmt"
	"time"

	"tollgate/config/model"
)

// Refused is the limit or budget that refused a call, as it stood then. Amounts
// are counts, those of a budget nano-dollars.
type Refused struct {
	Scope    model.Scope
	Unit     string // requests, tokens, parallel; usd for a budget
	Limit    int64
	Used     int64
	Reserved int64     // by calls in flight
	Needed   int64     // by the call; 0: not said
	Resets   time.Time // zero: never, or not known
}

// Fields of a refusal. They are for ever, as those of an entry.
const (
	nDim = 1 + iota
	nID
	nUnit
	nLimit
	nUsed
	nReserved
	nNeeded
	nResets
)

func appendRefused(b []byte, r *Refused) []byte {
	b = putUint(b, nDim, uint64(r.Scope.Dim))
	b = putString(b, nID, r.Scope.ID)
	b = putString(b, nUnit, r.Unit)
	b = putInt(b, nLimit, r.Limit)
	b = putInt(b, nUsed, r.Used)
	b = putInt(b, nReserved, r.Reserved)
	b = putInt(b, nNeeded, r.Needed)
	return putTime(b, nResets, r.Resets)
}

func putRefused(b []byte, field int, r *Refused) []byte {
	if r == nil {
		return b
	}
	var space [256]byte
	return putBytes(b, field, appendRefused(space[:0], r))
}

func readRefused(s string) (*Refused, error) {
	out := &Refused{}
	r := reader{b: s}
	for {
		n, v, s := r.next()
		switch n {
		case 0:
			if r.err != nil {
				return nil, fmt.Errorf("refusal: %w", r.err)
			}
			return out, nil
		case nDim:
			if v > 255 {
				return nil, fmt.Errorf("%w: scope level %d", ErrCorrupt, v)
			}
			out.Scope.Dim = model.Dim(v)
		case nID:
			out.Scope.ID = s
		case nUnit:
			out.Unit = s
		case nLimit:
			out.Limit = unzig(v)
		case nUsed:
			out.Used = unzig(v)
		case nReserved:
			out.Reserved = unzig(v)
		case nNeeded:
			out.Needed = unzig(v)
		case nResets:
			out.Resets = time.Unix(0, unzig(v)).UTC()
		}
	}
}
