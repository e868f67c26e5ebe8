package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

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

// raftConns is how many connections to one node are kept.
const raftConns = 4

// NewTransport carries raft over the streams of the cluster port. A node's
// address is its id: where that is, the layer knows. The port is to be closed
// before the node, or raft waits for reads that have no deadline.
func NewTransport(id string, layer raft.StreamLayer, profile Profile, log *slog.Logger) Transport {
	timeout := 10 * time.Second
	if profile == Far {
		timeout = 20 * time.Second
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: newStreams(id, layer), MaxPool: raftConns, Timeout: timeout, Logger: raftLogger(log),
	})
}

// newAlone is the transport of a cluster of one: it reaches only its own node.
func newAlone(id string) Transport {
	addr, t := raft.NewInmemTransport(raft.ServerAddress(id))
	t.Connect(addr, t)
	return t
}

// streams is a stream layer whose addresses are node ids, and which reaches its
// own node without a network: that is how the only voter elects itself at once.
type streams struct {
	raft.StreamLayer
	id       raft.ServerAddress
	accepted chan accepted
	done     chan struct{}

	mu    sync.Mutex // guards the fields below
	pipes []net.Conn // to itself
	ended bool
}

type accepted struct {
	conn net.Conn
	err  error
}

func newStreams(id string, layer raft.StreamLayer) *streams {
	s := &streams{StreamLayer: layer, id: raft.ServerAddress(id), accepted: make(chan accepted), done: make(chan struct{})}
	go s.pump()
	return s
}

// pump brings the layer's connections to Accept, which waits for two sources.
func (s *streams) pump() {
	for {
		conn, err := s.StreamLayer.Accept()
		select {
		case s.accepted <- accepted{conn, err}:
		case <-s.done:
			if conn != nil {
				_ = conn.Close() // nobody will speak over it
			}
			return
		}
	}
}

// Accept waits for a connection of another node or of this one.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case a := <-s.accepted:
		return a.conn, a.err
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Dial connects to a node by its id.
func (s *streams) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if addr != s.id {
		return s.StreamLayer.Dial(addr, timeout)
	}
	here, there := net.Pipe()
	s.mu.Lock()
	s.pipes = append(s.pipes, here, there)
	s.mu.Unlock()
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case s.accepted <- accepted{there, nil}:
		return here, nil
	case <-s.done:
		return nil, net.ErrClosed
	case <-late.C:
		return nil, errors.New("dial this node: nobody accepts")
	}
}

// Close ends the layer and the connections to this node itself.
func (s *streams) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	close(s.done)
	for _, c := range s.pipes {
		_ = c.Close() // a pipe
	}
	if err := s.StreamLayer.Close(); err != nil {
		return fmt.Errorf("close raft's streams: %w", err)
	}
	return nil
}

// Addr is the node's id, which is what raft writes into its configuration.
func (s *streams) Addr() net.Addr { return idAddr(s.id) }

type idAddr string

func (idAddr) Network() string  { return "node" }
func (a idAddr) String() string { return string(a) }

var _ raft.StreamLayer = (*streams)(nil)
