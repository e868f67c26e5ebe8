package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"tollgate/cluster/peer"
)

// What an error proves.
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

	// ErrLagging proves that the command was applied, and that this node has not
	// seen it in time. It is an ErrOutcomeUnknown too, for who knows only that.
	ErrLagging = errors.New("the command is applied, but this node has not seen it yet")

	// ErrTooLarge proves that nothing happened: the command is larger than the
	// log takes.
	ErrTooLarge = errors.New("command is too large")

	// ErrRejected proves that nothing happened: the leader found the command
	// wrong, which this node had not. The two are of different releases.
	ErrRejected = errors.New("the leader rejects the command")

	// ErrPeerFailed proves that nothing happened: the node that was asked could not
	// do it, for a reason of its own.
	ErrPeerFailed = errors.New("the other node could not do it")

	// ErrClosed proves that nothing happened: the node has been closed.
	ErrClosed = errors.New("node is closed")

	// ErrBehind says that a question could not be answered in time: this node's
	// state may be older than the cluster's, or there is no leader to ask.
	ErrBehind = errors.New("this node's state may be behind the cluster's")

	// ErrRemoved ends a node that the others have taken out.
	ErrRemoved = errors.New("this node was taken out of the cluster")

	// ErrStaleStart ends a node whose id has been started elsewhere since.
	ErrStaleStart = errors.New("this start is not the newest of the node")

	// ErrStartRefused ends a node that the cluster does not take as it is.
	ErrStartRefused = errors.New("the cluster refuses the start of this node")
)

// NotLeaderError is an ErrNotLeader that knows who leads.
type NotLeaderError struct {
	LeaderID      string
	LeaderAddress string
}

// Error names the leader.
func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("%s: node %s leads", ErrNotLeader, e.LeaderID)
}

// Is makes it an ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// laggingError is ErrLagging with what was waited for.
type laggingError struct {
	index uint64
	err   error
}

func (e *laggingError) Error() string {
	return fmt.Sprintf("%s: index %d: %s", ErrLagging, e.index, e.err)
}

func (e *laggingError) Is(target error) bool {
	return target == ErrLagging || target == ErrOutcomeUnknown
}

func (e *laggingError) Unwrap() error { return e.err }

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
	case id == "" || !heard(n.Profile(), n.Staleness()):
		return ErrNoQuorum
	case string(id) == n.id.NodeID:
		return ErrNotLeader // between two states; it says nothing about who is next
	}
	return &NotLeaderError{LeaderID: string(id), LeaderAddress: string(addr)}
}

// codes name on the wire what an error proves. The first that fits is sent.
var codes = []struct {
	code string
	err  error
}{
	{"outcome_unknown", ErrOutcomeUnknown},
	{"not_leader", ErrNotLeader},
	{"no_quorum", ErrNoQuorum},
	{"busy", ErrBusy},
	{"too_large", ErrTooLarge},
	{"rejected", ErrRejected},
	{"closed", ErrClosed},
	{"behind", ErrBehind},
	{"no_voter", ErrNoVoter},
}

// failedCode and endedCode stand for errors that are no sentinels of ours.
const (
	failedCode = "failed"
	endedCode  = "ended"
)

// toWire is an error as another node is told it.
func toWire(err error) *peer.Error {
	e := &peer.Error{Message: err.Error()}
	var leads *NotLeaderError
	if errors.As(err, &leads) {
		e.Detail = leads.LeaderID
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			e.Code = c.code
			return e
		}
	}
	e.Code = failedCode
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e.Code = endedCode // before anything was proposed
	}
	return e
}

// fromWire is what an error of a call to node proves here. Everything is
// unknown that neither the other node's word nor the way there rules out.
func fromWire(node string, err error) error {
	if errors.Is(err, peer.ErrUnreached) {
		return fmt.Errorf("%w: node %s: %w", ErrNotLeader, node, err)
	}
	var e *peer.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: ask node %s: %w", ErrOutcomeUnknown, node, err)
	}
	proves := ErrOutcomeUnknown
	switch e.Code {
	case "closed":
		proves = ErrNotLeader // that node is closed, not this one
	case failedCode:
		proves = ErrPeerFailed
	case endedCode:
		proves = context.DeadlineExceeded
	default:
		for _, c := range codes {
			if c.code == e.Code {
				proves = c.err
			}
		}
	}
	return &wireError{proves: proves, text: fmt.Sprintf("node %s: %s", node, e.Message)}
}

// wireError is another node's error with what it proves.
type wireError struct {
	proves error
	text   string
}

func (e *wireError) Error() string { return e.text }
func (e *wireError) Unwrap() error { return e.proves }
