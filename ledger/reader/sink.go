// Package reader moves finished calls from the ledger to where they are wanted:
// a database, a webhook, a file. Each reader has a durable cursor, takes batches
// in the order of the ledger, tries again with growing pauses for as long as its
// sink is away, and puts aside what the sink will never take. It never makes a
// call wait, and knows nothing of what a sink does with an entry.
package reader

import (
	"context"
	"fmt"
	"time"

	"tollgate/ledger/store"
)

// Sink is where a reader takes entries to.
type Sink interface {
	// Deliver hands over a batch, consecutive entries of one node's ledger, oldest
	// first. nil means that all of it is the sink's now. A *Rejected names
	// entries that no repetition will make acceptable; the others are delivered.
	// Any other error is a passing fault: the same entries come again, perhaps
	// in another cut, so a sink must bear repetitions or be Positioned.
	Deliver(ctx context.Context, batch []*store.Entry) error
}

// Positioned is a sink that keeps, in the same transaction as the entries, how
// far it has come. It then takes each entry exactly once.
type Positioned interface {
	Sink
	// Position is the number of the last entry that the sink has taken.
	Position(ctx context.Context) (seq uint64, err error)
}

// Returning is a sink that notices when what it writes to is there again. Back is
// closed then; a pause after a fault ends with it.
type Returning interface {
	Sink
	Back() <-chan struct{}
}

// Rejected is an error for entries of a batch that a sink will never take.
type Rejected struct {
	Entries map[uint64]error // by Seq, with the reason
}

// Error counts the entries.
func (r *Rejected) Error() string {
	for _, why := range r.Entries {
		if len(r.Entries) == 1 {
			return "entry refused: " + why.Error()
		}
		return fmt.Sprintf("%d entries refused, one of them: %v", len(r.Entries), why)
	}
	return "no entry refused"
}

// Later is a passing fault of a sink that says when it wants to be asked again.
// It never counts against an entry.
type Later struct {
	After time.Duration
	Err   error
}

// Error is what the sink said.
func (l *Later) Error() string { return fmt.Sprintf("%v; wanted later, in %v", l.Err, l.After) }

// Unwrap gives the sink's own error.
func (l *Later) Unwrap() error { return l.Err }
