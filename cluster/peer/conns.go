package peer

import (
	"net"
	"sync"
)

// conn is a connection with a proven node. It hides the TLS connection's type:
// net/http would otherwise take the handshake into its own hands.
type conn struct {
	net.Conn          // TLS
	raw      net.Conn // below it
	node     string
	kind     kind
	dialled  bool
	gone     func()
}

// Close ends the connection in order.
func (c *conn) Close() error {
	c.gone()
	return c.Conn.Close()
}

// cut ends the connection at once, under whoever reads or writes it. TLS's own
// end would wait for a peer that does not take it.
func (c *conn) cut() {
	c.gone()
	_ = c.raw.Close()
}

// conns are the open connections, so that they can be cut: raft waits for ever
// in a read on shutdown, and a forgotten node keeps what it has open.
type conns struct {
	m *metrics

	mu     sync.Mutex // guards all below
	closed bool
	open   map[*conn]struct{}
	others map[net.Conn]struct{} // strangers and newcomers
}

func newConns(m *metrics) *conns {
	return &conns{m: m, open: map[*conn]struct{}{}, others: map[net.Conn]struct{}{}}
}

// add takes a connection; false when the port is closed.
func (s *conns) add(c *conn) bool {
	direction := "in"
	if c.dialled {
		direction = "out"
	}
	gauge := s.m.connections.WithLabelValues(c.kind.String(), direction)
	c.gone = sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
		gauge.Dec()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.gone = func() {}
		return false
	}
	s.open[c] = struct{}{}
	gauge.Inc()
	return true
}

// hold takes a connection of somebody unproven; false when the port is closed.
func (s *conns) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.others[c] = struct{}{}
	return true
}

func (s *conns) release(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.others, c)
}

// list is a copy of the open connections for which keep answers false.
func (s *conns) list(keep func(*conn) bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*conn
	for c := range s.open {
		if !keep(c) {
			out = append(out, c)
		}
	}
	return out
}

// shut cuts everything and takes nothing more.
func (s *conns) shut() {
	s.mu.Lock()
	s.closed = true
	others := s.others
	s.others = map[net.Conn]struct{}{}
	s.mu.Unlock()
	for c := range others {
		_ = c.Close()
	}
	for _, c := range s.list(func(*conn) bool { return false }) {
		c.cut()
	}
}

// Sever cuts all connections with a node. It may come back unless the allow
// hook says no.
func (p *Port) Sever(id string) {
	for _, c := range p.conns.list(func(c *conn) bool { return c.node != id }) {
		c.cut()
	}
}

// Recheck asks the allow hook again about every node that has a connection, and
// cuts those it no longer allows. To be called when its answer may have changed.
func (p *Port) Recheck() {
	answers := map[string]*Refused{}
	for _, c := range p.conns.list(func(*conn) bool { return false }) {
		refused, asked := answers[c.node]
		if !asked {
			refused = p.allowed(c.node)
			answers[c.node] = refused
			if refused != nil {
				p.m.refusals.WithLabelValues(string(refused.Reason)).Inc()
				p.talk.Warn("node cut off", c.node, refused.Reason, "node", c.node, "error", refused)
			}
		}
		if refused != nil {
			c.cut()
		}
	}
}
