package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/config/unit"
)

// Config says where the ledger lies and how careful it is.
type Config struct {
	Dir string
	// Incarnation is this start of the node; 0 takes one more than the last.
	Incarnation uint64
	Sync        Mode          // default SyncProcess
	SyncEvery   time.Duration // background sync, default 10 ms
	Clock       unit.Clock
	Logger      *slog.Logger
	// KeepFor is how long entries stay once every cursor has passed them.
	KeepFor     time.Duration // default 90 days
	KeepRollups time.Duration // default 400 days
	// MaxBytes is the size at which new calls are refused (at 95 %), and
	// bodies dropped (at 80 %). 0: half of what the disk has free, at most 20 GB.
	MaxBytes int64
	// Ballast is a file that is deleted when the disk is full, so that the
	// calls in flight can still be booked. 0: 64 MiB; below 0: none.
	Ballast int64
	// BodyLimit is the most bytes of one body that are kept, default 1 MiB.
	BodyLimit  int
	CacheBytes int64 // for blocks that were read, default 16 MiB
	// BootID tells one start of the machine from another; "" reads the system's.
	BootID string
	// Fatal is told when the storage engine cannot go on and must not be
	// returned to; nil panics. The process is expected to end and start again.
	Fatal func(error)

	fs       vfs.FS // replaced by tests
	memTable uint64 // size of the engine's table in memory, 16 MiB
}

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	if c.Sync == "" {
		c.Sync = SyncProcess
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = 10 * time.Millisecond
	}
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.KeepFor == 0 {
		c.KeepFor = 90 * 24 * time.Hour
	}
	if c.KeepRollups == 0 {
		c.KeepRollups = 400 * 24 * time.Hour
	}
	if c.Ballast == 0 {
		c.Ballast = 64 << 20
	}
	if c.BodyLimit == 0 {
		c.BodyLimit = 1 << 20
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 16 << 20
	}
	if c.memTable == 0 {
		c.memTable = 16 << 20
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	return c
}

// Validate lists everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("ledger directory is not set"))
	}
	if c.Incarnation > maxIncarnation {
		errs = append(errs, fmt.Errorf("incarnation %d: at most %d", c.Incarnation, maxIncarnation))
	}
	switch c.Sync {
	case SyncProcess, SyncAlways, SyncNone:
	default:
		errs = append(errs, fmt.Errorf("ledger.sync %q: want process, always or none", c.Sync))
	}
	if c.SyncEvery < 0 || c.KeepFor < 0 || c.KeepRollups < 0 || c.MaxBytes < 0 || c.BodyLimit < 0 || c.CacheBytes < 0 {
		errs = append(errs, errors.New("ledger sizes and times must not be negative"))
	}
	return errors.Join(errs...)
}
