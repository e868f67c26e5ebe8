// Package cluster makes one node of several agree with the others: who it is,
// the raft log and its snapshots, proposing commands from any node and waiting
// for them, who votes and who leads. What the commands mean is the matter of the
// appliers handed in; requests of clients never wait here, they read the
// published state.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/cluster/raftlog"
	"tollgate/config/unit"
)

// Node is one member of the cluster.
type Node struct {
	cfg   Config
	id    *Identity
	log   *slog.Logger
	clock unit.Clock
	born  time.Time

	raft    *raft.Raft
	fsm     *fsm.FSM
	logs    raft.LogStore
	snaps   raft.SnapshotStore
	disk    io.Closer // nil when the storage is the caller's
	trans   Transport
	keys    *dataKeys
	members *members.Applier
	answers map[command.Type]AnswerCodec
	counts  *counts

	verify  verifier
	asks    asker
	timed   atomic.Pointer[members.State] // that raft's timeouts follow
	wide    atomic.Bool                   // the members are in several regions
	reached atomic.Bool                   // the desired number of voters has been seen
	nudge   chan struct{}                 // asks the leader to plan now
	told    teller                        // tells followers of what was committed
	removed chan struct{}                 // closed when this node is taken out

	work sync.WaitGroup  // what begin has let in
	life context.Context // of work that belongs to no caller; it ends with Close
	end  context.CancelFunc

	mu        sync.Mutex // guards the fields below
	ready     bool       // once true, it stays
	readyCh   chan struct{}
	leaderFor uint64    // term for which this node's barrier has passed; 0: not leading
	leadsFrom time.Time // of that term
	handing   int       // attempts to hand leadership over that are under way
	why       string    // this node was taken out
	closed    bool
	closing   chan struct{}
}

// Open reads the node's state from disk and starts raft. What was applied
// before the last snapshot is there when it returns; what the log holds beyond
// it follows once there is a leader (WaitReady).
func Open(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	n := &Node{
		cfg: cfg, id: cfg.Identity, log: cfg.Logger, clock: cfg.Clock, born: time.Now(),
		keys:    &dataKeys{box: cfg.Box, changed: cfg.KeysChanged},
		members: members.NewApplier(),
		answers: answers(cfg.Answers),
		nudge:   make(chan struct{}, 1),
		told:    teller{rings: make(chan struct{}, 1)},
		removed: make(chan struct{}),
		readyCh: make(chan struct{}), closing: make(chan struct{}),
	}
	n.life, n.end = context.WithCancel(context.Background())
	n.members.OnChange(n.noticeMembers)
	if err := n.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open node: %w", err), n.release())
	}
	return n, nil
}

func (n *Node) open() error {
	conf := raftConfig(&n.cfg)
	storage, err := n.openStorage(conf)
	if err != nil {
		return err
	}
	n.snaps = storage.Snapshots
	covered := &coveredLog{storage.Log, storage.Snapshots}
	if err := covered.settle(); err != nil {
		return err
	}
	if n.logs, err = raft.NewLogCache(logCached, covered); err != nil {
		return err
	}
	if n.trans = n.cfg.Transport; n.trans == nil {
		n.trans = newAlone(n.id.NodeID)
	}
	has, err := raft.HasExistingState(storage.Log, storage.Stable, storage.Snapshots)
	if err != nil {
		return fmt.Errorf("look for raft state: %w", err)
	}
	if !has && n.cfg.Bootstrap {
		if err := n.bootstrap(conf, storage); err != nil {
			return err
		}
	}
	appliers := maps.Clone(n.cfg.Appliers)
	if appliers == nil {
		appliers = map[command.Type]fsm.Applier{}
	}
	appliers[command.DataKey] = n.keys
	appliers[command.Membership] = n.members
	n.fsm = fsm.New(fsm.Config{ClusterID: n.id.ClusterID, Appliers: appliers, Logger: n.log})
	if n.raft, err = raft.NewRaft(conf, n.fsm, n.logs, storage.Stable, storage.Snapshots, n.trans); err != nil {
		// Raft's own error says only that no snapshot would do; the reason is here.
		return errors.Join(fmt.Errorf("start raft: %w", err), n.fsm.RestoreErr())
	}
	n.retime()
	if n.counts, err = n.measure(n.cfg.Registerer); err != nil {
		return err
	}
	if n.cfg.Registrar != nil {
		n.answerPeers(n.cfg.Registrar)
	}
	return n.hurry()
}

