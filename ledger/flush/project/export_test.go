package project

import (
	"encoding/json"

	"tollgate/config/model"
)

// What tests see of the inside.
var (
	ErrNotMine = errNotMine
	Storable   = storable
)

// LockKey is the advisory lock of who projects.
const LockKey = int64(lockKey)

// Decrypt opens a value with one signing key.
func Decrypt(stored, key string) (string, error) {
	a := newAtRest(key)
	return a.decrypt(stored)
}

// Encrypt writes the oldest form.
func Encrypt(plain, key string) (string, error) {
	a := newAtRest(key)
	return a.encrypt(plain)
}

// KeyOfRow reads a row of LiteLLM's table of keys; nil for one that is left.
func KeyOfRow(data []byte) (*model.Key, error) {
	var r tokenRow
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	sp, why := r.spending()
	if why != "" {
		return nil, nil
	}
	return r.key(sp), nil
}
