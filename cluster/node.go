// Package cluster makes one node of several agree with the others: who it is,
// the raft log and its snapshots, proposing commands and waiting for them. What
// the commands mean is the matter of the appliers handed in; requests of
// clients never wait here, they read the published state.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/raftlog"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

// Config is what a node needs to take part.
type Config struct {
	Dir      string    // data directory; raft's part lies in raft/
	Identity *Identity // of that directory, from LoadIdentity
	Name     string    // for people; not an identity
	Region   string
	Zone     string

	// Bootstrap starts a cluster of one when there is no raft state yet. Without
	// it a fresh node waits to be added by others.
	Bootstrap bool
	// Appliers are the state machines, by the commands they take. DataKey is the
	// node's own.
	Appliers map[command.Type]fsm.Applier
	// Box gets the cluster's data keys as they are committed; the first leader
	// makes one. nil: values are not sealed.
	Box *secret.Box
	// KeysChanged is called on the applying goroutine when Box has got keys that
	// readers of the published state may have missed.
	KeysChanged func()

	Transport Transport // nil: a cluster of one that nobody can join
	Profile   Profile   // "": lan
	Logger    *slog.Logger
	Clock     unit.Clock
}

func (c Config) withDefaults() Config {
	if c.Profile == "" {
		c.Profile = LAN
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	return c
}

func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no data directory"))
	}
	if c.Identity == nil {
		errs = append(errs, errors.New("no identity"))
	}
	if _, ok := c.Appliers[command.DataKey]; ok {
		errs = append(errs, errors.New("data keys have an applier already"))
	}
	if _, ok := timings[c.Profile]; !ok {
		errs = append(errs, fmt.Errorf("profile %q: want lan, wan or far", c.Profile))
	}
	return errors.Join(errs...)
}

// timing is one profile. Election takes the heartbeat's timeout too.
type timing struct{ heartbeat, lease, commit time.Duration }

// timings per profile. Failover costs about 2.2 times the heartbeat timeout;
// more of it only buys patience with nodes that pause as a whole.
var timings = map[Profile]timing{
	LAN: {time.Second, 500 * time.Millisecond, 50 * time.Millisecond},
	WAN: {2 * time.Second, time.Second, 100 * time.Millisecond},
	Far: {4 * time.Second, 2 * time.Second, 150 * time.Millisecond},
}

// snapshotsKept is how many snapshots stay on disk.
const snapshotsKept = 3

// logCached is how many recent entries followers are served from memory.
const logCached = 512

func raftConfig(cfg *Config) *raft.Config {
	t := timings[cfg.Profile]
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.Identity.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = t.heartbeat, t.heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = t.lease, t.commit
	c.MaxAppendEntries = 64
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.SnapshotThreshold = 16_384
	c.SnapshotInterval = time.Minute
	c.TrailingLogs = 20_480 // a region cut off for an hour catches up from the log
	c.NoLegacyTelemetry = true
	c.Logger = raftLogger(cfg.Logger)
	return c
}

// Node is one member of the cluster.
type Node struct {
	cfg   Config
	id    *Identity
	log   *slog.Logger
	clock unit.Clock

	raft  *raft.Raft
	fsm   *fsm.FSM
	store *raftlog.Store
	snaps raft.SnapshotStore
	trans Transport
	keys  *dataKeys

	mu        sync.Mutex // guards the fields below
	ready     bool       // once true, it stays
	readyCh   chan struct{}
	leaderFor uint64 // term for which this node's barrier has passed; 0: not leading
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
		cfg: cfg, id: cfg.Identity, log: cfg.Logger, clock: cfg.Clock,
		keys:    &dataKeys{box: cfg.Box, changed: cfg.KeysChanged},
		readyCh: make(chan struct{}), closing: make(chan struct{}),
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open node: %w", err), n.release())
	}
	return n, nil
}

