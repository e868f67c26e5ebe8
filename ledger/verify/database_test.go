package verify_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
	"tollgate/ledger/verify"
)

func TestFlushedLedgersAndTheDatabaseAgree(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	db, err := flush.Open(flush.Config{Address: url, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	var ledgers []*store.Ledger
	var books []query.Book
	for n, name := range []string{"n1", "n2"} {
		l := open(t, t.TempDir())
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		fill(t, l, querytest.Entries()[n*30:n*30+30])
		var batch []*store.Entry
		for e, err := range l.Entries(0) {
			require.NoError(t, err)
			batch = append(batch, e)
		}
		require.NoError(t, db.Sink(name).Deliver(context.Background(), batch))
		ledgers = append(ledgers, l)
		books = append(books, query.Book{Name: name, Query: query.NewEmbedded(l, nil)})
	}
	all := verify.Books{Ledger: ledgers[0], Ledgers: query.NewJoined(func() []query.Book { return books }),
		Database: query.NewPostgres(query.PostgresConfig{Pool: db.Queries()})}
	r, err := verify.All(t.Context(), all, nil)
	require.NoError(t, err)
	require.True(t, r.OK(), "%+v", r)
	require.Len(t, r.Checks, 6)
	require.NotZero(t, r.Checks[4].Looked)
	require.NotZero(t, r.Checks[5].Looked)

	for name, damage := range map[string]struct {
		sql   string
		check int
	}{
		"a row is lost":     {`DELETE FROM "LiteLLM_SpendLogs" WHERE "startTime" = '2026-05-06 10:00:00'`, 5},
		"a sum has drifted": {`UPDATE "LiteLLM_DailyUserSpend" SET spend = spend + 0.000000002 WHERE date = '2026-05-05' AND api_key = 'k0'`, 4},
	} {
		c, err := db.Queries().Exec(t.Context(), damage.sql)
		require.NoError(t, err)
		require.NotZero(t, c.RowsAffected())
		r, err = verify.All(t.Context(), all, nil)
		require.NoError(t, err)
		require.NotZero(t, r.Checks[damage.check].Differences, name)
	}

	books[1].Query = nil
	r, err = verify.All(t.Context(), all, nil)
	require.NoError(t, err)
	require.NotEmpty(t, r.Checks[4].Skipped, "a node that is away leaves nothing to compare with")
	require.NotEmpty(t, r.Notes)
}
