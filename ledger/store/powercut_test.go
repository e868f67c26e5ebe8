package store_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

// dropSlots models a power cut for the mapped intents: none of them got written.
func dropSlots(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "intents-*"))
	require.NoError(t, err)
	for _, n := range names {
		require.NoError(t, os.Remove(n))
	}
}

func TestPowerCutLeavesAPrefixThatHoldsAllThatWasSynced(t *testing.T) {
	for _, mode := range []store.Mode{store.SyncProcess, store.SyncAlways} {
		for seed := uint64(1); seed <= 40; seed++ {
			fs := vfs.NewCrashableMem()
			cfg := store.On(store.Config{Dir: t.TempDir(), Sync: mode, BootID: "before", Ballast: -1}, fs)
			l, err := store.Open(cfg)
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(seed, 7))
			n, safe := uint64(0), uint64(0)
			for range 200 + rng.IntN(1500) {
				n++
				settle(t, l, n)
				switch {
				case mode == store.SyncAlways:
					safe = n
				case rng.IntN(100) == 0:
					require.NoError(t, l.SyncNow())
					safe = n
				}
				if rng.IntN(200) == 0 {
					require.NoError(t, l.CatchUp())
				}
			}
			cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
			require.NoError(t, l.Close())
			dropSlots(t, cfg.Dir)

			cfg = store.On(cfg, cut)
			cfg.BootID = "after"
			l, err = store.Open(cfg)
			require.NoError(t, err, "%s, seed %d", mode, seed)
			require.True(t, l.MachineRestarted())
			have := uint64(0)
			for e, err := range l.Entries(0) {
				require.NoError(t, err)
				have++
				require.Equal(t, callID(have), e.CallID, "no gap")
			}
			require.GreaterOrEqual(t, have, safe, "%s, seed %d", mode, seed)
			require.LessOrEqual(t, have, n)
			// The index counts what is there, no more and no less.
			var sum store.Sums
			for _, s := range l.Rollups(store.ByCaller, 0, 1<<20) {
				sum.Add(s)
			}
			require.Equal(t, int64(have), sum.Requests)
			require.NoError(t, l.Close())
		}
	}
}

// tightFS runs out of space: writes fail while full is set and the ballast is there.
type tightFS struct {
	vfs.FS
	full    *atomic.Bool
	ballast string
	hard    *atomic.Bool // fails whatever is deleted
}

type tightFile struct {
	vfs.File
	fs tightFS
}

func (f tightFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return file, err
	}
	return tightFile{file, f}, nil
}

func (f tightFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, c)
	if err != nil {
		return nil, err
	}
	return tightFile{file, f}, nil
}

func (f tightFS) Unwrap() vfs.FS { return f.FS }

func (f tightFile) Write(p []byte) (int, error) {
	if f.fs.hard.Load() {
		return 0, &os.PathError{Op: "write", Path: "log", Err: syscall.EIO}
	}
	if f.fs.full.Load() {
		if _, err := os.Stat(f.fs.ballast); err == nil {
			return 0, &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}
		}
	}
	return f.File.Write(p)
}

func openTight(t *testing.T) (*store.Ledger, tightFS, store.Config) {
	t.Helper()
	dir := t.TempDir()
	fs := tightFS{FS: vfs.NewMem(), full: new(atomic.Bool), hard: new(atomic.Bool), ballast: filepath.Join(dir, "ballast")}
	cfg := store.On(store.Config{Dir: dir, Ballast: 1 << 20}, fs)
	l, err := store.Open(cfg)
	require.NoError(t, err)
	return l, fs, cfg
}

func TestFullDiskBooksCallsInFlightAndRefusesNewOnes(t *testing.T) {
	l, fs, _ := openTight(t)
	ref, err := l.Begin(sampleIntent(1))
	require.NoError(t, err)
	fs.full.Store(true)
	seq, err := l.Settle(ref, sampleEntry(1))
	require.NoError(t, err, "the ballast makes room")
	require.ErrorIs(t, l.Healthy(), store.ErrUnavailable)
	_, err = l.Begin(sampleIntent(2))
	require.ErrorIs(t, err, store.ErrUnavailable)
	e, err := l.Get(seq)
	require.NoError(t, err)
	require.Equal(t, callID(1), e.CallID)

	fs.full.Store(false)
	l.CheckSpaceNow()
	require.NoError(t, l.Healthy(), "space is back, and the ballast with it")
	settle(t, l, 3)
	require.NoError(t, l.Close())
}

func TestFailedLogWriteStopsTheLedgerAndLosesNoCall(t *testing.T) {
	l, fs, cfg := openTight(t)
	settle(t, l, 1)
	ref, err := l.Begin(sampleIntent(2))
	require.NoError(t, err)
	fs.hard.Store(true)
	_, err = l.Settle(ref, sampleEntry(2))
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, l.Healthy(), store.ErrUnavailable)
	fs.hard.Store(false)
	_, err = l.Settle(ref, sampleEntry(2))
	require.ErrorIs(t, err, store.ErrUnavailable, "only a new start can tell what the log holds")
	n := 0
	for range l.Entries(0) {
		n++
	}
	require.Equal(t, 1, n, "what was not acknowledged is not shown")
	_ = l.Close() // the engine reports the same fault

	l, err = store.Open(cfg)
	require.NoError(t, err)
	require.Len(t, l.Interrupted(), 1)
	require.Equal(t, callID(2), l.Interrupted()[0].CallID)
	require.NoError(t, l.Close())
}

func TestFailedBackgroundSyncStopsTheLedger(t *testing.T) {
	fs := failSyncFS{FS: vfs.NewMem(), fail: new(atomic.Bool)}
	l, err := store.Open(store.On(store.Config{Dir: t.TempDir(), Ballast: -1}, fs))
	require.NoError(t, err)
	settle(t, l, 1)
	fs.fail.Store(true)
	require.Error(t, l.SyncNow())
	require.ErrorIs(t, l.Healthy(), store.ErrUnavailable)
	fs.fail.Store(false)
	_ = l.Close()
}

type failSyncFS struct {
	vfs.FS
	fail *atomic.Bool
}

type failSyncFile struct {
	vfs.File
	fail *atomic.Bool
}

func (f failSyncFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return file, err
	}
	return failSyncFile{file, f.fail}, nil
}

func (f failSyncFS) Unwrap() vfs.FS { return f.FS }

func (f failSyncFile) SyncData() error {
	if f.fail.Load() {
		return errors.New("disk does not answer")
	}
	return f.File.SyncData()
}
