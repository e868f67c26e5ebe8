package state

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"

	"tollgate/config/model"
)

// fan is the width of both levels of a table: 64 × 64 small maps. A million
// entities make maps of about 250, so one update copies a few kilobytes.
const fan = 64

// Table is an immutable map from id to entity. Changing one entity copies one
// small map and the two arrays above it; everything else is shared with the
// table it came from. A nil table is an empty one.
type Table[T model.Entity] struct {
	seed maphash.Seed
	n    int
	top  [fan]*branch[T]
}

type branch[T model.Entity] [fan]map[string]T

// NewTable makes a table of the given entities.
func NewTable[T model.Entity](entities ...T) *Table[T] {
	e := newEdit(&Table[T]{seed: maphash.MakeSeed()})
	for _, v := range entities {
		e.put(v.EntityID(), v)
	}
	return e.table()
}

// Get finds the entity with this id.
func (t *Table[T]) Get(id string) (T, bool) {
	if t == nil || t.n == 0 {
		var none T
		return none, false
	}
	hi, lo := t.slot(id)
	b := t.top[hi]
	if b == nil {
		var none T
		return none, false
	}
	v, ok := b[lo][id]
	return v, ok
}

// Len is the number of entities.
func (t *Table[T]) Len() int {
	if t == nil {
		return 0
	}
	return t.n
}

// All walks the entities in no order: nothing that is applied or written may
// depend on it. Sorted walks in order.
func (t *Table[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		if t == nil {
			return
		}
		for _, b := range t.top {
			if b == nil {
				continue
			}
			for _, leaf := range b {
				for id, v := range leaf {
					if !yield(id, v) {
						return
					}
				}
			}
		}
	}
}

// IDs lists all ids in ascending order.
func (t *Table[T]) IDs() []string {
	ids := make([]string, 0, t.Len())
	for id := range t.All() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Sorted walks the entities in ascending order of their ids.
func (t *Table[T]) Sorted() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, id := range t.IDs() {
			if v, ok := t.Get(id); ok && !yield(id, v) {
				return
			}
		}
	}
}

// slot places an id. The seed is random, so that nobody can choose ids that
// all fall into one small map.
func (t *Table[T]) slot(id string) (hi, lo int) {
	h := maphash.String(t.seed, id)
	return int(h >> 58), int(h>>52) & (fan - 1)
}

// edit is a table under change. It owns what it has copied and copies nothing
// twice, so many puts in a row cost what filling one map costs.
type edit[T model.Entity] struct {
	t        *Table[T]
	branches uint64      // bit: this branch is ours
	leaves   [fan]uint64 // bit: this small map is ours
}

func newEdit[T model.Entity](base *Table[T]) *edit[T] {
	if base == nil {
		return &edit[T]{t: &Table[T]{seed: maphash.MakeSeed()}}
	}
	t := *base
	return &edit[T]{t: &t}
}

func (e *edit[T]) put(id string, v T) {
	leaf := e.own(id)
	if _, had := leaf[id]; !had {
		e.t.n++
	}
	leaf[id] = v
}

func (e *edit[T]) delete(id string) {
	if _, ok := e.t.Get(id); !ok {
		return
	}
	delete(e.own(id), id)
	e.t.n--
}

// table ends the edit: what it owned belongs to the new table from now on.
func (e *edit[T]) table() *Table[T] {
	t := e.t
	c := *t
	*e = edit[T]{t: &c}
	return t
}

func (e *edit[T]) own(id string) map[string]T {
	hi, lo := e.t.slot(id)
	b := e.t.top[hi]
	if e.branches&(1<<hi) == 0 {
		var c branch[T]
		if b != nil {
			c = *b
		}
		b = &c
		e.t.top[hi] = b
		e.branches |= 1 << hi
	}
	if e.leaves[hi]&(1<<lo) == 0 {
		if b[lo] == nil {
			b[lo] = make(map[string]T, 1)
		} else {
			b[lo] = maps.Clone(b[lo])
		}
		e.leaves[hi] |= 1 << lo
	}
	return b[lo]
}
