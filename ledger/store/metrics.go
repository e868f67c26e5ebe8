package store

import "sync/atomic"

type counters struct {
	begun, aborted, overflowed atomic.Uint64
	settled, duplicates        atomic.Uint64
	batches, diskFull          atomic.Uint64
	bodiesDropped              atomic.Uint64
	entriesDropped             atomic.Uint64
	claimsTaken                atomic.Uint64
	syncNanos, bytes           atomic.Int64
}

// Stats is what the ledger counts, for metrics and health pages.
type Stats struct {
	Begun, Aborted, Settled, Duplicates uint64
	Overflowed                          uint64 // intents that did not fit a slot
	Batches                             uint64 // commits; settled / batches is the grouping
	Syncs                               uint64 // fsyncs of the log
	SyncNanos                           int64  // waited for commits in mode always
	DiskFull                            uint64 // times that a write found the disk full
	BodiesDropped                       uint64 // times that bodies were dropped for space
	EntriesDropped                      uint64 // entries that every reader had, dropped early for space
	ClaimsTaken                         uint64 // entries given up for space that a reader had not taken yet
	Open                                int    // intents in slots now
	LastSeq                             uint64 // newest committed entry
	Indexed                             uint64 // newest entry in the index
	Bytes                               int64  // size on disk, as last measured
	MaxBytes                            int64
}

// Stats reads the counters; each number is right by itself.
func (l *Ledger) Stats() Stats {
	c := &l.counts
	return Stats{
		Begun: c.begun.Load(), Aborted: c.aborted.Load(), Settled: c.settled.Load(),
		Duplicates: c.duplicates.Load(), Overflowed: c.overflowed.Load(), Batches: c.batches.Load(),
		Syncs: l.wal.syncs.Load(), SyncNanos: c.syncNanos.Load(), DiskFull: c.diskFull.Load(),
		BodiesDropped: c.bodiesDropped.Load(), EntriesDropped: c.entriesDropped.Load(), ClaimsTaken: c.claimsTaken.Load(), Open: l.slots.inUse(), LastSeq: l.durable.Load(),
		Indexed: l.index.done.Load(), Bytes: c.bytes.Load(), MaxBytes: l.cfg.MaxBytes,
	}
}
