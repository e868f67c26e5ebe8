package replica_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/query"
	"tollgate/ledger/reader"
	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

// lostNode is a node a with a database, whose copy b keeps.
type lostNode struct {
	t    *testing.T
	dir  string
	db   *flush.Database
	l    *store.Ledger
	k    *replica.Keeper
	net  *network
	s    *replica.Sender
	stop func()
	lost atomic.Bool
	rows *query.Postgres
}

func newLostNode(t *testing.T, url string) *lostNode {
	n := &lostNode{t: t, dir: t.TempDir(), net: &network{down: map[string]bool{}}}
	var err error
	n.db, err = flush.Open(flush.Config{Address: url})
	require.NoError(t, err)
	t.Cleanup(n.db.Close)
	require.NoError(t, n.db.Ready(t.Context()))
	n.rows = query.NewPostgres(query.PostgresConfig{Pool: n.db.Queries()})
	n.l = openLedger(t, folder(t, n.dir, "a"))
	n.k = n.keeper("b")
	n.net.keepers = map[string]*replica.Keeper{"b": n.k}
	n.s = replica.NewSender(n.cfg("b"))
	n.stop = run(t, n.s.Run)
	return n
}

func (n *lostNode) keeper(id string) *replica.Keeper {
	k := openKeeper(n.t, replica.KeeperConfig{
		Dir: folder(n.t, n.dir, id), Lost: func(string) bool { return n.lost.Load() },
		Books: func(book string) replica.Books { return n.db.Sink(book) },
	})
	n.t.Cleanup(func() { require.NoError(n.t, k.Close()) })
	return k
}

func (n *lostNode) cfg(peer string) replica.SenderConfig {
	return replica.SenderConfig{
		Ledger: n.l, Book: "a", Call: n.net.call("a"), IntentAge: time.Nanosecond, IntentEvery: 20 * time.Millisecond, Linger: time.Millisecond,
		View:    view("a", replica.Member{ID: "a", Alive: true}, replica.Member{ID: peer, Alive: true}),
		Flushed: func() uint64 { c, err := n.l.Cursors(); require.NoError(n.t, err); return c["postgres"] },
	}
}

// flush brings a's own ledger to the database.
func (n *lostNode) flush() {
	n.t.Helper()
	r := reader.New(n.l, "postgres", n.db.Sink("a"), reader.Config{Bodies: reader.RowBodies})
	stop := run(n.t, r.Run)
	require.NoError(n.t, r.Flush(n.t.Context()))
	stop()
}

func (n *lostNode) begin(from, to uint64) (refs []store.Ref) {
	n.t.Helper()
	for c := from; c <= to; c++ {
		ref, err := n.l.Begin(intent(1, c))
		require.NoError(n.t, err)
		refs = append(refs, ref)
	}
	return refs
}

// copied waits until the copy has all entries and so many open calls.
func (n *lostNode) copied(s *replica.Sender, k *replica.Keeper, open int) {
	n.t.Helper()
	until(n.t, 10*time.Second, func() bool { return s.Acked() >= n.l.LastSeq() && replica.OpenCalls(k, "a") == open })
}

// books are the rows by call, what they cost, and what the key's sum is.
func (n *lostNode) books() (rows map[string]unit.Money, sum unit.Money) {
	n.t.Helper()
	rows = map[string]unit.Money{}
	page, err := n.rows.Logs(n.t.Context(), query.Filter{Limit: 1000})
	require.NoError(n.t, err)
	var all unit.Money
	for _, r := range page.Rows {
		cost, err := unit.MoneyFromUSD(r.Spend)
		require.NoError(n.t, err)
		_, twice := rows[r.CallID]
		require.False(n.t, twice, "call %s has two rows", r.CallID)
		rows[r.CallID] = cost
		all = all.Add(cost)
	}
	sum, err = n.db.Spent(n.t.Context(), "api_key", "key-1", 0)
	require.NoError(n.t, err)
	require.Equal(n.t, all, sum, "rows and sums agree")
	return rows, sum
}

// reopen is the lost node's next start.
func (n *lostNode) reopen() {
	n.t.Helper()
	require.NoError(n.t, n.l.Close())
	n.l = openLedger(n.t, folder(n.t, n.dir, "a"))
}

