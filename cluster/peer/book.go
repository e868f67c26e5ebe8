package peer

import (
	"maps"
	"sync"
)

// Book is where the nodes are: node id to HOST:PORT of the cluster port. Gossip
// and the committed member list write it; every dial reads it afresh, so a node
// that moved is found without a change of raft's configuration. A Book filled
// once is a static map.
type Book struct {
	mu    sync.RWMutex // guards addrs
	addrs map[string]string
}

// NewBook is an empty book.
func NewBook() *Book { return &Book{addrs: map[string]string{}} }

// Set writes a node's address.
func (b *Book) Set(id, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs[id] = addr
}

// Delete forgets a node's address.
func (b *Book) Delete(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.addrs, id)
}

// Lookup is a node's address, and whether one is known.
func (b *Book) Lookup(id string) (string, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	addr, ok := b.addrs[id]
	return addr, ok
}

// All is a copy of the book.
func (b *Book) All() map[string]string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return maps.Clone(b.addrs)
}
