package replica_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/query"
	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

// pair is a node a whose ledger is copied to b.
type pair struct {
	l    *store.Ledger
	k    *replica.Keeper
	net  *network
	cfg  replica.SenderConfig
	lost sync.Map // of node ids
	s    *replica.Sender
}

func newPair(t *testing.T, dir string, change ...func(*replica.SenderConfig)) *pair {
	p := &pair{l: openLedger(t, folder(t, dir, "a"))}
	p.k = openKeeper(t, replica.KeeperConfig{Dir: folder(t, dir, "b"), Lost: p.isLost})
	p.net = &network{keepers: map[string]*replica.Keeper{"b": p.k}, down: map[string]bool{}}
	p.cfg = replica.SenderConfig{Ledger: p.l, Book: "a", Call: p.net.call("a"),
		View: view("a", replica.Member{ID: "a", Alive: true}, replica.Member{ID: "b", Alive: true})}
	for _, c := range change {
		c(&p.cfg)
	}
	p.s = replica.NewSender(p.cfg)
	t.Cleanup(func() {
		require.NoError(t, p.k.Close())
		require.NoError(t, p.l.Close())
	})
	return p
}

func (p *pair) isLost(id string) bool {
	_, lost := p.lost.Load(id)
	return lost
}

func TestEntriesStandInTheCopyWithinASecond(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		defer run(t, p.s.Run)()
		book(t, p.l, 1, 1, 50)
		until(t, time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		require.Len(t, seqsOf(t, p.k, "a"), 50)
		e := entriesOf(t, p.k, "a")[49]
		require.NoError(t, replica.LedgerOf(p.k, "a").LoadBodies(e))
		want := entry(1, 50)
		require.Equal(t, want.Cost, e.Cost)
		require.Equal(t, want.Messages, e.Messages)
		require.Zero(t, p.s.Stats().Lag)
	})
}

func TestCallsInFlightAreSentDroppedWhenOverAndChargedWhenTheNodeIsLost(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		stop := run(t, p.s.Run)
		defer stop()
		var refs []store.Ref
		for n := uint64(1); n <= 5; n++ {
			ref, err := p.l.Begin(intent(1, n))
			require.NoError(t, err)
			refs = append(refs, ref)
		}
		until(t, 3*time.Second, func() bool { return replica.OpenCalls(p.k, "a") == 5 })
		_, err := p.l.Settle(refs[0], entry(1, 1))
		require.NoError(t, err)
		require.NoError(t, p.l.Abort(refs[1]))
		until(t, 2*time.Second, func() bool { return replica.OpenCalls(p.k, "a") == 3 })
		again := intent(1, 3)
		again.Max = 9_000_000
		_, err = p.l.Amend(refs[2], again)
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		stop()

		p.lost.Store("a", true)
		require.NoError(t, p.k.TakeOver(t.Context(), "a"))
		require.NoError(t, p.k.TakeOver(t.Context(), "a"), "done again it changes nothing")
		all := entriesOf(t, p.k, "a")
		require.Len(t, all, 4)
		sum := int64(0)
		for _, e := range all[1:] {
			require.Equal(t, store.Interrupted, e.Status)
			sum += int64(e.Cost.Total)
		}
		require.Equal(t, int64(9_000_000+2*5_000_000), sum)

		page, err := p.k.Book("a").Logs(t.Context(), query.Filter{})
		require.NoError(t, err)
		require.Len(t, page.Rows, 4)
		found, err := p.k.Find(callID(1, 1))
		require.NoError(t, err)
		require.Equal(t, entry(1, 1).Messages, found.Messages)
	})
}

func TestWhatTheDatabaseHasIsNotKept(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		var flushed atomic.Uint64
		p := newPair(t, dir, func(c *replica.SenderConfig) { c.Flushed = flushed.Load })
		defer run(t, p.s.Run)()
		defer run(t, p.k.Run)()
		book(t, p.l, 1, 1, 10)
		until(t, time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		flushed.Store(store.Seq(1, 7))
		until(t, 20*time.Second, func() bool { return len(seqsOf(t, p.k, "a")) == 3 })

		// The database is put back to an older state: the copy begins anew.
		flushed.Store(store.Seq(1, 2))
		until(t, 20*time.Second, func() bool { return len(seqsOf(t, p.k, "a")) == 8 })
		s, _ := stateOf(p.k, "a")
		require.Equal(t, store.Seq(1, 2), s.Base)
	})
}

