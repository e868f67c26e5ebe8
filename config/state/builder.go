package state

import (
	"fmt"
	"slices"

	"tollgate/config/model"
)

// configsKept is how many config versions stay for history and rollback.
const configsKept = 50

// Builder makes a new snapshot out of an old one. It keeps the secondary
// indexes in step and shares everything that did not change.
type Builder struct {
	next  Snapshot
	edits [kindCount]any
	bulk  bool // from nothing: the indexes are built once, at the end
}

// NewBuilder starts from base; nil starts from an empty state.
func NewBuilder(base *Snapshot) *Builder {
	if base == nil {
		return &Builder{bulk: true}
	}
	return &Builder{next: *base}
}

// Put stores entities, each in the table of its type.
func (b *Builder) Put(entities ...model.Entity) *Builder {
	for _, e := range entities {
		for _, k := range kinds {
			if k.put(b, e) {
				break
			}
		}
	}
	return b
}

// Delete removes one entity; a missing one is no fault.
func (b *Builder) Delete(t model.Table, id string) error {
	k, ok := kindOfTable(t)
	if !ok {
		return fmt.Errorf("%w %q", errUnknownTable, t)
	}
	k.delete(b, id)
	return nil
}

// Snapshot ends the build. The builder may go on from there.
func (b *Builder) Snapshot() *Snapshot {
	configs := b.edits[configSlot] != nil
	for _, k := range kinds {
		k.finish(b)
	}
	if b.bulk {
		var pairs [indexCount][]pair
		for _, k := range kinds {
			k.collect(&b.next, func(index int, owner, id string) {
				if owner != "" {
					pairs[index] = append(pairs[index], pair{owner, id})
				}
			})
		}
		for i := range pairs {
			b.next.idx.sets[i] = orderedOf(pairs[i])
		}
		b.bulk = false
	}
	if configs {
		b.next.idx.active = newestConfig(b.next.Configs)
		b.next.idx.budgeted = budgetedDeployments(b.next.idx.active)
	}
	s := b.next
	return &s
}

// WithMissing is s with the objects that changes have stored and s does not hold
// any more: what the state was for whoever made the changes. It returns s itself
// when nothing is missing.
func (s *Snapshot) WithMissing(changes []model.Change) *Snapshot {
	var missing []model.Entity
	for i := range changes {
		k, ok := kindOfTable(changes[i].Table)
		if !ok || changes[i].Value == nil {
			continue
		}
		if _, held := k.version(s, changes[i].ID); held {
			continue
		}
		if e, err := k.decode(changes[i].Value); err == nil {
			missing = append(missing, e)
		}
	}
	if missing == nil {
		return s
	}
	return NewBuilder(s).Put(missing...).Snapshot()
}

// prune deletes the config versions beyond the newest 50 and says which.
func (b *Builder) prune() []string {
	e, ok := b.edits[configSlot].(*edit[*model.ConfigVersion])
	if !ok || e.t.Len() <= configsKept {
		return nil
	}
	ids := e.t.IDs()
	old := slices.Clone(ids[:len(ids)-configsKept])
	for _, id := range old {
		e.delete(id)
	}
	return old
}

func (b *Builder) reindex(index int, owner, id string) {
	if owner != "" {
		b.next.idx.sets[index] = b.next.idx.sets[index].with(pair{owner, id})
	}
}

func (b *Builder) unindex(index int, owner, id string) {
	if owner != "" {
		b.next.idx.sets[index] = b.next.idx.sets[index].without(pair{owner, id})
	}
}

// configSlot is where edits of the Configs table stand.
const configSlot = 7

func newestConfig(t *Table[*model.ConfigVersion]) *model.ConfigVersion {
	var newest *model.ConfigVersion
	for _, v := range t.All() {
		if newest == nil || v.Number > newest.Number {
			newest = v
		}
	}
	return newest
}
