package run

import (
	"context"
	"fmt"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/limiter/budget"
	"tollgate/proxy/clusterapi"
)

// whyLeft is what the members remember of a node that went in order.
const whyLeft = "left"

// takeLeave takes the node out of the cluster for good.
func (n *node) takeLeave(ctx context.Context) error {
	n.place.leaving.Store(true)
	if n.account != nil {
		if err := n.account.Leave(ctx); err != nil {
			return fmt.Errorf("give back what this node holds of budgets: %w", err)
		}
	}
	r, err := n.cluster.SubmitMembership(ctx, &members.Command{Op: members.OpRemove, ID: n.identity.NodeID, Why: whyLeft})
	if err == nil {
		err = r.Err()
	}
	if _, still := n.cluster.Membership().Node(n.identity.NodeID); err != nil && still {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	n.log.Info("left the cluster", "cluster", n.identity.ClusterID)
	return nil
}

// heirWithin bounds how long a voter that leaves waits for another.
const heirWithin = 10 * time.Second

// awaitHeir waits until the others are a majority without this node's vote. The
// planner sees to it: the heir of an only voter gets a vote and leads, and then
// this node has none.
func (n *node) awaitHeir(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heirWithin)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		voters := 0
		self := false
		for _, s := range n.cluster.Servers() {
			if s.Voter {
				voters++
				self = self || s.ID == n.identity.NodeID
			}
		}
		if !self || voters > 2 {
			return nil
		}
		n.cluster.Replan()
		select {
		case <-look.C:
		case <-ctx.Done():
			return &clusterapi.Fault{Status: 409, Code: "no_heir", Message: "Without this node nobody could vote, and no other is ready to: see `tollgate members`, and try again when another has caught up."}
		}
	}
}

// sayDraining tells gossip that the node is about to stop, so that leadership,
// and where it is the only one its vote, go elsewhere first.
func (p *place) sayDraining() {
	if pool := p.pool.Load(); pool != nil {
		if err := pool.SetMeta(func(m *gossip.Meta) { m.Draining = true }); err != nil {
			p.n.log.Debug("draining not told", "error", err)
		}
	}
}

// sayBye tells gossip that the node goes in order.
func (p *place) sayBye() {
	if pool := p.pool.Load(); pool != nil {
		if err := pool.Leave(2 * time.Second); err != nil {
			p.n.log.Debug("gossip not left in order", "error", err)
		}
	}
}

// writeOff counts what a node that is gone for good held of budgets as spent.
func (n *node) writeOff(ctx context.Context, id string) error {
	payload := budget.AppendCommand(nil, &budget.Command{Op: budget.OpForget, Node: budget.NodeID(id)})
	a, err := n.proposeBudget(ctx, payload)
	if err != nil {
		return err
	}
	return a.Err
}