func (n *Node) open() error {
	dir := filepath.Join(n.cfg.Dir, "raft")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if n.store, err = raftlog.Open(raftlog.Config{Dir: filepath.Join(dir, "log"), Logger: n.log}); err != nil {
		return err
	}
	conf := raftConfig(&n.cfg)
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, conf.Logger)
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	n.snaps = snaps
	cached, err := raft.NewLogCache(logCached, n.store)
	if err != nil {
		return err
	}
	if n.trans = n.cfg.Transport; n.trans == nil {
		n.trans = newAlone(n.id.NodeID)
	}
	has, err := raft.HasExistingState(n.store, n.store, snaps)
	if err != nil {
		return fmt.Errorf("look for raft state: %w", err)
	}
	if !has && n.cfg.Bootstrap {
		if err := n.bootstrap(conf, cached, snaps); err != nil {
			return err
		}
	}
	appliers := maps.Clone(n.cfg.Appliers)
	if appliers == nil {
		appliers = map[command.Type]fsm.Applier{}
	}
	appliers[command.DataKey] = n.keys
	n.fsm = fsm.New(fsm.Config{ClusterID: n.id.ClusterID, Appliers: appliers, Logger: n.log})
	if n.raft, err = raft.NewRaft(conf, n.fsm, cached, n.store, snaps, n.trans); err != nil {
		// Raft's own error says only that no snapshot would do; the reason is here.
		return errors.Join(fmt.Errorf("start raft: %w", err), n.fsm.RestoreErr())
	}
	return n.hurry()
}

// bootstrap makes this node a cluster of one. The cluster id is durable first:
// a crash in between ends in the same cluster, not in a second one.
func (n *Node) bootstrap(conf *raft.Config, logs raft.LogStore, snaps raft.SnapshotStore) error {
	if n.id.ClusterID == "" {
		id, err := NewID()
		if err != nil {
			return fmt.Errorf("make cluster id: %w", err)
		}
		if err := n.id.setCluster(id); err != nil {
			return err
		}
	}
	servers := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: conf.LocalID, Address: n.trans.LocalAddr(),
	}}}
	if err := raft.BootstrapCluster(conf, logs, n.store, snaps, n.trans, servers); err != nil {
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
	voters := 0
	self := false
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
		n.log.Warn("immediate election refused", "error", err)
	}
	return nil
}

// Run leads when it is this node's turn and watches over the state machine. It
// returns nil when ctx ends, or why the node cannot go on.
func (n *Node) Run(ctx context.Context) error {
	leader := n.raft.LeaderCh()
	stopLeading := func() {}
	defer func() { stopLeading() }()
	for {
		_, moved := n.fsm.Applied()
		n.checkReady()
		select {
		case <-ctx.Done():
			return n.fsm.Err() // a fault that came first is told
		case <-n.closing:
			return n.fsm.Err()
		case <-n.fsm.Stopped():
			return n.fsm.Err()
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

// startLeading begins to lead beside Run's loop; the function it returns ends
// that and waits for it.
func (n *Node) startLeading(ctx context.Context) (stop func()) {
	leading, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.lead(leading) })
	return func() {
		cancel()
		wg.Wait()
		n.setLeader(0)
	}
}

// lead makes a fresh leader answer for the past before it answers questions:
// its state must hold everything that earlier leaders acknowledged.
func (n *Node) lead(ctx context.Context) {
	const retry = 100 * time.Millisecond
	for ctx.Err() == nil && n.raft.State() == raft.Leader {
		term := n.raft.CurrentTerm()
		err := n.Barrier(ctx)
		if err == nil {
			err = n.ensureDataKey(ctx)
		}
		if err == nil && n.raft.CurrentTerm() == term {
			n.setLeader(term)
			n.log.Info("leading", "node", n.id.NodeID, "term", term)
			n.checkReady()
			return
		}
		if errors.Is(err, secret.ErrWrongKEK) {
			// A leader that cannot open the secrets could call no provider, and
			// waiting does not mend it.
			n.fsm.Stop(err)
			return
		}
		if ctx.Err() == nil && err != nil {
			n.log.Warn("leadership not complete yet", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

func (n *Node) setLeader(term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaderFor = term
}

// leads reports whether this node leads and its state holds all that was ever
// acknowledged.
func (n *Node) leads() bool {
	n.mu.Lock()
	term := n.leaderFor
	n.mu.Unlock()
	return term != 0 && n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// checkReady notices when the node can serve: a leader is known, this node if
// it is the leader has finished taking over, and secrets can be opened.
func (n *Node) checkReady() {
	_, leader := n.raft.LeaderWithID()
	if leader == "" || n.cfg.Box != nil && (!n.cfg.Box.Ready() || n.keys.failure() != nil) {
		return
	}
	if string(leader) == n.id.NodeID && !n.leads() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready {
		n.ready = true
		close(n.readyCh)
	}
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
	var errs []error
	if n.raft != nil {
		if err := n.raft.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("stop raft: %w", err))
		}
	} else if n.trans != nil {
		errs = append(errs, n.trans.Close()) // raft closes it when there is one
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
