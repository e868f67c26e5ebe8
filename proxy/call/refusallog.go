package call

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// refusalRows is how many rows of refused calls one key may write in a second.
// LiteLLM writes all; but a refusal costs its caller nothing, and a client that
// retries without a pause must not fill the disk and slow the calls that are
// paid for. The metrics count every refusal.
const refusalRows = 100

// refusalLog counts the rows of refused calls, key by key. Keys that fall into
// one slot share it: a few rows less of a flood.
type refusalLog struct {
	seed  maphash.Seed
	slots [1024]atomic.Uint64 // second in the high 48 bits, rows in it below
}

// allow reports whether a refusal of this key is written, and counts it.
func (l *refusalLog) allow(key string, now time.Time) bool {
	slot := &l.slots[maphash.String(l.seed, key)%uint64(len(l.slots))]
	second := uint64(now.Unix()) << 16
	for {
		old := slot.Load()
		next := second + 1
		if old&^0xffff == second {
			if old&0xffff >= refusalRows {
				return false
			}
			next = old + 1
		}
		if slot.CompareAndSwap(old, next) {
			return true
		}
	}
}