func TestALostNodesEntriesAndCallsAreBookedOnceAlthoughItComesBack(t *testing.T) {
	n := newLostNode(t, pgtest.Start(t).NewDatabase(t))
	book(t, n.l, 1, 1, 20)
	n.flush()
	book(t, n.l, 1, 21, 30) // in the copy, not in the database
	refs := n.begin(101, 105)
	n.copied(n.s, n.k, 5)
	n.stop()
	book(t, n.l, 1, 31, 33) // on its disk only
	_, err := n.l.Settle(refs[0], entry(1, 101))
	require.NoError(t, err)

	n.lost.Store(true)
	require.NoError(t, n.k.TakeOver(t.Context(), "a"))
	_, kept := stateOf(n.k, "a")
	require.False(t, kept, "nothing is left in the copy")
	rows, sum := n.books()
	require.Len(t, rows, 35)
	want := 5 * unit.Money(5_000_000)
	for c := uint64(1); c <= 30; c++ {
		want += entry(1, c).Cost.Total
	}
	require.Equal(t, want, sum)

	// It comes back: what only it had is flushed, the calls that were booked for it
	// are passed over, those that it settled itself and those that it left open.
	n.reopen()
	require.Len(t, n.l.Interrupted(), 4)
	n.flush()
	rows, sum = n.books()
	require.Len(t, rows, 38)
	for c := uint64(31); c <= 33; c++ {
		want += entry(1, c).Cost.Total
	}
	require.Equal(t, want, sum)

	// And goes on as ever.
	book(t, n.l, 1, 34, 40)
	n.flush()
	rows, _ = n.books()
	require.Len(t, rows, 45)
	require.NoError(t, n.l.Close())
}

func TestANodeThatGotFurtherThanItsCopyKeepsItsCallsToItself(t *testing.T) {
	n := newLostNode(t, pgtest.Start(t).NewDatabase(t))
	book(t, n.l, 1, 1, 5)
	refs := n.begin(101, 102)
	n.copied(n.s, n.k, 2)
	n.stop()
	// It was not lost, only cut off from the others: it goes on and flushes.
	_, err := n.l.Settle(refs[0], entry(1, 101))
	require.NoError(t, err)
	n.flush()
	n.lost.Store(true)
	require.NoError(t, n.k.TakeOver(t.Context(), "a"))
	rows, _ := n.books()
	require.Len(t, rows, 6)
	n.reopen() // books the other at its maximum
	n.flush()
	rows, sum := n.books()
	require.Len(t, rows, 7)
	want := unit.Money(5_000_000) + entry(1, 101).Cost.Total
	for c := uint64(1); c <= 5; c++ {
		want += entry(1, c).Cost.Total
	}
	require.Equal(t, want, sum)
	require.NoError(t, n.l.Close())
}

// An older copy, that nobody has told to go, takes over first, and then the
// newest; the node comes back in the end.
func TestTwoCopiesOfDifferentAgeBookEachCallOnce(t *testing.T) {
	n := newLostNode(t, pgtest.Start(t).NewDatabase(t))
	c := n.keeper("c")
	n.net.set(func() { n.net.keepers["c"] = c })
	book(t, n.l, 1, 1, 5)
	refs := n.begin(101, 103)
	n.copied(n.s, n.k, 3)
	n.stop()
	newer := replica.NewSender(n.cfg("c"))
	stop := run(t, newer.Run)
	_, err := n.l.Settle(refs[0], entry(1, 101)) // the older copy believes that it is in flight
	require.NoError(t, err)
	book(t, n.l, 1, 6, 9)
	n.copied(newer, c, 2)
	stop()
	n.lost.Store(true)
	require.NoError(t, n.k.TakeOver(t.Context(), "a"))
	require.NoError(t, c.TakeOver(t.Context(), "a"))
	rows, _ := n.books()
	require.Len(t, rows, 9+3)
	require.Equal(t, unit.Money(5_000_000), rows["00000000-0000-0001-0000-000000000065"], "what was booked at its maximum stays so")
	n.reopen()
	n.flush()
	rows, _ = n.books()
	require.Len(t, rows, 9+3)
	require.NoError(t, n.l.Close())
}

func TestATakeoverWaitsForTheDatabaseAndGoesOnAfterEveryEnd(t *testing.T) {
	server := pgtest.StartOwn(t)
	n := newLostNode(t, server.NewDatabase(t))
	book(t, n.l, 1, 1, 50)
	n.begin(101, 110)
	n.copied(n.s, n.k, 10)
	n.stop()
	n.lost.Store(true)
	server.Stop()
	within, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	require.Error(t, n.k.TakeOver(within, "a"))
	require.Len(t, seqsOf(t, n.k, "a"), 50)
	// The keeper ends as well, between all steps.
	require.NoError(t, n.k.Close())
	n.k = n.keeper("b")
	server.Start(t)
	defer run(t, n.k.Run)()
	until(t, 30*time.Second, func() bool { _, kept := stateOf(n.k, "a"); return !kept })
	rows, _ := n.books()
	require.Len(t, rows, 60)
	require.NoError(t, n.l.Close())
}