// openStorage is the caller's storage, or the one on disk.
func (n *Node) openStorage(conf *raft.Config) (*Storage, error) {
	if n.cfg.Storage != nil {
		return n.cfg.Storage, nil
	}
	dir := filepath.Join(n.cfg.Dir, "raft")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	store, err := raftlog.Open(raftlog.Config{Dir: filepath.Join(dir, "log"), Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.disk = store
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, conf.Logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	return &Storage{Log: store, Stable: store, Snapshots: snaps}, nil
}

// bootstrap makes this node a cluster of one. The cluster id is durable first:
// a crash in between ends in the same cluster, not in a second one.
func (n *Node) bootstrap(conf *raft.Config, storage *Storage) error {
	if n.id.ClusterID == "" {
		id, err := NewID()
		if err != nil {
			return fmt.Errorf("make cluster id: %w", err)
		}
		if err := n.id.SetCluster(id); err != nil {
			return err
		}
	}
	servers := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: conf.LocalID, Address: raft.ServerAddress(n.id.NodeID),
	}}}
	if err := raft.BootstrapCluster(conf, n.logs, storage.Stable, storage.Snapshots, n.trans, servers); err != nil {
		return fmt.Errorf("bootstrap cluster: %w", err)
	}
	n.log.Info("cluster started", "cluster", n.id.ClusterID, "node", n.id.NodeID)
	return nil
}

// hurry lets the only voter lead at once. There is nobody it could disturb, and
// waiting out the election timeout would cost every start a second or two.
func (n *Node) hurry() error {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("read raft configuration: %w", err)
	}
	voters, self := 0, false
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || string(s.ID) == n.id.NodeID
		}
	}
	if voters != 1 || !self {
		return nil
	}
	addr := n.trans.LocalAddr()
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id.NodeID), Addr: n.trans.EncodePeer(raft.ServerID(n.id.NodeID), addr),
	}}
	if err := n.trans.TimeoutNow(raft.ServerID(n.id.NodeID), addr, req, &raft.TimeoutNowResponse{}); err != nil {
		// It will lead all the same, only later.
		n.log.Debug("immediate election refused", "error", err)
	}
	return nil
}

// lookEvery is how often a node that is not ready looks for a leader.
const lookEvery = 50 * time.Millisecond

// Run leads when it is this node's turn and watches over the state machine. It
// returns nil when ctx ends, or why the node cannot go on: ErrRemoved when the
// others have forgotten it.
func (n *Node) Run(ctx context.Context) error {
	leader := n.raft.LeaderCh()
	removed := n.removed
	stopLeading := func() {}
	defer func() { stopLeading() }()
	// A follower whose state is whole hears of its leader and of nothing else.
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		_, moved := n.fsm.Applied()
		n.checkReady()
		n.retime()
		select {
		case <-ctx.Done():
			return n.fsm.Err() // a fault that came first is told
		case <-n.closing:
			return n.fsm.Err()
		case <-look.C:
			if n.isReady() {
				look.Stop()
			}
		case <-n.fsm.Stopped():
			return n.fsm.Err()
		case <-removed:
			removed = nil
			if err := n.removedErr(); err != nil {
				return err
			}
		case <-moved:
		case is := <-leader:
			stopLeading()
			stopLeading = func() {}
			if is {
				stopLeading = n.startLeading(ctx)
			}
		}
	}
}

// begin lets work in that Close waits for; false: the node is closed.
func (n *Node) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.work.Add(1)
	}
	return !n.closed
}

// isReady reports whether WaitReady has returned, or would.
func (n *Node) isReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// Close stops raft and closes the log. The identity stays open: the caller
// marks it clean when the rest of the node is down too.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.closing)
	n.mu.Unlock()
	return n.release()
}

func (n *Node) release() error {
	n.end()
	var errs []error
	if n.raft != nil {
		if err := n.raft.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("stop raft: %w", err))
		}
	} else if n.trans != nil {
		errs = append(errs, n.trans.Close()) // raft closes it when there is one
	}
	n.work.Wait()
	if n.counts != nil {
		n.counts.unregister()
	}
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	return errors.Join(errs...)
}
