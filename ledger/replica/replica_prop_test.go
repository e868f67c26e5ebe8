package replica_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

// Whatever happens to messages, sender and keepers, a copy is a stretch of its
// ledger without a hole, has all that its keeper has acknowledged, and in the
// end all that is needed; and a call that was open, and no other, is open in it.
func TestACopyIsAStretchOfItsLedgerWhateverHappens(t *testing.T) {
	warm()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		dir, err := os.MkdirTemp(t.TempDir(), "")
		require.NoError(t, err)
		synctest.Test(t, func(t *testing.T) { mishaps(t, dir, seed) })
		require.NoError(t, os.RemoveAll(dir))
	})
}

// chaos is a node a and its would-be keepers, and what the test knows of them.
type chaos struct {
	t       *testing.T
	dir     string
	rng     *rand.Rand
	l       *store.Ledger
	net     *network
	s       *replica.Sender
	stop    func()
	cfg     replica.SenderConfig
	next    uint64
	open    map[uint64]store.Ref
	flushed uint64
	there   map[string]bool
	old     []message // that may come again
}

type message struct {
	to      string
	payload []byte
}

func mishaps(t *testing.T, dir string, seed uint64) {
	c := &chaos{t: t, dir: dir, rng: rand.New(rand.NewPCG(seed, 1)), open: map[uint64]store.Ref{}, there: map[string]bool{"b": true, "c": true, "d": true},
		net: &network{keepers: map[string]*replica.Keeper{}, down: map[string]bool{}}}
	its := rand.New(rand.NewPCG(seed, 2)) // the sender runs beside the test
	c.net.fault = func(to string, payload []byte) (before, after error) {
		time.Sleep(time.Duration(its.Int64N(int64(200 * time.Millisecond))))
		c.net.mu.Lock()
		c.old = append(c.old, message{to, slices.Clone(payload)})
		c.net.mu.Unlock()
		switch its.IntN(8) {
		case 0:
			return errAway, nil
		case 1:
			return nil, errAway
		}
		return nil, nil
	}
	c.l = openLedger(t, folder(t, dir, "a"))
	for id := range c.there {
		c.reopen(id)
	}
	withDatabase := c.rng.IntN(2) == 0
	c.cfg = replica.SenderConfig{Ledger: c.l, Book: "a", Call: c.net.call("a"), MaxBytes: 2000, Patience: 5 * time.Second,
		View: func() replica.View {
			c.net.mu.Lock()
			defer c.net.mu.Unlock()
			v := replica.View{Self: "a", Members: []replica.Member{{ID: "a", Alive: true}}}
			for id, there := range c.there {
				v.Members = append(v.Members, replica.Member{ID: id, Alive: there})
			}
			return v
		}}
	if withDatabase {
		c.cfg.Flushed = func() uint64 { c.net.mu.Lock(); defer c.net.mu.Unlock(); return c.flushed }
	}
	c.restart()
	for range 60 {
		c.step(withDatabase)
		c.check()
	}
	c.net.set(func() {
		c.net.fault = nil
		for id := range c.there {
			c.there[id], c.net.down[id] = true, false
		}
	})
	time.Sleep(10 * time.Second) // a keeper that has lost its disk is noticed when it is told something
	until(t, 5*time.Minute, func() bool { return c.s.Acked() >= c.l.LastSeq() && c.s.LastError() == nil })
	time.Sleep(3 * time.Second)
	c.check()
	c.settled()
	c.stop()
	for _, k := range c.net.keepers {
		require.NoError(t, k.Close())
	}
	require.NoError(t, c.l.Close())
}

func (c *chaos) restart() {
	if c.stop != nil {
		c.stop()
		time.Sleep(time.Millisecond) // a process needs longer than that to start
	}
	c.s = replica.NewSender(c.cfg)
	c.stop = run(c.t, c.s.Run)
}

// reopen is a keeper that died and starts again.
func (c *chaos) reopen(id string) {
	c.net.set(func() {
		if k := c.net.keepers[id]; k != nil {
			require.NoError(c.t, k.Close())
			if c.rng.IntN(3) == 0 { // and its disk is a new one
				require.NoError(c.t, os.RemoveAll(filepath.Join(c.dir, id)))
			}
		}
		c.net.keepers[id] = openKeeper(c.t, replica.KeeperConfig{Dir: folder(c.t, c.dir, id)})
		c.old = nil // what was on its way to it is gone
	})
}

func (c *chaos) any() string { return []string{"b", "c", "d"}[c.rng.IntN(3)] }

