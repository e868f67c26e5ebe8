package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// coveredLog is a log beside the snapshots that cover its beginning. It mends
// two things that raft gets wrong where the two meet.
//
// A follower whose log begins right after its snapshot has to compare the entry
// before its first one with the leader's. Raft looks for it in the log alone,
// does not find it when the first entry itself is in conflict, and refuses the
// leader's entries until the leader has compacted its own log, which may take
// months. So the covered entry is found here.
//
// A follower that installs a snapshot keeps entries that a former leader never
// committed: below the snapshot they would be served to others once this node
// leads. Raft clears the log for that when it is told that it may have no gap,
// all of it, and then still believes to have what was beyond the snapshot. So
// only what the snapshot covers is cleared; what is beyond is compared with the
// leader's as any other entry.
type coveredLog struct {
	raft.LogStore
	snaps raft.SnapshotStore
}

// GetLog reads an entry. Of the one that the newest snapshot ends with only
// index and term are known when the log has it no more; nobody sends it, because
// a log has no gap and whoever sends it needs the one before.
func (c *coveredLog) GetLog(index uint64, log *raft.Log) error {
	err := c.LogStore.GetLog(index, log)
	if !errors.Is(err, raft.ErrLogNotFound) || index <= 1 {
		return err
	}
	last, listErr := c.newest()
	if listErr != nil {
		return listErr
	}
	if last == nil || last.Index != index {
		return err
	}
	*log = raft.Log{Index: index, Term: last.Term, Type: raft.LogNoop}
	return nil
}

// DeleteRange deletes entries: covered ones, or uncovered ones, never both.
func (c *coveredLog) DeleteRange(from, to uint64) error {
	last, err := c.newest()
	if err != nil {
		return err
	}
	if last != nil && from <= last.Index {
		to = min(to, last.Index)
	}
	return c.LogStore.DeleteRange(from, to)
}

// IsMonotonic tells raft to clear the log when it installs a snapshot.
func (c *coveredLog) IsMonotonic() bool { return true }

// settle finishes what a crash left undone when a snapshot was installed: a log
// that is not the snapshot's own past goes, as far as it is covered.
func (c *coveredLog) settle() error {
	s, err := c.newest()
	if err != nil || s == nil {
		return err
	}
	first, err := c.FirstIndex()
	if err != nil || first == 0 || first > s.Index {
		return err
	}
	var log raft.Log
	err = c.LogStore.GetLog(s.Index, &log)
	if err == nil && log.Term == s.Term {
		return nil // then all before it agree too
	}
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return fmt.Errorf("read the last covered entry: %w", err)
	}
	last, err := c.LastIndex()
	if err != nil {
		return err
	}
	if err := c.DeleteRange(first, last); err != nil {
		return fmt.Errorf("clear what the snapshot covers: %w", err)
	}
	return nil
}

func (c *coveredLog) newest() (*raft.SnapshotMeta, error) {
	list, err := c.snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[0], nil
}

var _ raft.MonotonicLogStore = (*coveredLog)(nil)
