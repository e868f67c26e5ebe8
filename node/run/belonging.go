package run

import (
	"fmt"
	"os"
	"time"

	"tollgate/cluster/join"
	"tollgate/cluster/peer"
)

// allowed says which nodes may speak to this one. A node that knows no members
// yet, or that starts anew with all the others, goes by those it last knew and
// by raft's configuration: else none of them would get a vote.
func (p *place) allowed(id string) error {
	o := p.opened.Load()
	if o == nil {
		return nil // it holds a certificate of the cluster's
	}
	s := o.cluster.Membership()
	if _, ok := s.Node(id); ok || s.Len() == 0 {
		return nil
	}
	if why, _, removed := s.Removed(id); removed {
		if p.sayingBye(id, why) {
			return nil
		}
		return peer.NotMember(id)
	}
	for _, server := range o.cluster.Servers() {
		if server.ID == id {
			return nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.known.Members {
		if m.ID == id {
			return nil
		}
	}
	// It holds a certificate, so it was let in once, and was not taken out as far
	// as this node knows. While nobody leads, this node may be the one that is
	// behind: the leader may be one that came while it was away.
	if leader := o.cluster.Status().LeaderID; leader == "" || leader == id {
		return nil
	}
	return peer.NotMember(id)
}

// byeTime is how long a node that has left may still speak: it waits for the
// answer that it has left.
const byeTime = 10 * time.Second

// sayingBye counts from when this node first saw that the other has left: the
// log's time is another machine's.
func (p *place) sayingBye(id, why string) bool {
	if why != whyLeft {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.parted[id]
	if !ok {
		seen = time.Now()
		p.parted[id] = seen
	}
	return time.Since(seen) < byeTime
}

// refused hears that another node does not take this one for a member. One that
// lags may be wrong for a moment; when most say so, it is so.
func (p *place) refused(by string, r *peer.Refused) {
	switch {
	case p.leaving.Load():
		return
	case r.Reason == peer.ReasonOldGeneration: // one that knows of the recovery is proof
		p.n.leave(fmt.Errorf("the cluster was recovered without this node: remove %s and %s, then join again with a token; the ledger is kept",
			p.n.o.path("raft"), p.n.o.path(join.Dir)))
		return
	case r.Reason != peer.ReasonNotMember:
		return
	}
	o := p.opened.Load()
	if o == nil {
		return
	}
	if _, member := o.cluster.Membership().Node(p.n.identity.NodeID); p.joined && !member {
		return // it has only just been let in: not all have heard of it
	}
	p.mu.Lock()
	p.refusedBy[by] = true
	most := len(p.refusedBy)*2 > len(p.known.Members)-1
	p.mu.Unlock()
	if most {
		o.cluster.Forgotten(r.Message)
	}
}

// forgetCluster empties the directory of what belonged to the cluster that the
// node has left: a later start is a new node. The ledger stays.
func (p *place) forgetCluster() error {
	if err := os.WriteFile(p.n.o.path(leftFile), []byte(p.n.identity.ClusterID+"\n"), 0o600); err != nil {
		return fmt.Errorf("mark the directory of a node that has left: %w", err)
	}
	for _, name := range []string{"raft", join.Dir} {
		if err := os.RemoveAll(p.n.o.path(name)); err != nil {
			return fmt.Errorf("forget the cluster that was left: %w", err)
		}
	}
	return nil
}
