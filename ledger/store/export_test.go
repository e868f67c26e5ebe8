package store

import "github.com/cockroachdb/pebble/v2/vfs"

// On gives a config whose storage engine lies on another file system, with
// small tables so that logs change often.
func On(c Config, fs vfs.FS) Config {
	c.fs, c.memTable = fs, 128<<10
	return c
}

// SyncNow does what the background sync does.
func (l *Ledger) SyncNow() error { return l.syncOnce() }

// CheckSpaceNow does what Run does every second.
func (l *Ledger) CheckSpaceNow() { l.checkSpace() }

// AppendEntry, DecodeEntry, AppendIntent, DecodeIntent and the others are the
// stored forms.
var (
	AppendEntry  = appendEntry
	DecodeEntry  = decodeEntry
	AppendIntent = appendIntent
	DecodeIntent = decodeIntent
	DecodeSlot   = decodeSlot
	NewCoders    = newCoders
	DecodeBodies = coders.decodeBodies
	ReadSums     = readSums
	AppendSums   = appendSums
	AppendDead   = appendDead
	DecodeDead   = decodeDead
)

// ReadRollupKey and RollupKeyBytes are a rollup key's stored form.
func ReadRollupKey(b []byte) (RollupKey, error) { return readRollupKey(b) }

// RollupKeyBytes encodes a rollup key.
func RollupKeyBytes(k RollupKey) []byte { return rollupKey(&k) }

// BoundSums sets how many sums the indexer remembers, in a half.
func (l *Ledger) BoundSums(rollups, amounts int) {
	l.index.mu.Lock()
	defer l.index.mu.Unlock()
	l.index.sums.bound(rollups, amounts)
}

// ForgetSums lets the indexer read each sum from the disk again.
func (l *Ledger) ForgetSums() {
	l.index.mu.Lock()
	defer l.index.mu.Unlock()
	l.index.sums.forget()
}
