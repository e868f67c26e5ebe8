package cluster

import (
	"github.com/hashicorp/raft"
)

// Transport carries raft's calls between nodes. Pre-vote belongs to it: raft
// silently goes without when a transport does not offer it, and then a node
// that comes back from a partition deposes a healthy leader.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// newAlone is the transport of a cluster of one: it reaches only its own node.
func newAlone(id string) Transport {
	addr, t := raft.NewInmemTransport(raft.ServerAddress(id))
	t.Connect(addr, t)
	return t
}

// Profile is how patient raft is with its links.
type Profile string

// The profiles: one region, several, and links beyond 250 ms or noisy ones.
const (
	LAN Profile = "lan"
	WAN Profile = "wan"
	Far Profile = "far"
)
