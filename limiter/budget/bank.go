// Package budget keeps spending under its limits without asking anybody on a
// request's way. The Bank is replicated state: it hands out credit by cumulative
// numbers, so that a lost, repeated or reordered message can never create money.
// The Account is one node's side: it reserves calls against credit it already
// holds, and asks for more in the background. The package does not know prices,
// keys or HTTP, reads no clock inside the Bank, and never decides what a call
// costs.
package budget

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// NodeID names a member for as long as its data directory lives.
type NodeID string

// Resolve finds the budget of a scope in the replicated state. It must read
// that state only: the Bank is the same on every node because this is.
type Resolve func(model.Scope) (model.BudgetDef, bool)

const (
	shards = 64
	// keepWindows and keepFor bound what is remembered of past windows, for
	// settlements that come late.
	keepWindows = 32
	keepFor     = 48 * time.Hour
	// standingShare is the part of a limit, 1/20, that is handed out evenly
	// when a window opens, so that a key used rarely waits for nobody.
	standingShare = 20
)

// Bank is the replicated state of all budgets: what each start of each node was
// granted, has spent and gave back. Apply and the other writers run on the
// state machine's goroutine; Look may be called from anywhere.
type Bank struct {
	resolve  Resolve
	location func() *time.Location

	mu      sync.RWMutex // guards all below against Look; there is one writer
	now     int64        // seconds; never runs backwards
	gen     uint64       // raised by Snapshot: entries of an older one are shared
	members map[NodeID]member
	shard   [shards]shard

	watchMu sync.Mutex
	watch   func(Notice)
}

// member is a node that has registered. It stays known after it has left, so
// that a message from an old start cannot open books that were closed.
type member struct {
	inc    uint64 // the newest start
	closed uint64 // starts below this have been settled for good
	left   bool
}

type shard struct {
	m      map[model.Scope]*entry
	shared bool // a snapshot reads m: clone it before writing
}

// entry is one budget's windows, the current one first.
type entry struct {
	gen     uint64
	windows []window
}

// window is one budget period. Its leases are sorted by node and start.
type window struct {
	start, end int64 // Unix seconds; 0, 0 without end
	leases     []lease
	folded     unit.Money // settled by starts that are closed for good
	tight      unit.Money // largest need that could not be met; 0: not tight
	call       unit.Money // the most one call of this budget has been seen to cost
}

// lease is the three cumulative numbers of one start of one node.
type lease struct {
	node   NodeID
	inc    uint64
	g      unit.Money // granted
	s      unit.Money // settled
	r      unit.Money // returned
	share  unit.Money // part of g that stands without being asked for
	closed bool
}

// taken is what the lease denies to others: its credit, or what it has spent
// where that is more.
func (l *lease) taken() unit.Money { return max(l.g-l.r, l.s) }

// NewBank makes an empty bank. location is the time zone of calendar windows,
// read from the replicated state as well; nil is UTC.
func NewBank(resolve Resolve, location func() *time.Location) *Bank {
	if location == nil {
		location = func() *time.Location { return time.UTC }
	}
	b := &Bank{resolve: resolve, location: location, members: map[NodeID]member{}}
	for i := range b.shard {
		b.shard[i].m = map[model.Scope]*entry{}
	}
	return b
}

// Notice is what a node's Account wants to know of a budget as its own copy of
// the state learns it.
type Notice struct {
	Scope  model.Scope
	Window int64
	Nodes  int  // members that may hold credit
	Tight  bool // a need could not be met
}

// Watch has f called after each Apply that could not meet a need or opened
// a window. f must not block and must not call the Bank.
func (b *Bank) Watch(f func(Notice)) {
	b.watchMu.Lock()
	b.watch = f
	b.watchMu.Unlock()
}

// View is a budget as this copy of the state knows it.
type View struct {
	Window  int64
	End     int64
	Settled unit.Money // by all nodes
	Free    unit.Money // not granted to anybody
	Granted unit.Money // to the start asked about; likewise the next three
	Spent   unit.Money
	Given   unit.Money // returned
	Share   unit.Money
	Nodes   int // members that may hold credit
	Tight   bool
}

