// Package planner decides which nodes vote and who leads. It is one pure
// function: what it is told goes in, at most one change comes out.
package planner

import "time"

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
