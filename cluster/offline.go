package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/cluster/raftlog"
	"tollgate/config/secret"
)

// Offline is the state of a node that is not running, for the commands that
// rebuild a cluster: recover and restore. Its state machines are thrown away
// afterwards.
type Offline struct {
	Identity *Identity
	Dir      string // data directory
	Appliers map[command.Type]fsm.Applier
	Box      *secret.Box
	// Adjust may change the appliers' state once it is read, before it is written:
	// nodes are all that were members. now is the state's clock.
	Adjust func(now time.Time, nodes []members.Node) error
	Logger *slog.Logger
}

// Report is what an offline command has made.
type Report struct {
	ClusterID  string
	NodeID     string
	Generation uint64
	Index      uint64
	StateTime  time.Time
	Kept, Lost []members.Node
}

// ErrNotEmpty proves that nothing was written: the directory has state already.
var ErrNotEmpty = errors.New("the data directory holds a node's state already: name an empty one")

// parts are the state machines of an offline node.
type parts struct {
	fsm     *fsm.FSM
	keys    *dataKeys
	members *members.Applier
}

func (o *Offline) parts(clusterID string) *parts {
	p := &parts{keys: &dataKeys{box: o.Box}, members: members.NewApplier()}
	appliers := maps.Clone(o.Appliers)
	appliers[command.DataKey] = p.keys
	appliers[command.Membership] = p.members
	p.fsm = fsm.New(fsm.Config{ClusterID: clusterID, Appliers: appliers, Logger: o.Logger})
	return p
}

// HasState reports whether a data directory holds a cluster's state.
func HasState(dir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "raft"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

func (o *Offline) stores() (*raftlog.Store, *raft.FileSnapshotStore, *raft.Config, error) {
	dir := filepath.Join(o.Dir, "raft")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	conf := raftConfig(&Config{Identity: o.Identity, Profile: LAN, Logger: logger})
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, conf.Logger)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open snapshots: %w", err)
	}
	store, err := raftlog.Open(raftlog.Config{Dir: filepath.Join(dir, "log"), Logger: logger})
	return store, snaps, conf, err
}

// Recover rebuilds the cluster from this node's state alone after a majority of
// voters was lost for good. keep are the ids of the nodes that vote from now
// on; each must hold this same state, so it is this node, or all that were
// stopped with equal logs. Everything in the log counts, also what was never
// acknowledged. The generation rises, so that a node of the old history is
// refused when it comes back.
func (o *Offline) Recover(keep []string) (Report, error) {
	store, snaps, conf, err := o.stores()
	if err != nil {
		return Report{}, fmt.Errorf("recover: %w", err)
	}
	report, err := o.recover(store, snaps, conf, keep)
	if err = errors.Join(err, store.Close()); err != nil {
		return Report{}, fmt.Errorf("recover: %w", err)
	}
	return report, nil
}

