// Package network makes a small internet for tests: hosts in network namespaces
// of their own, joined by a forwarder in this process that passes each IP packet
// on after the delay of its pair, loses some by a seeded choice, limits the rate,
// and cuts pairs in one direction or both. TCP and UDP fare alike, as on a wire.
// The kernel needs no netem. It knows nothing about nodes.
//
// Nothing outlives the process: namespaces and devices have no names and vanish
// with the file descriptors that hold them, also after a crash.
package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Network is the wire between hosts.
type Network struct {
	t    testing.TB
	seed uint64

	mu    sync.Mutex // guards the fields below
	hosts []*Host
	links map[pair]*link
	tap   func(packet []byte)
}

// pair is a direction: from one host to another.
type pair struct{ from, to netip.Addr }

// New makes a network without hosts until the test ends. Where the machine cannot
// have one it says why and returns nil: the test then shows on the loopback device
// what can be shown there.
func New(t testing.TB, seed uint64) *Network {
	t.Helper()
	if err := Supported(); err != nil {
		if errors.Is(err, errNotInstalled) && os.Getenv("CI") != "" {
			t.Fatalf("networks of namespaces cannot be tested: %v", err)
		}
		t.Logf("NOT SHOWN HERE, there are no networks of namespaces: %v", err)
		return nil
	}
	t.Logf("the network's seed is %d", seed)
	n := &Network{t: t, seed: seed, links: map[pair]*link{}}
	t.Cleanup(n.close)
	return n
}

// errNotInstalled is a reason that can be mended: in CI it is a failure.
var errNotInstalled = errors.New("install iproute2 and util-linux")

// Supported returns nil, or why this machine cannot have such a network.
func Supported() error {
	if os.Getuid() != 0 {
		return errors.New("only root may make namespaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("there is no TUN device: %w", err)
	}
	for _, name := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: %w", err, errNotInstalled)
		}
	}
	return nil
}

// Host adds a host with an address of its own, connected to all others without
// delay. The name is for messages.
func (n *Network) Host(name string) *Host {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := netip.AddrFrom4([4]byte{10, 77, byte(len(n.hosts) / 200), byte(len(n.hosts)%200 + 1)})
	h, err := newHost(name, addr)
	if err != nil {
		n.t.Fatalf("make the host %s: %v", name, err)
	}
	for _, other := range n.hosts {
		n.links[pair{h.addr, other.addr}] = newLink(n.seed, h, other)
		n.links[pair{other.addr, h.addr}] = newLink(n.seed, other, h)
	}
	n.hosts = append(n.hosts, h)
	go h.read(n.forward)
	return h
}

// Tap shows every packet that a host sends from now on, from several goroutines.
// It must be neither changed nor kept.
func (n *Network) Tap(see func(packet []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = see
}

// forward passes a packet that a host has sent on to where it wants to go.
func (n *Network) forward(from netip.Addr, packet []byte) {
	to, ok := destination(packet)
	if !ok {
		return
	}
	n.mu.Lock()
	l, tap := n.links[pair{from, to}], n.tap
	n.mu.Unlock()
	if tap != nil {
		tap(packet)
	}
	if l != nil {
		l.send(packet, time.Now())
	}
}

func (n *Network) link(from, to *Host) *link {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[pair{from.addr, to.addr}]
	if l == nil {
		n.t.Fatalf("there is no way from %s to %s", from, to)
	}
	return l
}

// both changes the two directions of a pair.
func (n *Network) both(a, b *Host, change func(*condition)) {
	n.t.Helper()
	n.link(a, b).change(change)
	n.link(b, a).change(change)
}

// Delay makes each packet between two hosts take this long one way: a round trip
// takes twice that.
func (n *Network) Delay(a, b *Host, oneWay time.Duration) {
	n.t.Helper()
	n.both(a, b, func(c *condition) { c.delay = oneWay })
}

// Loss drops this share of the packets between two hosts.
func (n *Network) Loss(a, b *Host, share float64) {
	n.t.Helper()
	n.both(a, b, func(c *condition) { c.loss = share })
}

// Rate limits each direction between two hosts to so many bytes a second; 0 lifts
// the limit. What comes faster queues, and is dropped when the queue is full.
func (n *Network) Rate(a, b *Host, bytesPerSecond int) {
	n.t.Helper()
	n.both(a, b, func(c *condition) { c.rate = bytesPerSecond })
}

// Cut lets nothing pass between two hosts. Nobody is told: packets vanish.
func (n *Network) Cut(a, b *Host) {
	n.t.Helper()
	n.both(a, b, func(c *condition) { c.cut = true })
}

// CutOneWay lets nothing pass in one direction.
func (n *Network) CutOneWay(from, to *Host) {
	n.t.Helper()
	n.link(from, to).change(func(c *condition) { c.cut = true })
}

// Block lets only such packets vanish between two hosts, in both directions.
func (n *Network) Block(a, b *Host, m Match) {
	n.t.Helper()
	n.both(a, b, func(c *condition) { c.blocked = append(c.blocked[:len(c.blocked):len(c.blocked)], m) })
}

// Isolate cuts a host off from all others.
func (n *Network) Isolate(h *Host) {
	n.t.Helper()
	for _, other := range n.all() {
		if other != h {
			n.Cut(h, other)
		}
	}
}

// Heal ends all cuts and blocks; delay, loss and rate stay.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.change(func(c *condition) { c.cut, c.blocked = false, nil })
	}
}

// Lost is how many packets from one host to another did not arrive, for whatever
// reason.
func (n *Network) Lost(from, to *Host) int {
	n.t.Helper()
	return n.link(from, to).dropped()
}

func (n *Network) all() []*Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Host(nil), n.hosts...)
}

func (n *Network) close() {
	// The mutex is free meanwhile: readers end only after their last packet has
	// been forwarded.
	n.mu.Lock()
	links, hosts := maps.Clone(n.links), n.hosts
	n.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	for _, h := range hosts {
		if err := h.close(); err != nil {
			n.t.Errorf("close the host %s: %v", h, err)
		}
	}
}
