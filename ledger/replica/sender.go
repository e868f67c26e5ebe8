package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// SenderConfig is what a Sender works with.
type SenderConfig struct {
	Ledger *store.Ledger
	// Book is the ledger's BookID.
	Book string
	View func() View
	Call Call
	// Mode may change while the gateway runs; nil is Async.
	Mode func() Mode
	// Allow says what of an entry a node may keep; nil: all of it.
	Allow func(*store.Entry, Member) Permit
	// Flushed is the last entry that stands in the database, and needs no copy;
	// nil where there is none: then a copy has all that the ledger has.
	Flushed func() uint64

	MaxBytes int           // of a message, default 1 MiB
	Linger   time.Duration // how long an entry waits for others, default 100 ms
	// Calls in flight for IntentAge are sent too, looked for each IntentEvery.
	IntentAge   time.Duration // default 1 s
	IntentEvery time.Duration // default 500 ms
	// A peer that does not answer for Patience is left for another.
	Patience time.Duration // default 1 min
	Within   time.Duration // bounds one message, default 10 s
	// SyncWithin bounds how long a call waits for its copy, default 1 s.
	SyncWithin time.Duration

	Clock  unit.Clock
	Logger *slog.Logger
}

// WithDefaults fills what is not set.
func (c SenderConfig) WithDefaults() SenderConfig {
	if c.Mode == nil {
		c.Mode = func() Mode { return Async }
	}
	def(&c.MaxBytes, 1<<20)
	def(&c.Linger, 100*time.Millisecond)
	def(&c.IntentAge, time.Second)
	def(&c.IntentEvery, 500*time.Millisecond)
	def(&c.Patience, time.Minute)
	def(&c.Within, 10*time.Second)
	def(&c.SyncWithin, time.Second)
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Sender sends one ledger to one other node, in order, and remembers nothing
// that must survive: how far the copy has come, the copy itself knows.
type Sender struct {
	cfg    SenderConfig
	log    *slog.Logger
	counts counts

	acked   atomic.Uint64 // the peer has all up to here on its disk
	lagging atomic.Bool   // calls do not wait: a copy was late
	urgent  atomic.Uint64 // up to here nothing may linger

	mu      sync.Mutex // guards all below
	changed chan struct{}
	peer    Member
	lastErr error
	ended   bool
	hurry   chan struct{} // closed when urgent has grown
}

// NewSender makes a Sender.
func NewSender(cfg SenderConfig) *Sender {
	cfg = cfg.WithDefaults()
	return &Sender{cfg: cfg, log: cfg.Logger, changed: make(chan struct{}), hurry: make(chan struct{})}
}

// set changes what mu guards and wakes who waits for it.
func (s *Sender) set(fn func()) {
	s.mu.Lock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

const (
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
	// idlePause is how soon a node without a peer looks again.
	idlePause = time.Second
	// lookEvery is how often a node that leaves looks at how far it is.
	lookEvery = 50 * time.Millisecond
)

// Run sends until ctx ends; no fault of another node ends it. It runs once.
func (s *Sender) Run(ctx context.Context) error {
	// The time lets a second run of one incarnation go on above the first.
	w := &stream{Sender: s, turn: turn{s.cfg.Ledger.Incarnation(), uint64(max(0, s.cfg.Clock.Now().UnixMicro()))}}
	defer s.set(func() { s.ended = true })
	for ctx.Err() == nil {
		if s.cfg.Mode() == Off {
			w.drop()
			rest(ctx, idlePause)
			continue
		}
		if !w.choose() {
			rest(ctx, idlePause)
			continue
		}
		err := w.step(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			w.fault(err)
			rest(ctx, min(minPause<<min(w.faults-1, 10), maxPause))
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Wait returns when the copy has the entry, in mode sync. It waits a second at
// most: then, and while the copy is behind, calls do not wait, and are counted.
func (s *Sender) Wait(ctx context.Context, seq uint64) {
	if s.acked.Load() >= seq || s.cfg.Mode() != Sync {
		return
	}
	if s.lagging.Load() || s.Peer() == "" {
		s.counts.unwaited.Add(1)
		return
	}
	s.press(seq)
	within, end := context.WithTimeout(ctx, s.cfg.SyncWithin)
	defer end()
	if s.await(within, seq) == nil {
		return
	}
	s.counts.unwaited.Add(1)
	if ctx.Err() == nil {
		s.lagging.Store(true)
		if s.acked.Load() >= seq { // it came between
			s.lagging.Store(false)
		}
	}
}

// press has entries up to one sent without lingering.
func (s *Sender) press(seq uint64) {
	for {
		old := s.urgent.Load()
		if old >= seq {
			return
		}
		if s.urgent.CompareAndSwap(old, seq) {
			break
		}
	}
	s.mu.Lock()
	close(s.hurry)
	s.hurry = make(chan struct{})
	s.mu.Unlock()
}

// await waits until the copy has come to an entry.
func (s *Sender) await(ctx context.Context, seq uint64) error {
	for {
		s.mu.Lock()
		ch, ended := s.changed, s.ended
		s.mu.Unlock()
		switch {
		case s.acked.Load() >= seq:
			return nil
		case ended:
			return errors.New("copying has ended")
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// HandOver returns when another node, or the database, has all that is booked
// now: the node is about to leave.
func (s *Sender) HandOver(ctx context.Context) error {
	target := s.cfg.Ledger.LastSeq()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	s.press(target)
	for s.acked.Load() < target && s.floor() < target {
		if s.cfg.Mode() == Off {
			return fmt.Errorf("hand the ledger over: copies are off, and %d entries are not in the database", s.lag(target))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			err := ctx.Err()
			if s.Peer() == "" {
				err = ErrNoPeer
			} else if e := s.LastError(); e != nil {
				err = e
			}
			return fmt.Errorf("hand the ledger over, %d entries are left: %w", s.lag(target), err)
		}
	}
	return nil
}

func (s *Sender) lag(target uint64) uint64 {
	n, _, err := s.cfg.Ledger.Pending(max(s.acked.Load(), s.floor()), target)
	if err != nil {
		s.log.Error("entries without a copy not counted", "error", err)
	}
	return n
}

// floor is the last entry that no copy is needed of.
func (s *Sender) floor() uint64 {
	if s.cfg.Flushed != nil {
		return s.cfg.Flushed()
	}
	first, err := s.cfg.Ledger.FirstSeq()
	if err != nil {
		s.log.Error("oldest entry not found", "error", err)
		return 0
	}
	return max(first, 1) - 1
}

// Peer is the node that keeps the copy, "" while there is none.
func (s *Sender) Peer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer.ID
}

// LastError is why the copy does not go on, nil while it does.
func (s *Sender) LastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// Acked is the last entry that the copy has.
func (s *Sender) Acked() uint64 { return s.acked.Load() }
