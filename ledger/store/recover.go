package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/config/price"
)

// noteInterrupted stands in the rows of calls that the process did not survive.
const noteInterrupted = "charged at maximum: the process ended during the call"

// chargeLeft books every call that the last run left open at the most it may
// cost. It runs in Open, so that nobody can count such a call as free.
func (l *Ledger) chargeLeft() error {
	// On the disk at once, whatever the mode: the budgets are told of these sums.
	l.wal.want.Add(1)
	defer l.wal.want.Add(-1)
	torn := 0
	err := l.slots.left(func(ref Ref, in *Intent) error {
		if in == nil {
			// Only a machine that stopped can leave half a slot, and then the
			// budgets count all the node's credit as spent.
			torn++
			l.slots.release(ref)
			return nil
		}
		return l.chargeOne(ref, in)
	})
	if err != nil {
		return err
	}
	if err := l.chargeKept(); err != nil {
		return err
	}
	if n := len(l.interrupted); n > 0 || torn > 0 {
		l.cfg.Logger.Warn("calls were interrupted", "charged_at_maximum", n, "torn", torn)
	}
	return nil
}

// chargeKept does the same for intents that have a key.
func (l *Ledger) chargeKept() error {
	var left []*Intent
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kIntent}, UpperBound: []byte{kIntent + 1}})
	if err != nil {
		return fmt.Errorf("read open intents: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		in, err := decodeIntent(it.Value())
		if err != nil {
			return errors.Join(fmt.Errorf("read open intent: %w", err), it.Close())
		}
		left = append(left, in)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read open intents: %w", err)
	}
	for _, in := range left {
		if err := l.chargeOne(Ref{inDB: true, call: in.CallID}, in); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) chargeOne(ref Ref, in *Intent) error {
	seq, err := l.lookupCall(in.CallID)
	if err != nil {
		return err
	}
	if seq != 0 {
		return l.Abort(ref) // settled; only its intent was still there
	}
	e := interruptedEntry(in)
	e.End = l.cfg.Clock.Now()
	next := l.commits.next
	if _, err := l.Settle(ref, e); err != nil {
		return fmt.Errorf("charge interrupted call: %w", err)
	}
	if l.commits.next == next {
		return nil // the process died while this intent was being amended: its other form has been charged
	}
	l.interrupted = append(l.interrupted, *e)
	return nil
}

func interruptedEntry(in *Intent) *Entry {
	return &Entry{
		CallID: in.CallID, Incarnation: in.Incarnation, CallType: in.CallType, Status: Interrupted,
		Start: in.At, Key: in.Key, User: in.User, Team: in.Team, EndUser: in.EndUser,
		Group: in.Group, ModelID: in.Deployment, Charges: in.Charges, Max: in.Max,
		Cost:         price.Cost{Total: in.Max, Priced: true, Notes: []string{noteInterrupted}},
		ErrorClass:   "Interrupted",
		ErrorMessage: "the gateway stopped during this call",
		Note:         noteInterrupted,
	}
}
