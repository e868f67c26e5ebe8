package state

import (
	"sync"
	"sync/atomic"
)

// Store holds the published snapshot. Reading is one atomic load.
type Store struct {
	compile func(*Snapshot) *Routing

	mu      sync.Mutex // one publishes at a time; readers do not care
	current atomic.Pointer[Snapshot]
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
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	if s.compile != nil {
		routing := old.Routing
		if routing == nil || next.Configs != old.Configs || next.Models != old.Models {
			routing = s.compile(next)
		}
		if next.Routing != routing {
			c := *next
			c.Routing = routing
			next = &c
		}
	}
	s.current.Store(next)
	return next
}

// Recompile publishes the same state with its routing compiled anew, for what
// compile depends on beside the state: a data key that came later, a provider's
// key in the environment. It may be called from any goroutine.
func (s *Store) Recompile() {
	if s.compile == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *s.current.Load()
	c.Routing = s.compile(&c)
	s.current.Store(&c)
}

var _ Getter = (*Store)(nil)
