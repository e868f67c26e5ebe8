package server

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// watchedListener hands out connections that can tell, while a handler runs,
// that the client has gone. fasthttp itself reads nothing then, and its
// RequestCtx.Done fires only at shutdown.
type watchedListener struct {
	net.Listener
	open   *connections
	until  atomic.Int64 // nanoseconds; when it takes only what waits already, and so long at most
	byLoop atomic.Int64 // connections from this machine, less those from others
}

// Accept wraps the connection. Below TLS it would see only ciphertext, so the
// listener is wrapped above it.
func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && l.until.Load() != 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if c, err = l.lastOfQueue(); err != nil {
			return nil, io.EOF
		}
	}
	if err != nil {
		return nil, err
	}
	w := &watchedConn{Conn: c, remote: c.RemoteAddr().String(), open: l.open}
	w.gather.init(c)
	l.byLoop.Add(origin(c))
	l.open.add(w)
	if host, _, err := net.SplitHostPort(w.remote); err == nil {
		w.remote = host
	}
	return w, nil
}

// watchedConn is a client connection. While watched, one goroutine of its own
// waits for a byte: end or reset means that the client has gone; a byte is the
// next pipelined request's and is kept for it.
type watchedConn struct {
	net.Conn
	remote   string     // the client's address without its port
	mu       sync.Mutex // guards the fields below
	kept     [1]byte
	hasKept  bool
	watching bool
	epoch    uint64        // counts requests: a late Watch must not outlive its own
	done     chan struct{} // closed when the watcher has returned
	linger   atomic.Bool   // the answer left while the client was still sending
	open     *connections  // it is in
	state    atomic.Int32  // fasthttp.ConnState
	hungUp   atomic.Bool   // asked to end unless a request is on its way
	gather   gatherer      // of the goroutine that reads requests
}

// What a client may still send after it was refused. A close with unread bytes
// is a reset, which takes the answer away from a client that has not read it.
const (
	lingerFor   = 2 * time.Second
	lingerBytes = 64 << 20
)

// Close ends the connection; after a refusal in the middle of a request it lets
// the client finish and read why.
func (c *watchedConn) Close() error {
	c.open.remove(c)
	if tcp, ok := c.Conn.(*net.TCPConn); ok && c.linger.Load() && tcp.CloseWrite() == nil {
		_ = tcp.SetReadDeadline(time.Now().Add(lingerFor))
		_, _ = io.CopyN(io.Discard, tcp, lingerBytes) // how it ends does not matter
	}
	return c.Conn.Close()
}

// Remote is the client's address.
func (c *watchedConn) Remote() string { return c.remote }

// longAgo as a read deadline makes a blocked read return at once.
var longAgo = time.Unix(1, 0)

// Arm names the request that a later Watch belongs to.
func (c *watchedConn) Arm() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// Watch starts to wait for the client's leaving and calls gone once if it
// happens. It does nothing when its request is over already, or while a byte of
// a pipelined request is kept.
func (c *watchedConn) Watch(epoch uint64, gone func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch || c.watching || c.hasKept || c.gather.buf != nil {
		return
	}
	c.watching = true
	c.done = make(chan struct{})
	_ = c.SetReadDeadline(time.Time{})
	go c.wait(gone, c.done)
}

func (c *watchedConn) wait(gone func(), done chan struct{}) {
	defer close(done)
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	if n == 1 {
		c.mu.Lock()
		c.kept, c.hasKept = b, true
		c.mu.Unlock()
		return
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		gone()
	}
}

// Unwatch ends the wait and returns when nothing reads the connection any more.
// It must be called before the handler gives the connection back to fasthttp.
func (c *watchedConn) Unwatch() {
	c.mu.Lock()
	c.epoch++
	if !c.watching {
		c.mu.Unlock()
		return
	}
	done := c.done
	c.mu.Unlock()
	_ = c.SetReadDeadline(longAgo)
	<-done
	_ = c.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.watching = false
	c.mu.Unlock()
}

// Read gives a kept byte first.
func (c *watchedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.hasKept && len(p) > 0 {
		p[0] = c.kept[0]
		c.hasKept = false
		c.mu.Unlock()
		return 1, nil
	}
	c.mu.Unlock()
	n, err := c.read(p)
	if err != nil && n == 0 && c.hungUp.Load() && c.hungUp.CompareAndSwap(true, false) {
		return c.lastLook(p)
	}
	return n, err
}

// read waits without a buffer for a request's first byte, the only one that
// fasthttp asks for alone, and takes what has come with it.
func (c *watchedConn) read(p []byte) (int, error) {
	if c.gather.buf == nil {
		if len(p) != 1 || c.gather.raw == nil {
			return c.Conn.Read(p)
		}
		if err := c.gather.wait(); err != nil {
			return 0, err
		}
	}
	return c.gather.take(p), nil
}
