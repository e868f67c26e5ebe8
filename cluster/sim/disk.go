package sim

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// Disk is what a host keeps between runs. Everything written is there after a
// restart: what a disk loses has tests of its own, beside the log store.
type Disk struct {
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// NewDisk is an empty one.
func NewDisk() *Disk {
	s := raft.NewInmemStore()
	return &Disk{Logs: monotonic{s}, Stable: s, Snapshots: &snapshots{}}
}

// monotonic is a log without gaps, as the real one: raft clears it when it
// installs a snapshot. Otherwise entries that never were committed would stay
// below the snapshot, and a later leader could send them on.
type monotonic struct{ *raft.InmemStore }

// IsMonotonic says so.
func (monotonic) IsMonotonic() bool { return true }

// snapshotsKept is how many a real node keeps.
const snapshotsKept = 3

// snapshots is a raft.SnapshotStore in memory. Unlike raft's own it shows a
// snapshot only when it is complete, as files do.
type snapshots struct {
	mu   sync.Mutex // guards kept
	kept []*sink    // newest first
	made int
}

type sink struct {
	of   *snapshots
	meta raft.SnapshotMeta
	data bytes.Buffer
	over bool
}

// Create begins a snapshot.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return &sink{of: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, s.made), Index: index, Term: term,
		Configuration: conf, ConfigurationIndex: confIndex,
	}}, nil
}

// List names the complete ones, newest first.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, k := range s.kept {
		meta := k.meta
		out = append(out, &meta)
	}
	return out, nil
}

// Open reads one.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.meta.ID == id {
			meta := k.meta
			return &meta, io.NopCloser(bytes.NewReader(k.data.Bytes())), nil
		}
	}
	return nil, nil, fmt.Errorf("open snapshot %s: there is none", id)
}

// Write takes a piece.
func (k *sink) Write(p []byte) (int, error) { return k.data.Write(p) }

// ID names the snapshot.
func (k *sink) ID() string { return k.meta.ID }

// Close completes the snapshot.
func (k *sink) Close() error {
	if k.over {
		return nil
	}
	k.over = true
	k.meta.Size = int64(k.data.Len())
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	k.of.kept = append(k.of.kept, k)
	slices.SortStableFunc(k.of.kept, func(a, b *sink) int {
		if a.meta.Index != b.meta.Index {
			return int(int64(b.meta.Index) - int64(a.meta.Index))
		}
		return int(int64(b.meta.Term) - int64(a.meta.Term))
	})
	if len(k.of.kept) > snapshotsKept {
		k.of.kept = k.of.kept[:snapshotsKept]
	}
	return nil
}

// Cancel forgets the snapshot.
func (k *sink) Cancel() error {
	k.over = true
	return nil
}
