// Package rate counts requests, tokens and calls in flight against their
// limits, so that no 60-second span ever admits more than a limit allows. It
// knows limits as 64-bit ids with a number; whose they are, where the number
// comes from and what a refusal looks like to a client is not its business, and
// it never counts money.
package rate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// Kind is what a rate limit counts.
type Kind uint8

// The kinds, as they appear in headers and refusals.
const (
	Requests Kind = iota + 1
	Tokens
	Parallel
)

// String is LiteLLM's word for the kind.
func (k Kind) String() string {
	switch k {
	case Requests:
		return "requests"
	case Tokens:
		return "tokens"
	}
	return "max_parallel_requests"
}

const (
	stripes = 512
	// idle rings hold nothing that still counts after 64 s; the margin keeps a
	// limit that is used once a minute from being evicted and rebuilt for ever.
	idleAfter = 70 * time.Second
	// sweepEvery and sweepStripes spread eviction: a whole pass takes 32 s.
	sweepEvery   = time.Second
	sweepStripes = 16
)

// Config of a Limiter.
type Config struct {
	// Seed keys the hash of limit ids. All nodes of a cluster use the same one,
	// and clients must not know it: ids named in requests are hashed too, and a
	// crafted collision would let one tenant use up another's limit.
	Seed  [16]byte
	Clock unit.Clock // nil: the system's
	// Peers are the other nodes; nil: there are none, ever.
	Peers Peers
	// Strict tells whether only a side of a partition that is the majority may use
	// a limit, and not even for a moment both. nil: no.
	Strict func() bool
}

// Limiter holds the rings of every limit this node owns, and what it holds of
// the limits that others own.
type Limiter struct {
	clock  unit.Clock
	start  time.Time
	k0, k1 uint64

	stripe [stripes]stripe

	cluster
}

// cluster is what a limiter needs only where there are other nodes.
type cluster struct {
	peers  Peers
	strict func() bool
	seq    atomic.Uint64 // of asks
	ticked atomic.Int64  // when this node last ticked; 0: it does not
	found  atomic.Uint64 // grows with what is found out about other nodes
	seen   atomic.Pointer[outlook]
	lines  atomic.Pointer[[]*line]
	kick   chan struct{} // asks wait
	turned chan struct{} // the outlook has changed
	stats  stats
	work   work

	viewing   sync.Mutex // guards the making of outlooks
	numbering sync.Mutex // guards numbers and the growth of lines
	numbers   map[string]uint16

	moving  atomic.Bool                              // some limit has been at home elsewhere before
	doubted atomic.Bool                              // another may have granted meanwhile
	reigns  atomic.Pointer[map[string]time.Duration] // until when this node may grant, by area
	astray  atomic.Bool                              // rings have come that others own
	homing  atomic.Pointer[[]string]                 // regions by number
	finals  finals
	claims  claimsOpen
}

// stripe is a share of the limits. index and rings hold no pointers, so a
// million of them cost the collector nothing.
type stripe struct {
	mu    sync.Mutex
	index map[uint64]uint32
	rings []ring
	held  map[uint64]int64 // parallel units in use; absent is zero

	// With other nodes.
	duties  []duty // beside rings
	known   map[uint64]uint32
	records []record
	entries map[entryKey]entry
	queues  map[uint64][]*want
	backs   map[uint64][]slotUnits
	claims  map[uint64]uint16 // limits being claimed, and who wins
	live    []uint64          // records to look at
	dirty   []uint64          // rings to tell of

	_ [64]byte // neighbours are locked by other cores
}

// Hold is one limit that a request passes: what it asks for and, once taken,
// where the units stand. ID, Kind, Limit and Units are the caller's; Take fills
// the rest.
type Hold struct {
	ID    uint64
	Kind  Kind
	Limit int64
	// Home is the region whose nodes own the limit; "": any.
	Home string
	// Moves is how often Home has been another before. Of two homes the one with
	// more moves is the later.
	Moves uint32
	// Units asked for, and later the units held. 0 counts nothing but still
	// needs room for one: that is how count-after token limits are checked.
	Units int64

	Left  int64         // units left after Take
	Reset time.Duration // from Take until the whole limit is free again
	slot  uint32
	use   uint32 // slot of this node's own use
	inc   uint32 // of the node that granted
	by    uint16 // its number
	via   via
	taken bool
}

// Short says which limit refused a Take.
type Short struct {
	Index int   // in the holds given
	Left  int64 // units free now
	// RetryAfter is when enough units will have left the ring; 0 when waiting
	// does not help, because the limit is smaller than the request.
	RetryAfter time.Duration
	// Unsure is that whoever counts has not answered in time: the limit may have
	// room.
	Unsure bool
}

// New makes a Limiter. Its Run must be running for idle rings to be forgotten.
func New(cfg Config) *Limiter {
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	l := &Limiter{clock: cfg.Clock, start: cfg.Clock.Now()}
	l.k0, l.k1 = le64(cfg.Seed[:8]), le64(cfg.Seed[8:])
	for i := range l.stripe {
		l.stripe[i].index = make(map[uint64]uint32)
		l.stripe[i].held = make(map[uint64]int64)
	}
	if cfg.Peers != nil {
		l.join(cfg)
	}
	return l
}

// ID is the limit of a scope and kind, alike on every node with the same seed.
func (l *Limiter) ID(scope model.Scope, kind Kind) uint64 {
	return sip13(l.k0, l.k1, byte(scope.Dim), byte(kind), scope.ID)
}

// Run forgets idle rings and keeps in touch with the other nodes until ctx ends.
func (l *Limiter) Run(ctx context.Context) error {
	if l.peers != nil {
		return l.runTogether(ctx)
	}
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	next := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			l.evict(next, sweepStripes)
			next = (next + sweepStripes) % stripes
		}
	}
}

// Rings is how many limits are remembered, for metrics.
func (l *Limiter) Rings() int {
	n := 0
	for i := range l.stripe {
		s := &l.stripe[i]
		s.mu.Lock()
		n += len(s.rings) + len(s.held) + len(s.records)
		s.mu.Unlock()
	}
	return n
}

func (l *Limiter) of(id uint64) *stripe { return &l.stripe[id%stripes] }

// elapsed is monotonic: the machine's wall clock may jump, a span may not.
func (l *Limiter) elapsed() time.Duration { return max(0, l.clock.Now().Sub(l.start)) }

func (l *Limiter) evict(from, n int) {
	oldest := slotAt(l.elapsed() - idleAfter)
	if l.elapsed() < idleAfter {
		return
	}
	for i := from; i < from+n; i++ {
		s := &l.stripe[i%stripes]
		s.mu.Lock()
		for j := 0; j < len(s.rings); {
			if s.rings[j].last >= oldest {
				j++
				continue
			}
			delete(s.index, s.rings[j].id)
			if end := len(s.rings) - 1; j != end {
				s.rings[j] = s.rings[end]
				s.index[s.rings[j].id] = uint32(j)
			}
			s.rings = s.rings[:len(s.rings)-1]
		}
		if len(s.rings) == 0 {
			s.rings = nil
		}
		s.mu.Unlock()
	}
}
