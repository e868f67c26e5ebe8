package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Applied is the index of the last command that readers on this node see.
func (n *Node) Applied() uint64 {
	index, _ := n.fsm.Applied()
	return index
}

// WaitApplied waits until readers on this node see the command at index, which
// a leader has named: Submit's, or LeaderIndex's.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	for {
		have, moved := n.fsm.Applied()
		if have >= index {
			return nil
		}
		select {
		case <-moved:
		case <-n.fsm.Stopped():
			return n.fsm.Err()
		case <-n.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d, at %d: %w", index, have, ctx.Err())
		}
	}
}

// WaitReady waits until the node can serve: it has a leader, and what it needs
// to open secrets. Run must be running.
func (n *Node) WaitReady(ctx context.Context) error {
	select {
	case <-n.readyCh:
		return nil
	case <-n.fsm.Stopped():
		return n.fsm.Err()
	case <-n.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait until the node is ready: %w", errors.Join(ctx.Err(), n.keys.failure()))
	}
}

// Barrier waits until everything committed before it is applied here. Only the
// leader can.
func (n *Node) Barrier(ctx context.Context) error {
	if err := wait(ctx, n.raft.Barrier(enqueueWithin)); err != nil {
		return fmt.Errorf("barrier: %w", n.readError(err))
	}
	return nil
}

// LeaderIndex is, on the leader, an index that covers every write acknowledged
// before the call: a node that has applied it has seen them all. It costs one
// round trip to a majority and writes nothing.
func (n *Node) LeaderIndex(ctx context.Context) (uint64, error) {
	if !n.leads() {
		return 0, n.notLeader()
	}
	index := n.Applied()
	if err := wait(ctx, n.raft.VerifyLeader()); err != nil {
		return 0, fmt.Errorf("verify leadership: %w", n.readError(err))
	}
	return index, nil
}

// Status is how the node stands in its cluster.
type Status struct {
	NodeID, ClusterID  string
	Name, Region, Zone string
	Incarnation        uint64
	State              string // leader, follower, candidate, shutdown
	LeaderID           string // "" when none is known
	Term               uint64
	Applied            uint64 // visible to readers here
	Commit, Last       uint64 // of the log
	Voters, Members    int
}

// Status reports without waiting for anybody.
func (n *Node) Status() Status {
	s := Status{
		NodeID: n.id.NodeID, ClusterID: n.id.ClusterID, Incarnation: n.id.Incarnation,
		Name: n.cfg.Name, Region: n.cfg.Region, Zone: n.cfg.Zone,
		Term: n.raft.CurrentTerm(), Applied: n.Applied(), Commit: n.raft.CommitIndex(), Last: n.raft.LastIndex(),
	}
	switch n.raft.State() {
	case raft.Leader:
		s.State = "leader"
	case raft.Candidate:
		s.State = "candidate"
	case raft.Shutdown:
		s.State = "shutdown"
	default:
		s.State = "follower"
	}
	_, leader := n.raft.LeaderWithID()
	s.LeaderID = string(leader)
	f := n.raft.GetConfiguration()
	if f.Error() == nil {
		for _, srv := range f.Configuration().Servers {
			s.Members++
			if srv.Suffrage == raft.Voter {
				s.Voters++
			}
		}
	}
	return s
}

// IsLeader reports whether this node leads and may answer for the cluster.
func (n *Node) IsLeader() bool { return n.leads() }

// Snapshot writes the state to disk now, so that the log before it can go.
func (n *Node) Snapshot(ctx context.Context) error {
	if err := wait(ctx, n.raft.Snapshot()); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}
