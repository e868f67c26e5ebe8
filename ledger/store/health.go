package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// ErrUnavailable is wrapped by every refusal to take a new call: nothing was
// written, and the caller answers 503.
var ErrUnavailable = errors.New("ledger cannot book calls")

// fault is why the ledger takes no new calls.
type fault struct {
	err error
	// final: the log is in an unknown state, and only a new start, which reads
	// it again, can go on.
	final bool
}

type health struct {
	log   *slog.Logger
	state atomic.Pointer[fault]
}

// err is nil while calls may be taken.
func (h *health) err() error {
	if f := h.state.Load(); f != nil {
		return f.err
	}
	return nil
}

// broken is not nil once nothing can be written any more.
func (h *health) broken() error {
	if f := h.state.Load(); f != nil && f.final {
		return f.err
	}
	return nil
}

func (h *health) broke(err error) {
	f := &fault{err: fmt.Errorf("%w: %w", ErrUnavailable, err), final: true}
	for {
		old := h.state.Load()
		if old != nil && old.final {
			return
		}
		if h.state.CompareAndSwap(old, f) {
			h.log.Error("ledger stopped", "error", err)
			return
		}
	}
}

func (h *health) shut() {
	h.state.CompareAndSwap(nil, &fault{err: fmt.Errorf("%w: it is closed", ErrUnavailable)})
}

// full stops new calls until well is called; calls in flight are still booked.
func (h *health) full(err error) {
	if h.state.CompareAndSwap(nil, &fault{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}) {
		h.log.Error("ledger takes no new calls", "error", err)
	}
}

func (h *health) well() {
	if f := h.state.Load(); f != nil && !f.final && h.state.CompareAndSwap(f, nil) {
		h.log.Info("ledger takes calls again")
	}
}

// Healthy is nil while new calls may be taken; otherwise it says why not.
func (l *Ledger) Healthy() error { return l.health.err() }

var (
	errDiskFull = errors.New("the disk is full")
	errDiskSlow = errors.New("the disk does not answer")
)

func (l *Ledger) ballastPath() string { return filepath.Join(l.cfg.Dir, "ballast") }

// onDiskFull runs in the goroutine whose write found the disk full, which then
// tries once more: deleting the ballast lets the calls in flight be booked.
func (l *Ledger) onDiskFull() {
	l.health.full(errDiskFull)
	l.counts.diskFull.Add(1)
	if err := os.Remove(l.ballastPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.cfg.Logger.Error("ballast not removed", "error", err)
	}
}

// makeBallast reserves the space that onDiskFull gives back.
func (l *Ledger) makeBallast() error {
	if l.cfg.Ballast < 0 {
		return nil
	}
	info, err := os.Stat(l.ballastPath())
	if err == nil && info.Size() == l.cfg.Ballast {
		return nil
	}
	free, err := freeBytes(l.cfg.Dir)
	if err != nil {
		return err
	}
	if free < 2*l.cfg.Ballast {
		return fmt.Errorf("%w: %d bytes are free", errDiskFull, free)
	}
	f, err := os.OpenFile(l.ballastPath(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make ballast: %w", err)
	}
	err = reserve(f, l.cfg.Ballast)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make ballast: %w", err), os.Remove(l.ballastPath()))
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func (l *Ledger) defaultMaxBytes() int64 {
	const most = 20 << 30
	free, err := freeBytes(l.cfg.Dir)
	if err != nil {
		return most
	}
	return max(1<<30, min(most, (free+l.diskUsage())/2))
}

func (l *Ledger) diskUsage() int64 { return int64(l.db.Metrics().DiskSpaceUsage()) }

// checkSpace compares the size with its thresholds. Entries that the books'
// reader has not taken are never given up: at the end new calls are refused
// instead.
func (l *Ledger) checkSpace() {
	used := l.diskUsage()
	l.counts.bytes.Store(used)
	nearly, last := used >= l.cfg.MaxBytes/100*80, used >= l.cfg.MaxBytes/100*95
	if last {
		l.health.full(fmt.Errorf("it holds %d bytes of at most %d", used, l.cfg.MaxBytes))
	}
	if nearly {
		if err := l.dropBodies(); err != nil {
			l.cfg.Logger.Error("bodies not dropped", "error", err)
		}
		if err := l.freeEntries(last); err != nil {
			l.cfg.Logger.Error("entries not dropped", "error", err)
		}
		return
	}
	if l.health.err() == nil {
		return
	}
	if err := l.makeBallast(); err != nil {
		return // still full
	}
	l.health.well()
}

// dbLog passes the storage engine's words on.
type dbLog struct{ l *Ledger }

// Infof is dropped: the engine tells of every flush.
func (d dbLog) Infof(string, ...any) {}

// Errorf is a warning: the engine goes on.
func (d dbLog) Errorf(format string, args ...any) {
	d.l.cfg.Logger.Warn("ledger engine", "message", fmt.Sprintf(format, args...))
}

// Fatalf must not return to the engine. The process ends here: what was
// committed is safe, and the next start books what was in flight.
func (d dbLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("ledger engine: "+format, args...)
	d.l.health.broke(err)
	if d.l.cfg.Fatal != nil {
		d.l.cfg.Fatal(err)
	}
	panic(err)
}
