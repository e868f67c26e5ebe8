package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatVersion of the key space. A ledger with a higher one is refused.
const formatVersion = 1

// Ledger is one node's durable ledger. Open it, then run Run beside everything
// else; Close it last.
type Ledger struct {
	cfg         Config
	db          *pebble.DB
	slots       *slots
	wal         *walSync
	incarnation uint64
	rebooted    bool
	interrupted []Entry

	commits committer
	durable atomic.Uint64 // last seq that is committed as the mode promises
	totals  totals
	health  health
	waiters waiters
	counts  counters
	index   indexer
	claims  claims
	coders  coders

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Open opens or makes the ledger in cfg.Dir. It books every call that the last
// run left open at its maximum before it returns; Interrupted lists them.
func Open(cfg Config) (*Ledger, error) {
	l, err := newLedger(cfg.WithDefaults())
	if err != nil {
		return nil, err
	}
	if err := l.openDB(); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", cfg.Dir, err)
	}
	if err := l.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", cfg.Dir, err), l.Close())
	}
	return l, nil
}

// newLedger is one whose store is not open yet.
func newLedger(cfg Config) (*Ledger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger directory: %w", err)
	}
	z, err := newCoders()
	if err != nil {
		return nil, err
	}
	l := &Ledger{cfg: cfg, coders: z}
	l.health.log = cfg.Logger
	l.waiters.init()
	l.totals.init()
	l.wal = &walSync{woken: newAlarm(), failed: func(err error) { l.health.broke(err) }}
	return l, nil
}

