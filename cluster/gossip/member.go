// Package gossip is who is alive, as the nodes tell each other: one memberlist
// pool, the facts and figures of each node, cooldowns and the health of
// providers as others see it. What it says may be a moment old and decides
// nothing that must be exact.
package gossip

import "time"

// State is how a node seems to the others.
type State string

// The states.
const (
	Alive State = "alive"
	Dead  State = "dead" // silent
	Left  State = "left" // gone in order
)

// Meta are the slow facts of a node, spread with its name (512 bytes at most:
// long names and builds are cut). A change is told to all, so load has no place
// here.
type Meta struct {
	NodeID      string // ULID
	Incarnation uint64
	Name        string
	Region      string
	Zone        string
	Addr        string // HOST:PORT of the cluster port
	API         string // HOST:PORT of the API, "" for a witness
	Build       string
	FeatureMin  uint32
	FeatureMax  uint32
	Draining    bool
	Witness     bool
	LedgerFull  bool
	KeyID       string // of the gossip key it sends with
	KeyIDs      []string
}

// Status are the figures of a node, once a second.
type Status struct {
	InFlight      int64
	CPUPermille   uint32 // of all cores
	Applied       uint64 // raft index
	LedgerBacklog int64  // entries
	DiskFree      int64  // bytes
	ConfigHash    string // 12 hex digits
	LeaderAge     time.Duration
}

// Member is one node as this one sees it.
type Member struct {
	Meta
	State    State
	Since    time.Time // of the state, by the local clock
	Status   Status
	StatusAt time.Time     // zero: none heard yet
	RTT      time.Duration // 0: unknown
}
