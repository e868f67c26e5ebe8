package cluster

import (
	"context"
	"crypto/rand"
	"fmt"

	"tollgate/cluster/members"
)

// The feature levels that this release speaks: what it proposes follows from the
// level that the cluster has taken, never from what a node could do.
const (
	FeatureMin uint32 = 1
	FeatureMax uint32 = 2
)

// What a level brings. Nodes of an older release would stop at the one and count
// otherwise than the rest by the other.
const (
	FeatureClaims uint32 = 2 // claims of calls' Idempotency-Keys
	FeatureAnew   uint32 = 2 // budgets that begin with their owner's making
)

// left is why a node was taken out that asked for it.
const left = "left"

// Membership is who belongs to the cluster, as applied here. It never changes
// once read.
func (n *Node) Membership() *members.State { return n.members.State() }

// OnMembership has f called with each new membership, on the goroutine that
// applies: f must be quick, and must wait for nothing that is applied later.
func (n *Node) OnMembership(f func(old, new *members.State)) { n.members.OnChange(f) }

// Feature is the level that the cluster has taken.
func (n *Node) Feature() uint32 { return n.Membership().Feature }

// noticeMembers is the node's own look at a new membership.
func (n *Node) noticeMembers(_, s *members.State) {
	if why, _, out := s.Removed(n.id.NodeID); out {
		n.Forgotten(why)
	}
	n.Replan()
}

// Register tells the cluster of this start: where the node is now, and that
// earlier starts of its id are over. What the caller leaves empty is filled in
// from what the node knows. ErrStaleStart and ErrStartRefused are final.
func (n *Node) Register(ctx context.Context, self members.Node) (members.Node, error) {
	self.ID, self.Incarnation = n.id.NodeID, n.id.Incarnation
	fill(&self.Name, n.cfg.Name)
	fill(&self.Region, n.cfg.Region)
	fill(&self.Zone, n.cfg.Zone)
	fill(&self.Role, n.cfg.Role)
	fill(&self.Nonce, rand.Text())
	if self.FeatureMax == 0 {
		self.FeatureMin, self.FeatureMax = FeatureMin, FeatureMax
	}
	r, err := n.SubmitMembership(ctx, &members.Command{Op: members.OpStart, Node: &self})
	switch {
	case err != nil:
		return members.Node{}, fmt.Errorf("register start: %w", err)
	case r.Refused == members.CodeStaleStart:
		return members.Node{}, fmt.Errorf("%w: %s", ErrStaleStart, r.Message)
	case r.Refused == members.CodeRemoved:
		return members.Node{}, fmt.Errorf("%w: %s", ErrRemoved, r.Message)
	case r.Refused != "":
		return members.Node{}, fmt.Errorf("%w: %s", ErrStartRefused, r.Message)
	case r.Node == nil:
		return members.Node{}, fmt.Errorf("register start: %w", errForwardForm)
	}
	return *r.Node, nil
}

func fill[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

// Forgotten tells the node that it is no member any more. It learns that from
// the log; one that was cut off meanwhile is told so by whoever refuses its
// connections. A node that has just been admitted may be refused by one that has
// not heard of it yet, so the caller believes this only of a former member.
func (n *Node) Forgotten(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.why != "" {
		return
	}
	if why == "" {
		why = "removed"
	}
	n.why = why
	close(n.removed)
}

// Removed is closed when this node is no member any more: it left, or was
// forgotten.
func (n *Node) Removed() <-chan struct{} { return n.removed }

// removedErr is why a removed node has to end, nil for one that leaves: that
// one ends in its own order.
func (n *Node) removedErr() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch n.why {
	case "", left:
		return nil
	}
	return fmt.Errorf("%w (%s): remove raft and cluster from its data directory and join again with a token; its ledger is kept", ErrRemoved, n.why)
}
