package replica

import (
	"sync/atomic"
	"time"
)

// counts are a Sender's counters.
type counts struct {
	batches, entries, bytes, faults, moves atomic.Uint64
	withheld, bared, unwaited              atomic.Uint64
}

// Stats is how a ledger's copy is.
type Stats struct {
	Mode Mode
	Peer string // "" while there is none
	// Position is the last entry that the copy has; Lag are the entries that are
	// neither there nor in the database, and Oldest is when the first of them ended.
	Position uint64
	Lag      uint64
	Oldest   time.Time
	Fault    error // why it does not go on

	Batches, Entries, Bytes, Faults, Moves uint64
	// Withheld entries may not be where the copy is, Bared ones only in part.
	Withheld, Bared uint64
	// Unwaited calls were to wait for their copy and did not.
	Unwaited uint64
}

// Stats tells how the copy is.
func (s *Sender) Stats() Stats {
	c := &s.counts
	st := Stats{
		Mode: s.cfg.Mode(), Peer: s.Peer(), Position: s.acked.Load(), Fault: s.LastError(),
		Batches: c.batches.Load(), Entries: c.entries.Load(), Bytes: c.bytes.Load(), Faults: c.faults.Load(), Moves: c.moves.Load(),
		Withheld: c.withheld.Load(), Bared: c.bared.Load(), Unwaited: c.unwaited.Load(),
	}
	var err error
	st.Lag, st.Oldest, err = s.cfg.Ledger.Pending(max(st.Position, s.floor()), s.cfg.Ledger.LastSeq())
	if err != nil {
		s.log.Error("entries without a copy not counted", "error", err)
	}
	return st
}
