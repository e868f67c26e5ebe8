package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tollgate/ledger/store"
)

// ErrEnded is the answer to who asks something of a reader that has stopped.
var ErrEnded = errors.New("the reader has ended")

// Reader takes the entries of one ledger to one sink.
type Reader struct {
	l          *store.Ledger
	name       string
	sink       Sink
	positioned Positioned // nil when the sink is not
	cfg        Config
	log        *slog.Logger

	counts counts
	turn   chan struct{} // holds one token: who has it may use the sink

	mu       sync.Mutex // guards all below
	changed  chan struct{}
	phase    phase
	pos      uint64
	started  uint64 // attempts begun
	failed   uint64 // the last attempt that failed
	lastErr  error
	urgent   uint64 // up to here nothing may linger
	nudged   bool   // the next pause is not taken
	wake     context.CancelFunc
	cursor   *store.Cursor
	failing  time.Time // since when; zero while all is well
	lastGood time.Time
}

type phase uint8

const (
	fresh phase = iota
	running
	ended
)

// New makes the reader called name, which is also its cursor's name.
func New(l *store.Ledger, name string, s Sink, cfg Config) *Reader {
	cfg = cfg.WithDefaults()
	r := &Reader{l: l, name: name, sink: s, cfg: cfg, log: cfg.Logger.With("reader", name),
		turn: make(chan struct{}, 1), changed: make(chan struct{})}
	r.positioned, _ = s.(Positioned)
	r.turn <- struct{}{}
	return r
}

// Run delivers until ctx ends. No fault of a sink ends it. A reader runs once.
func (r *Reader) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.phase != fresh {
		r.mu.Unlock()
		return fmt.Errorf("reader %s: it has run before", r.name)
	}
	r.phase = running
	r.mu.Unlock()
	defer r.set(func() { r.phase = ended })
	w := walk{Reader: r, size: r.cfg.MaxEntries}
	for ctx.Err() == nil {
		if err := w.step(ctx); err != nil && ctx.Err() == nil {
			w.fault(err)
			r.pause(ctx, w.wait(err))
		}
	}
	return nil
}

// walk is the state of Run.
type walk struct {
	*Reader
	cursor *store.Cursor
	asked  bool // the position of a Positioned sink is known
	pos    uint64

	attempt uint64
	faults  int // in a row, since something was delivered; wishes for later do not count
	wishes  int
	size    int // of the next batch; below MaxEntries while one entry is suspected
	alone   int // faults in a row of a batch of one
	probe   int // distance of the entry that was last tried instead
	told    string
}

// step does one thing: find the place, wait, or deliver a batch.
func (w *walk) step(ctx context.Context) error {
	if err := w.place(ctx); err != nil {
		return err
	}
	if w.l.LastSeq() <= w.pos {
		return w.l.Wait(ctx, w.pos)
	}
	if w.size == w.cfg.MaxEntries {
		w.linger(ctx)
	}
	w.begin()
	b, err := w.read(w.pos, w.size)
	if err != nil {
		return err
	}
	return w.take(ctx, b)
}

// place finds where to go on: at the cursor, or where a Positioned sink stands.
func (w *walk) place(ctx context.Context) error {
	if w.cursor == nil {
		c, err := w.open()
		if err != nil {
			return fmt.Errorf("open cursor: %w", err)
		}
		w.cursor, w.pos = c, c.Seq()
		w.set(func() { w.Reader.cursor, w.Reader.pos = c, w.pos })
		w.trim()
	}
	if w.positioned != nil && !w.asked {
		w.begin()
		pos, err := w.position(ctx)
		if err != nil {
			return fmt.Errorf("ask for the position: %w", err)
		}
		w.asked = true
		if pos == 0 && w.cfg.FromNow {
			pos = w.pos // it has taken nothing yet, and does not want what was before it
		}
		return w.move(pos)
	}
	if s := w.cursor.Seq(); s > w.pos { // its claim was taken
		w.pos = s
		w.set(func() { w.Reader.pos = s })
	}
	return nil
}

func (w *walk) open() (*store.Cursor, error) {
	if !w.cfg.Loose {
		return w.l.Cursor(w.name)
	}
	var from uint64
	if w.cfg.FromNow {
		from = w.l.LastSeq()
	}
	return w.l.LooseCursor(w.name, from)
}

func (w *walk) position(ctx context.Context) (uint64, error) {
	if err := w.acquire(ctx); err != nil {
		return 0, err
	}
	defer w.release()
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Within)
	defer cancel()
	return w.positioned.Position(ctx)
}

