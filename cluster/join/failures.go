package join

import (
	"net"
	"sync"
	"time"

	"tollgate/cluster/peer"
	"tollgate/config/unit"
)

const (
	// failuresAllowed per address and minute: enough for typing errors, too few
	// for guessing.
	failuresAllowed = 5
	failuresWindow  = time.Minute
	// addressesKept bounds the memory; beyond it the oldest windows are let go.
	addressesKept = 4096
)

// failures counts failed proofs by address.
type failures struct {
	clock unit.Clock

	mu   sync.Mutex // guards seen
	seen map[string]*failureWindow
}

type failureWindow struct {
	since time.Time
	count int
}

// refuses reports whether the address has failed too often, and for how long
// it is refused from now on.
func (f *failures) refuses(addr net.Addr) (time.Duration, bool) {
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.seen[peer.HostOf(addr)]
	if !ok || w.count < failuresAllowed {
		return 0, false
	}
	left := failuresWindow - now.Sub(w.since)
	return left, left > 0
}

// add notes a failure. The window begins with the first, and anew with the one
// that closes it: the address is then refused for a whole minute.
func (f *failures) add(addr net.Addr) {
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	host := peer.HostOf(addr)
	w, ok := f.seen[host]
	if !ok || now.Sub(w.since) >= failuresWindow {
		f.makeRoom(now)
		w = &failureWindow{since: now}
		f.seen[host] = w
	}
	if w.count++; w.count == failuresAllowed {
		w.since = now
	}
}

func (f *failures) makeRoom(now time.Time) {
	if len(f.seen) < addressesKept {
		return
	}
	oldest := ""
	for host, w := range f.seen {
		if now.Sub(w.since) >= failuresWindow {
			delete(f.seen, host)
		} else if oldest == "" || w.since.Before(f.seen[oldest].since) {
			oldest = host
		}
	}
	if len(f.seen) >= addressesKept {
		delete(f.seen, oldest)
	}
}
