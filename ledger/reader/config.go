package reader

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// Bodies says which prompts and answers a reader loads with its entries.
type Bodies uint8

// The choices: none, those that rows show, and also those kept for callbacks only.
const (
	NoBodies Bodies = iota
	RowBodies
	CallbackBodies
)

// Config says how a reader cuts its batches and how long it bears faults.
type Config struct {
	// MaxEntries and MaxBytes bound a batch, and with it what a reader holds in
	// memory. One entry is always taken, however large.
	MaxEntries int // default 100
	MaxBytes   int // default 4 MiB
	// Linger is how long the first entry of a batch may wait for others. 0
	// delivers at once what there is.
	Linger time.Duration
	Bodies Bodies

	// Want leaves out what the sink is not for, Allow what must not leave for
	// it: where a call's data may go is a hard rule. nil takes all.
	Want  func(*store.Entry) bool
	Allow func(*store.Entry) bool
	// Whole says whether the sink may have the entry as it is; else it is given
	// stripped (store.Entry.Strip). nil: always.
	Whole func(*store.Entry) bool

	// FromNow lets a new reader begin with the calls to come instead of the
	// oldest that the ledger has.
	FromNow bool
	// Loose marks a reader that the books do not depend on: when the ledger is
	// nearly full it loses what it lags behind, instead of calls being refused.
	Loose bool

	// A fault is followed by a pause from MinPause, doubled up to MaxPause, with
	// jitter. A sink's own wish (Later) is kept up to MaxLater.
	MinPause time.Duration // default 1 s
	MaxPause time.Duration // default 60 s
	MaxLater time.Duration // default 15 min
	// Within bounds one delivery.
	Within time.Duration // default 2 min
	// Patience is how many faults in a row a batch may meet before the reader
	// looks for one entry that alone is to blame. Not for Positioned sinks.
	Patience int // default 10

	// Dead letters beyond KeepDead, or older than KeepDeadFor, are dropped.
	KeepDead    int           // default 10,000
	KeepDeadFor time.Duration // default 30 days

	Clock  unit.Clock
	Logger *slog.Logger
	Rand   func() float64 // in [0, 1), for the jitter
}

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	c.MaxEntries = orDefault(c.MaxEntries, 100)
	c.MaxBytes = orDefault(c.MaxBytes, 4<<20)
	c.MinPause = orDefault(c.MinPause, time.Second)
	c.MaxPause = orDefault(c.MaxPause, time.Minute)
	c.MaxLater = orDefault(c.MaxLater, 15*time.Minute)
	c.Within = orDefault(c.Within, 2*time.Minute)
	c.Patience = orDefault(c.Patience, 10)
	c.KeepDead = orDefault(c.KeepDead, 10_000)
	c.KeepDeadFor = orDefault(c.KeepDeadFor, 30*24*time.Hour)
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Validate lists everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if c.MaxEntries < 0 || c.MaxBytes < 0 || c.KeepDead < 0 || c.Patience < 0 {
		errs = append(errs, errors.New("sizes of a reader must not be negative"))
	}
	if c.Linger < 0 || c.MinPause < 0 || c.MaxPause < 0 || c.MaxLater < 0 || c.Within < 0 || c.KeepDeadFor < 0 {
		errs = append(errs, errors.New("times of a reader must not be negative"))
	}
	return errors.Join(errs...)
}
