package budget

import (
	"fmt"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// Apply changes the bank by one committed command and returns an *Answer. It
// is deterministic: the same commands give the same bytes on every node.
func (b *Bank) Apply(_ uint64, at time.Time, version byte, payload []byte) any {
	if version == 0 || version > Version {
		return &Answer{Err: fmt.Errorf("budget command version %d: this node knows up to %d", version, Version)}
	}
	c, err := DecodeCommand(payload)
	if err != nil {
		return &Answer{Err: fmt.Errorf("read budget command: %w", err)}
	}
	return b.Do(at, c)
}

// Do applies a decoded command.
func (b *Bank) Do(at time.Time, c *Command) *Answer {
	var notices []Notice
	b.mu.Lock()
	b.now = max(b.now, at.Unix())
	ans := &Answer{}
	switch c.Op {
	case OpBatch:
		ans.Grants = make([]Grant, 0, len(c.Items))
		for i := range c.Items {
			ans.Grants = append(ans.Grants, b.item(c.Node, c.Incarnation, &c.Items[i], &notices))
		}
	case OpRegister:
		m := b.members[c.Node]
		if c.Incarnation >= m.inc {
			m.inc, m.left = c.Incarnation, false
		}
		b.members[c.Node] = m
	case OpClose:
		b.close(c)
	case OpForget, OpLeave:
		b.leave(c)
	case OpOpen:
		for _, s := range c.Scopes {
			if def, ok := b.resolve(s); ok {
				b.open(s, &def, 0, &notices)
			}
		}
	case OpDrop:
		for _, s := range c.Scopes {
			b.drop(s)
		}
	default:
		ans.Err = fmt.Errorf("budget command %d: unknown", c.Op)
	}
	b.mu.Unlock()
	b.watchMu.Lock()
	f := b.watch
	b.watchMu.Unlock()
	if f != nil {
		for _, n := range notices {
			f(n)
		}
	}
	return ans
}

// Open opens the current window of a budget just made or changed. The state
// machine calls it from the command that made the budget, so that every member
// holds its standing share before the first request.
func (b *Bank) Open(at time.Time, scopes ...model.Scope) {
	b.Do(at, &Command{Op: OpOpen, Scopes: scopes})
}

// Drop forgets deleted budgets.
func (b *Bank) Drop(at time.Time, scopes ...model.Scope) {
	b.Do(at, &Command{Op: OpDrop, Scopes: scopes})
}

// item applies one item of a batch. The order of its steps is the protocol.
func (b *Bank) item(node NodeID, inc uint64, it *Item, notices *[]Notice) Grant {
	m, known := b.members[node]
	if known && inc < m.closed {
		return Grant{Scope: it.Scope, Closed: true}
	}
	def, ok := b.resolve(it.Scope)
	if !ok {
		return Grant{Scope: it.Scope, Unknown: true}
	}
	e := b.open(it.Scope, &def, it.Call, notices)
	cur := &e.windows[0]
	// A node that never registered cannot be closed either: it gets nothing.
	w := cur
	if it.Window != CurrentWindow && it.Window != cur.start {
		w = e.past(it.Window)
	}
	if w != nil && it.Window != CurrentWindow && known {
		l := w.lease(node, inc)
		if l.closed {
			return b.answer(it.Scope, cur, &def, Grant{Closed: true})
		}
		// Nobody can return what he was never granted.
		l.s, l.r = max(l.s, it.S), max(l.r, min(it.R, l.g))
	}
	g := Grant{}
	if w == cur && known && inc == m.inc && !m.left {
		l := cur.lease(node, inc)
		if l.closed { // its sums came before its first ask: it may spend no more
			return b.answer(it.Scope, cur, &def, Grant{Closed: true})
		}
		if !def.Soft {
			before := cur.out()
			limit := def.LimitIn(cur.start)
			met := cur.grant(l, limit, it)
			checkGrant(cur, limit, before)
			if !met {
				*notices = append(*notices, Notice{it.Scope, cur.start, b.live(), true})
			}
		}
		g.G, g.Share = l.g, l.share
	} else if i, ok := cur.find(node, inc); ok {
		g.G, g.Share = cur.leases[i].g, cur.leases[i].share
	}
	return b.answer(it.Scope, cur, &def, g)
}

func (b *Bank) answer(scope model.Scope, cur *window, def *model.BudgetDef, g Grant) Grant {
	g.Scope, g.Window, g.End = scope, cur.start, cur.end
	g.Settled, g.Free = cur.settled(), def.LimitIn(cur.start)-cur.taken()
	g.Nodes, g.Tight = b.live(), cur.tight > 0
	return g
}

// grant raises a lease towards what is wanted, keeps the tight mark, and reports
// whether the need was met. A debt of the lease (it settled more than it held)
// is covered first, out of its own grant.
func (w *window) grant(l *lease, limit unit.Money, it *Item) (met bool) {
	free := max(0, limit-w.taken())
	room := max(0, limit-w.out())
	debt := max(0, l.s-(l.g-l.r))
	active := unit.Money(0)
	for i := range w.leases {
		if !w.leases[i].closed {
			active++
		}
	}
	need := max(0, it.Need)
	part := need
	if !it.Exact && w.tight == 0 {
		part = max(need, free/(2*active))
	}
	more := max(0, min(it.Want-l.g, debt.Add(part), debt.Add(free), room))
	if need > 0 && more < debt.Add(it.Least) {
		// A rest too small for any waiting call stays here, where the rests of
		// other nodes can join it.
		more = min(more, debt)
	}
	l.g += more
	// Tight until there is room for twice the largest need that was not met:
	// without the factor the mark would flicker with every returned call.
	if more < need.Add(debt) && l.g < it.Want {
		w.tight = max(w.tight, need)
		return need == 0
	}
	if w.tight > 0 && free-more >= 2*w.tight {
		w.tight = 0
	}
	return true
}

// open brings a budget to the window that holds now. Windows open lazily, by
// the first command that concerns the budget, so midnight is not a storm.
func (b *Bank) open(scope model.Scope, def *model.BudgetDef, call unit.Money, notices *[]Notice) *entry {
	start, end := def.Span(time.Unix(b.now, 0), b.location())
	e := b.write(scope)
	if len(e.windows) > 0 {
		cur := &e.windows[0]
		cur.call = max(cur.call, call)
		// A budget whose duration was changed may compute an earlier start: its
		// running window then goes on to the end of the new one, because credit
		// of a window must never be counted in another.
		if cur.start >= start {
			cur.end = end
			return e
		}
		call = max(call, cur.call/2)
	}
	w := window{start: start, end: end, call: call}
	b.standing(&w, def)
	e.windows = append([]window{w}, e.windows...)
	for i := 1; i < len(e.windows); i++ {
		if i > keepWindows || e.windows[i].end+int64(keepFor/time.Second) < b.now {
			clear(e.windows[i:])
			e.windows = e.windows[:i]
			break
		}
	}
	*notices = append(*notices, Notice{scope, start, b.live(), false})
	return e
}

// standing gives each member its share of a fresh window. There is none where
// credit must be exact, and none too small to pay for one call.
func (b *Bank) standing(w *window, def *model.BudgetDef) {
	limit := def.LimitIn(w.start)
	if def.Soft || limit <= 0 {
		return
	}
	ids := b.liveMembers()
	n := unit.Money(len(ids))
	if n == 0 || limit/(4*n) < w.call {
		return
	}
	share := limit / standingShare / n
	if share < w.call || share == 0 {
		return
	}
	for _, id := range ids {
		l := w.lease(id, b.members[id].inc)
		l.g, l.share = share, share
	}
}

// close takes the ledger's word for starts below c.Incarnation. Chunks may
// come in any order before the final one.
func (b *Bank) close(c *Command) {
	for i := range c.Settled {
		it := &c.Settled[i]
		if it.Incarnation >= c.Incarnation || it.Incarnation < b.members[c.Node].closed {
			continue
		}
		def, ok := b.resolve(it.Scope)
		if !ok {
			continue
		}
		var none []Notice
		e := b.open(it.Scope, &def, 0, &none)
		w := e.past(it.Window)
		if w == nil {
			continue
		}
		l := w.lease(c.Node, it.Incarnation)
		if !l.closed {
			l.s = max(l.s, it.S)
			l.shut(c.WriteOff)
		}
	}
	if c.Final {
		b.closeRest(c.Node, c.Incarnation, c.WriteOff)
	}
}

// closeRest closes every lease of a node's starts below inc and folds them into
// the windows' totals, so that restarts do not pile up.
func (b *Bank) closeRest(node NodeID, inc uint64, writeOff bool) {
	for i := range b.shard {
		for scope, e := range b.shard[i].m {
			if !e.has(node, inc) {
				continue
			}
			e = b.write(scope)
			for j := range e.windows {
				e.windows[j].fold(node, inc, writeOff)
			}
		}
	}
	m := b.members[node]
	m.closed = max(m.closed, inc)
	b.members[node] = m
}

// leave ends a node's membership: in order (what it reported is the truth) or
// by an operator who has given it up (what it held counts as spent). Only the
// starts known by now are closed, so that the same node may come back.
func (b *Bank) leave(c *Command) {
	m, ok := b.members[c.Node]
	if !ok || (c.Incarnation != 0 && m.inc >= c.Incarnation) {
		return
	}
	m.left = true
	b.members[c.Node] = m
	b.closeRest(c.Node, m.inc+1, c.Op == OpForget)
}

func (e *entry) has(node NodeID, below uint64) bool {
	for i := range e.windows {
		for j := range e.windows[i].leases {
			if l := &e.windows[i].leases[j]; l.node == node && l.inc < below {
				return true
			}
		}
	}
	return false
}

// past finds a window by its start, the current one included.
func (e *entry) past(start int64) *window {
	for i := range e.windows {
		if e.windows[i].start == start {
			return &e.windows[i]
		}
	}
	return nil
}

func (w *window) fold(node NodeID, below uint64, writeOff bool) {
	keep := w.leases[:0]
	for _, l := range w.leases {
		if l.node != node || l.inc >= below {
			keep = append(keep, l)
			continue
		}
		if !l.closed {
			l.shut(writeOff)
		}
		w.folded = w.folded.Add(l.s)
	}
	clear(w.leases[len(keep):])
	w.leases = keep
}

// shut ends a lease: what was not spent is given back, or, in a write-off,
// taken to be spent.
func (l *lease) shut(writeOff bool) {
	if writeOff {
		l.s = max(l.s, l.g-l.r)
	}
	l.r = max(l.r, l.g-l.s)
	l.closed = true
}