func (c *chaos) step(withDatabase bool) {
	t := c.t
	switch c.rng.IntN(12) {
	case 0, 1, 2:
		n := c.rng.Uint64N(12)
		book(t, c.l, 1, c.next+1, c.next+n)
		c.next += n
	case 3, 4:
		c.next++
		ref, err := c.l.Begin(intent(1, c.next))
		require.NoError(t, err)
		c.open[c.next] = ref
	case 5, 6:
		for n, ref := range c.open {
			if c.rng.IntN(3) == 0 {
				require.NoError(t, c.l.Abort(ref))
			} else {
				_, err := c.l.Settle(ref, entry(1, n))
				require.NoError(t, err)
			}
			delete(c.open, n)
			break
		}
	case 7:
		c.restart()
	case 8:
		c.reopen(c.any())
	case 9:
		id, there := c.any(), c.rng.IntN(2) == 0
		c.net.set(func() { c.there[id], c.net.down[id] = there, !there })
	case 10: // a message that was sent long ago comes again
		var m message
		var k *replica.Keeper
		c.net.set(func() {
			if len(c.old) > 0 {
				m = c.old[c.rng.IntN(len(c.old))]
				k = c.net.keepers[m.to]
			}
		})
		if k != nil {
			_, _ = k.Serve(t.Context(), "a", m.payload) // an error is as good as any answer
		}
	case 11:
		if !withDatabase {
			return
		}
		c.net.set(func() {
			if c.rng.IntN(8) == 0 {
				c.flushed /= 2
				if c.flushed < store.Seq(1, 0) {
					c.flushed = 0
				}
				return
			}
			if last := c.l.LastSeq(); last > c.flushed && c.next > 0 {
				base := max(c.flushed, store.Seq(1, 0))
				c.flushed = base + c.rng.Uint64N(last-base+1)
			}
		})
		for id := range c.there {
			c.net.mu.Lock()
			k := c.net.keepers[id]
			c.net.mu.Unlock()
			require.NoError(t, replica.Tidy(k))
		}
	}
	time.Sleep(time.Duration(c.rng.Int64N(int64(4 * time.Second))))
}

// check compares every copy with the ledger.
func (c *chaos) check() {
	synctest.Wait() // nothing is being written
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	var all []uint64
	for e, err := range c.l.Entries(0) {
		require.NoError(c.t, err)
		all = append(all, e.Seq)
	}
	for id, k := range c.net.keepers {
		s, kept := stateOf(k, "a")
		if !kept {
			continue
		}
		var want []uint64
		for _, seq := range all {
			if seq > s.Base && seq <= s.Position {
				want = append(want, seq)
			}
		}
		have := slices.DeleteFunc(seqsOf(c.t, k, "a"), func(seq uint64) bool { return seq <= s.Base })
		require.True(c.t, slices.Equal(want, have), "%s has what lies between %d and %d: %v, not %v", id, s.Base, s.Position, want, have)
	}
}

// settled is what holds when all is calm.
func (c *chaos) settled() {
	k := c.net.keepers[c.s.Peer()]
	require.NotNil(c.t, k)
	s, kept := stateOf(k, "a")
	require.True(c.t, kept || c.l.LastSeq() <= c.flushed)
	if !kept {
		return
	}
	require.GreaterOrEqual(c.t, max(s.Position, c.flushed), c.s.Acked())
	require.LessOrEqual(c.t, s.Base, max(c.flushed, s.Floor))
	require.Equal(c.t, len(c.open), replica.OpenCalls(k, "a"))
}

func TestAMessageThatComesLateChangesNothing(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		var sent [][]byte
		p.net.fault = func(_ string, payload []byte) (error, error) {
			sent = append(sent, slices.Clone(payload))
			return nil, nil
		}
		stop := run(t, p.s.Run)
		book(t, p.l, 1, 1, 5)
		until(t, 2*time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		stop()
		before, _ := stateOf(p.k, "a")
		for _, m := range sent {
			_, err := p.k.Serve(t.Context(), "a", m)
			require.ErrorContains(t, err, "a later message")
		}
		after, _ := stateOf(p.k, "a")
		require.Equal(t, before, after)
	})
}

func TestACallStandsInTheCopyAsOpenUntilItsEntryDoes(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir, func(c *replica.SenderConfig) { c.MaxBytes = 2000 })
		var late, gone atomic.Int64
		booked := map[store.CallID]bool{}
		p.net.fault = func(_ string, payload []byte) (error, error) {
			time.Sleep(200 * time.Millisecond) // entries pile up behind each message
			m, err := replica.DecodePut(payload)
			require.NoError(t, err)
			for i := range m.Entries {
				e, err := m.Entries[i].Decode()
				require.NoError(t, err)
				booked[e.CallID] = true
			}
			for _, call := range m.Gone {
				gone.Add(1)
				if !booked[call] {
					late.Add(1)
				}
			}
			return nil, nil
		}
		stop := run(t, p.s.Run)
		defer stop()
		var refs []store.Ref
		for n := uint64(1); n <= 5; n++ {
			ref, err := p.l.Begin(intent(1, n))
			require.NoError(t, err)
			refs = append(refs, ref)
		}
		until(t, 5*time.Second, func() bool { return replica.OpenCalls(p.k, "a") == 5 })
		book(t, p.l, 1, 10, 100)
		for n, ref := range refs {
			_, err := p.l.Settle(ref, entry(1, uint64(n)+1))
			require.NoError(t, err)
		}
		until(t, time.Minute, func() bool { return gone.Load() == 5 })
		require.Zero(t, late.Load(), "calls dropped before their entries were there")
	})
}
