package cache

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"tollgate/config/unit"
)

// Bounds of the store in memory. LiteLLM keeps 200 answers; here bytes are what
// is scarce, and most answers are small.
const (
	defaultItems     = 10_000
	defaultBytes     = 64 << 20
	defaultItemBytes = 1 << 20
	defaultMemoryTTL = 600 * time.Second
)

// itemOverhead is what an item takes beside its key and value: keys are many and
// answers small, so leaving it out would let memory grow to a multiple.
const itemOverhead = 200

// memory keeps values in this process.
type memory struct {
	items *otter.Cache[string, item]
	clock unit.Clock
}

type item struct {
	value []byte
	until time.Time
}

var _ Store = (*memory)(nil)

// newMemory is a store of at most so many items and bytes. The library bounds
// one of the two: an item weighs what it takes of the bytes, and at least its
// share of them by number.
func newMemory(items int, bytes int64, clock unit.Clock) (*memory, error) {
	share := uint64(max(bytes/int64(items), 1))
	opts := &otter.Options[string, item]{
		MaximumWeight: uint64(bytes),
		Weigher: func(key string, v item) uint32 {
			w := max(uint64(len(key)+len(v.value)+itemOverhead), share)
			return uint32(min(w, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, item]) time.Duration {
			return max(e.Value.until.Sub(clock.Now()), time.Nanosecond)
		}),
		// Evicting is a walk over a few links: a goroutine for it would cost more,
		// and nobody would wait for it at the end.
		Executor: func(work func()) { work() },
	}
	c, err := otter.New(opts)
	if err != nil {
		return nil, fmt.Errorf("make a cache in memory: %w", err)
	}
	return &memory{items: c, clock: clock}, nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	v, ok := m.items.GetIfPresent(key)
	// The library looks at its own clock, at intervals.
	if !ok || !m.clock.Now().Before(v.until) {
		return nil, ErrMiss
	}
	return v.value, nil
}

func (m *memory) GetAll(ctx context.Context, keys []string) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i], _ = m.Get(ctx, k)
	}
	return out, nil
}

func (m *memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.items.Set(key, item{value, m.clock.Now().Add(ttl)})
	return nil
}

func (m *memory) Delete(_ context.Context, keys []string) error {
	for _, k := range keys {
		m.items.Invalidate(k)
	}
	return nil
}

func (m *memory) Flush(context.Context) error {
	m.items.InvalidateAll()
	return nil
}

func (m *memory) Ping(context.Context) error { return nil }

func (m *memory) Close() error {
	m.items.InvalidateAll()
	m.items.StopAllGoroutines()
	return nil
}

// size is how many items there are and the bytes that they count for.
func (m *memory) size() (items int, bytes uint64) {
	m.items.CleanUp()
	return m.items.EstimatedSize(), m.items.WeightedSize()
}

// counter is a number that metrics read.
type counter struct{ n atomic.Uint64 }

func (c *counter) add(n int)      { c.n.Add(uint64(n)) }
func (c *counter) value() float64 { return float64(c.n.Load()) }
