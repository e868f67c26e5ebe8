package sim_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/sim"
	"tollgate/config/secret"
)

// kek is made once: stretching it costs real time.
var kek *secret.KEK

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sim")
	if err == nil {
		kek, err = secret.LoadKEK("of the simulation", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// forSeeds runs a test in virtual time under many seeds: SIM_SEEDS of them, from
// SIM_SEED on; without, few in short runs and some more in long ones.
func forSeeds(t *testing.T, short, long int, f func(t *testing.T, seed uint64)) {
	seeds(t, short, long, func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { f(t, seed) })
	})
}

// seeds is forSeeds in real time.
func seeds(t *testing.T, short, long int, f func(t *testing.T, seed uint64)) {
	count, first := long, 0
	if testing.Short() {
		count = short
	}
	if n, err := strconv.Atoi(os.Getenv("SIM_SEEDS")); err == nil {
		count = n
	}
	if n, err := strconv.Atoi(os.Getenv("SIM_SEED")); err == nil {
		first = n
	}
	for seed := first; seed < first+count; seed++ {
		if !t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) { f(t, uint64(seed)) }) {
			return // one trace is enough to read
		}
	}
}

// plan is a cluster to be.
type plan struct {
	seed    uint64
	regions []string // of each host
	roles   map[int]members.Role
	net     sim.Config
	prefer  string
	speaks  uint32 // feature level of all; 0 is the first

	featureAfter time.Duration
}

// world is a cluster and its network.
type world struct {
	t       *testing.T
	net     *sim.Net
	plan    plan
	cluster string
	hosts   []*host
	key     gossip.Key
	aged    bool // every log has been compacted

	stop    chan struct{} // ends the clients
	clients sync.WaitGroup
}

// delays are one way, by the regions of two hosts; 80 to 220 ms there and back.
var delays = map[[2]string]time.Duration{
	{"eu", "us"}: 40 * time.Millisecond, {"ap", "us"}: 85 * time.Millisecond, {"ap", "eu"}: 110 * time.Millisecond,
}

func between(a, b string) time.Duration {
	if a == b {
		return time.Millisecond
	}
	return max(delays[[2]string{a, b}], delays[[2]string{b, a}], 30*time.Millisecond)
}

// found starts the first host and lets the others join; it returns when as many
// vote as should.
func found(t *testing.T, p plan) *world {
	t.Helper()
	w := &world{t: t, plan: p, cluster: fmt.Sprintf("%026d", 777), stop: make(chan struct{})}
	sum := sha256.Sum256([]byte("gossip"))
	w.key = gossip.Key{ID: gossip.KeyID(sum), Secret: sum}
	p.net.Seed = p.seed
	region := map[string]string{}
	if p.net.Delay == nil {
		p.net.Delay = func(from, to string) time.Duration { return between(region[from], region[to]) }
	}
	w.net = sim.New(p.net)
	// Also when the test has failed: a bubble must not end with goroutines in it.
	t.Cleanup(w.end)
	t.Cleanup(func() { w.net.Report(t) })
	for i := range p.regions {
		h := w.add(i)
		region[h.id] = h.region
	}
	for i, h := range w.hosts {
		if i > 0 {
			w.admit(h)
		}
		h.start()
		if i == 0 {
			require.NoError(t, h.WaitReady(soon(t, time.Minute)))
			w.foundBy(h)
		}
	}
	want := 1
	if len(w.hosts) >= 3 {
		want = 3
	}
	w.until(3*time.Minute, "everybody is known and enough vote", func() bool {
		for _, h := range w.hosts {
			s := h.Status()
			if s.Members != len(w.hosts) || s.Voters < want {
				return false
			}
		}
		return true
	})
	return w
}

func (w *world) add(i int) *host {
	h := &host{w: w, id: fmt.Sprintf("%026d", i+1), name: fmt.Sprintf("n%d", i), region: w.plan.regions[i], role: members.RoleNode, speaks: max(1, w.plan.speaks), books: map[uint64]map[account]int64{}}
	if r, ok := w.plan.roles[i]; ok {
		h.role = r
	}
	h.machine = w.net.Host(h.id)
	w.hosts = append(w.hosts, h)
	return h
}

func (w *world) foundBy(h *host) {
	w.t.Helper()
	r, err := h.SubmitMembership(soon(w.t, time.Minute), &members.Command{Op: members.OpFound, Node: h.member(), Feature: h.speaks,
		CA: &members.CA{Cert: "cert", SealedKey: "sealed"}, Key: &members.GossipKey{ID: w.key.ID, Sealed: "sealed"}})
	require.NoError(w.t, err)
	require.Empty(w.t, r.Refused, r.Message)
}

