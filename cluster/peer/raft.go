package peer

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// nodeAddr is a node's id in the place of an address: raft knows nodes by id
// alone, and the book knows where they are.
type nodeAddr string

// Network names the space of these addresses.
func (nodeAddr) Network() string { return "node" }

// String is the node's id.
func (a nodeAddr) String() string { return string(a) }

// Raft is the stream layer for raft's network transport. Addresses are node ids.
// There is one per port; closing it leaves the port open.
func (p *Port) Raft() raft.StreamLayer {
	p.raft.taken.Store(true)
	return raftLayer{p.raft, p}
}

type raftLayer struct {
	*inbox
	p *Port
}

// Dial connects to the node of this id.
func (l raftLayer) Dial(node raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := dialContext(timeout)
	defer cancel()
	c, err := l.p.dialNode(ctx, kindRaft, string(node))
	if err != nil {
		return nil, err // not c: a nil *conn in the interface is not nil
	}
	return c, nil
}

// dialContext bounds a dial; 0 leaves it to the port.
func dialContext(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), timeout)
}
