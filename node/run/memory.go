package run

import (
	"os"
	"runtime/debug"
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