// Look reads a budget and one start's lease in it. It is a moment old, as a
// delayed answer is, and as safe.
func (b *Bank) Look(scope model.Scope, node NodeID, inc uint64) (View, bool) {
	def, ok := b.resolve(scope)
	if !ok {
		return View{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e := b.shard[shardOf(scope)].m[scope]
	if e == nil || len(e.windows) == 0 {
		return View{}, false
	}
	w := &e.windows[0]
	v := View{Window: w.start, End: w.end, Settled: w.settled(), Free: def.LimitIn(w.start) - w.taken(), Nodes: b.live(), Tight: w.tight > 0}
	if i, ok := w.find(node, inc); ok {
		l := &w.leases[i]
		v.Granted, v.Spent, v.Given, v.Share = l.g, l.s, l.r, l.share
	}
	return v, true
}

// Usage is one node's part of a budget's current window, for operators.
type Usage struct {
	Node        NodeID
	Incarnation uint64
	Granted     unit.Money
	Settled     unit.Money
	Returned    unit.Money
	Closed      bool
}

// Explain lists who holds what of a budget's current window.
func (b *Bank) Explain(scope model.Scope) (v View, users []Usage, ok bool) {
	v, ok = b.Look(scope, "", 0)
	if !ok {
		return v, nil, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e := b.shard[shardOf(scope)].m[scope]
	if e == nil {
		return v, nil, false
	}
	for _, l := range e.windows[0].leases {
		users = append(users, Usage{l.node, l.inc, l.g, l.s, l.r, l.closed})
	}
	return v, users, true
}

func (b *Bank) live() int {
	n := 0
	for _, m := range b.members {
		if !m.left {
			n++
		}
	}
	return max(1, n)
}

// liveMembers is sorted: what Apply does must not depend on map order.
func (b *Bank) liveMembers() []NodeID {
	ids := make([]NodeID, 0, len(b.members))
	for id, m := range b.members {
		if !m.left {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// shardOf spreads scopes the same way in every process: records of a snapshot
// are written shard by shard.
func shardOf(s model.Scope) int {
	h := uint32(2166136261) ^ uint32(s.Dim)
	for i := range len(s.ID) {
		h = (h ^ uint32(s.ID[i])) * 16777619
	}
	return int(h % shards)
}

// write gives the entry of a scope for changing, cloned when a snapshot still
// reads the old one.
func (b *Bank) write(scope model.Scope) *entry {
	sh := &b.shard[shardOf(scope)]
	e := sh.m[scope]
	if e != nil && e.gen == b.gen {
		return e
	}
	if sh.shared {
		m := make(map[model.Scope]*entry, len(sh.m)+1)
		for k, v := range sh.m {
			m[k] = v
		}
		sh.m, sh.shared = m, false
	}
	c := &entry{gen: b.gen}
	if e != nil {
		c.windows = slices.Clone(e.windows)
		for i := range c.windows {
			c.windows[i].leases = slices.Clone(c.windows[i].leases)
		}
	}
	sh.m[scope] = c
	return c
}

// drop forgets a scope.
func (b *Bank) drop(scope model.Scope) {
	if b.shard[shardOf(scope)].m[scope] == nil {
		return
	}
	b.write(scope)
	delete(b.shard[shardOf(scope)].m, scope)
}

func (w *window) find(node NodeID, inc uint64) (int, bool) {
	return slices.BinarySearchFunc(w.leases, lease{node: node, inc: inc}, compareLeases)
}

func compareLeases(a, b lease) int {
	return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.inc, b.inc))
}

// lease finds or makes the lease of a start.
func (w *window) lease(node NodeID, inc uint64) *lease {
	i, ok := w.find(node, inc)
	if !ok {
		w.leases = slices.Insert(w.leases, i, lease{node: node, inc: inc})
	}
	return &w.leases[i]
}

func (w *window) taken() unit.Money {
	sum := w.folded
	for i := range w.leases {
		sum = sum.Add(w.leases[i].taken())
	}
	return sum
}

func (w *window) settled() unit.Money {
	sum := w.folded
	for i := range w.leases {
		sum = sum.Add(w.leases[i].s)
	}
	return sum
}

// out is Σ (G − R): the credit that has been handed out and not come back.
func (w *window) out() unit.Money {
	sum := w.folded
	for i := range w.leases {
		sum = sum.Add(w.leases[i].g - w.leases[i].r)
	}
	return sum
}
