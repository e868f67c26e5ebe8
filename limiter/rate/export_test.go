package rate

import "unsafe"

// Roles names the owner of a limit and its stand-in by a node's outlook.
func Roles(l *Limiter, id uint64, home string) (owner, backup string) {
	o := l.outlook(l.elapsed())
	a, b := o.owner(id, home)
	if a >= 0 {
		owner = o.nodes[a].id
	}
	if b >= 0 {
		backup = o.nodes[b].id
	}
	return owner, backup
}

// Asks makes asks of another node for limits that this one owns, each time with
// a new sequence number.
func Asks(l *Limiter, from string, n int) func() []byte {
	m := askMessage{origin: from, inc: 1}
	for id := uint64(1); len(m.items) < n; id++ {
		if owner, _ := Roles(l, id, ""); owner == l.peers.View().Self {
			m.items = append(m.items, askItem{id: id, kind: Requests, limit: 1 << 31, need: 1, want: 3, least: 1})
		}
	}
	seq := uint64(0)
	return func() []byte {
		for i := range m.items {
			seq++
			m.items[i].seq = seq
		}
		return m.encode()
	}
}

// Sizes are the bytes of a limit on the node that owns it and on one that uses it.
func Sizes() (owned, used uintptr) {
	return unsafe.Sizeof(ring{}) + unsafe.Sizeof(duty{}), unsafe.Sizeof(record{})
}

// IsPing tells whether a message only asks whether a node is there.
func IsPing(raw []byte) bool { return op(raw[1]) == opPing }

// Via names where the units of a hold came from.
func Via(h *Hold) string {
	return [...]string{"ring", "credit", "share", "lone"}[h.via]
}
