package state

import "tollgate/config/model"

// Table is an immutable map from id to entity.
type Table[T model.Entity] struct{}
