package state

import (
	"sync/atomic"
)

// Store holds the published snapshot. Reading is one atomic load; publishing is
// for one goroutine, the one that applies.
type Store struct {
	current atomic.Pointer[Snapshot]
	compile func(*Snapshot) *Routing
}

// NewStore makes a store with an empty state. compile turns the active config
// and the Models table into routing before a snapshot that changed them is
// published; it must be pure, and what it cannot use becomes a warning inside
// the routing. nil leaves Routing as the builder of the snapshot set it.
func NewStore(compile func(*Snapshot) *Routing) *Store {
	s := &Store{compile: compile}
	s.current.Store(&Snapshot{})
	return s
}

// State is the snapshot of this moment; keep the pointer for a whole request.
func (s *Store) State() *Snapshot { return s.current.Load() }

// Publish makes next the state that readers see from now on and returns it as
// published: with its routing, compiled again only when it has to be.
func (s *Store) Publish(next *Snapshot) *Snapshot {
	old := s.current.Load()
	if s.compile != nil && (next.Routing == nil || next.Configs != old.Configs || next.Models != old.Models) {
		c := *next
		c.Routing = s.compile(&c)
		next = &c
	}
	s.current.Store(next)
	return next
}

// Recompile publishes the same state with its routing compiled anew, for what
// compile depends on beside the state: a price overlay, a provider's key in the
// environment. It belongs on the goroutine that applies, or before it starts.
func (s *Store) Recompile() {
	if s.compile == nil {
		return
	}
	c := *s.current.Load()
	c.Routing = s.compile(&c)
	s.current.Store(&c)
}

var _ Getter = (*Store)(nil)
