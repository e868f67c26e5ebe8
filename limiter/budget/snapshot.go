package budget

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"

	"tollgate/config/model"
)

// Kinds of snapshot records.
const (
	recordClock  byte = 'c'
	recordMember byte = 'm'
	recordBudget byte = 'b'
)

// Snapshot captures the bank in the time of a few pointer copies and returns
// its records, to be written while Apply goes on. Equal banks give equal bytes.
func (b *Bank) Snapshot() iter.Seq2[byte, []byte] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gen++
	now, members := b.now, maps.Clone(b.members)
	var held [shards]map[model.Scope]*entry
	for i := range b.shard {
		b.shard[i].shared = true
		held[i] = b.shard[i].m
	}
	return func(yield func(byte, []byte) bool) {
		if !yield(recordClock, binary.AppendVarint([]byte{Version}, now)) {
			return
		}
		for _, id := range sortedKeys(members, cmp.Compare[NodeID]) {
			if !yield(recordMember, appendMember([]byte{Version}, id, members[id])) {
				return
			}
		}
		for _, m := range held {
			for _, scope := range sortedKeys(m, compareScopes) {
				if !yield(recordBudget, appendEntry([]byte{Version}, scope, m[scope])) {
					return
				}
			}
		}
	}
}

// Restore replaces the bank by the records of a Snapshot. On an error the bank
// is as it was.
func (b *Bank) Restore(records iter.Seq2[byte, []byte]) error {
	fresh := NewBank(b.resolve, b.location)
	for kind, data := range records {
		if err := fresh.restore(kind, data); err != nil {
			return fmt.Errorf("restore budget record %q: %w", kind, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now, b.members, b.shard = fresh.now, fresh.members, fresh.shard
	b.gen = 0
	return nil
}

func (b *Bank) restore(kind byte, data []byte) error {
	r := newReader(data)
	if v := r.Byte(); v == 0 || v > Version {
		return fmt.Errorf("version %d: this node knows up to %d", v, Version)
	}
	switch kind {
	case recordClock:
		b.now = r.Int()
	case recordMember:
		id := NodeID(r.Text())
		m := member{inc: r.Uint(), closed: r.Uint()}
		m.left = r.Flags(1) != 0
		b.members[id] = m
	case recordBudget:
		scope, e := r.entry()
		b.shard[shardOf(scope)].m[scope] = e
	default:
		return fmt.Errorf("unknown kind")
	}
	return r.End()
}

func appendMember(p []byte, id NodeID, m member) []byte {
	p = appendString(p, string(id))
	p = binary.AppendUvarint(p, m.inc)
	p = binary.AppendUvarint(p, m.closed)
	return append(p, flags(m.left))
}

func appendEntry(p []byte, scope model.Scope, e *entry) []byte {
	p = appendScope(p, scope)
	p = binary.AppendUvarint(p, uint64(len(e.windows)))
	for i := range e.windows {
		w := &e.windows[i]
		p = binary.AppendVarint(p, w.start)
		p = binary.AppendVarint(p, w.end)
		p = appendMoney(p, w.folded, w.tight, w.call)
		p = binary.AppendUvarint(p, uint64(len(w.leases)))
		for j := range w.leases {
			l := &w.leases[j]
			p = appendString(p, string(l.node))
			p = binary.AppendUvarint(p, l.inc)
			p = appendMoney(p, l.g, l.s, l.r, l.share)
			p = append(p, flags(l.closed))
		}
	}
	return p
}

func (r *reader) entry() (model.Scope, *entry) {
	scope, e := r.scope(), &entry{}
	e.windows = make([]window, 0, r.Count(6))
	for range cap(e.windows) {
		w := window{start: r.Int(), end: r.Int(), folded: r.money(), tight: r.money(), call: r.money()}
		w.leases = make([]lease, 0, r.Count(7))
		for range cap(w.leases) {
			l := lease{node: NodeID(r.Text()), inc: r.Uint(), g: r.money(), s: r.money(), r: r.money(), share: r.money()}
			l.closed = r.Flags(1) != 0
			if n := len(w.leases); n > 0 && compareLeases(w.leases[n-1], l) >= 0 {
				r.Fail(fmt.Errorf("leases out of order"))
			}
			w.leases = append(w.leases, l)
		}
		if n := len(e.windows); n > 0 && e.windows[n-1].start <= w.start {
			r.Fail(fmt.Errorf("windows out of order"))
		}
		e.windows = append(e.windows, w)
	}
	if len(e.windows) == 0 {
		r.Fail(fmt.Errorf("budget without a window"))
	}
	return scope, e
}

func sortedKeys[K comparable, V any](m map[K]V, cmp func(K, K) int) []K {
	return slices.SortedFunc(maps.Keys(m), cmp)
}

func compareScopes(a, b model.Scope) int {
	return cmp.Or(cmp.Compare(a.Dim, b.Dim), cmp.Compare(a.ID, b.ID))
}
