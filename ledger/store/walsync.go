package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Mode says when a settlement counts as committed.
type Mode string

// The modes of ledger.sync.
const (
	// SyncProcess: when its record has reached the kernel. It survives the
	// process at once and the machine after the next background sync.
	SyncProcess Mode = "process"
	// SyncAlways: when it is on the disk.
	SyncAlways Mode = "always"
	// SyncNone: when it is in memory. For development only.
	SyncNone Mode = "none"
)

// walSync decides which of Pebble's fsyncs of the write-ahead log reach the
// disk at once. Pebble writes a record to the kernel and then calls Sync before
// it wakes the committer; when Sync does nothing, the commit has the price of
// one write. What was put off is synced in the background, and always in the
// order in which the files were made: a log may lose its end in a power cut,
// never its middle.
type walSync struct {
	want   atomic.Int32 // settlements that wait for the disk
	syncs  atomic.Uint64
	failed func(error)
	woken  alarm // the background sync, when there is something to sync

	mu    sync.Mutex // guards files and keeps fsyncs in file order
	files []*walFile // open log files, oldest first
}

// walFS hands out log files whose Sync is deferred.
type walFS struct {
	vfs.FS
	s *walSync
}

var _ vfs.FS = walFS{}

// Create makes a file; log files are watched.
func (f walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return file, err
	}
	return f.s.watch(file), nil
}

// ReuseForWrite renames an old log file for writing.
func (f walFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, c)
	if err != nil || !strings.HasSuffix(to, ".log") {
		return file, err
	}
	return f.s.watch(file), nil
}

// Unwrap gives the file system below.
func (f walFS) Unwrap() vfs.FS { return f.FS }

func (s *walSync) watch(f vfs.File) vfs.File {
	w := &walFile{File: f, s: s}
	s.mu.Lock()
	s.files = append(s.files, w)
	s.mu.Unlock()
	return w
}

// flush syncs every file that has unsynced records, oldest first.
func (s *walSync) flush() error { return s.through(nil) }

// through syncs the files up to and including last (nil: all).
func (s *walSync) through(last *walFile) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.throughLocked(last)
}

func (s *walSync) throughLocked(last *walFile) error {
	for _, f := range s.files {
		if f.dirty.Swap(false) {
			s.syncs.Add(1)
			if err := f.File.SyncData(); err != nil {
				// The kernel may have dropped the pages: nothing after this
				// can be promised, so the ledger stops.
				f.soil()
				err = fmt.Errorf("sync ledger log: %w", err)
				s.failed(err)
				return err
			}
		}
		if f == last {
			return nil
		}
	}
	return nil
}

type walFile struct {
	vfs.File
	s     *walSync
	dirty atomic.Bool
}

func (f *walFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.soil()
	return n, err
}

// soil notes that there is something to sync.
func (f *walFile) soil() {
	if !f.dirty.Swap(true) {
		f.s.woken.ring()
	}
}

// Sync reaches the disk only while a settlement waits for it.
func (f *walFile) Sync() error {
	if f.s.want.Load() == 0 {
		return nil
	}
	return f.s.through(f)
}

func (f *walFile) SyncData() error { return f.Sync() }

// Close syncs first: after it nobody could.
func (f *walFile) Close() error {
	f.s.mu.Lock()
	err := f.s.throughLocked(f)
	f.s.files = slices.DeleteFunc(f.s.files, func(o *walFile) bool { return o == f })
	f.s.mu.Unlock()
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}
