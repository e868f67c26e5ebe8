package replica

import "github.com/cespare/xxhash/v2"

// How well a node is placed to outlive another.
const (
	otherZone   = iota // of the same region: near, and another power line
	otherRegion        // far, but it does not share a fate
	sameZone           // better than a copy without what makes up some entries
	outside            // better than none
)

func class(self, m *Member) int {
	switch {
	case m.Outside && self.Region != m.Region:
		return outside
	case self.Region != m.Region:
		return otherRegion
	case self.Zone != m.Zone:
		return otherZone
	}
	return sameZone
}

// weight spreads the nodes over one another: each takes the one with the
// highest, and when a node goes only those move that had it.
func weight(self, id string) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(self)
	_, _ = d.WriteString("\x00")
	_, _ = d.WriteString(id)
	return d.Sum64()
}

// Choose gives the node that should keep self's copy, among those that are
// usable; ok is false when there is none. The present one stays while no other
// is placed better: a move sends everything again.
func Choose(v View, present string, usable func(*Member) bool) (best Member, ok bool) {
	var self Member
	for _, m := range v.Members {
		if m.ID == v.Self {
			self = m
		}
	}
	var top uint64
	at := 0
	for i := range v.Members {
		m := &v.Members[i]
		if m.ID == v.Self || !usable(m) {
			continue
		}
		c, w := class(&self, m), weight(v.Self, m.ID)
		switch {
		case !ok || c < at:
		case c > at || best.ID == present:
			continue
		case m.ID != present && (w < top || w == top && m.ID > best.ID):
			continue
		}
		best, ok, top, at = *m, true, w, c
	}
	return best, ok
}
