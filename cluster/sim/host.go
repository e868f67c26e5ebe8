package sim

import (
	"context"
	"fmt"
	"net"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"

	"tollgate/cluster/peer"
)

// Host is a machine: a name, an address and a disk. It outlives the processes
// that run on it.
type Host struct {
	ID   string
	Addr string // HOST:PORT
	Disk *Disk

	net  *Net
	life *Life // guarded by net.mu; nil while nothing runs
}

// Host makes a machine, or returns the one of that id.
func (n *Net) Host(id string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[id]; h != nil {
		return h
	}
	i := len(n.hosts) + 1
	h := &Host{ID: id, Addr: fmt.Sprintf("10.0.%d.%d:7946", i/250, i%250+1), Disk: NewDisk(), net: n}
	n.hosts[id], n.addrs[h.Addr] = h, h
	return h
}

// Life is one run of a process on a host: what it hears and says goes through
// it, and when it has ended nothing of it is heard any more.
type Life struct {
	host *Host
	ctx  context.Context
	end  context.CancelFunc

	raft     *raftTransport
	handlers handlers
	gossip   *gossipTransport
}

// Start begins a run; a former one ends.
func (h *Host) Start() *Life {
	h.Stop()
	l := &Life{host: h, handlers: handlers{by: map[string]peer.Handler{}}}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.raft = &raftTransport{life: l, inbox: make(chan raft.RPC, 64)}
	l.gossip = &gossipTransport{life: l, packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 64)}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.life = l
	h.net.note("start %s", h.ID)
	return l
}

// Stop ends the run as a power cut does for everybody else: at once and without
// a word. What the process still does reaches nobody.
func (h *Host) Stop() {
	h.net.mu.Lock()
	l := h.life
	h.life = nil
	if l != nil {
		h.net.note("stop %s", h.ID)
	}
	h.net.mu.Unlock()
	if l != nil {
		l.end()
	}
}

// Running reports whether a process runs on the host.
func (h *Host) Running() bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.life != nil
}

// running is the present run of a host, nil when there is none.
func (n *Net) running(id string) *Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[id]; h != nil {
		return h.life
	}
	return nil
}

// runningAt is the present run at an address.
func (n *Net) runningAt(addr string) *Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.addrs[addr]; h != nil {
		return h.life
	}
	return nil
}

// over reports whether the run has ended.
func (l *Life) over() bool { return l.ctx.Err() != nil }

// Transport is what raft needs, with pre-vote.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// Transport is raft's. Addresses are host ids.
func (l *Life) Transport() Transport { return l.raft }

// Gossip is memberlist's.
func (l *Life) Gossip() memberlist.NodeAwareTransport { return l.gossip }

// Calls calls other hosts.
func (l *Life) Calls() peer.Caller { return caller{l} }

// Registrar takes what this run serves.
func (l *Life) Registrar() peer.Registrar { return &l.handlers }
