package peer

import (
	"net"
	"sync"
	"sync/atomic"
)

// inbox hands the connections of one kind to whoever serves that kind, as a
// listener.
type inbox struct {
	addr  func() net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	taken atomic.Bool // somebody serves this kind
}

// backlog bounds the connections that nobody has fetched yet.
const backlog = 128

func newInbox(addr func() net.Addr) *inbox {
	return &inbox{addr: addr, conns: make(chan net.Conn, backlog), done: make(chan struct{})}
}

// put hands a connection over; false when nobody fetches.
func (b *inbox) put(c net.Conn) bool {
	if !b.serving() {
		return false
	}
	select {
	case b.conns <- c:
		if !b.serving() {
			b.drain() // closed meanwhile
		}
		return true
	default:
		return false
	}
}

// serving says whether a connection put here will be fetched.
func (b *inbox) serving() bool {
	select {
	case <-b.done:
		return false
	default:
		return b.taken.Load()
	}
}

// Accept waits for a connection.
func (b *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// Close ends this kind of connection only; the port goes on.
func (b *inbox) Close() error {
	b.once.Do(func() {
		close(b.done)
		b.drain()
	})
	return nil
}

// drain ends the connections that nobody fetched: the other side would wait for
// an answer until its own patience ends.
func (b *inbox) drain() {
	for {
		select {
		case c := <-b.conns:
			_ = c.Close()
		default:
			return
		}
	}
}

// Addr is what the users of this kind call the node.
func (b *inbox) Addr() net.Addr { return b.addr() }
