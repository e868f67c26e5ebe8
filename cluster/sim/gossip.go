package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossipTransport carries memberlist's packets and streams. Packets wait in a
// bounded queue and are dropped when it is full, as a socket's are.
type gossipTransport struct {
	life    *Life
	packets chan *memberlist.Packet
	streams chan net.Conn
}

var _ memberlist.NodeAwareTransport = (*gossipTransport)(nil)

// address is a HOST:PORT as a net.Addr.
type address string

// Network names the simulated one.
func (a address) Network() string { return "sim" }

// String is HOST:PORT.
func (a address) String() string { return string(a) }

// FinalAdvertiseAddr is the host's address.
func (t *gossipTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, port, err := net.SplitHostPort(t.life.host.Addr)
	if err != nil {
		return nil, 0, err
	}
	p, err := strconv.Atoi(port)
	return net.ParseIP(host), p, err
}

// WriteTo sends a packet.
func (t *gossipTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	n, self := t.life.host.net, t.life.host
	n.mu.Lock()
	to := n.addrs[addr]
	n.mu.Unlock()
	if to == nil || t.life.over() {
		return now, nil
	}
	d, arrives := n.packet(Gossip, self.ID, to.ID)
	if !arrives {
		return now, nil
	}
	p := &memberlist.Packet{Buf: bytes.Clone(b), From: address(self.Addr)}
	time.AfterFunc(d, func() {
		there := n.runningAt(addr)
		if there == nil {
			return
		}
		p.Timestamp = time.Now()
		select {
		case there.gossip.packets <- p:
		default:
			n.mu.Lock()
			n.stats.Overflowed++
			n.mu.Unlock()
		}
	})
	return now, nil
}

// WriteToAddress sends a packet.
func (t *gossipTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh is where packets arrive.
func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh is where streams arrive.
func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streams }

// DialAddressTimeout opens a stream.
func (t *gossipTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// DialTimeout opens a stream; it costs a round trip.
func (t *gossipTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	n, self := t.life.host.net, t.life.host
	ctx, cancel := context.WithTimeout(t.life.ctx, timeout)
	defer cancel()
	n.mu.Lock()
	to := n.addrs[addr]
	n.mu.Unlock()
	if to == nil {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", addr, os.ErrDeadlineExceeded)
	}
	out, there := n.hop(Gossip, self.ID, to.ID)
	back, here := n.hop(Gossip, to.ID, self.ID)
	if !there || !here {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", addr, os.ErrDeadlineExceeded)
	}
	if !pause(ctx, out+back) {
		return nil, fmt.Errorf("dial %s: %w", addr, os.ErrDeadlineExceeded)
	}
	life := n.runningAt(addr)
	if life == nil {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	a, b := pipe(t.life, life)
	select {
	case life.gossip.streams <- b:
		return a, nil
	default:
		return nil, errors.Join(fmt.Errorf("dial %s: backlog is full", addr), a.Close(), b.Close())
	}
}

// Shutdown ends nothing: the run's end does.
func (t *gossipTransport) Shutdown() error { return nil }

// stream is one end of a connection: what is written arrives a delay later, and
// not at all when the way is cut.
type stream struct {
	net.Conn
	from, to *Life

	mu       sync.Mutex // guards deadline
	deadline time.Time  // of writes; the pipe keeps that of reads
	stop     func() bool
}

func pipe(a, b *Life) (*stream, *stream) {
	x, y := net.Pipe()
	near, far := &stream{Conn: x, from: a, to: b}, &stream{Conn: y, from: b, to: a}
	// A process that ends takes its connections along.
	shut := func() { _, _ = x.Close(), y.Close() }
	stopA, stopB := context.AfterFunc(a.ctx, shut), context.AfterFunc(b.ctx, shut)
	near.stop, far.stop = stopA, stopB
	return near, far
}

// Write sends after the delay of one hop.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	deadline := s.deadline
	s.mu.Unlock()
	d, arrives := s.from.host.net.hop(Gossip, s.from.host.ID, s.to.host.ID)
	if !arrives {
		d = silence
	}
	late := !deadline.IsZero() && time.Until(deadline) < d
	if late {
		d = max(time.Until(deadline), 0)
	}
	if !pause(s.from.ctx, d) || late || !arrives {
		return 0, os.ErrDeadlineExceeded
	}
	return s.Conn.Write(p)
}

// SetDeadline bounds reads and writes.
func (s *stream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.Conn.SetDeadline(t)
}

// SetWriteDeadline bounds writes.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.Conn.SetWriteDeadline(t)
}

// Close closes this end.
func (s *stream) Close() error {
	s.stop()
	return s.Conn.Close()
}

// LocalAddr is this host's.
func (s *stream) LocalAddr() net.Addr { return address(s.from.host.Addr) }

// RemoteAddr is the other's.
func (s *stream) RemoteAddr() net.Addr { return address(s.to.host.Addr) }
