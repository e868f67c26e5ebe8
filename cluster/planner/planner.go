// Package planner decides which nodes vote and who leads. It is one pure
// function: what it is told goes in, at most one change comes out. It removes
// nobody from the cluster: it only follows who is a member and who is well.
package planner

import (
	"fmt"
	"time"
)

// Node is what the planner knows of one member.
type Node struct {
	ID      string
	Region  string
	Zone    string
	Witness bool
	// Voter and Known tell raft's configuration: Known is false for a member
	// that is not in it yet.
	Voter, Known bool
	Leader       bool
	// Alive is gossip's word; Since is when it last became so, or when it was
	// last heard of if it is not.
	Alive    bool
	Since    time.Time
	Draining bool
	// Lag is how many entries it is behind the leader, Contact when the leader
	// last heard of it; zero: never.
	Lag     uint64
	Contact time.Time
	// Member is false for an id in raft's configuration that the cluster has
	// taken out: it left or was forgotten.
	Member bool
}

// Input is all that a plan follows from.
type Input struct {
	Nodes        []Node
	Now          time.Time
	LeaderSince  time.Time     // of this leader's term
	Voters       int           // 0: auto; else 1, 3, 5
	Stable       time.Duration // how long a node must have been well: 15 s, 30 s across regions
	Reached      bool          // the desired number of voters has been reached once
	PreferRegion string
	LastTransfer time.Time
}

// Kind is what a change does.
type Kind string

// The changes.
const (
	AddNonvoter Kind = "add_nonvoter"
	Promote     Kind = "promote"
	Demote      Kind = "demote"
	Remove      Kind = "remove"
	Transfer    Kind = "transfer_leadership"
)

// Change is one step.
type Change struct {
	Kind Kind
	ID   string
	Why  string // one sentence for the log
}

const (
	// contactWithin is how recently the leader must have heard of a node that
	// counts as well.
	contactWithin = 2 * time.Second
	// goneAfter is how long a voter may be silent before a spare takes its vote.
	goneAfter = 30 * time.Second
	// lagMost is how many entries behind a node may be when it gets a vote: with
	// more, the first commit that needs it would wait.
	lagMost = 1000
	// stableAtFirst replaces Stable while a cluster is being formed.
	stableAtFirst = 3 * time.Second
	// preferredStable and transferEvery keep leadership from wandering.
	preferredStable = time.Minute
	transferEvery   = 10 * time.Minute
)

// Plan is the next change, if there is any to make. It is asked on the leader,
// again after every change; its answer is advice: raft's own compare-and-set
// refuses a plan made from an outdated configuration.
func Plan(in Input) (Change, bool) {
	v := look(in)
	// Without a majority nothing would be committed, and every change is a commit.
	if v.leader == nil || v.healthy < majority(len(v.voters)) {
		return Change{}, false
	}
	for _, rule := range []func(*view) (Change, bool){
		forgetNonvoters, addMembers, handOver, replaceLost, shrink, grow, spread, preferLeader,
	} {
		if c, ok := rule(v); ok {
			return c, true
		}
	}
	return Change{}, false
}

// Desired is how many voters a cluster of these nodes should have: the setting
// or, without one, what follows from their number and regions. It is odd and
// never more than there are members.
func Desired(nodes []Node, setting int) int {
	members := 0
	regions := map[string]bool{}
	for i := range nodes {
		if nodes[i].Member {
			members++
			regions[nodes[i].Region] = true
		}
	}
	want := setting
	if want == 0 {
		want = 3
		if members >= 7 && len(regions) >= 3 {
			want = 5
		}
	}
	want = min(want, members)
	if want%2 == 0 {
		want--
	}
	return max(want, 1)
}

// forgetNonvoters takes ids out of raft that are no members any more. Voters
// among them lose their vote first (replaceLost).
func forgetNonvoters(v *view) (Change, bool) {
	for _, n := range v.nonvoters {
		if !n.Member {
			return Change{Remove, n.ID, "it is no member of the cluster any more"}, true
		}
	}
	return Change{}, false
}

// addMembers lets raft send its log to new members.
func addMembers(v *view) (Change, bool) {
	for _, n := range v.unknown {
		if n.Member && n.Alive {
			return Change{AddNonvoter, n.ID, "it is a new member"}, true
		}
	}
	return Change{}, false
}

