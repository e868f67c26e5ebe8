package server

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// gathered is how much is read at once of a request whose first byte has come:
// no more than fasthttp's buffer takes over in one go.
const gathered = maxHeaderBytes - 1

var gatherBuffers = sync.Pool{New: func() any { return new([gathered]byte) }}

// gatherer reads a connection without a buffer while nothing is there: a buffer
// is taken once the system has bytes, and given back when they are taken over.
// Thousands of connections that rest hold none. It belongs to the goroutine that
// reads the connection.
type gatherer struct {
	raw  syscall.RawConn // nil: the connection cannot be read so, as one with TLS
	look func(fd uintptr) bool

	buf  *[gathered]byte // nil: nothing is held
	held []byte          // what is left of it
	err  error           // what the last look came to
}

func (g *gatherer) init(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		g.raw, g.look = raw, g.once
	}
}

// wait returns when bytes are held, or with what ended the connection.
func (g *gatherer) wait() error {
	if err := g.raw.Read(g.look); err != nil {
		return err // the deadline has passed, or somebody closed it
	}
	return g.err
}

// once reads what is there; false: nothing, and the poller shall tell.
func (g *gatherer) once(fd uintptr) bool {
	buf := gatherBuffers.Get().(*[gathered]byte)
	n, err := syscall.Read(int(fd), buf[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), buf[:])
	}
	if n > 0 {
		g.buf, g.held, g.err = buf, buf[:n], nil
		return true
	}
	gatherBuffers.Put(buf)
	if err == syscall.EAGAIN {
		return false
	}
	if err == nil {
		err = io.EOF
	}
	g.err = err
	return true
}

// take moves held bytes to p.
func (g *gatherer) take(p []byte) int {
	n := copy(p, g.held)
	if g.held = g.held[n:]; len(g.held) == 0 {
		gatherBuffers.Put(g.buf)
		g.buf, g.held = nil, nil
	}
	return n
}