func TestSyncWaitsForTheCopyAndNotForALateOne(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir, func(c *replica.SenderConfig) { c.Mode = func() replica.Mode { return replica.Sync } })
		defer run(t, p.s.Run)()
		until(t, time.Second, func() bool { return p.s.Peer() != "" })
		book(t, p.l, 1, 1, 1)
		p.s.Wait(t.Context(), p.l.LastSeq())
		require.Equal(t, p.l.LastSeq(), p.s.Acked())
		require.Zero(t, p.s.Stats().Unwaited)

		p.net.set(func() { p.net.down["b"] = true })
		book(t, p.l, 1, 2, 2)
		began := time.Now()
		p.s.Wait(t.Context(), p.l.LastSeq())
		require.Equal(t, time.Second, time.Since(began), "a late copy is waited for a second")
		p.s.Wait(t.Context(), p.l.LastSeq())
		require.Equal(t, time.Second, time.Since(began), "and then not at all")
		require.Equal(t, uint64(2), p.s.Stats().Unwaited)

		p.net.set(func() { p.net.down["b"] = false })
		until(t, 20*time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		book(t, p.l, 1, 3, 3)
		p.s.Wait(t.Context(), p.l.LastSeq())
		require.Equal(t, uint64(2), p.s.Stats().Unwaited)
	})
}

func TestResidencyDecidesWhatACopyHolds(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir, func(c *replica.SenderConfig) {
			c.Allow = func(e *store.Entry, _ replica.Member) replica.Permit { return replica.Permit(e.Seq % 3) }
		})
		defer run(t, p.s.Run)()
		book(t, p.l, 1, 1, 9)
		until(t, time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		all := entriesOf(t, p.k, "a")
		require.Len(t, all, 6)
		for _, e := range all {
			require.NoError(t, replica.LedgerOf(p.k, "a").LoadBodies(e))
			whole := replica.Permit(e.Seq%3) == replica.Whole
			require.Equal(t, whole, len(e.Messages) > 0)
			require.Equal(t, whole, len(e.Metadata) > 0 && e.IP != "")
			require.NotZero(t, e.Cost.Total)
		}
		st := p.s.Stats()
		require.Equal(t, []uint64{3, 3}, []uint64{st.Withheld, st.Bared})
	})
}

func TestANodeThatLeavesHandsOverEverything(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir, func(c *replica.SenderConfig) { c.Linger = time.Minute })
		defer run(t, p.s.Run)()
		until(t, time.Second, func() bool { return p.s.Peer() != "" })
		book(t, p.l, 1, 1, 3000)
		within, end := context.WithTimeout(t.Context(), 5*time.Second)
		defer end()
		require.NoError(t, p.s.HandOver(within))
		require.Len(t, seqsOf(t, p.k, "a"), 3000)

		p.net.set(func() { p.net.down["b"] = true })
		book(t, p.l, 1, 3001, 3002)
		late, end := context.WithTimeout(t.Context(), 5*time.Second)
		defer end()
		err := p.s.HandOver(late)
		require.ErrorIs(t, err, errAway)
		require.ErrorContains(t, err, "2 entries are left")
	})
}

func TestALedgerIsItsHoldersAlone(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		stop := run(t, p.s.Run)
		book(t, p.l, 1, 1, 2)
		until(t, time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		stop()
		_, err := p.net.call("c")(t.Context(), "b", replica.AppendPut(&replica.Put{Book: "a", Anew: true}))
		require.ErrorContains(t, err, "is node a's")
		require.Len(t, seqsOf(t, p.k, "a"), 2)
	})
}

// A directory that is made a member again has another node id and the same book.
func TestANodeThatComesBackUnderAnotherIDReplacesWhatWasTakenOver(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		stop := run(t, p.s.Run)
		_, err := p.l.Begin(intent(1, 1))
		require.NoError(t, err)
		book(t, p.l, 1, 2, 4)
		until(t, 3*time.Second, func() bool { return replica.OpenCalls(p.k, "a") == 1 })
		stop()
		p.lost.Store("a", true)
		defer run(t, p.k.Run)()
		until(t, 20*time.Second, func() bool { s, _ := stateOf(p.k, "a"); return s.Taken })
		require.Len(t, seqsOf(t, p.k, "a"), 4)

		cfg := p.cfg
		cfg.Call, cfg.View = p.net.call("a2"), view("a2", replica.Member{ID: "a2", Alive: true}, replica.Member{ID: "b", Alive: true})
		s := replica.NewSender(cfg)
		defer run(t, s.Run)()
		until(t, 20*time.Second, func() bool { st, _ := stateOf(p.k, "a"); return !st.Taken && st.Holder == "a2" })
		until(t, 20*time.Second, func() bool { return len(seqsOf(t, p.k, "a")) == 3 && replica.OpenCalls(p.k, "a") == 1 })
	})
}

