package reader

import (
	"sync/atomic"
	"time"
)

type counts struct {
	delivered, batches, retried, rejected atomic.Uint64
	skipped, withheld, damaged, replayed  atomic.Uint64
	deadDropped, stripped                 atomic.Uint64
	dead                                  atomic.Int64
}

// Stats is what a reader counts, since its start, and where it stands.
type Stats struct {
	Name      string
	Delivered uint64 // entries that the sink has
	Batches   uint64
	Retried   uint64 // attempts that failed in passing
	Rejected  uint64 // entries put aside
	Skipped   uint64 // entries that are not for this sink
	Withheld  uint64 // entries that must not leave for this sink
	Stripped  uint64 // entries delivered without what their clients have sent or were told
	Damaged   uint64 // entries that could not be read
	Lost      uint64 // entries given up for space before they were taken
	Replayed  uint64 // dead letters delivered after all

	Dead        int    // dead letters kept
	DeadDropped uint64 // dead letters dropped for number or age

	Position   uint64    // number of the last entry dealt with
	Lag        uint64    // entries after it
	Oldest     time.Time // end of the oldest of these calls; zero when there is none
	FailingFor time.Duration
	LastGood   time.Time // of the last delivery in this run
	Fault      error     // of the last attempt; nil when it went well
	// Unused: a cursor that no reader of the configuration moves; what it has
	// not passed is kept for it.
	Unused bool
}

// Stats reads where the reader stands.
func (r *Reader) Stats() Stats {
	c := &r.counts
	s := Stats{
		Name: r.name, Delivered: c.delivered.Load(), Batches: c.batches.Load(), Retried: c.retried.Load(),
		Rejected: c.rejected.Load(), Skipped: c.skipped.Load(), Withheld: c.withheld.Load(), Damaged: c.damaged.Load(), Stripped: c.stripped.Load(),
		Replayed: c.replayed.Load(), Dead: int(c.dead.Load()), DeadDropped: c.deadDropped.Load(),
	}
	now := r.cfg.Clock.Now()
	r.mu.Lock()
	s.Position, s.LastGood, s.Fault = r.pos, r.lastGood, r.lastErr
	if !r.failing.IsZero() {
		s.FailingFor = max(now.Sub(r.failing), 1)
	}
	cursor := r.cursor
	r.mu.Unlock()
	if cursor == nil {
		return s
	}
	s.Lost = cursor.Lost()
	var err error
	if s.Lag, s.Oldest, err = r.l.Pending(s.Position, r.l.LastSeq()); err != nil {
		r.log.Error("lag not known", "error", err)
	}
	return s
}