func (l *Ledger) openDB() error {
	fs := vfs.FS(walFS{FS: vfs.OnDiskFull(l.cfg.fs, l.onDiskFull), s: l.wal})
	// The engine takes its tables in memory out of the cache's size, the one that
	// is written and the one that is being flushed. Were they not added, nothing
	// would be left for blocks, and each read would fetch a table's whole filter.
	cache := pebble.NewCache(l.cfg.CacheBytes + 2*int64(l.cfg.memTable))
	defer cache.Unref()
	opts := &pebble.Options{
		FS:    fs,
		Cache: cache,
		// Not newer: from the next format on the log carries synced offsets,
		// and a log whose sync was deferred would read as damaged after a
		// power cut.
		FormatMajorVersion:          pebble.FormatColumnarBlocks,
		MemTableSize:                l.cfg.memTable,
		MemTableStopWritesThreshold: 4,
		// Few, large and late: entries come in order and are read seldom, and on a
		// gateway the processor belongs to requests.
		L0CompactionThreshold: 12,
		LBaseMaxBytes:         512 << 20,
		L0StopWritesThreshold: 1000,
		MaxOpenFiles:          512,
		Logger:                dbLog{l},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { l.cfg.Logger.Error("ledger background work failed", "error", err) },
			DiskSlow: func(i pebble.DiskSlowInfo) {
				l.cfg.Logger.Warn("ledger disk is slow", "duration", i.Duration, "file", filepath.Base(i.Path))
				l.health.full(errDiskSlow) // until the next look at the space comes through
			},
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(filepath.Join(l.cfg.Dir, "db"), opts)
	if err != nil {
		return err
	}
	l.db = db
	return nil
}

// start settles who we are and what the last run left.
func (l *Ledger) start() error {
	if err := l.identify(); err != nil {
		return err
	}
	var err error
	if l.slots, err = openSlots(l.cfg.Dir); err != nil {
		return err
	}
	last, err := l.lastSeq()
	if err != nil {
		return err
	}
	if Incarnation(last) >= l.incarnation {
		return fmt.Errorf("incarnation %d was used before: the last entry is of %d", l.incarnation, Incarnation(last))
	}
	l.durable.Store(last)
	l.commits.next = Seq(l.incarnation, 1)
	l.commits.recent = map[CallID]uint64{}
	if err := l.index.load(l); err != nil {
		return err
	}
	// The index must be whole before open intents are judged: it tells the
	// settled ones from the rest.
	if err := l.CatchUp(); err != nil {
		return err
	}
	if err := l.loadTotals(); err != nil {
		return err
	}
	if err := l.chargeLeft(); err != nil {
		return err
	}
	if l.cfg.MaxBytes == 0 {
		l.cfg.MaxBytes = l.defaultMaxBytes()
	}
	if err := l.makeBallast(); err != nil {
		l.cfg.Logger.Warn("no ballast against a full disk", "error", err)
	}
	return nil
}

// identify checks the format, fixes the incarnation and compares the boot id.
func (l *Ledger) identify() error {
	format, err := l.metaUint(metaFormat)
	if err != nil {
		return err
	}
	if format > formatVersion {
		return fmt.Errorf("format %d is newer than this program, which knows %d", format, formatVersion)
	}
	before, err := l.metaUint(metaIncarnation)
	if err != nil {
		return err
	}
	l.incarnation = l.cfg.Incarnation
	if l.incarnation == 0 {
		l.incarnation = before + 1
	}
	if l.incarnation <= before {
		return fmt.Errorf("incarnation %d is not above the last one, %d", l.incarnation, before)
	}
	boot := l.cfg.BootID
	if boot == "" {
		boot = machineBoot()
	}
	old, err := l.meta(metaBoot)
	if err != nil {
		return err
	}
	l.rebooted = before != 0 && string(old) != boot

	b := l.db.NewBatch()
	defer b.Close()
	for name, v := range map[string][]byte{
		metaFormat:      binary.BigEndian.AppendUint64(nil, formatVersion),
		metaIncarnation: binary.BigEndian.AppendUint64(nil, l.incarnation),
		metaBoot:        []byte(boot),
	} {
		if err := b.Set(metaKey(name), v, nil); err != nil {
			return fmt.Errorf("write ledger identity: %w", err)
		}
	}
	return l.commitDurably(b)
}

// commitDurably commits a batch to the disk whatever the mode is.
func (l *Ledger) commitDurably(b *pebble.Batch) error {
	l.wal.want.Add(1)
	defer l.wal.want.Add(-1)
	return l.apply(b, true)
}

// apply commits a batch without the engine's own way of treating a failed log
// write, which is to end the process.
func (l *Ledger) apply(b *pebble.Batch, wait bool) error {
	if err := l.writable(); err != nil {
		return err
	}
	if !wait {
		return l.db.Apply(b, pebble.NoSync)
	}
	err := l.db.ApplyNoSyncWait(b, pebble.Sync)
	if err == nil {
		err = b.SyncWait()
	}
	if err != nil {
		err = fmt.Errorf("write ledger log: %w", err)
		l.health.broke(err)
	}
	return err
}

// writable is nil while anything can be written at all.
func (l *Ledger) writable() error {
	if l.closed.Load() {
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	}
	return l.health.broken()
}

// machineBoot identifies this start of the machine; "" where it is not known.
func machineBoot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Incarnation is the start of the node under which the ledger writes.
func (l *Ledger) Incarnation() uint64 { return l.incarnation }

// MachineRestarted reports whether the machine has started since the last run:
// the last moments of it may then be missing, and a strict budget must count
// all the credit that the node held as spent.
func (l *Ledger) MachineRestarted() bool { return l.rebooted }

// Interrupted lists the calls that the last run left open, as Open booked them.
func (l *Ledger) Interrupted() []Entry { return l.interrupted }

// Close stops accepting, writes everything to the disk and closes the files.
// Run must have returned, and no call may be in Settle.
func (l *Ledger) Close() error {
	l.closeOnce.Do(func() {
		l.health.shut()
		l.closed.Store(true)
		var errs []error
		if l.slots != nil {
			errs = append(errs, l.slots.sync())
		}
		if l.health.broken() == nil {
			errs = append(errs, l.wal.flush())
		}
		errs = append(errs, l.db.Close())
		if l.slots != nil {
			errs = append(errs, l.slots.close())
		}
		if err := errors.Join(errs...); err != nil {
			l.closeErr = fmt.Errorf("close ledger: %w", err)
		}
	})
	return l.closeErr
}

func (l *Ledger) meta(name string) ([]byte, error) {
	v, closer, err := l.db.Get(metaKey(name))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger's %s: %w", name, err)
	}
	out := append([]byte(nil), v...)
	return out, closer.Close()
}

func (l *Ledger) metaUint(name string) (uint64, error) {
	v, err := l.meta(name)
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, name, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// lastSeq is the newest entry's.
func (l *Ledger) lastSeq() (uint64, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kEntry}, UpperBound: []byte{kEntry + 1}})
	if err != nil {
		return 0, fmt.Errorf("look for the newest entry: %w", err)
	}
	var seq uint64
	if it.Last() {
		seq = seqOf(it.Key())
	}
	return seq, it.Close()
}