// handOver moves leadership away from a node that is about to go, or has been
// taken out.
func handOver(v *view) (Change, bool) {
	if v.leader.Member && !v.leader.Draining {
		return Change{}, false
	}
	if n := v.successor(); n != nil {
		return Change{Transfer, n.ID, "the leader is leaving or draining"}, true
	}
	// The only voter must not go before there is another.
	if heirs := v.heirs(); len(v.voters) == 1 && len(heirs) > 0 {
		return Change{Promote, v.best(heirs).ID, "the only voter is leaving or draining"}, true
	}
	return Change{}, false
}

// replaceLost takes the vote from voters that are gone, and gives it to a
// spare. With an odd number the vote is taken first: promoting first would raise
// the majority while a voter is missing. With an even one the spare comes first.
func replaceLost(v *view) (Change, bool) {
	lost, why := v.lost()
	if lost == nil {
		return Change{}, false
	}
	spares := v.promotable()
	odd := len(v.voters)%2 == 1
	switch {
	case !odd && len(v.voters) < v.desired && len(spares) > 0:
		n := v.best(spares)
		return Change{Promote, n.ID, fmt.Sprintf("it replaces %s: %s", lost.ID, why)}, true
	case odd && lost.Member && len(spares) == 0 && len(v.voters) <= v.desired && !v.departed():
		// Nobody could take the vote: fewer voters would tolerate no more losses,
		// and the voter may come back. But a vote that somebody took along when
		// leaving can only be given up when the silent one is not needed.
		return Change{}, false
	case !v.safeWithout(lost):
		return Change{}, false
	}
	return Change{Demote, lost.ID, why}, true
}

// shrink takes votes away until there are as many as desired: after a swap, a
// changed setting or departures. It also leaves an even number that nobody can
// complete: the last voter of an even number adds no tolerance.
func shrink(v *view) (Change, bool) {
	why := fmt.Sprintf("%d voters are desired", v.desired)
	if len(v.voters) <= v.desired {
		if len(v.voters)%2 == 1 || v.prospects() {
			return Change{}, false
		}
		why = "an even number of voters tolerates no more losses than one less"
	}
	// A voter that is neither well nor gone may be either in a moment.
	if v.healthy < len(v.voters) {
		return Change{}, false
	}
	if n := v.dispensable(); n != nil && v.safeWithout(n) {
		return Change{Demote, n.ID, why}, true
	}
	return Change{}, false
}

// grow gives votes until there are as many as desired, from one odd number to
// the next: it begins only when both steps can be made.
func grow(v *view) (Change, bool) {
	if len(v.voters) >= v.desired {
		return Change{}, false
	}
	spares := v.promotable()
	need := 1
	if len(v.voters)%2 == 1 {
		need = 2
	}
	if len(spares) < need || v.healthy < len(v.voters) && need == 2 {
		return Change{}, false
	}
	n := v.best(spares)
	return Change{Promote, n.ID, fmt.Sprintf("%d of %d desired voters", len(v.voters), v.desired)}, true
}

// spread brings a vote to a region that has none, if another region has one to
// spare. The vote that is too many then is taken by shrink. It must raise the
// number of regions with votes, so it cannot go on forever.
func spread(v *view) (Change, bool) {
	if len(v.voters) != v.desired || v.healthy < len(v.voters) {
		return Change{}, false
	}
	spares := v.promotable()
	if len(spares) == 0 {
		return Change{}, false
	}
	n := v.best(spares)
	after := v.with(n)
	out := after.dispensable()
	if out == nil || out == n || after.regionsWithout(out) <= v.regionsWithout(nil) {
		return Change{}, false
	}
	return Change{Promote, n.ID, fmt.Sprintf("its region %q has no voter; %s of region %q will give its vote up", n.Region, out.ID, out.Region)}, true
}

// preferLeader moves leadership to a better place: the preferred region, and
// away from a witness.
func preferLeader(v *view) (Change, bool) {
	in := &v.in
	if in.Now.Sub(in.LeaderSince) < preferredStable || !in.LastTransfer.IsZero() && in.Now.Sub(in.LastTransfer) < transferEvery {
		return Change{}, false
	}
	var to *Node
	for _, n := range v.voters {
		if !v.mayLead(n) || in.Now.Sub(n.Since) < preferredStable || v.leaderRank(n) <= v.leaderRank(v.leader) {
			continue
		}
		if to == nil || v.leaderRank(n) > v.leaderRank(to) || v.leaderRank(n) == v.leaderRank(to) && older(n, to) {
			to = n
		}
	}
	if to == nil {
		return Change{}, false
	}
	return Change{Transfer, to.ID, "it is in a better place to lead"}, true
}
