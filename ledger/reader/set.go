package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// Named is a reader to be: its name, which is its cursor's too, where it
// delivers and how. A sink that is an io.Closer is closed once its reader has ended.
type Named struct {
	Name   string
	Sink   Sink
	Config Config
	// Settings stands for everything that Sink and Config were made of: a
	// reader whose Settings did not change goes on untouched.
	Settings string
}

// SetConfig is for a Set.
type SetConfig struct {
	Clock  unit.Clock
	Logger *slog.Logger
	// Others are cursors of the ledger that something else moves.
	Others []string
}

// Set is all readers of one ledger. They run beside each other, and none waits
// for another; which they are may change while they run.
type Set struct {
	l   *store.Ledger
	cfg SetConfig

	change sync.Mutex // one Update at a time; guards running

	mu      sync.Mutex // guards all below, never held over I/O
	ctx     context.Context
	ended   bool
	readers map[string]*member
	told    map[string]bool // unused cursors that were told of
}

type member struct {
	Named
	*Reader
	cancel context.CancelFunc
	done   chan struct{} // nil while it does not run
}

// NewSet makes an empty Set.
func NewSet(l *store.Ledger, cfg SetConfig) *Set {
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Set{l: l, cfg: cfg, readers: map[string]*member{}, told: map[string]bool{}}
}

// Update replaces the readers. Those with the same name and Settings go on;
// those that are gone end, and what they have not delivered stays for them
// until Forget. It returns when they have ended.
func (s *Set) Update(want []Named) error {
	s.change.Lock()
	defer s.change.Unlock()
	next := map[string]*member{}
	var errs []error
	for _, n := range want {
		if next[n.Name] != nil {
			errs = append(errs, errors.Join(fmt.Errorf("reader %s is given twice", n.Name), closeSink(n.Sink)))
			continue
		}
		if err := n.Config.Validate(); err != nil {
			errs = append(errs, errors.Join(fmt.Errorf("reader %s: %w", n.Name, err), closeSink(n.Sink)))
			continue
		}
		if n.Config.Clock == nil {
			n.Config.Clock = s.cfg.Clock
		}
		if n.Config.Logger == nil {
			n.Config.Logger = s.cfg.Logger
		}
		next[n.Name] = &member{Named: n}
	}
	s.mu.Lock()
	var over []*member
	for name, old := range s.readers {
		if m := next[name]; m != nil && m.Settings == old.Settings {
			if m.Sink != old.Sink {
				errs = append(errs, closeSink(m.Sink)) // made for nothing
			}
			next[name] = old
			continue
		}
		over = append(over, old)
	}
	s.mu.Unlock()
	for _, m := range over { // a cursor has one user at a time
		errs = append(errs, m.end())
	}
	s.mu.Lock()
	s.readers = next
	for _, m := range next {
		delete(s.told, m.Named.Name)
		if m.Reader == nil {
			m.Reader = New(s.l, m.Named.Name, m.Sink, m.Config)
			s.start(m)
		}
	}
	s.mu.Unlock()
	return errors.Join(errs...)
}

// start runs a member if the set runs; called with mu held.
func (s *Set) start(m *member) {
	if s.ctx == nil || s.ended {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	m.cancel, m.done = cancel, make(chan struct{})
	go func() {
		defer close(m.done)
		if err := m.Run(ctx); err != nil {
			s.cfg.Logger.Error("reader ended", "reader", m.Named.Name, "error", err)
		}
	}()
}

// end stops a member and closes its sink.
func (m *member) end() error {
	if m.done != nil {
		m.cancel()
		<-m.done
	}
	return closeSink(m.Sink)
}

func closeSink(s Sink) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// unusedEvery is how often cursors that nobody moves are looked for.
const unusedEvery = time.Hour

// Run runs the readers until ctx ends, closes their sinks and returns.
func (s *Set) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return errors.New("run readers: they run already")
	}
	s.ctx = ctx
	for _, m := range s.readers {
		s.start(m)
	}
	s.mu.Unlock()
	tick := time.NewTicker(unusedEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.tellUnused()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.change.Lock()
	defer s.change.Unlock()
	s.mu.Lock()
	s.ended = true
	all := slices.Collect(maps.Values(s.readers))
	s.mu.Unlock()
	var errs []error
	for _, m := range all {
		errs = append(errs, m.end())
	}
	return errors.Join(errs...)
}

// tellUnused warns of cursors that keep entries for a reader that is gone.
func (s *Set) tellUnused() {
	for _, u := range s.unused() {
		s.mu.Lock()
		told := s.told[u.Name]
		s.told[u.Name] = true
		s.mu.Unlock()
		if !told {
			s.cfg.Logger.Warn("entries are kept for a reader that is not configured any more",
				"reader", u.Name, "entries", u.Lag, "oldest", u.Oldest)
		}
	}
}

// unused are the cursors that nothing moves.
func (s *Set) unused() []Stats {
	cursors, err := s.l.Cursors()
	if err != nil {
		s.cfg.Logger.Error("cursors not readable", "error", err)
		return nil
	}
	s.mu.Lock()
	for name := range s.readers {
		delete(cursors, name)
	}
	s.mu.Unlock()
	for _, name := range s.cfg.Others {
		delete(cursors, name)
	}
	var out []Stats
	for _, name := range slices.Sorted(maps.Keys(cursors)) {
		st := Stats{Name: name, Position: cursors[name], Unused: true}
		st.Lag, st.Oldest, _ = s.l.Pending(st.Position, s.l.LastSeq())
		if n, err := s.l.CountDead(name); err == nil {
			st.Dead = n
		}
		out = append(out, st)
	}
	return out
}

// ErrUnknown is the answer for a name that no reader has.
var ErrUnknown = errors.New("no reader of this name")

// Reader finds a reader by name.
func (s *Set) Reader(name string) (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.readers[name]; m != nil {
		return m.Reader, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
}

// Flush flushes all readers at once; a fault of one does not end the others.
func (s *Set) Flush(ctx context.Context) error {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.readers))
	s.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() { errs[i] = m.Flush(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Replay brings dead letters of one reader to its sink again.
func (s *Set) Replay(ctx context.Context, name string, f Filter) (Replayed, error) {
	r, err := s.Reader(name)
	if err != nil {
		return Replayed{}, err
	}
	return r.Replay(ctx, f)
}

// Forget gives up what is kept for a reader that is not configured any more:
// its place in the ledger and its dead letters.
func (s *Set) Forget(name string) error {
	s.change.Lock()
	defer s.change.Unlock()
	if _, err := s.Reader(name); err == nil || slices.Contains(s.cfg.Others, name) {
		return fmt.Errorf("forget reader %s: it is in use", name)
	}
	cursors, err := s.l.Cursors()
	if err != nil {
		return err
	}
	if _, ok := cursors[name]; !ok {
		return fmt.Errorf("forget reader: %w: %s", ErrUnknown, name)
	}
	return s.l.DropCursor(name)
}

// Stats are those of all readers, by name, and of cursors that no reader moves.
func (s *Set) Stats() []Stats {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.readers))
	s.mu.Unlock()
	out := s.unused()
	for _, m := range all {
		out = append(out, m.Stats())
	}
	slices.SortFunc(out, func(a, b Stats) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}
