package cluster

import (
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/members"
)

// Status is how the node stands in its cluster.
type Status struct {
	NodeID, ClusterID  string
	Name, Region, Zone string
	Role               members.Role
	Incarnation        uint64
	State              string // leader, follower, candidate, shutdown
	LeaderID           string // "" when none is known
	LeaderAge          time.Duration
	Quorum             bool // a leader is known and was heard of within its lease
	Ready              bool
	Term               uint64
	Applied            uint64 // visible to readers here
	Commit, Last       uint64 // of the log
	Voters, Members    int    // of raft's configuration
	Nodes              int    // of the membership; 0 until founded
	Profile            Profile
	Generation         uint64
	Feature            uint32
}

// Server is a node in raft's configuration.
type Server struct {
	ID     string
	Voter  bool
	Leader bool
}

// Status reports without waiting for anybody.
func (n *Node) Status() Status {
	m := n.Membership()
	s := Status{
		NodeID: n.id.NodeID, ClusterID: n.id.ClusterID, Incarnation: n.id.Incarnation,
		Name: n.cfg.Name, Region: n.cfg.Region, Zone: n.cfg.Zone, Role: n.cfg.Role,
		State: n.stateName(), LeaderID: n.leaderID(), LeaderAge: n.Staleness(),
		Term: n.raft.CurrentTerm(), Applied: n.Applied(), Commit: n.raft.CommitIndex(), Last: n.raft.LastIndex(),
		Nodes: m.Len(), Profile: n.Profile(), Generation: m.Generation, Feature: m.Feature,
	}
	s.Ready = n.isReady()
	s.Quorum = s.LeaderID != "" && heard(s.Profile, s.LeaderAge)
	for _, server := range n.Servers() {
		s.Members++
		if server.Voter {
			s.Voters++
		}
	}
	return s
}

// heard reports whether a leader whose last word is so old may still be asked.
// Raft gives up a silent leader only after up to three heartbeats' timeouts. What
// is sent to one that is cut off until then has an outcome that nobody can tell,
// where a refusal proves that nothing was done.
func heard(p Profile, age time.Duration) bool { return age < 2*timings[p].heartbeat }

// Servers are the nodes that raft knows, as this one last heard.
func (n *Node) Servers() []Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	leader := n.leaderID()
	var all []Server
	for _, s := range f.Configuration().Servers {
		all = append(all, Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader})
	}
	return all
}

func (n *Node) stateName() string {
	switch n.raft.State() {
	case raft.Leader:
		return "leader"
	case raft.Candidate:
		return "candidate"
	case raft.Shutdown:
		return "shutdown"
	default:
		return "follower"
	}
}

// IsLeader reports whether this node leads and may answer for the cluster.
func (n *Node) IsLeader() bool { return n.leads() }
