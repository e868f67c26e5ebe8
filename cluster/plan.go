package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/planner"
)

const (
	// planEvery is the pause between two plans, planSoon while the cluster is
	// being formed or a change was just made.
	planEvery = 5 * time.Second
	planSoon  = time.Second
	planAgain = 200 * time.Millisecond

	// removedGrace is how long a node that lives is left in raft after it was
	// taken out, so that it learns of it from the log.
	removedGrace = 3 * time.Second

	// changeWithin bounds how long one change of raft's configuration may take.
	changeWithin = 10 * time.Second

	// featureAfter is how long all members speak a feature level before it is
	// taken, so that a release that misbehaves can still be put back.
	featureAfter = 10 * time.Minute
)

// Replan lets the leader plan at once: somebody came, left or changed. It never
// waits, and does nothing on other nodes.
func (n *Node) Replan() {
	select {
	case n.nudge <- struct{}{}:
	default:
	}
}

// plan keeps raft's configuration as the members and their health ask for, as
// long as this node leads.
func (n *Node) plan(ctx context.Context) {
	p := &plans{Node: n}
	timer := time.NewTimer(planSoon)
	defer timer.Stop()
	for n.raft.State() == raft.Leader {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.nudge:
		}
		next := planSoon
		if n.leads() {
			p.raiseFeature(ctx)
			next = p.step(ctx)
		}
		timer.Reset(next)
	}
}

// plans is what one leader remembers between its plans.
type plans struct {
	*Node
	lastTransfer time.Time
	speak        uint32    // the feature level that all members speak
	speakSince   time.Time // when they were first seen to
}

// step makes at most one change and returns when to plan again.
func (p *plans) step(ctx context.Context) time.Duration {
	f := p.raft.GetConfiguration()
	if f.Error() != nil {
		return planEvery
	}
	in := p.input(f.Configuration().Servers)
	if in == nil {
		return planSoon
	}
	change, ok := planner.Plan(*in)
	if !ok {
		if in.Reached {
			return planEvery
		}
		return planSoon
	}
	if err := p.apply(ctx, change, f.Index()); err != nil {
		if ctx.Err() == nil {
			p.log.Warn("planned change not made", "change", string(change.Kind), "node", change.ID, "why", change.Why, "error", err)
		}
		return planSoon
	}
	p.log.Info("planned change made", "change", string(change.Kind), "node", change.ID, "why", change.Why)
	return planAgain
}

// input is what a plan follows from, nil when there is nothing to plan with: a
// cluster that was not founded has no members, and its leader must not take
// itself for a stranger.
func (p *plans) input(servers []raft.Server) *planner.Input {
	state := p.Membership()
	if _, ok := state.Node(p.id.NodeID); !ok && state.Len() == 0 {
		return nil
	}
	now, settings := p.clock.Now(), p.cfg.Settings()
	in := &planner.Input{
		Now: now, LeaderSince: p.leaderSince(), Stable: p.stable(),
		Voters: settings.Voters, PreferRegion: settings.PreferRegion, LastTransfer: p.lastTransfer,
	}
	seen := map[string]*gossip.Member{}
	for _, m := range p.cfg.Gossip() {
		seen[m.NodeID] = &m
	}
	suffrage := map[string]raft.ServerSuffrage{}
	for _, s := range servers {
		suffrage[string(s.ID)] = s.Suffrage
	}
	for _, m := range state.Nodes() {
		node := planner.Node{ID: m.ID, Region: m.Region, Zone: m.Zone, Witness: m.Role == members.RoleWitness, Member: true}
		in.Nodes = append(in.Nodes, p.judge(node, seen[m.ID], suffrage))
		delete(suffrage, m.ID)
	}
	for _, s := range servers {
		if _, ok := suffrage[string(s.ID)]; !ok {
			continue
		}
		node := p.judge(planner.Node{ID: string(s.ID)}, seen[string(s.ID)], suffrage)
		_, at, _ := state.Removed(node.ID)
		node.Member = node.Alive && now.Sub(at) < removedGrace
		in.Nodes = append(in.Nodes, node)
	}
	if p.hasReached(in) {
		p.reached.Store(true)
	}
	in.Reached = p.reached.Load()
	return in
}

