package admit

import (
	"hash/maphash"
	"math"
	"sync"
)

const (
	learnShards = 64
	// learnEntries bounds a shard; the whole takes some tens of megabytes at most.
	learnEntries = 4096
	// learnDefault is assumed of a key and group of which nothing is known.
	learnDefault = 1024
	quantile     = 0.95
	// learnStep: a jump in sizes is followed within some 20 calls upwards and
	// some hundreds downwards, so that a reservation errs on the large side.
	learnStep = 0.15
	learnMost = 1 << 24
)

// learned keeps a decaying 95th percentile of output tokens per key and model
// group, and per group over all keys, in eight bytes each. The estimate steps
// up by 19 parts for every call above it and down by one for every call below,
// and so rests where one call in twenty is above.
type learned struct {
	seed  maphash.Seed
	shard [learnShards]learnShard
}

type learnShard struct {
	mu sync.Mutex
	m  map[uint64]estimate
}

type estimate struct {
	tokens float32
	seen   uint32
}

func (l *learned) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.shard {
		l.shard[i].m = make(map[uint64]estimate)
	}
}

func (l *learned) hash(key, group string) uint64 {
	return maphash.String(l.seed, key)*0x9e3779b97f4a7c15 ^ maphash.String(l.seed, group)
}

func (l *learned) of(key, group string) int64 {
	if t, ok := l.get(l.hash(key, group)); ok {
		return t
	}
	if t, ok := l.get(l.hash("", group)); ok {
		return t
	}
	return learnDefault
}

func (l *learned) get(h uint64) (int64, bool) {
	s := &l.shard[h%learnShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.m[h]
	return int64(math.Ceil(float64(e.tokens))), ok
}

func (l *learned) learn(key, group string, tokens int64) {
	l.step(l.hash(key, group), tokens)
	if key != "" {
		l.step(l.hash("", group), tokens)
	}
}

func (l *learned) step(h uint64, tokens int64) {
	x := float32(min(max(tokens, 1), learnMost))
	s := &l.shard[h%learnShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.m[h]
	if !ok && len(s.m) >= learnEntries {
		for old := range s.m { // any one: map order is as good as an age here
			delete(s.m, old)
			break
		}
	}
	switch {
	case e.seen < 10: // too few to know the tail: stay above all of them
		e.tokens = max(e.tokens, x*1.5)
	case x > e.tokens:
		e.tokens *= 1 + learnStep*quantile
	default:
		e.tokens = max(1, e.tokens*(1-learnStep*(1-quantile)))
	}
	if e.seen < math.MaxUint32 {
		e.seen++
	}
	s.m[h] = e
}
