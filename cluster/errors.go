package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// What an error of Submit proves.
var (
	// ErrNotLeader proves that nothing happened: this node does not lead, or is
	// handing leadership over. The leader, if one is known, is in NotLeaderError.
	ErrNotLeader = errors.New("this node is not the leader")

	// ErrNoQuorum proves that nothing happened: no leader is known, so the
	// majority of voters is out of reach.
	ErrNoQuorum = errors.New("no leader: a majority of voters is out of reach")

	// ErrBusy proves that nothing happened: the leader could not take the command
	// in time.
	ErrBusy = errors.New("leader is too busy to take the command")

	// ErrOutcomeUnknown proves nothing: the command may have been applied, or may
	// yet be. Repeat it with the same id.
	ErrOutcomeUnknown = errors.New("outcome unknown: the command may have been applied")

	// ErrTooLarge proves that nothing happened: the command is larger than the
	// log takes.
	ErrTooLarge = errors.New("command is too large")

	// ErrClosed proves that nothing happened: the node has been closed.
	ErrClosed = errors.New("node is closed")
)

// NotLeaderError is an ErrNotLeader that knows who leads.
type NotLeaderError struct {
	LeaderID      string
	LeaderAddress string
}

// Error names the leader.
func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("%s: node %s at %s leads", ErrNotLeader, e.LeaderID, e.LeaderAddress)
}

// Is makes it an ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// submitError maps what raft says of a command to what it proves.
func (n *Node) submitError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	}
	// Leadership lost, shutdown while waiting, a failing disk: the entry may be in
	// some log already, and then a later leader may commit it.
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// readError maps what raft says of a question: nothing can have happened.
func (n *Node) readError(err error) error {
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return n.notLeader()
	}
	return err
}

func (n *Node) notLeader() error {
	addr, id := n.raft.LeaderWithID()
	switch {
	case id == "":
		return ErrNoQuorum
	case string(id) == n.id.NodeID:
		return ErrNotLeader // between two states; it says nothing about who is next
	}
	return &NotLeaderError{LeaderID: string(id), LeaderAddress: string(addr)}
}
