package gossip

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"tollgate/config/unit"
)

// How long the table keeps who is gone: the dead as long as somebody may ask
// what became of them, the departed for the last screen that shows them.
const (
	keepDead = 96 * time.Hour
	keepLeft = 10 * time.Minute
	keepGone = 512 // of both, at most
)

// view is the table at one moment. It is immutable.
type view struct {
	members []Member // sorted by id
	index   map[string]int
	shorts  map[uint32]string // "" when two members share it
	nodes   map[string]*memberlist.Node
	alive   []*memberlist.Node // without this node
	barred  map[string]bool
	silence map[uint32]bool // short ids of the barred
}

// entry is what the table knows of one node.
type entry struct {
	member Member
	node   memberlist.Node
	// leaving is set by the node's own word: what memberlist reports as gone is
	// then gone in order. It counts for the start that said so.
	leaving   bool
	statusInc uint32
	statusSeq uint64
	heard     time.Time // directly
}

// table is who is known. Its writers are memberlist's callbacks, which hold
// memberlist's own lock: nothing in here calls memberlist.
type table struct {
	self    string
	clock   unit.Clock
	changed chan struct{} // cap 1: membership or facts have changed

	mu      sync.Mutex // guards entries and the order of publishing
	entries map[string]*entry
	barred  map[string]bool // replaced, never changed: views share it
	stale   bool            // figures have changed since the last view

	current atomic.Pointer[view]
}

func newTable(meta Meta, clock unit.Clock) *table {
	t := &table{self: meta.NodeID, clock: clock, changed: make(chan struct{}, 1), entries: make(map[string]*entry)}
	t.entries[meta.NodeID] = &entry{member: Member{Meta: meta, State: Alive, Since: clock.Now()}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.publish()
	return t
}

// publish makes a new view of the entries.
func (t *table) publish() {
	v := &view{
		members: make([]Member, 0, len(t.entries)),
		index:   make(map[string]int, len(t.entries)),
		shorts:  make(map[uint32]string, len(t.entries)),
		nodes:   make(map[string]*memberlist.Node, len(t.entries)),
		barred:  t.barred,
	}
	if len(t.barred) > 0 {
		v.silence = make(map[uint32]bool, len(t.barred))
		for id := range t.barred {
			v.silence[shortID(id)] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[id]
		v.index[id] = len(v.members)
		v.members = append(v.members, e.member)
		short := shortID(id)
		if _, taken := v.shorts[short]; taken {
			v.shorts[short] = ""
		} else {
			v.shorts[short] = id
		}
		if id != t.self && e.member.State == Alive {
			node := e.node
			v.nodes[id] = &node
			v.alive = append(v.alive, &node)
		}
	}
	t.stale = false
	t.current.Store(v)
}

// tell publishes a change of membership and wakes who listens.
func (t *table) tell() {
	t.publish()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// up takes in that a node is alive, or that its facts have changed.
func (t *table) up(n *memberlist.Node, meta Meta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.barred[n.Name] {
		return
	}
	now := t.clock.Now()
	e, known := t.entries[n.Name]
	if !known {
		e = &entry{}
		t.entries[n.Name] = e
	}
	if !known || e.member.State != Alive || meta.Incarnation != e.member.Incarnation {
		if e.member.State != Alive {
			e.member.Since = now
		}
		if meta.Incarnation != e.member.Incarnation {
			e.member.Status, e.member.StatusAt = Status{}, time.Time{}
		}
		e.leaving = false
		e.heard = now
		e.member.RTT = 0
	}
	e.member.Meta, e.member.State = meta, Alive
	e.node = *n
	e.node.Addr, e.node.Meta = slices.Clone(n.Addr), nil
	t.tell()
}

// down takes in that memberlist has given a node up.
func (t *table) down(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[id]
	if !known || id == t.self {
		return
	}
	e.member.State, e.member.Since = Dead, t.clock.Now()
	if e.leaving {
		e.member.State = Left
	}
	t.tell()
}

// left takes in a node's word that it goes. The word may come after memberlist's.
func (t *table) left(id string, inc uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[id]
	if !known || uint32(e.member.Incarnation) != inc {
		return
	}
	e.leaving = true
	if e.member.State == Dead {
		e.member.State = Left
		t.tell()
	}
}

// status takes in a node's figures if they are the newest. direct tells that it
// spoke itself.
func (t *table) status(id string, inc uint32, seq uint64, s Status, at time.Time, direct bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[id]
	if !known || inc != uint32(e.member.Incarnation) {
		return
	}
	if direct {
		e.heard = at
	}
	if !e.member.StatusAt.IsZero() && !newer(inc, seq, e.statusInc, e.statusSeq) {
		return
	}
	e.statusInc, e.statusSeq = inc, seq
	e.member.Status, e.member.StatusAt = s, at
	t.stale = true
}

// rtt smooths what memberlist's probes measured.
func (t *table) rtt(id string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[id]
	if !known || d <= 0 {
		return
	}
	if e.member.RTT == 0 {
		e.member.RTT = d
	} else {
		e.member.RTT += (d - e.member.RTT) / 4
	}
	t.stale = true
}

// setSelf replaces this node's own facts.
func (t *table) setSelf(meta Meta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[t.self].member.Meta = meta
	t.tell()
}

// refresh publishes new figures and drops who has been gone for long.
func (t *table) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	var gone []string
	for id, e := range t.entries {
		age := now.Sub(e.member.Since)
		switch {
		case e.member.State == Left && age > keepLeft, e.member.State == Dead && age > keepDead:
			delete(t.entries, id)
			t.stale = true
		case e.member.State != Alive:
			gone = append(gone, id)
		}
	}
	if over := len(gone) - keepGone; over > 0 {
		slices.SortFunc(gone, func(a, b string) int {
			return t.entries[a].member.Since.Compare(t.entries[b].member.Since)
		})
		for _, id := range gone[:over] {
			delete(t.entries, id)
		}
		t.stale = true
	}
	if t.stale {
		t.publish()
	}
}

// bar drops a node and keeps it out.
func (t *table) bar(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == t.self || t.barred[id] {
		return
	}
	next := make(map[string]bool, len(t.barred)+1)
	maps.Copy(next, t.barred)
	next[id] = true
	t.barred = next
	delete(t.entries, id)
	t.tell()
}

// silent is who counts as alive and has not been heard for long: it may not know
// that this node exists.
func (t *table) silent(id string, long time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[id]
	return known && e.member.State == Alive && t.clock.Now().Sub(e.heard) > long
}

// statuses are all the figures known, for an exchange of states.
func (t *table) statuses() []knownStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	var out []knownStatus
	for id, e := range t.entries {
		if !e.member.StatusAt.IsZero() {
			out = append(out, knownStatus{id, e.statusInc, e.statusSeq, now.Sub(e.member.StatusAt), e.member.Status})
		}
	}
	slices.SortFunc(out, func(a, b knownStatus) int { return strings.Compare(a.id, b.id) })
	return out
}

// knownStatus is a node's figures as another one passes them on.
type knownStatus struct {
	id     string
	inc    uint32
	seq    uint64
	age    time.Duration
	status Status
}
