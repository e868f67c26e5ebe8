// Package raftlog keeps raft's log and its stable values in Pebble, in a
// directory of their own: the ledger has another lifetime and another answer to
// a full disk. What StoreLogs and Set have returned for survives a power cut.
// It knows raft's entries, not what the commands inside them mean.
package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// Keys: entries under 'l' and the index, so that they lie in order; stable
// values under 's' and their name.
const (
	logPrefix    = 'l'
	stablePrefix = 's'
)

// format is Pebble's on-disk form. It is raised only together with the
// cluster's feature level, so that a node can go back one release.
const format = pebble.FormatColumnarBlocks

// errNotFound has the one text that raft recognises: it compares texts to tell
// a fresh store from a broken one.
var errNotFound = errors.New("not found")

// Config says where the store is.
type Config struct {
	Dir    string
	FS     vfs.FS // nil: the machine's
	Logger *slog.Logger
}

// Store is raft's LogStore and StableStore.
type Store struct {
	db *pebble.DB

	// mu guards the bounds of the log, which raft asks for all the time. Writers
	// hold it over their commit, so that readers never see a bound that the log
	// does not have.
	mu          sync.RWMutex
	first, last uint64 // 0, 0: empty
}

// Open opens or creates the store.
func Open(cfg Config) (*Store, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cache := pebble.NewCache(8 << 20)
	defer cache.Unref()
	fs := cfg.FS
	if fs == nil {
		fs = vfs.Default
	}
	opts := &pebble.Options{
		FS:                 fs,
		Cache:              cache,
		MemTableSize:       4 << 20, // the log is short-lived: keep most of it from ever reaching a table
		FormatMajorVersion: format,
		Logger:             logger{log},
	}
	opts.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { log.Error("raft log background error", "error", err) },
		DiskSlow: func(i pebble.DiskSlowInfo) {
			log.Warn("raft log disk slow", "path", i.Path, "duration", i.Duration)
		},
	}
	db, err := pebble.Open(cfg.Dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", cfg.Dir, err)
	}
	s := &Store{db: db}
	if err := s.seekBounds(); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log %s: %w", cfg.Dir, err), db.Close())
	}
	return s, nil
}

// Close waits for background work and lets go of the directory.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}

// FirstIndex is the index of the oldest entry, 0 when there is none.
func (s *Store) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.first, nil
}

// LastIndex is the index of the newest entry, 0 when there is none.
func (s *Store) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last, nil
}

// IsMonotonic tells raft to clear the log when it installs a snapshot, instead
// of leaving a gap in it.
func (s *Store) IsMonotonic() bool { return true }

// GetLog reads one entry, or returns raft.ErrLogNotFound.
func (s *Store) GetLog(index uint64, log *raft.Log) error {
	v, closer, err := s.db.Get(logKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return fmt.Errorf("read raft entry %d: %w", index, err)
	}
	err = decodeLog(index, v, log)
	return errors.Join(err, closer.Close())
}

// StoreLog writes one entry durably.
func (s *Store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs writes entries durably, all or none.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	var buf []byte
	first, last := s.first, s.last
	for _, l := range logs {
		buf = appendLog(buf[:0], l)
		if err := b.Set(logKey(l.Index), buf, nil); err != nil {
			return fmt.Errorf("store raft entry %d: %w", l.Index, err)
		}
		if first == 0 || l.Index < first {
			first = l.Index
		}
		last = max(last, l.Index)
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("store raft entries %d to %d: %w", logs[0].Index, logs[len(logs)-1].Index, err)
	}
	s.first, s.last = first, last
	return nil
}

// DeleteRange removes the entries from min to max, both included: a prefix
// after a snapshot, or a suffix that conflicts with the leader's.
func (s *Store) DeleteRange(min, max uint64) error {
	if min > max {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := []byte{logPrefix + 1}
	if max+1 != 0 {
		end = logKey(max + 1)
	}
	if err := s.db.DeleteRange(logKey(min), end, pebble.Sync); err != nil {
		return fmt.Errorf("delete raft entries %d to %d: %w", min, max, err)
	}
	return s.seekBounds()
}

// seekBounds reads both ends of the log from the store.
func (s *Store) seekBounds() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{logPrefix}, UpperBound: []byte{logPrefix + 1}})
	if err != nil {
		return fmt.Errorf("seek the ends of the raft log: %w", err)
	}
	first, last := uint64(0), uint64(0)
	if it.First() {
		first = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if it.Last() {
		last = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("seek the ends of the raft log: %w", err)
	}
	s.first, s.last = first, last
	return nil
}

// Set stores a stable value durably.
func (s *Store) Set(key, val []byte) error {
	if err := s.db.Set(stableKey(key), val, pebble.Sync); err != nil {
		return fmt.Errorf("store raft value %s: %w", key, err)
	}
	return nil
}

// Get reads a stable value; a missing one is an error with the text raft knows.
func (s *Store) Get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(stableKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read raft value %s: %w", key, err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// SetUint64 stores a stable number durably.
func (s *Store) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// GetUint64 reads a stable number; a missing one is 0.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if errors.Is(err, errNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("read raft value %s: %d bytes are no number", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), logPrefix), index)
}

func stableKey(name []byte) []byte {
	return append(append(make([]byte, 0, 1+len(name)), stablePrefix), name...)
}

var (
	_ raft.LogStore          = (*Store)(nil)
	_ raft.StableStore       = (*Store)(nil)
	_ raft.MonotonicLogStore = (*Store)(nil)
)
