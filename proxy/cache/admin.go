package cache

import (
	"context"
	"errors"
	"time"

	"tollgate/config/model"
)

// ErrOff means that no answers are kept: there is nothing to ask or to delete.
var ErrOff = errors.New("no cache is set up")

// ErrNotRedis means that a question is one for a Redis, and the cache is none.
var ErrNotRedis = errors.New("the cache is not a Redis")

// adminPatience is how long an operator's question may take.
const adminPatience = 5 * time.Second

// Check writes and reads a value of its own, and returns the settings of what it
// has tried.
func (c *Cache) Check(ctx context.Context) (*model.Cache, error) {
	o := c.now.Load()
	if o == nil {
		return nil, ErrOff
	}
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	if o.breaker != nil { // the operator wants to know how it is now
		if err := o.remote.Ping(ctx); err != nil {
			return o.settings, err
		}
		o.breaker.look(ctx)
	}
	const key = "ping"
	if err := o.store.Set(ctx, key, []byte(`{"ping":true}`), time.Minute); err != nil {
		return o.settings, err
	}
	_, err := o.store.Get(ctx, key)
	return o.settings, err
}

// Delete forgets answers by their keys, as x-litellm-cache-key tells them.
func (c *Cache) Delete(ctx context.Context, keys []string) error {
	o := c.now.Load()
	if o == nil {
		return ErrOff
	}
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	return o.store.Delete(ctx, keys)
}

// Flush forgets all answers.
func (c *Cache) Flush(ctx context.Context) error {
	o := c.now.Load()
	if o == nil {
		return ErrOff
	}
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	return o.store.Flush(ctx)
}

// RedisInfo is what the Redis says of itself.
func (c *Cache) RedisInfo(ctx context.Context) (map[string]string, error) {
	o := c.now.Load()
	switch {
	case o == nil:
		return nil, ErrOff
	case o.remote == nil:
		return nil, ErrNotRedis
	}
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	return o.remote.info(ctx)
}

// Kind is where answers are kept, model.CacheMemory or model.CacheRedis; "" when
// nowhere.
func (c *Cache) Kind() string {
	o := c.now.Load()
	switch {
	case o == nil:
		return ""
	case o.remote != nil:
		return model.CacheRedis
	}
	return model.CacheMemory
}
