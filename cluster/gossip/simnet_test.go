package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
	"tollgate/config/unit"
)

// simNet is a network in virtual time: packets take a while or are lost, streams
// are pipes.
type simNet struct {
	mu    sync.Mutex
	rng   *rand.Rand
	ports map[string]*simPort
	delay time.Duration
	loss  float64
	cut   func(from, to string) bool
	next  int
}

func newSimNet(delay time.Duration, loss float64) *simNet {
	return &simNet{rng: rand.New(rand.NewPCG(1, 2)), ports: make(map[string]*simPort), delay: delay, loss: loss}
}

func (n *simNet) port() *simPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	p := &simPort{net: n, ip: fmt.Sprintf("10.0.%d.%d", n.next/250, n.next%250+1),
		packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn, 64), done: make(chan struct{})}
	n.ports[p.addr()] = p
	return p
}

// reach finds the way to an address: nil when there is none.
func (n *simNet) reach(from, to string, packet bool) *simPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[to]
	if p == nil || n.ports[from] == nil || n.cut != nil && n.cut(from, to) || packet && n.rng.Float64() < n.loss {
		return nil
	}
	return p
}

// setCut parts the network.
func (n *simNet) setCut(f func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = f
}

// kill makes a port vanish without a word.
func (n *simNet) kill(p *simPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ports, p.addr())
}

type simPort struct {
	net     *simNet
	ip      string
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

type simAddr string

func (simAddr) Network() string  { return "sim" }
func (a simAddr) String() string { return string(a) }

func (p *simPort) addr() string { return p.ip + ":7946" }

func (p *simPort) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(p.ip), 7946, nil
}

func (p *simPort) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to := p.net.reach(p.addr(), addr, true)
	if to == nil {
		return now, nil
	}
	packet := &memberlist.Packet{Buf: append([]byte(nil), b...), From: simAddr(p.addr())}
	time.AfterFunc(p.net.delay, func() {
		packet.Timestamp = time.Now()
		select {
		case to.packets <- packet:
		default:
		}
	})
	return now, nil
}

func (p *simPort) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return p.WriteTo(b, a.Addr)
}

func (p *simPort) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := p.net.reach(p.addr(), addr, false)
	if to == nil {
		select {
		case <-time.After(timeout):
		case <-p.done:
		}
		return nil, errors.New("dial " + addr + ": timeout")
	}
	time.Sleep(2 * p.net.delay)
	near, far := net.Pipe()
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.net.ports[addr] == to {
		select {
		case to.streams <- simConn{far, simAddr(p.addr())}:
			return near, nil
		default:
		}
	}
	return nil, errors.New("dial " + addr + ": refused")
}

// simConn is the far end of a stream, which knows where it comes from.
type simConn struct {
	net.Conn
	from simAddr
}

func (c simConn) RemoteAddr() net.Addr { return c.from }

func (p *simPort) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return p.DialTimeout(a.Addr, timeout)
}

func (p *simPort) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *simPort) StreamCh() <-chan net.Conn           { return p.streams }

func (p *simPort) Shutdown() error {
	p.once.Do(func() { close(p.done) })
	p.net.kill(p)
	for { // what nobody will read any more
		select {
		case conn := <-p.streams:
			_ = conn.Close()
		default:
			return nil
		}
	}
}

var _ memberlist.NodeAwareTransport = (*simPort)(nil)

// nodeID is the n-th node's.
func nodeID(n int) string { return ulid.ULID{1, 2, 3, 4, 5, 6, byte(n >> 8), byte(n)}.String() }

func key(n byte) gossip.Key {
	secret := [32]byte{n}
	return gossip.Key{ID: gossip.KeyID(secret), Secret: secret}
}

// simNode is one node of a simulated cluster.
type simNode struct {
	*gossip.Pool
	port *simPort
	id   string
	done chan struct{}
}

// simCluster is nodes on a simulated network. It belongs inside a bubble.
type simCluster struct {
	t     *testing.T
	net   *simNet
	nodes []*simNode
	known []string // what a peers file would say
	mu    sync.Mutex
}

func newSimCluster(t *testing.T, delay time.Duration, loss float64) *simCluster {
	c := &simCluster{t: t, net: newSimNet(delay, loss)}
	t.Cleanup(c.stop)
	return c
}

// add makes a node; prepare may register handlers and change the config first.
func (c *simCluster) add(id string, incarnation uint64, prepare func(*gossip.Config), before func(*gossip.Pool)) *simNode {
	port := c.net.port()
	cfg := gossip.Config{
		Transport: port,
		Meta:      gossip.Meta{NodeID: id, Incarnation: incarnation, Name: "node-" + port.ip, Region: "eu", Addr: port.addr()},
		Keys:      []gossip.Key{key(1)},
		Label:     "01CLUSTER",
		Logger:    slog.New(slog.DiscardHandler),
		Clock:     unit.SystemClock{},
		Peers:     c.peers,
	}
	if prepare != nil {
		prepare(&cfg)
	}
	pool, err := gossip.New(cfg)
	require.NoError(c.t, err)
	if before != nil {
		before(pool)
	}
	n := &simNode{Pool: pool, port: port, id: id, done: make(chan struct{})}
	go func() {
		defer close(n.done)
		if err := pool.Run(context.Background()); err != nil {
			c.t.Error(err)
		}
	}()
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.known = append(c.known, id+"/"+port.addr())
	c.mu.Unlock()
	return n
}

func (c *simCluster) peers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.known...)
}

// grow makes n nodes that know each other.
func (c *simCluster) grow(n int, before func(i int, p *gossip.Pool)) {
	for i := range n {
		node := c.add(nodeID(i), 1, nil, func(p *gossip.Pool) {
			if before != nil {
				before(i, p)
			}
		})
		if i > 0 {
			_, err := node.Join(c.t.Context(), []string{c.nodes[0].id + "/" + c.nodes[0].port.addr()})
			require.NoError(c.t, err)
		}
	}
	c.until(time.Minute, "all nodes know each other", func() bool {
		for _, node := range c.nodes {
			if alive(node.Members()) != n {
				return false
			}
		}
		return true
	})
}

// until waits in virtual time and gives how long it took.
func (c *simCluster) until(limit time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			for _, n := range c.nodes {
				c.t.Logf("%s sees %v", n.id, states(n.Members()))
			}
			c.t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// stop ends all nodes and lets memberlist's last probes run out: a bubble must
// be empty at its end.
func (c *simCluster) stop() {
	c.net.setCut(nil)
	for _, n := range c.nodes {
		n.Close()
		<-n.done
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
}

func alive(members []gossip.Member) int {
	n := 0
	for _, m := range members {
		if m.State == gossip.Alive {
			n++
		}
	}
	return n
}

func states(members []gossip.Member) map[string]gossip.State {
	out := make(map[string]gossip.State)
	for _, m := range members {
		out[m.NodeID] = m.State
	}
	return out
}

func state(n *simNode, id string) gossip.State {
	m, _ := n.Lookup(id)
	return m.State
}