func (o *Offline) recover(store *raftlog.Store, snaps raft.SnapshotStore, conf *raft.Config, keep []string) (Report, error) {
	has, err := raft.HasExistingState(store, store, snaps)
	if err != nil {
		return Report{}, err
	}
	if !has {
		return Report{}, fmt.Errorf("%s holds no state to recover from: name the data directory of a node that was a member", o.Dir)
	}
	var configuration raft.Configuration
	kept := map[string]bool{}
	for _, id := range keep {
		kept[id] = true
		configuration.Servers = append(configuration.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	p := o.parts(o.Identity.ClusterID)
	r := &recovering{FSM: p.fsm}
	var report Report
	r.before = func() error {
		p.fsm.ApplyBatch(nil)
		p.members.Publish()
		if p.keys.fault != nil {
			return p.keys.fault
		}
		all := p.members.State().Nodes()
		if o.Adjust != nil {
			if err := o.Adjust(p.fsm.Now(), all); err != nil {
				return err
			}
		}
		for _, n := range all {
			if kept[n.ID] {
				report.Kept = append(report.Kept, n)
			} else {
				report.Lost = append(report.Lost, n)
			}
		}
		p.members.Recover(kept)
		return nil
	}
	if err := raft.RecoverCluster(conf, r, store, store, snaps, newAlone(o.Identity.NodeID), configuration); err != nil {
		if r.fault != nil { // raft keeps only its text
			return Report{}, r.fault
		}
		return Report{}, errors.Join(err, p.fsm.RestoreErr())
	}
	index, _ := p.fsm.Applied()
	report.ClusterID, report.NodeID = o.Identity.ClusterID, o.Identity.NodeID
	report.Generation, report.Index, report.StateTime = p.members.State().Generation, index, p.fsm.Now()
	return report, nil
}

// recovering is the throw-away state machine of a recovery: what is written is
// not what was read, but that with the lost nodes taken out.
type recovering struct {
	*fsm.FSM
	before func() error
	fault  error
}

// Snapshot adjusts the state and captures it.
func (r *recovering) Snapshot() (raft.FSMSnapshot, error) {
	if err := r.FSM.Err(); err != nil {
		return nil, err
	}
	if r.fault = r.before(); r.fault != nil {
		return nil, r.fault
	}
	return r.FSM.Snapshot()
}

// Restore starts a cluster of its own from a backup, on an empty data
// directory: keys, budgets, config and secrets are the backup's; the nodes, the
// join tokens and the certificate authority are new. The secrets need the
// key-encryption key that the backup's cluster had.
func (o *Offline) Restore(backup io.ReadCloser) (Report, error) {
	has, err := HasState(o.Dir)
	if err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	if has {
		return Report{}, fmt.Errorf("restore: %s: %w", o.Dir, ErrNotEmpty)
	}
	p := o.parts("") // of whatever cluster it was
	if err := p.fsm.Restore(backup); err != nil {
		return Report{}, err
	}
	if p.keys.fault != nil {
		return Report{}, fmt.Errorf("restore: the backup's secrets are sealed: %w", p.keys.fault)
	}
	nodes := p.members.State().Nodes()
	if o.Adjust != nil {
		if err := o.Adjust(p.fsm.Now(), nodes); err != nil {
			return Report{}, fmt.Errorf("restore: %w", err)
		}
	}
	clusterID, err := NewID()
	if err != nil {
		return Report{}, fmt.Errorf("restore: make cluster id: %w", err)
	}
	p.fsm.Become(clusterID, map[command.Type]fsm.Applier{command.Membership: members.NewApplier()})
	if err := o.found(p.fsm, clusterID); err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	index, _ := p.fsm.Applied()
	return Report{ClusterID: clusterID, NodeID: o.Identity.NodeID, Index: index, StateTime: p.fsm.Now(), Lost: nodes}, nil
}

// found writes the state as the first snapshot of a cluster of this node alone.
// The cluster id is durable last: without it a broken restore starts nothing.
func (o *Offline) found(f *fsm.FSM, clusterID string) error {
	store, snaps, _, err := o.stores()
	if err != nil {
		return err
	}
	err = func() error {
		snapshot, err := f.Snapshot()
		if err != nil {
			return err
		}
		index, _ := f.Applied()
		id := o.Identity.NodeID
		configuration := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)}}}
		sink, err := snaps.Create(raft.SnapshotVersionMax, max(index, 1), 1, configuration, 1, newAlone(id))
		if err != nil {
			return err
		}
		if err := snapshot.Persist(sink); err != nil {
			return err
		}
		return store.SetUint64([]byte("CurrentTerm"), 1)
	}()
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	return o.Identity.SetCluster(clusterID)
}

// Members reads who the cluster's nodes are from the state on disk, for an
// operator who decides what to recover with.
func (o *Offline) Members() ([]members.Node, error) {
	store, snaps, _, err := o.stores()
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	defer store.Close()
	p := o.parts(o.Identity.ClusterID)
	list, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	from := uint64(0)
	for _, s := range list {
		_, r, err := snaps.Open(s.ID)
		if err != nil {
			continue
		}
		err = p.fsm.Restore(r)
		if err = errors.Join(err, r.Close()); err == nil {
			from = s.Index
			break
		}
	}
	last, err := store.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	for i := from + 1; i <= last; i++ {
		var l raft.Log
		if err := store.GetLog(i, &l); err != nil {
			return nil, fmt.Errorf("read members: entry %d: %w", i, err)
		}
		p.fsm.Apply(&l)
	}
	return slices.Clone(p.members.State().Nodes()), p.fsm.Err()
}
