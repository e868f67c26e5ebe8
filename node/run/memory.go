package run

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// headroom is how much garbage may gather beyond the live heap before it is
// collected, at the least. A small heap that doubles every few milliseconds
// spends a tenth of the processor on collecting.
const headroom = 16 << 20

// spareCollections reserves address space that is never touched: it takes no
// memory but counts as live, so that collections come every headroom bytes and
// not every time a few megabytes have doubled. An operator's own GOGC or
// GOMEMLIMIT wins.
func spareCollections() (ballast []byte) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	debug.SetGCPercent(100)
	return make([]byte, headroom)
}

// A burst leaves the heap and the goroutines' stacks as large as they were at its
// height: only a collection makes them smaller, and those come with allocations,
// of which there are few once the burst is over. So a node that has collected and
// then been quiet collects once more and gives the pages back.
const (
	lookAtMemory = time.Second
	quietFor     = 2 * time.Second  // without a collection
	givesBack    = 10 * time.Second // at the most this often
)

// giveMemoryBack watches the collections until ctx ends.
func giveMemoryBack(ctx context.Context) error {
	t := time.NewTicker(lookAtMemory)
	defer t.Stop()
	cycles := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	count := func() uint64 {
		metrics.Read(cycles)
		return cycles[0].Value.Uint64()
	}
	given := count() // when pages were last given back
	seen, since, last := given, time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		now := time.Now()
		if n := count(); n != seen {
			seen, since = n, now
		}
		if seen == given || now.Sub(since) < quietFor || now.Sub(last) < givesBack {
			continue
		}
		debug.FreeOSMemory()
		given, last = count(), now
		seen = given
	}
}
