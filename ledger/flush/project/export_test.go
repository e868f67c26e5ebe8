package project

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
