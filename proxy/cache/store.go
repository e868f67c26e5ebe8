package cache

import (
	"context"
	"errors"
	"time"
)

// Store keeps values under keys for a while. What it holds may be gone at any
// time; nothing but time and money is lost by that.
type Store interface {
	// Get returns the value of a key, ErrMiss when there is none. The caller must
	// not change it.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetAll is Get of several keys at once, nil for those that are missing.
	GetAll(ctx context.Context, keys []string) ([][]byte, error)
	// Set keeps a value, which belongs to the store from here on.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, keys []string) error
	// Flush forgets everything that was set here, and nothing else.
	Flush(ctx context.Context) error
	Ping(ctx context.Context) error
	// Close ends what the store has running. It is not used afterwards.
	Close() error
}

// ErrMiss means that there is no value under a key.
var ErrMiss = errors.New("not in the cache")

// ErrDown means that the store was not asked, because it has lately not answered.
var ErrDown = errors.New("the cache does not answer at the moment")
