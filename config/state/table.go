package state

import "tollgate/config/model"

// Table is an immutable map from id to entity.
type Table[T model.Entity] struct{}

// Get finds one entity.
func (t *Table[T]) Get(id string) (e T, ok bool) { return e, false }
