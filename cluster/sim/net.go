// Package sim is a network and the disks of a cluster for tests in virtual time
// (testing/synctest): raft, calls between nodes and gossip with delay, jitter,
// loss and cuts, of all kinds or of one, in both directions or in one. It is
// virtual time, not a replay: the faults follow from a seed, the order of
// goroutines does not, so a test runs over many seeds and prints the trace of
// the one that fails. It is no part of the server.
package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Kind is what travels. A cut may concern some kinds only, as firewalls do.
type Kind uint8

// The kinds.
const (
	Raft Kind = 1 << iota
	Calls
	Gossip

	Everything = Raft | Calls | Gossip
)

// String names the kinds for the trace.
func (k Kind) String() string {
	if k == Everything {
		return "everything"
	}
	s := ""
	for _, n := range []struct {
		kind Kind
		name string
	}{{Raft, "raft"}, {Calls, "calls"}, {Gossip, "gossip"}} {
		if k&n.kind != 0 {
			if s != "" {
				s += "+"
			}
			s += n.name
		}
	}
	return s
}

// Config is how the network is.
type Config struct {
	Seed uint64
	// Delay is one way, before jitter; nil: half a millisecond.
	Delay func(from, to string) time.Duration
	// Jitter is the mean of an exponential share added to each delay.
	Jitter float64
	// Loss is the probability that a packet is lost. On streams a loss shows as a
	// retransmission: a longer delay.
	Loss float64
}

const (
	// dialTimeout is how long a dial into nothing takes.
	dialTimeout = 3 * time.Second
	// raftTimeout is how long raft waits for an answer on one connection.
	raftTimeout = 10 * time.Second
	// silence is when a caller notices that an open connection is dead.
	silence = 6 * time.Second
	// retransmit is what a lost packet costs a stream, doubled for each further one.
	retransmit = 250 * time.Millisecond
)

// link is one direction between two hosts.
type link struct{ from, to string }

// Net joins hosts.
type Net struct {
	start time.Time
	seed  uint64

	mu    sync.Mutex // guards all below
	cfg   Config
	rng   *rand.Rand
	hosts map[string]*Host
	addrs map[string]*Host
	cuts  map[link]Kind
	trace []string
	stats Stats
}

// Stats counts what happened to gossip packets.
type Stats struct{ Sent, Lost, Overflowed int }

// New makes a network without hosts.
func New(cfg Config) *Net {
	return &Net{
		start: time.Now(), seed: cfg.Seed, cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)),
		hosts: map[string]*Host{}, addrs: map[string]*Host{}, cuts: map[link]Kind{},
	}
}

// Seed is what the faults follow from.
func (n *Net) Seed() uint64 { return n.seed }

// IntN draws from the network's own source, so that a test's script follows from
// the same seed.
func (n *Net) IntN(max int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(max)
}

// Chance draws whether something of probability p happens.
func (n *Net) Chance(p float64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64() < p
}

// Between draws a duration.
func (n *Net) Between(from, to time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return from + time.Duration(n.rng.Int64N(int64(to-from)+1))
}

// Cut stops kinds from one host to another; the way back stays open.
func (n *Net) Cut(from, to string, kinds Kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{from, to}] |= kinds
	n.note("cut %s > %s: %s", from, to, kinds)
}

// Heal undoes Cut.
func (n *Net) Heal(from, to string, kinds Kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{from, to}] &^= kinds
	n.note("heal %s > %s: %s", from, to, kinds)
}

// Isolate cuts a side off from all other hosts, in both directions.
func (n *Net) Isolate(kinds Kind, side ...string) {
	n.cutSide(kinds, side, true, true)
}

// Mute stops what a side sends to all other hosts; it still hears them.
func (n *Net) Mute(kinds Kind, side ...string) {
	n.cutSide(kinds, side, true, false)
}

// Deafen stops what all other hosts send to a side; they still hear it.
func (n *Net) Deafen(kinds Kind, side ...string) {
	n.cutSide(kinds, side, false, true)
}

func (n *Net) cutSide(kinds Kind, side []string, out, in bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	inside := map[string]bool{}
	for _, id := range side {
		inside[id] = true
	}
	for a := range n.hosts {
		for b := range n.hosts {
			if inside[a] && !inside[b] && out || !inside[a] && inside[b] && in {
				n.cuts[link{a, b}] |= kinds
			}
		}
	}
	n.note("cut off %v: %s, out %v, in %v", side, kinds, out, in)
}

// HealAll undoes every cut.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	n.note("heal all")
}

// SetLoss changes the loss from now on.
func (n *Net) SetLoss(p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cfg.Loss = p
	n.note("loss %.3f", p)
}

// Stats are the counts so far.
func (n *Net) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// packet says how long one packet travels, and whether it arrives.
func (n *Net) packet(k Kind, from, to string) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.delay(from, to)
	n.stats.Sent++
	if n.cuts[link{from, to}]&k != 0 || n.rng.Float64() < n.cfg.Loss {
		n.stats.Lost++
		return d, false
	}
	return d, true
}

// hop says how long a piece of a stream travels; a loss costs retransmissions.
// It does not arrive at all when the way is cut.
func (n *Net) hop(k Kind, from, to string) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.delay(from, to)
	for wait := retransmit; n.cfg.Loss > 0 && n.rng.Float64() < n.cfg.Loss && wait < 8*time.Second; wait *= 2 {
		d += wait
	}
	return d, n.cuts[link{from, to}]&k == 0
}

// delay is called with the lock held.
func (n *Net) delay(from, to string) time.Duration {
	if from == to {
		return 0
	}
	d := 500 * time.Microsecond
	if n.cfg.Delay != nil {
		d = n.cfg.Delay(from, to)
	}
	if n.cfg.Jitter > 0 {
		d += time.Duration(n.rng.ExpFloat64() * n.cfg.Jitter * float64(d))
	}
	return d
}

// Note writes a line of the trace.
func (n *Net) Note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note(format, args...)
}

func (n *Net) note(format string, args ...any) {
	n.trace = append(n.trace, fmt.Sprintf("%9.3fs ", time.Since(n.start).Seconds())+fmt.Sprintf(format, args...))
}

// Trace is everything that was done to the network, and what was noted.
func (n *Net) Trace() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.trace...)
}

// T is what Report needs of a test.
type T interface {
	Helper()
	Failed() bool
	Logf(format string, args ...any)
}

// Report prints seed and trace when the test has failed. Defer it.
func (n *Net) Report(t T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	t.Logf("seed %d", n.seed)
	for _, line := range n.Trace() {
		t.Logf("%s", line)
	}
}
