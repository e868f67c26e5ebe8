package gossip

import (
	"sync"
	"time"

	"tollgate/config/unit"
)

const (
	// lingers is how long the old address of a restarted node may go on being
	// claimed before it counts as a second process: memberlist needs up to 11 s
	// to find that nobody is there.
	lingers = 20 * time.Second
	// forgetsClaim is how long a claim must have been silent to be a new one.
	forgetsClaim = time.Minute
	// tellAgain is how often the same conflict is told.
	tellAgain = time.Minute
)

// conflict is two processes with one node id.
type conflict struct{ id, addrA, addrB string }

// claim is a node id seen at a second address.
type claim struct{ first, last, told time.Time }

// conflicts tells a copied data directory from a node that came back with
// another address.
type conflicts struct {
	self        string
	incarnation uint64
	clock       unit.Clock
	found       chan conflict

	mu     sync.Mutex // guards claims
	claims map[string]*claim
}

func newConflicts(self string, incarnation uint64, clock unit.Clock) *conflicts {
	return &conflicts{self: self, incarnation: incarnation, clock: clock, found: make(chan conflict, 8), claims: make(map[string]*claim)}
}

// seen takes in that an id which is alive at one address is claimed from
// another. Two starts with the same number cannot be one node's; nor can a
// later start than our own, while we are alive. Everything else may be a node
// that came back elsewhere, and is one unless it goes on.
func (c *conflicts) seen(id string, inc uint64, addr string, otherInc uint64, otherAddr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if len(c.claims) > keepGone {
		clear(c.claims)
	}
	k, known := c.claims[id]
	if !known || now.Sub(k.last) > forgetsClaim {
		k = &claim{first: now}
		c.claims[id] = k
	}
	k.last = now
	proof := otherInc == inc || id == c.self && otherInc > inc
	if !proof && now.Sub(k.first) < lingers || !k.told.IsZero() && now.Sub(k.told) < tellAgain {
		return
	}
	k.told = now
	select {
	case c.found <- conflict{id, addr, otherAddr}:
	default:
	}
}