// judge adds to a node how it stands in raft and how it seems to be.
func (p *plans) judge(node planner.Node, seen *gossip.Member, suffrage map[string]raft.ServerSuffrage) planner.Node {
	s, known := suffrage[node.ID]
	node.Known, node.Voter = known, known && s == raft.Voter
	if node.ID == p.id.NodeID {
		node.Leader, node.Alive, node.Since, node.Contact = true, true, p.leaderSince(), p.clock.Now()
		node.Draining = seen != nil && seen.Draining
		return node
	}
	if seen == nil {
		return node // silent since before this node began to listen
	}
	node.Alive, node.Since, node.Draining = seen.State == gossip.Alive, seen.Since, seen.Draining
	if last := p.raft.LastIndex(); last > seen.Status.Applied {
		node.Lag = last - seen.Status.Applied
	}
	if !seen.StatusAt.IsZero() {
		node.Contact = seen.StatusAt.Add(-seen.Status.LeaderAge)
	}
	return node
}

// hasReached reports whether there are as many voters as there should be. A
// cluster of one or two is still being formed.
func (p *plans) hasReached(in *planner.Input) bool {
	voters := 0
	for i := range in.Nodes {
		if in.Nodes[i].Voter {
			voters++
		}
	}
	want := planner.Desired(in.Nodes, in.Voters)
	return voters >= want && (want > 1 || in.Voters == 1)
}

// apply makes one change. prev refuses it when the configuration has changed
// since the plan: two leaders' plans never interleave.
func (p *plans) apply(ctx context.Context, c planner.Change, prev uint64) error {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	id, addr := raft.ServerID(c.ID), raft.ServerAddress(c.ID)
	switch c.Kind {
	case planner.AddNonvoter:
		return wait(ctx, p.raft.AddNonvoter(id, addr, prev, changeWithin))
	case planner.Promote:
		return wait(ctx, p.raft.AddVoter(id, addr, prev, changeWithin))
	case planner.Demote, planner.Remove:
		if c.ID == p.id.NodeID {
			// Whoever leads then does it: a leader that takes itself out leaves the
			// others waiting for an election.
			_, err := p.handOver(ctx, "")
			return err
		}
		if c.Kind == planner.Demote {
			return wait(ctx, p.raft.DemoteVoter(id, prev, changeWithin))
		}
		return wait(ctx, p.raft.RemoveServer(id, prev, changeWithin))
	case planner.Transfer:
		p.lastTransfer = p.clock.Now()
		_, err := p.handOver(ctx, c.ID)
		return err
	}
	return fmt.Errorf("change %q is not known", c.Kind)
}

// raiseFeature takes the feature level that all members have spoken for long
// enough. From then on a release without it is refused.
func (p *plans) raiseFeature(ctx context.Context) {
	state, now := p.Membership(), p.clock.Now()
	level := spoken(state)
	if level <= state.Feature {
		p.speak = 0
		return
	}
	if level != p.speak {
		p.speak, p.speakSince = level, now
	}
	after := p.cfg.Settings().FeatureAfter
	if after == 0 {
		after = featureAfter
	}
	if after < 0 || now.Sub(p.speakSince) < after {
		return
	}
	r, err := p.SubmitMembership(ctx, &members.Command{Op: members.OpFeature, Feature: level})
	if err == nil && r.Refused != "" {
		err = errors.New(r.Message)
	}
	if err != nil {
		p.log.Warn("feature level not raised", "level", level, "error", err)
		return
	}
	p.log.Info("feature level raised", "level", level)
}

// spoken is the highest feature level that all members speak, 0 when a cluster
// has none yet.
func spoken(s *members.State) uint32 {
	level := ^uint32(0)
	nodes := s.Nodes()
	for i := range nodes {
		level = min(level, nodes[i].FeatureMax)
	}
	if len(nodes) == 0 || s.CA == nil {
		return 0
	}
	return level
}
