package planner

import (
	"cmp"
	"slices"
)

// view is an input sorted by what the rules ask for.
type view struct {
	in        Input
	desired   int
	leader    *Node
	voters    []*Node // by id
	nonvoters []*Node // known to raft without a vote
	unknown   []*Node // members that raft does not know yet
	healthy   int     // of the voters
}

func look(in Input) *view {
	in.Nodes = slices.Clone(in.Nodes)
	slices.SortFunc(in.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	v := &view{in: in, desired: Desired(in.Nodes, in.Voters)}
	for i := range v.in.Nodes {
		n := &v.in.Nodes[i]
		switch {
		case !n.Known:
			v.unknown = append(v.unknown, n)
		case !n.Voter:
			v.nonvoters = append(v.nonvoters, n)
		default:
			v.voters = append(v.voters, n)
			if n.Leader {
				v.leader = n
			}
			if v.well(n) {
				v.healthy++
			}
		}
	}
	return v
}

func majority(voters int) int { return voters/2 + 1 }

// well reports whether raft has heard of the node just now. For a voter that is
// what counts: gossip may be disturbed where raft is not.
func (v *view) well(n *Node) bool {
	return n.Leader || !n.Contact.IsZero() && v.in.Now.Sub(n.Contact) <= contactWithin
}

// gone reports whether a node has been silent for long. A leader new in office
// has not listened for long itself; then gossip's word counts.
func (v *view) gone(n *Node) bool {
	if v.well(n) {
		return false
	}
	heard := n.Contact
	if heard.Before(v.in.LeaderSince) {
		heard = v.in.LeaderSince
	}
	// Of a node that it never met, gossip knows nothing.
	dead := !n.Alive && !n.Since.IsZero()
	return v.in.Now.Sub(heard) > goneAfter || dead && v.in.Now.Sub(n.Since) > goneAfter
}

// stable reports whether a node has been alive for long enough. Right after an
// election nobody has, as the leader sees it: waiting then would only hold up
// what the failure of the former leader calls for.
func (v *view) stable(n *Node) bool {
	if v.in.Now.Sub(v.in.LeaderSince) < v.in.Stable {
		return true
	}
	need := v.in.Stable
	if !v.in.Reached {
		need = min(need, stableAtFirst)
	}
	return v.in.Now.Sub(n.Since) >= need
}

// promotable are the nodes that could vote from now on.
func (v *view) promotable() []*Node {
	var out []*Node
	for _, n := range v.nonvoters {
		if n.Member && !n.Draining && n.Alive && v.well(n) && n.Lag <= lagMost && v.stable(n) {
			out = append(out, n)
		}
	}
	return out
}

// heirs are the nodes that could vote at once when nobody else can: it is
// better to have a young voter than none.
func (v *view) heirs() []*Node {
	var out []*Node
	for _, n := range v.nonvoters {
		if n.Member && !n.Draining && v.well(n) && n.Lag <= lagMost {
			out = append(out, n)
		}
	}
	return out
}

// prospects reports whether some node without a vote may be promotable soon.
func (v *view) prospects() bool {
	for _, n := range slices.Concat(v.nonvoters, v.unknown) {
		if n.Member && !n.Draining && (n.Alive || v.in.Now.Sub(n.Since) <= goneAfter) && (!n.Known || !v.gone(n)) {
			return true
		}
	}
	return false
}

// lost is the voter whose vote should go first, and why: one taken out of the
// cluster, or one that is gone.
func (v *view) lost() (*Node, string) {
	var lost *Node
	for _, n := range v.voters {
		if n.Leader || n.Member && !v.gone(n) {
			continue
		}
		// The silent ones first: their votes count against the majority already.
		if lost == nil || v.well(lost) && !v.well(n) || v.well(lost) == v.well(n) && lost.Member && !n.Member {
			lost = n
		}
	}
	switch {
	case lost == nil:
		return nil, ""
	case !lost.Member:
		return lost, "it is no member of the cluster any more"
	}
	return lost, "it has been silent for long"
}

// departed reports whether somebody votes who is no member any more.
func (v *view) departed() bool {
	return slices.ContainsFunc(v.voters, func(n *Node) bool { return !n.Member && !n.Leader })
}

// safeWithout reports whether the voters left are a majority of themselves.
func (v *view) safeWithout(n *Node) bool {
	healthy := v.healthy
	if v.well(n) {
		healthy--
	}
	return healthy >= majority(len(v.voters)-1)
}

// with is the view after a node has got a vote.
func (v *view) with(n *Node) *view {
	after := *v
	after.voters = append(slices.Clone(v.voters), n)
	if v.well(n) {
		after.healthy++
	}
	return &after
}

// successor is who should lead after this leader, nil when nobody can.
func (v *view) successor() *Node {
	var to *Node
	for _, n := range v.voters {
		if v.mayLead(n) && (to == nil || v.leaderRank(n) > v.leaderRank(to) || v.leaderRank(n) == v.leaderRank(to) && older(n, to)) {
			to = n
		}
	}
	return to
}

func (v *view) mayLead(n *Node) bool {
	return !n.Leader && n.Member && !n.Draining && v.well(n) && n.Lag <= lagMost
}

// leaderRank orders places to lead from: the preferred region, any other node,
// a witness.
func (v *view) leaderRank(n *Node) int {
	switch {
	case n.Witness:
		return 0
	case v.in.PreferRegion != "" && n.Region == v.in.PreferRegion:
		return 2
	}
	return 1
}

// older orders nodes by how long they have been as they are.
func older(a, b *Node) bool {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c < 0
	}
	return a.ID < b.ID
}
