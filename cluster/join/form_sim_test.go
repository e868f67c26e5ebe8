package join

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a network of machines in virtual time.
type world struct {
	mu       sync.Mutex
	rand     *rand.Rand
	machines map[string]*machine // by address
	faults   bool
	cut      map[[2]string]bool
	clusters map[string]bool // every cluster that was ever founded
	trace    []string
}

// machine is a disk and, while it runs, a process.
type machine struct {
	w     *world
	addr  string
	id    string
	peers []string
	want  int

	// Guarded by the world's mutex.
	ballot  Ballot
	cluster string // on disk
	starts  int
	former  *Former // nil: does not run, or has its cluster
	ready   bool
	up      bool
	err     error
	stop    context.CancelFunc
	done    chan struct{}
}

var errNoAnswer = errors.New("no answer")

func newWorld(seed uint64) *world {
	return &world{rand: rand.New(rand.NewPCG(seed, 1)), machines: map[string]*machine{}, cut: map[[2]string]bool{}, clusters: map[string]bool{}}
}

func (w *world) add(n int, peers []string, want int) *machine {
	m := &machine{w: w, addr: fmt.Sprintf("10.0.0.%d:7946", n), id: fmt.Sprintf("node-%d", n), peers: peers, want: want}
	w.machines[m.addr] = m
	return m
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// chance and between draw under the world's mutex.
func (w *world) chance(percent int) bool { return w.rand.IntN(100) < percent }

func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rand.Int64N(int64(b-a)+1))
}

// Ballot and SaveBallot are the machine's disk.
func (m *machine) Ballot() (Ballot, error) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.ballot, nil
}

func (m *machine) SaveBallot(b Ballot) error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.ballot = b
	return nil
}

// start runs the machine's next process.
func (m *machine) start(t *testing.T) {
	w := m.w
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	m.starts++
	m.up, m.ready, m.former, m.err = true, false, nil, nil
	m.stop, m.done = cancel, make(chan struct{})
	nonce, had, done := fmt.Sprintf("%s start %d", m.id, m.starts), m.cluster, m.done
	w.mu.Unlock()
	go func() {
		defer close(done)
		if had == "" && !m.form(t, ctx, nonce) {
			return
		}
		m.open(ctx)
	}()
}

// form is the time before the machine has a cluster.
func (m *machine) form(t *testing.T, ctx context.Context, nonce string) bool {
	w := m.w
	f, err := NewFormer(FormConfig{
		NodeID: m.id, Nonce: nonce, Expect: m.want, Peers: m.peers, Secret: []byte("k"), Memo: m,
		Join: func(ctx context.Context, addrs []string) (*Welcome, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, a := range addrs {
				if o := w.machines[a]; o.up && o.ready {
					return &Welcome{ClusterID: o.cluster}, nil
				}
			}
			return nil, refuse(CodeNoQuorum, "not now")
		},
	})
	require.NoError(t, err)
	f.chat = func(ctx context.Context, addr string, p *probe) (*sighting, error) { return w.chat(ctx, m, addr, p) }
	w.mu.Lock()
	m.former = f
	w.mu.Unlock()
	out, err := f.Run(ctx)
	if ctx.Err() != nil {
		return false // killed, perhaps with the outcome in its hands
	}
	// What follows may be cut off by a kill at any point.
	w.mu.Lock()
	pause := w.between(0, 3*time.Second)
	w.mu.Unlock()
	if err == nil && out.Found && !sleep(ctx, pause) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m.former = nil
	switch {
	case err != nil:
		m.err = err
		m.up = false
		return false
	case out.Found:
		m.cluster = "cluster of " + m.id
		w.clusters[m.cluster] = true
		w.note("%s founds", m.id)
	default:
		m.cluster = out.Welcome.ClusterID
		w.note("%s joins %s", m.id, m.cluster)
	}
	return true
}

