package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	maxPacket    = 64 << 10
	packetQueue  = 1024
	resolveLimit = 5 * time.Second
)

// gossip carries memberlist: packets on the UDP port, encrypted by memberlist's
// own keys, and streams among the others on the TCP port.
type gossip struct {
	p       *Port
	packets chan *memberlist.Packet
	streams *inbox

	mu   sync.Mutex // guards last
	last net.IP     // what the advertised name resolved to
}

func newGossip(p *Port) *gossip {
	return &gossip{p: p, packets: make(chan *memberlist.Packet, packetQueue), streams: newInbox(p.tcp.Addr)}
}

// Gossip is the transport for memberlist, whose node names must be node ids.
// There is one per port; shutting it down leaves the port open.
func (p *Port) Gossip() memberlist.NodeAwareTransport {
	p.gossip.streams.taken.Store(true)
	return p.gossip
}

// read takes packets until the port closes.
func (g *gossip) read() {
	scratch := make([]byte, maxPacket)
	for {
		n, from, err := g.p.udp.ReadFromUDPAddrPort(scratch)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // of one packet: an ICMP answer to one that was sent
		}
		at := time.Now()
		if n == 0 || !g.streams.serving() {
			continue
		}
		// Memberlist keeps what it is given for an unknown time: a copy, no
		// longer than the packet.
		packet := &memberlist.Packet{Buf: append([]byte(nil), scratch[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: at}
		select {
		case g.packets <- packet:
		default:
			g.p.m.dropped.Inc()
		}
	}
}

// FinalAdvertiseAddr resolves the advertised address, afresh each time: the
// name may have moved. What memberlist proposes does not count.
func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, text, err := net.SplitHostPort(g.p.advertise)
	if err != nil {
		return nil, 0, fmt.Errorf("advertised address %s: %w", g.p.advertise, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, 0, fmt.Errorf("advertised address %s: %w", g.p.advertise, err)
	}
	ip, err := g.resolve(host)
	return ip, port, err
}

func (g *gossip) resolve(host string) (net.IP, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || len(ips) == 0 {
		if g.last != nil {
			return g.last, nil // the name server is away; the node is not
		}
		return nil, fmt.Errorf("resolve advertised host %s: %w", host, errors.Join(err, errors.New("no address")))
	}
	g.last = ips[0].IP
	for _, ip := range ips {
		if v4 := ip.IP.To4(); v4 != nil {
			g.last = v4
			break
		}
	}
	return g.last, nil
}

// WriteTo sends a packet.
func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil { // a name
		resolved, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return time.Time{}, fmt.Errorf("send packet to %s: %w", addr, err)
		}
		to = resolved.AddrPort()
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if _, err := g.p.udp.WriteToUDPAddrPort(b, to); err != nil {
		return time.Time{}, fmt.Errorf("send packet to %s: %w", addr, err)
	}
	return time.Now(), nil
}

// WriteToAddress sends a packet; the address alone counts.
func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

// PacketCh is where packets come in.
func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh is where streams come in.
func (g *gossip) StreamCh() <-chan net.Conn { return g.streams.conns }

// DialTimeout opens a stream to any member at addr.
func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream to the node of this name.
func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := dialContext(timeout)
	defer cancel()
	c, err := g.p.dial(ctx, kindGossip, a.Name, a.Addr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Shutdown ends gossip; the port goes on.
func (g *gossip) Shutdown() error { return g.streams.Close() }
