// Package cache keeps answers of models for calls that ask the same again: in
// this node's memory or in a Redis that nodes share. It decides what the same is,
// whether a call may read or write, and how an answer becomes a stream and a
// stream an answer. It knows no callers, limits or prices, never delays an answer
// for the sake of keeping it, and what goes wrong in it fails no call.
package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tollgate/config/model"
	"tollgate/config/residency"
	"tollgate/config/unit"
)

// Config is what a Cache is made of.
type Config struct {
	Region     string // this node's: where its memory is
	Clock      unit.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: nothing is counted for others
}

// Cache is a node's cache, empty until Use gives it a store. One serves all calls.
type Cache struct {
	cfg   Config
	now   atomic.Pointer[opened]
	queue chan write

	mu sync.Mutex // guards the change of now

	hits, misses, faults, stored, dropped counter
}

// opened is a store and the settings that it was made by.
type opened struct {
	settings *model.Cache
	store    Store
	memory   *memory  // nil when the store is a Redis
	remote   *remote  // nil when it is memory
	breaker  *breaker // before remote
	region   string   // where the values are, "" unknown
	ttl      time.Duration
	most     int // bytes of one value
}

// write is an answer on its way into the store.
type write struct {
	to    *opened
	key   string
	value func() *Value // nil: there is nothing to keep after all
	ttl   time.Duration
}

// Bounds of what waits to be written. A store that is slower than answers come
// loses some of them: that costs a repeated call.
const (
	queued  = 1024
	writers = 4
)

// New makes a cache without a store.
func New(cfg Config) *Cache {
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cache{cfg: cfg, queue: make(chan write, queued)}
	if cfg.Registerer != nil {
		c.register(cfg.Registerer)
	}
	return c
}

// Use makes the settings those that hold from now on; nil keeps nothing. A store
// whose settings are as they were stays as it is, with what it holds.
func (c *Cache) Use(s *model.Cache) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.now.Load()
	if old == nil && s == nil || old != nil && s != nil && reflect.DeepEqual(old.settings, s) {
		return nil
	}
	var next *opened
	if s != nil {
		var err error
		if next, err = c.open(s.Clone()); err != nil {
			return err // what was in use stays
		}
		if old != nil && old.memory != nil && next.memory != nil && sameBounds(old.settings, s) {
			next.store, next.memory = old.store, old.memory // only what is asked of it has changed
		}
	}
	c.now.Store(next)
	if old == nil || next != nil && next.store == old.store {
		return nil
	}
	// Calls that hold the old store get a fault from it, which is a miss.
	if err := old.store.Close(); err != nil {
		return fmt.Errorf("close the former cache: %w", err)
	}
	return nil
}

func sameBounds(a, b *model.Cache) bool {
	return a.MaxItems == b.MaxItems && a.MaxBytes == b.MaxBytes
}

func (c *Cache) open(s *model.Cache) (*opened, error) {
	o := &opened{settings: s, most: int(cmp.Or(s.MaxItemBytes, defaultItemBytes))}
	if s.Type != model.CacheRedis || s.Redis == nil {
		m, err := newMemory(cmp.Or(s.MaxItems, defaultItems), cmp.Or(s.MaxBytes, defaultBytes), c.cfg.Clock)
		if err != nil {
			return nil, err
		}
		o.memory, o.store, o.region, o.ttl = m, m, c.cfg.Region, lifetime(s.TTL, defaultMemoryTTL)
		return o, nil
	}
	r, err := newRemote(s.Redis)
	if err != nil {
		return nil, err
	}
	o.remote, o.region, o.ttl = r, s.Redis.Region, lifetime(s.TTL, defaultRedisTTL)
	o.breaker = &breaker{Store: r, patience: timeoutOf(s.Redis), log: c.cfg.Logger}
	o.store = o.breaker
	return o, nil
}

func lifetime(seconds float64, otherwise time.Duration) time.Duration {
	if seconds > 0 {
		return time.Duration(seconds * float64(time.Second))
	}
	return otherwise
}

// Allows reports whether a caller whose data may be in some regions only may have
// answers read and kept here: where the store is must be known and among them.
func (c *Cache) Allows(regions []string) bool {
	o := c.now.Load()
	return o != nil && residency.Allows(regions, o.region)
}

// MaxBytes is how large an answer may be to be kept; 0: nothing is kept.
func (c *Cache) MaxBytes() int {
	if o := c.now.Load(); o != nil {
		return o.most
	}
	return 0
}

// Get is the answer under a key that is no older than maxAge (0: of any age).
func (c *Cache) Get(ctx context.Context, key string, maxAge time.Duration) (*Value, bool) {
	o := c.now.Load()
	if o == nil {
		return nil, false
	}
	data, err := o.store.Get(ctx, key)
	if err != nil {
		c.missed(err)
		return nil, false
	}
	v, ok := c.read(data, maxAge)
	if !ok {
		c.misses.add(1)
		return nil, false
	}
	c.hits.add(1)
	return v, true
}

// GetAll is Get for several keys, nil for those without an answer.
func (c *Cache) GetAll(ctx context.Context, keys []string, maxAge time.Duration) []*Value {
	out := make([]*Value, len(keys))
	o := c.now.Load()
	if o == nil {
		return out
	}
	data, err := o.store.GetAll(ctx, keys)
	if err != nil {
		c.missed(err)
		return out
	}
	for i, d := range data {
		v, ok := c.read(d, maxAge)
		if !ok {
			c.misses.add(1)
			continue
		}
		c.hits.add(1)
		out[i] = v
	}
	return out
}

func (c *Cache) missed(err error) {
	if errors.Is(err, ErrMiss) {
		c.misses.add(1)
		return
	}
	c.faults.add(1)
}

func (c *Cache) read(data []byte, maxAge time.Duration) (*Value, bool) {
	if data == nil {
		return nil, false
	}
	v, err := Decode(data)
	if err != nil || maxAge > 0 && c.cfg.Clock.Now().Sub(v.At) > maxAge {
		return nil, false
	}
	return v, true
}

// Put keeps what value makes, later: it is called elsewhere and must not use what
// the call will use again. It may return nil. ttl 0 is the settings'.
func (c *Cache) Put(key string, value func() *Value, ttl time.Duration) {
	o := c.now.Load()
	if o == nil {
		return
	}
	if ttl == 0 {
		ttl = o.ttl
	}
	select {
	case c.queue <- write{o, key, value, ttl}:
	default:
		c.dropped.add(1)
	}
}

// Run writes what is to be kept and looks after a store that is away, until ctx
// ends. Then the store is closed.
func (c *Cache) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range writers {
		group.Go(func() error { return c.writes(ctx) })
	}
	group.Go(func() error { return c.looks(ctx) })
	err := group.Wait()
	return errors.Join(err, c.Use(nil))
}

func (c *Cache) writes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-c.queue:
			c.write(ctx, w)
		}
	}
}

func (c *Cache) write(ctx context.Context, w write) {
	v := w.value()
	if v == nil || len(v.Body) > w.to.most {
		return
	}
	if err := w.to.store.Set(ctx, w.key, v.Encode(), w.ttl); err != nil {
		c.dropped.add(1)
		return
	}
	c.stored.add(1)
}

func (c *Cache) looks(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if o := c.now.Load(); o != nil && o.breaker != nil {
				o.breaker.look(ctx)
			}
		}
	}
}