// move follows a sink to where it stands, forward or back.
func (w *walk) move(pos uint64) error {
	var err error
	switch {
	case pos > w.pos:
		err = w.cursor.Advance(pos)
	case pos < w.pos:
		// Its last entries were not for it, or it has lost what it had.
		w.log.Info("reader goes back to where its sink stands", "cursor", w.pos, "sink", pos)
		err = w.cursor.Rewind(pos)
	}
	if err != nil {
		return err
	}
	if pos > w.pos {
		w.well()
	}
	w.pos = pos
	w.set(func() { w.Reader.pos = pos })
	return nil
}

// take brings one batch to the sink and moves the cursor past it.
func (w *walk) take(ctx context.Context, b *batch) error {
	if len(b.entries) > 0 {
		err := w.deliver(ctx, b.entries)
		var refused *Rejected
		switch {
		case err == nil:
		case errors.As(err, &refused):
			return w.aside(b, refused)
		default:
			w.asked = false
			w.counts.retried.Add(1)
			var later *Later
			if w.positioned == nil && !errors.As(err, &later) {
				return w.suspect(ctx, b, err)
			}
			return err
		}
	}
	if err := w.cursor.Advance(b.upTo); err != nil {
		return err
	}
	w.done(b, 0)
	return nil
}

// aside keeps the refused entries of a batch as dead letters.
func (w *walk) aside(b *batch, refused *Rejected) error {
	var dead []store.DeadLetter
	now := w.cfg.Clock.Now()
	for _, e := range b.entries {
		if why := refused.Entries[e.Seq]; why != nil {
			dead = append(dead, store.DeadLetter{Seq: e.Seq, At: now, Reason: why.Error(), Entry: e})
		}
	}
	if err := w.cursor.PutAside(b.upTo, dead); err != nil {
		return err
	}
	if len(dead) > 0 {
		w.log.Error("entries refused and put aside", "count", len(dead), "first", dead[0].Seq, "reason", dead[0].Reason)
		w.counts.rejected.Add(uint64(len(dead)))
		w.trim()
	}
	w.done(b, len(dead))
	return nil
}

// done books a batch that is dealt with.
func (w *walk) done(b *batch, dead int) {
	c := &w.counts
	c.skipped.Add(b.skipped)
	c.withheld.Add(b.withheld)
	c.damaged.Add(b.damaged)
	if n := len(b.entries); n > 0 {
		c.delivered.Add(uint64(n - dead))
		c.batches.Add(1)
		w.well()
	}
	w.pos = b.upTo
	w.set(func() { w.Reader.pos = b.upTo })
}

// well forgets the faults: the sink takes entries again.
func (w *walk) well() {
	if w.told != "" {
		w.log.Info("delivery goes on", "seq", w.pos)
	}
	w.told, w.faults, w.wishes, w.alone, w.probe = "", 0, 0, 0, 0
	w.size = min(w.cfg.MaxEntries, w.size*2)
	now := w.cfg.Clock.Now()
	w.set(func() { w.failing, w.lastGood, w.lastErr = time.Time{}, now, nil })
}

// begin numbers an attempt, so that who waits can tell an old fault from a new.
func (w *walk) begin() {
	w.mu.Lock()
	w.started++
	w.attempt = w.started
	w.mu.Unlock()
}

// fault notes what went wrong, and tells it once for as long as it is the same.
func (w *walk) fault(err error) {
	if s := err.Error(); s != w.told {
		w.told = s
		w.log.Warn("delivery failed, it is tried again", "after", w.pos, "error", err)
	}
	now := w.cfg.Clock.Now()
	w.set(func() {
		if w.failing.IsZero() {
			w.failing = now
		}
		w.failed, w.lastErr = max(w.failed, w.attempt), err
	})
}

// wait is the pause after a fault.
func (w *walk) wait(err error) time.Duration {
	var later *Later
	wish := errors.As(err, &later)
	if wish {
		w.wishes++
	} else {
		w.faults++
	}
	d := min(w.cfg.MinPause<<min(w.faults+w.wishes-1, 20), w.cfg.MaxPause)
	// Nodes whose sink went away together must not come back together.
	d = d*3/4 + time.Duration(w.cfg.Rand()*float64(d)/2)
	if wish && later.After > 0 {
		d = min(later.After, w.cfg.MaxLater) + time.Duration(w.cfg.Rand()*float64(w.cfg.MinPause))
	}
	return d
}

func (r *Reader) deliver(ctx context.Context, entries []*store.Entry) error {
	if err := r.acquire(ctx); err != nil {
		return err
	}
	defer r.release()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Within)
	defer cancel()
	return r.sink.Deliver(ctx, entries)
}

func (r *Reader) acquire(ctx context.Context) error {
	select {
	case <-r.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Reader) release() { r.turn <- struct{}{} }

// set changes what mu guards and wakes who waits for it.
func (r *Reader) set(fn func()) {
	r.mu.Lock()
	fn()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}