func (w *world) admit(h *host) {
	w.t.Helper()
	r, err := w.hosts[0].SubmitMembership(soon(w.t, time.Minute), &members.Command{Op: members.OpAdmit, Node: h.member()})
	require.NoError(w.t, err)
	require.Empty(w.t, r.Refused, r.Message)
}

// until waits for a condition in virtual time.
func (w *world) until(within time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.state()
			w.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// state prints where everybody stands.
func (w *world) state() {
	for _, h := range w.hosts {
		if h.run != nil {
			w.t.Logf("%s %s: %+v", h.name, h.region, h.Status())
		}
	}
}

// leader is the host that leads and may answer, nil when there is none or more
// than one thinks so.
func (w *world) leader() *host {
	var l *host
	for _, h := range w.hosts {
		if h.run != nil && h.IsLeader() {
			if l != nil {
				return nil
			}
			l = h
		}
	}
	return l
}

func (w *world) theLeader() *host {
	w.t.Helper()
	w.until(2*time.Minute, "somebody leads", func() bool { return w.leader() != nil })
	return w.leader()
}

// ids of hosts, for the network.
func ids(hosts ...*host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.id)
	}
	return out
}

// in are the running hosts of a region.
func (w *world) in(region string) []*host {
	var out []*host
	for _, h := range w.hosts {
		if h.region == region && h.run != nil {
			out = append(out, h)
		}
	}
	return out
}

// except are all other hosts.
func (w *world) except(not ...*host) []*host {
	var out []*host
next:
	for _, h := range w.hosts {
		for _, n := range not {
			if n == h {
				continue next
			}
		}
		out = append(out, h)
	}
	return out
}

// agree brings everybody up and together, and holds all states against each
// other, byte by byte.
func (w *world) agree() {
	w.t.Helper()
	w.net.HealAll()
	w.net.SetLoss(0)
	for _, h := range w.hosts {
		if h.run == nil {
			h.start()
		}
	}
	w.theLeader()
	time.Sleep(time.Minute) // accounts report, budgets come to rest
	l := w.theLeader()
	w.quiet()
	w.until(5*time.Minute, "everybody has applied the same index", func() bool {
		for _, h := range w.hosts {
			if h.Applied() != l.Applied() {
				return false
			}
		}
		return true
	})
	for _, h := range w.hosts {
		if l.snapshot() != h.snapshot() { // compressed: a difference would show nothing
			w.t.Fatalf("the states of %s and of the leader %s differ", h.name, l.name)
		}
	}
	w.logs()
}

// quiet ends what proposes by itself.
func (w *world) quiet() {
	for _, h := range w.hosts {
		h.settled()
	}
	time.Sleep(10 * time.Second)
}

// logs holds all entries that several disks have against each other.
func (w *world) logs() {
	w.t.Helper()
	type entry struct {
		term uint64
		data string
	}
	seen := map[uint64]entry{}
	for _, h := range w.hosts {
		first, err := h.machine.Disk.Logs.FirstIndex()
		require.NoError(w.t, err)
		last := min(h.Status().Commit, h.Applied())
		for i := max(first, 1); i <= last; i++ {
			var l raft.Log
			if err := h.machine.Disk.Logs.GetLog(i, &l); err != nil {
				continue // compacted meanwhile
			}
			e := entry{l.Term, string(l.Data)}
			if old, ok := seen[i]; ok {
				require.Equal(w.t, old, e, "entry %d of %s", i, h.name)
			}
			seen[i] = e
		}
	}
}

// client does something again and again, with pauses, until rest.
func (w *world) client(least, most time.Duration, do func(n int)) {
	w.clients.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-w.stop:
				return
			case <-time.After(w.net.Between(least, most)):
				do(n)
			}
		}
	})
}

// rest ends the clients and waits for what they have under way.
func (w *world) rest() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.clients.Wait()
}

// end stops everybody and lets the libraries' timers run out.
func (w *world) end() {
	w.rest()
	for _, h := range w.hosts {
		if h.run != nil {
			h.stop()
		}
	}
	time.Sleep(10 * time.Minute)
}

// note is a line for who reads a run with -v.
func (w *world) note(format string, args ...any) { w.t.Helper(); w.t.Logf(format, args...) }

func soon(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// trace writes what nodes log into the network's trace.
type trace struct {
	net  *sim.Net
	name string
	attr string
}

func (h trace) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h trace) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	h.net.Note("  %s %s %s%s", h.name, r.Level, line, h.attr)
	return nil
}
func (h trace) WithAttrs(as []slog.Attr) slog.Handler {
	for _, a := range as {
		h.attr += " " + a.String()
	}
	return h
}
func (h trace) WithGroup(string) slog.Handler { return h }
