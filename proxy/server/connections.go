package server

import (
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// connections are the clients' open connections.
type connections struct {
	mu  sync.Mutex // guards all
	all map[*watchedConn]struct{}
}

func (o *connections) add(c *watchedConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*watchedConn]struct{}{}
	}
	o.all[c] = struct{}{}
}

func (o *connections) remove(c *watchedConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, c)
}

// stateOfConn takes down what fasthttp says a connection is doing.
func stateOfConn(c net.Conn, s fasthttp.ConnState) {
	if w, ok := c.(*watchedConn); ok {
		w.state.Store(int32(s))
	}
}

// active are the connections on which a request is being read or answered.
func (o *connections) active() []*watchedConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []*watchedConn
	for c := range o.all {
		if fasthttp.ConnState(c.state.Load()) == fasthttp.StateActive {
			out = append(out, c)
		}
	}
	return out
}

// still keeps those that have been busy since. A stream's connection may idle
// after it, when its headers left before anybody was asked to go.
func (o *connections) still(some []*watchedConn) []*watchedConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(some, func(c *watchedConn) bool {
		_, open := o.all[c]
		return !open || fasthttp.ConnState(c.state.Load()) != fasthttp.StateActive
	})
}

// hangUp ends the connections that wait for their next request.
func (o *connections) hangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.all {
		if fasthttp.ConnState(c.state.Load()) == fasthttp.StateIdle {
			c.hungUp.Store(true)
			_ = c.SetReadDeadline(longAgo) // a connection that is gone is what we want
		}
	}
}

// lookTime is how long a connection that is to be closed is looked at once more:
// a request that was sent just then must be served.
const lookTime = 50 * time.Millisecond

// lastLook reads what may have come while the connection was hung up.
func (c *watchedConn) lastLook(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// queueTime is how long a listener that closes takes what waits in its queue
// and what has begun to connect. The system would reset those connections,
// requests and all.
const queueTime = 200 * time.Millisecond

// lastOfQueue accepts what still waits when the time is over. A busy machine may
// not have come to it, and a deadline that has passed hides it.
func (l *watchedListener) lastOfQueue() (net.Conn, error) {
	now := time.Now()
	if now.UnixNano() > l.until.Load() {
		return nil, io.EOF // somebody connects and connects
	}
	if err := l.Listener.(deadliner).SetDeadline(now.Add(lookTime)); err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

// deadliner is a listener whose Accept can be given an end.
type deadliner interface{ SetDeadline(time.Time) error }

// finish makes Accept end once the queue is empty. It is false for listeners
// without deadlines: they just go on until they are closed.
func (l *watchedListener) finish() bool {
	d, ok := l.Listener.(deadliner)
	if !ok {
		return false
	}
	if sc, ok := l.Listener.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = refuseNew(raw, l.byLoop.Load() > 0) // without it a few may come in the very last moment
		}
	}
	now := time.Now()
	l.until.Store(now.Add(queueTime + time.Second).UnixNano())
	return d.SetDeadline(now.Add(queueTime)) == nil
}

// origin is 1 for a connection from this machine, which comes by the loopback
// device whatever its addresses, and -1 for one from elsewhere.
func origin(c net.Conn) int64 {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	remote, same := c.RemoteAddr().(*net.TCPAddr)
	if ok && (local.IP.IsLoopback() || same && local.IP.Equal(remote.IP)) {
		return 1
	}
	return -1
}