// open is the time a node with a cluster takes until it lets others in.
func (m *machine) open(ctx context.Context) {
	m.w.mu.Lock()
	pause := m.w.between(0, 5*time.Second)
	m.w.mu.Unlock()
	if sleep(ctx, pause) {
		m.w.mu.Lock()
		m.ready = true
		m.w.mu.Unlock()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *machine) kill() {
	m.w.mu.Lock()
	m.up, m.former, m.ready = false, nil, false
	stop, done := m.stop, m.done
	m.w.note("%s dies", m.id)
	m.w.mu.Unlock()
	stop()
	<-done
}

// chat carries a question and its answer. Both may be late or lost, the
// question also when its asker has long given up.
func (w *world) chat(ctx context.Context, from *machine, addr string, p *probe) (*sighting, error) {
	w.mu.Lock()
	there, back := w.between(0, 50*time.Millisecond), w.between(0, 50*time.Millisecond)
	lost := w.cut[[2]string{from.addr, addr}]
	if w.faults {
		if w.chance(10) {
			there = w.between(0, 10*time.Second)
		}
		if w.chance(10) {
			back = w.between(0, 10*time.Second)
		}
		lost = lost || w.chance(5)
	}
	w.mu.Unlock()
	answer := make(chan *sighting, 1)
	question := *p
	time.AfterFunc(there, func() {
		if lost {
			return
		}
		if s := w.serve(addr, &question); s != nil {
			time.AfterFunc(back, func() { answer <- s })
		}
	})
	select {
	case s := <-answer:
		return s, nil
	case <-ctx.Done():
		return nil, errNoAnswer
	}
}

func (w *world) serve(addr string, p *probe) *sighting {
	w.mu.Lock()
	m := w.machines[addr]
	if m == nil || !m.up {
		w.mu.Unlock()
		return nil
	}
	if m.cluster != "" {
		defer w.mu.Unlock()
		return &sighting{ID: m.id, ClusterID: m.cluster, Ready: m.ready}
	}
	f := m.former
	w.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.answer(p)
}

func (w *world) joined() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.cluster != "" {
			n++
		}
	}
	return n
}

func TestIdenticalMachinesNeverFormTwoClusters(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { runForming(t, seed) })
		if t.Failed() {
			return
		}
	}
}

func runForming(t *testing.T, seed uint64) {
	w := newWorld(seed)
	n := 2 + w.rand.IntN(5)
	want := n/2 + 1 + w.rand.IntN(n-n/2)
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("10.0.0.%d:7946", i+1))
	}
	w.faults = true
	var all []*machine
	for _, i := range w.rand.Perm(n) {
		all = append(all, w.add(i+1, peers, want))
	}
	var wg sync.WaitGroup
	for _, m := range all {
		w.mu.Lock()
		first := w.between(0, 4*time.Second)
		w.mu.Unlock()
		wg.Go(func() {
			time.Sleep(first)
			m.start(t)
			for range 6 { // faults of one machine
				w.mu.Lock()
				calm, deaf, dies, down := w.between(0, 5*time.Second), w.chance(30), w.chance(35), w.between(0, 3*time.Second)
				w.mu.Unlock()
				time.Sleep(calm)
				if deaf {
					w.mu.Lock()
					for _, o := range all {
						if w.chance(50) {
							w.cut[[2]string{m.addr, o.addr}] = true
						}
						if w.chance(50) {
							w.cut[[2]string{o.addr, m.addr}] = true
						}
					}
					w.mu.Unlock()
				}
				if dies {
					m.kill()
					time.Sleep(down)
					m.start(t)
				}
			}
		})
	}
	wg.Wait()
	w.mu.Lock()
	w.faults, w.cut = false, map[[2]string]bool{}
	w.mu.Unlock()
	for range 120 {
		if w.joined() == n {
			break
		}
		time.Sleep(time.Second)
	}
	time.Sleep(time.Minute)
	w.mu.Lock()
	trace, founded := w.trace, len(w.clusters)
	w.mu.Unlock()
	require.LessOrEqual(t, founded, 1, "seed %d: %v", seed, trace)
	for _, m := range all {
		require.NoError(t, m.err, "seed %d", seed)
		require.NotEmpty(t, m.cluster, "seed %d: %s of %d, %d expected, has no cluster two minutes after the faults; ballot %+v\n%v", seed, m.id, n, want, m.ballot, trace)
	}
	for _, m := range all {
		m.kill()
	}
	time.Sleep(time.Minute) // what is still on its way arrives
}
