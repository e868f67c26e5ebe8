package state

import (
	"cmp"
	"iter"
	"slices"
)

// pair is one entry of a secondary index: owner leads to id.
type pair struct{ owner, id string }

func comparePairs(a, b pair) int {
	if c := cmp.Compare(a.owner, b.owner); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// nodeMax bounds what one change copies: 1 KB a level.
const nodeMax = 32

// ordered is an immutable sorted set of pairs, a B+ tree whose changes copy the
// path to one leaf. One owner may have a million ids (every key an admin made
// belongs to the same user), which is why an owner's ids are not one slice.
// What it answers depends on its content only, never on the order of changes:
// a node that restored a snapshot answers as one that replayed the log. Nil is
// the empty set.
type ordered struct {
	pairs []pair     // of a leaf; of an inner node the smallest pair of each kid
	kids  []*ordered // nil in a leaf
}

// orderedOf builds a set of many pairs at once.
func orderedOf(pairs []pair) *ordered {
	if len(pairs) == 0 {
		return nil
	}
	slices.SortFunc(pairs, comparePairs)
	pairs = slices.Compact(pairs)
	var level []*ordered
	for chunk := range slices.Chunk(pairs, nodeMax*3/4) {
		level = append(level, &ordered{pairs: slices.Clone(chunk)})
	}
	for len(level) > 1 {
		var up []*ordered
		for chunk := range slices.Chunk(level, nodeMax*3/4) {
			up = append(up, inner(slices.Clone(chunk)))
		}
		level = up
	}
	return level[0]
}

func inner(kids []*ordered) *ordered {
	n := &ordered{kids: kids, pairs: make([]pair, len(kids))}
	for i, k := range kids {
		n.pairs[i] = k.pairs[0]
	}
	return n
}

// with is the set and p.
func (o *ordered) with(p pair) *ordered {
	if o == nil {
		return &ordered{pairs: []pair{p}}
	}
	a, b := o.insert(p)
	if b == nil {
		return a
	}
	return inner([]*ordered{a, b})
}

// insert returns the changed node and, when it had to be split, its right half.
func (o *ordered) insert(p pair) (*ordered, *ordered) {
	if o.kids == nil {
		i, found := slices.BinarySearchFunc(o.pairs, p, comparePairs)
		if found {
			return o, nil
		}
		pairs := make([]pair, 0, len(o.pairs)+1)
		pairs = append(append(append(pairs, o.pairs[:i]...), p), o.pairs[i:]...)
		if len(pairs) <= nodeMax {
			return &ordered{pairs: pairs}, nil
		}
		mid := len(pairs) / 2
		return &ordered{pairs: slices.Clone(pairs[:mid])}, &ordered{pairs: slices.Clone(pairs[mid:])}
	}
	i := o.child(p)
	a, b := o.kids[i].insert(p)
	if a == o.kids[i] {
		return o, nil
	}
	kids := make([]*ordered, 0, len(o.kids)+1)
	kids = append(append(kids, o.kids[:i]...), a)
	if b != nil {
		kids = append(kids, b)
	}
	kids = append(kids, o.kids[i+1:]...)
	if len(kids) <= nodeMax {
		return inner(kids), nil
	}
	mid := len(kids) / 2
	return inner(slices.Clone(kids[:mid])), inner(slices.Clone(kids[mid:]))
}

// without is the set less p. Nodes are not merged again: they only vanish when
// empty, which keeps reads right and costs some room after mass deletion.
func (o *ordered) without(p pair) *ordered {
	if o == nil {
		return nil
	}
	if o.kids == nil {
		i, found := slices.BinarySearchFunc(o.pairs, p, comparePairs)
		switch {
		case !found:
			return o
		case len(o.pairs) == 1:
			return nil
		}
		return &ordered{pairs: slices.Concat(o.pairs[:i], o.pairs[i+1:])}
	}
	i := o.child(p)
	k := o.kids[i].without(p)
	switch {
	case k == o.kids[i]:
		return o
	case k != nil:
		kids := slices.Clone(o.kids)
		kids[i] = k
		return inner(kids)
	case len(o.kids) == 1:
		return nil
	}
	return inner(slices.Concat(o.kids[:i], o.kids[i+1:]))
}

// child is the last kid whose smallest pair is not above p.
func (o *ordered) child(p pair) int {
	i, found := slices.BinarySearchFunc(o.pairs, p, comparePairs)
	if found || i == 0 {
		return i
	}
	return i - 1
}

// first is the smallest id of an owner.
func (o *ordered) first(owner string) (string, bool) {
	for id := range o.of(owner) {
		return id, true
	}
	return "", false
}

// of walks the ids of an owner in ascending order.
func (o *ordered) of(owner string) iter.Seq[string] {
	return func(yield func(string) bool) {
		o.from(pair{owner: owner}, func(p pair) bool { return p.owner == owner && yield(p.id) })
	}
}

// from walks the pairs at and after p until yield says no.
func (o *ordered) from(p pair, yield func(pair) bool) bool {
	if o == nil {
		return true
	}
	if o.kids == nil {
		i, _ := slices.BinarySearchFunc(o.pairs, p, comparePairs)
		for _, q := range o.pairs[i:] {
			if !yield(q) {
				return false
			}
		}
		return true
	}
	for _, k := range o.kids[o.child(p):] {
		if !k.from(p, yield) {
			return false
		}
	}
	return true
}