func TestThePeerChangesWhenItStaysAwayAndOldCopiesGo(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		c := openKeeper(t, replica.KeeperConfig{Dir: folder(t, dir, "c")})
		defer func() { require.NoError(t, c.Close()) }()
		p.net.set(func() { p.net.keepers["c"] = c })
		there := map[string]bool{"b": true, "c": false}
		cfg := p.cfg
		cfg.View = func() replica.View {
			p.net.mu.Lock()
			defer p.net.mu.Unlock()
			return replica.View{Self: "a", Members: []replica.Member{{ID: "a", Alive: true}, {ID: "b", Alive: there["b"]}, {ID: "c", Alive: there["c"]}}}
		}
		s := replica.NewSender(cfg)
		defer run(t, s.Run)()
		book(t, p.l, 1, 1, 5)
		until(t, time.Second, func() bool { return s.Peer() == "b" && s.Acked() == p.l.LastSeq() })
		p.net.set(func() { p.net.down["b"], there["b"], there["c"] = true, false, true })
		book(t, p.l, 1, 6, 9)
		time.Sleep(30 * time.Second)
		require.Equal(t, "b", s.Peer(), "a peer that is restarted keeps its copy")
		until(t, 2*time.Minute, func() bool { return s.Peer() == "c" && s.Acked() == p.l.LastSeq() })
		require.Len(t, seqsOf(t, c, "a"), 9)
		require.Len(t, seqsOf(t, p.k, "a"), 5)

		p.net.set(func() { p.net.down["b"], there["b"] = false, true })
		until(t, 15*time.Minute, func() bool { _, kept := stateOf(p.k, "a"); return !kept })
		require.Equal(t, "c", s.Peer(), "no other is placed better")
		require.Len(t, seqsOf(t, c, "a"), 9)
	})
}

func TestTheBestPlacedNodeKeepsTheCopy(t *testing.T) {
	m := func(id, region, zone string) replica.Member {
		return replica.Member{ID: id, Region: region, Zone: zone, Alive: true}
	}
	self := m("self", "eu", "1")
	alive := func(m *replica.Member) bool { return m.Alive }
	for _, c := range []struct {
		name    string
		members []replica.Member
		present string
		want    string
	}{
		{"nobody", nil, "", ""},
		{"another zone before another region", []replica.Member{m("x", "us", "1"), m("y", "eu", "2"), m("z", "eu", "1")}, "", "y"},
		{"another region before the same zone", []replica.Member{m("x", "us", "1"), m("z", "eu", "1")}, "", "x"},
		{"the same zone before a region outside", []replica.Member{{ID: "x", Region: "us", Zone: "1", Alive: true, Outside: true}, m("z", "eu", "1")}, "", "z"},
		{"a region inside before one outside", []replica.Member{{ID: "x", Region: "us", Zone: "1", Alive: true, Outside: true}, m("y", "ap", "1")}, "", "y"},
		{"a region outside before nobody", []replica.Member{{ID: "x", Region: "us", Zone: "1", Alive: true, Outside: true}}, "", "x"},
		{"the same zone before nobody", []replica.Member{m("z", "eu", "1")}, "", "z"},
		{"the present one stays", []replica.Member{m("v", "eu", "3"), m("w", "eu", "2"), m("x", "eu", "2"), m("y", "eu", "2")}, "x", "x"},
		{"the present one goes for a better place", []replica.Member{m("x", "us", "1"), m("y", "eu", "2")}, "x", "y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			best, ok := replica.Choose(replica.View{Self: "self", Members: append([]replica.Member{self}, c.members...)}, c.present, alive)
			require.Equal(t, c.want != "", ok)
			require.Equal(t, c.want, best.ID)
		})
	}
}

func TestTheCopyThatGoesFurthestIsTheOneThatCounts(t *testing.T) {
	virtual(t, func(t *testing.T, dir string) {
		p := newPair(t, dir)
		stop := run(t, p.s.Run)
		book(t, p.l, 1, 1, 3)
		until(t, time.Second, func() bool { return p.s.Acked() == p.l.LastSeq() })
		stop()
		c := openKeeper(t, replica.KeeperConfig{Dir: folder(t, dir, "c"), Lost: p.isLost})
		defer func() { require.NoError(t, c.Close()) }()
		p.net.set(func() { p.net.keepers["c"] = c })
		book(t, p.l, 1, 4, 6)
		cfg := p.cfg
		cfg.View = view("a", replica.Member{ID: "a", Alive: true}, replica.Member{ID: "c", Alive: true})
		further := replica.NewSender(cfg)
		stop = run(t, further.Run)
		until(t, time.Second, func() bool { return further.Acked() == p.l.LastSeq() })
		stop()

		at := func(self string, k *replica.Keeper, other string) *replica.Directory {
			return replica.NewDirectory(replica.DirectoryConfig{Self: self, Keeper: k, Others: func() []string { return []string{other} }, Call: p.net.call(self)})
		}
		atB, atC := at("b", p.k, "c"), at("c", c, "b")
		for _, d := range []*replica.Directory{atB, atC} {
			all := d.Copies(t.Context())
			require.Len(t, all, 1)
			require.Equal(t, "c", all[0].Keeper)
			page, err := d.Query(all[0]).Logs(t.Context(), query.Filter{})
			require.NoError(t, err)
			require.Len(t, page.Rows, 6)
		}
		verdict, err := atB.Claim(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, replica.Theirs, verdict)
		verdict, err = atC.Claim(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, replica.Mine, verdict)
		p.lost.Store("a", true)
		require.NoError(t, c.TakeOver(t.Context(), "a"))
		verdict, err = atB.Claim(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, replica.Useless, verdict)
		p.net.set(func() { p.net.down["c"] = true })
		_, err = atB.Claim(t.Context(), "a")
		require.ErrorContains(t, err, "no answer from c")
	})
}
