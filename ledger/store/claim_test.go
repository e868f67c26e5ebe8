package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

func fillLedger(t *testing.T, l *store.Ledger, n int) (last uint64) {
	t.Helper()
	for range n {
		seq, err := l.Settle(store.Ref{}, sampleEntry(l.LastSeq()+1))
		require.NoError(t, err)
		last = seq
	}
	require.NoError(t, l.CatchUp())
	return last
}

func count(t *testing.T, l *store.Ledger) (n int) {
	t.Helper()
	for _, err := range l.Entries(0) {
		require.NoError(t, err)
		n++
	}
	return n
}

func TestNearlyFullLedgerTakesTheClaimOfReadersTheBooksDoNotNeed(t *testing.T) {
	l := open(t, store.Config{MaxBytes: 1}) // whatever it holds is too much
	last := fillLedger(t, l, 20)
	away, err := l.LooseCursor("away", 0)
	require.NoError(t, err)
	l.CheckSpaceNow()
	require.Equal(t, 20, count(t, l), "without another reader the entries are the books")
	require.Zero(t, away.Seq())

	db, err := l.Cursor("db")
	require.NoError(t, err)
	l.CheckSpaceNow()
	require.Equal(t, 20, count(t, l), "the database has nothing yet")
	require.NoError(t, db.Advance(last-5))
	l.CheckSpaceNow()
	require.Equal(t, 5, count(t, l))
	require.Equal(t, last-5, away.Seq())
	require.Equal(t, uint64(15), away.Lost())
	require.Equal(t, uint64(15), l.Stats().ClaimsTaken)
	require.Equal(t, uint64(15), l.Stats().EntriesDropped)
	require.ErrorIs(t, l.Healthy(), store.ErrUnavailable)
	require.Equal(t, last-5, db.Seq(), "the books' own claim stands")
}

func TestClaimOfAReaderThatNobodyRunsAnyMoreIsTakenToo(t *testing.T) {
	dir := t.TempDir()
	l := open(t, store.Config{Dir: dir, MaxBytes: 1})
	_, err := l.LooseCursor("gone", 0)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	l, err = store.Open(store.Config{Dir: dir, MaxBytes: 1, Ballast: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	last := fillLedger(t, l, 3)
	db, err := l.Cursor("db")
	require.NoError(t, err)
	require.NoError(t, db.Advance(last))
	l.CheckSpaceNow()
	require.Zero(t, count(t, l))
	cursors, err := l.Cursors()
	require.NoError(t, err)
	require.Equal(t, last, cursors["gone"])
}

func TestLooseCursorBeginsWhereItIsTold(t *testing.T) {
	l := open(t, store.Config{})
	c, err := l.LooseCursor("r", 7)
	require.NoError(t, err)
	require.Equal(t, uint64(7), c.Seq())
	c, err = l.LooseCursor("r", 9)
	require.NoError(t, err)
	require.Equal(t, uint64(7), c.Seq(), "it has a place already")
	require.NoError(t, c.Rewind(3))
	require.NoError(t, c.Rewind(5))
	require.Equal(t, uint64(3), c.Seq())
}

func TestPendingCountsOverStarts(t *testing.T) {
	dir := t.TempDir()
	var middle uint64
	for range 3 {
		l, err := store.Open(store.Config{Dir: dir, Ballast: -1})
		require.NoError(t, err)
		middle = fillLedger(t, l, 4) - 1
		require.NoError(t, l.Close())
	}
	l := open(t, store.Config{Dir: dir})
	n, oldest, err := l.Pending(0, l.LastSeq())
	require.NoError(t, err)
	require.Equal(t, uint64(12), n)
	require.Equal(t, t0.Add(820*time.Millisecond), oldest)
	n, _, err = l.Pending(middle, l.LastSeq())
	require.NoError(t, err)
	require.Equal(t, uint64(1), n)
	n, oldest, err = l.Pending(l.LastSeq(), l.LastSeq())
	require.NoError(t, err)
	require.Zero(t, n)
	require.True(t, oldest.IsZero())
}
