package verify_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
	"tollgate/ledger/verify"
)

func open(t *testing.T, dir string) *store.Ledger {
	t.Helper()
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1})
	require.NoError(t, err)
	return l
}

func fill(t *testing.T, l *store.Ledger, entries []*store.Entry) {
	t.Helper()
	for _, e := range entries {
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
	}
}

func TestLedgerOfSeveralStartsIsWhole(t *testing.T) {
	dir := t.TempDir()
	all := querytest.Entries()
	for part := range 3 {
		l := open(t, dir)
		fill(t, l, all[part*20:part*20+20])
		require.NoError(t, l.Close())
	}
	l := open(t, dir)
	defer l.Close()
	cursor, err := l.Cursor("reader")
	require.NoError(t, err)
	require.NoError(t, cursor.Advance(l.LastSeq()))
	told := int64(0)
	r, err := verify.Ledger(t.Context(), l, func(_ string, n int64) { told = n })
	require.NoError(t, err)
	require.True(t, r.OK(), "%+v", r)
	require.Len(t, r.Checks, 4)
	require.Equal(t, int64(60), r.Checks[0].Looked)
	require.Equal(t, int64(60), told)
	require.NotZero(t, r.Checks[1].Looked)
	require.NotZero(t, r.Checks[2].Looked)
	require.Empty(t, r.Notes)

	require.NoError(t, cursor.Advance(l.LastSeq()+5))
	r, err = verify.Ledger(t.Context(), l, nil)
	require.NoError(t, err)
	require.False(t, r.OK())
	require.Contains(t, r.Checks[3].Examples[0], "reader has read")
}

// Verifying must not stop the books, nor be led astray by calls that end meanwhile.
func TestLedgerIsVerifiedWhileCallsAreBooked(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	fill(t, l, querytest.Entries())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 3000 {
			e := *querytest.Entries()[n%60]
			e.CallID, e.RequestID = querytest.ID(1000+n), ""
			if _, err := l.Settle(store.Ref{}, &e); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 5 {
		r, err := verify.Ledger(t.Context(), l, nil)
		require.NoError(t, err)
		require.True(t, r.OK(), "%+v", r)
	}
	<-done
}

func TestCopyIsOpenedWithoutAMarkOnTheOriginal(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "ledger"), filepath.Join(dir, "copy")
	l := open(t, from)
	fill(t, l, querytest.Entries())
	require.NoError(t, l.Close())
	require.NoError(t, verify.Copy(from, to))
	c := open(t, to)
	r, err := verify.Ledger(t.Context(), c, nil)
	require.NoError(t, err)
	require.True(t, r.OK())
	require.Equal(t, int64(60), r.Checks[0].Looked)
	fill(t, c, []*store.Entry{{CallID: querytest.ID(99), Status: store.Success, Start: querytest.Day, End: querytest.Day}})
	require.NoError(t, c.Close())
	l = open(t, from)
	defer l.Close()
	require.Equal(t, uint64(2), l.Incarnation(), "the copy's start was none of the original's")
	q := query.NewEmbedded(l, nil)
	sum, err := q.Total(t.Context(), query.Range{})
	require.NoError(t, err)
	require.Equal(t, int64(60), sum.Requests)
}

// shifted is a database with something else in it than the ledgers have.
type shifted struct {
	query.Query
	change func(by []query.Dimension, g []query.Group) []query.Group
}

func (s shifted) Groups(ctx context.Context, by []query.Dimension, r query.Range) ([]query.Group, error) {
	g, err := s.Query.Groups(ctx, by, r)
	return s.change(by, g), err
}

func TestDatabaseIsHeldAgainstTheLedgers(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	fill(t, l, querytest.Entries())
	q := query.NewEmbedded(l, nil)
	check := func(db query.Query) *verify.Report {
		r, err := verify.All(t.Context(), verify.Books{Ledger: l, Ledgers: q, Database: db}, nil)
		require.NoError(t, err)
		require.Len(t, r.Checks, 6)
		return r
	}
	require.True(t, check(q).OK())
	lost := check(shifted{q, func(by []query.Dimension, g []query.Group) []query.Group {
		if len(by) == 2 && by[1] == query.ByKey {
			return g[1:]
		}
		return g
	}})
	require.False(t, lost.OK())
	require.Equal(t, int64(1), lost.Checks[4].Differences)
	foreign := check(shifted{q, func(by []query.Dimension, g []query.Group) []query.Group {
		if len(by) == 2 && by[1] == query.ByKey {
			g = append(g, query.Group{IDs: []string{"2020-01-01", "someone"}, Sums: store.Sums{Requests: 1}})
		}
		return g
	}})
	require.True(t, foreign.OK(), "other writers' keys and days are theirs")
	doubled := check(shifted{q, func(by []query.Dimension, g []query.Group) []query.Group {
		for i := range g {
			if len(by) == 2 && by[1] == query.ByCallType && g[i].IDs[0] == "2026-05-06" {
				g[i].Spend = g[i].Spend.Add(unit.Money(1))
			}
		}
		return g
	}})
	require.False(t, doubled.OK())
	require.Contains(t, doubled.Checks[5].Examples[0], "2026-05-06")
	r, err := verify.All(t.Context(), verify.Books{Ledger: l}, nil)
	require.NoError(t, err)
	require.Len(t, r.Checks, 4, "without a database")
}
