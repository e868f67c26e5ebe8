package cluster

import (
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/members"
)

// Profile is how patient raft is with its links.
type Profile string

// The profiles: one region, several, links beyond 250 ms or noisy ones; and the
// first or the second of these as the members' regions ask for.
const (
	Auto Profile = "auto"
	LAN  Profile = "lan"
	WAN  Profile = "wan"
	Far  Profile = "far"
)

// timing is one profile. Election takes the heartbeat's timeout too.
type timing struct{ heartbeat, lease, commit time.Duration }

// timings per profile. Failover costs about 2.2 times the heartbeat timeout;
// more of it only buys patience with nodes that pause as a whole.
//
// A follower learns of a commit with the leader's next message. After a command
// that is a barrier (see tellCommits); after anything else it is the message that
// an idle leader sends each commit timeout, up to twice it. Each costs all nodes
// a wake-up, so an idle cluster has few of them.
//
// Auto begins as lan and may become wan while it runs, and raft can change the
// heartbeat's timeout then, but neither the lease nor the commit's. So its lease
// is wan's from the start: with half a second a leader would give up between two
// heartbeats over a long link. Its commit timeout is lan's.
var timings = map[Profile]timing{
	Auto: {time.Second, time.Second, 75 * time.Millisecond},
	LAN:  {time.Second, 500 * time.Millisecond, 75 * time.Millisecond},
	WAN:  {2 * time.Second, time.Second, 100 * time.Millisecond},
	Far:  {4 * time.Second, 2 * time.Second, 100 * time.Millisecond},
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

// regions counts the regions that the members are in.
func regions(s *members.State) int {
	seen := map[string]bool{}
	for _, m := range s.Nodes() {
		seen[m.Region] = true
	}
	return len(seen)
}

// Profile is the one in force.
func (n *Node) Profile() Profile {
	if n.cfg.Profile != Auto {
		return n.cfg.Profile
	}
	if n.wide.Load() {
		return WAN
	}
	return LAN
}

// retime makes raft as patient as the members' regions ask for.
func (n *Node) retime() {
	s := n.Membership()
	if n.cfg.Profile != Auto || n.timed.Swap(s) == s {
		return
	}
	wide := regions(s) > 1
	if n.wide.Swap(wide) == wide {
		return
	}
	c := n.raft.ReloadableConfig()
	c.HeartbeatTimeout = timings[n.Profile()].heartbeat
	c.ElectionTimeout = c.HeartbeatTimeout
	if err := n.raft.ReloadConfig(c); err != nil {
		n.log.Warn("raft keeps its timeouts", "profile", n.Profile(), "error", err)
		return
	}
	n.log.Info("raft timeouts follow the members' regions", "profile", n.Profile())
}

// stable is how long a node must have been well before it may vote.
func (n *Node) stable() time.Duration {
	if n.Profile() == LAN {
		return 15 * time.Second
	}
	return 30 * time.Second
}
