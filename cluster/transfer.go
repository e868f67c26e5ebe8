package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/gossip"
)

// ErrNoVoter says that leadership can go to nobody: there is no other voter that
// lives, or the one named does not vote.
var ErrNoVoter = errors.New("no such voter to lead")

// TransferLeadership hands leadership to a voter, "" for any that lives, and
// returns the id of the new leader. The leader does it wherever it is.
func (n *Node) TransferLeadership(ctx context.Context, to string) (leader string, err error) {
	leader, err = n.handOver(ctx, to)
	var other *NotLeaderError
	if n.cfg.Calls == nil || !errors.As(err, &other) {
		return leader, err
	}
	reply, err := n.cfg.Calls.Call(ctx, other.LeaderID, callTransfer, []byte(to))
	if err != nil {
		return "", fmt.Errorf("transfer leadership: %w", fromWire(other.LeaderID, err))
	}
	return string(reply), nil
}

func (n *Node) serveTransfer(ctx context.Context, _ string, request []byte) ([]byte, error) {
	leader, err := n.handOver(ctx, string(request))
	return []byte(leader), err
}

// StepDown hands leadership to another voter, if this node leads and there is
// one: a node that stops says so rather than be missed.
func (n *Node) StepDown(ctx context.Context) error {
	_, err := n.handOver(ctx, "")
	if errors.Is(err, ErrNoVoter) || errors.Is(err, ErrNotLeader) || errors.Is(err, ErrNoQuorum) {
		return nil
	}
	return err
}

// handOver moves leadership away from this node.
func (n *Node) handOver(ctx context.Context, to string) (string, error) {
	if n.raft.State() != raft.Leader {
		return "", n.notLeader()
	}
	if to == n.id.NodeID {
		return to, nil
	}
	heirs, err := n.heirs(to)
	if err != nil {
		return "", err
	}
	if len(heirs) == 0 {
		return "", fmt.Errorf("transfer leadership: %w", ErrNoVoter)
	}
	n.setHanding(1)
	defer n.setHanding(-1)
	for _, id := range heirs {
		if err = wait(ctx, n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id))); err == nil {
			return n.nextLeader(ctx)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if b := n.Barrier(ctx); b == nil { // it leads still: nobody was elected on its word
		return "", fmt.Errorf("transfer leadership: %w", err)
	}
	return n.nextLeader(ctx)
}

func (n *Node) setHanding(by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handing += by
}

// heirs are the voters that may lead, those that live. Of one that is named only
// its vote is asked for.
func (n *Node) heirs(to string) ([]string, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read raft configuration: %w", err)
	}
	dead := map[string]bool{}
	for _, m := range n.cfg.Gossip() {
		dead[m.NodeID] = m.State != gossip.Alive || m.Draining
	}
	var heirs []string
	for _, s := range f.Configuration().Servers {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == n.id.NodeID {
			continue
		}
		if id == to || to == "" && !dead[id] {
			heirs = append(heirs, id)
		}
	}
	return heirs, nil
}

// nextLeader waits until this node hears who leads now.
func (n *Node) nextLeader(ctx context.Context) (string, error) {
	for {
		if id := n.leaderID(); id != "" && id != n.id.NodeID {
			return id, nil
		}
		if ctx.Err() != nil || n.isClosed() {
			return "", fmt.Errorf("wait for the next leader: %w", ErrNoQuorum)
		}
		pause(ctx, 10*time.Millisecond)
	}
}
