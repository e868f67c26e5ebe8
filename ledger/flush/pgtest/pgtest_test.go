//go:build unix

package pgtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush/pgtest"
)

func ask(url string, within time.Duration) error {
	ctx, end := context.WithTimeout(context.Background(), within)
	defer end()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var n int
	return c.QueryRow(ctx, "SELECT count(*) FROM kept").Scan(&n)
}

func TestServerComesBackWithItsDataAfterEveryFault(t *testing.T) {
	s := pgtest.StartOwn(t)
	url := s.NewDatabase(t)
	s.Exec(t, url, "CREATE TABLE kept (n int)")
	for name, fault := range map[string][2]func(){
		"stop":  {s.Stop, func() { s.Start(t) }},
		"kill":  {s.Kill, func() { s.Start(t) }},
		"pause": {s.Pause, s.Resume},
	} {
		t.Run(name, func(t *testing.T) {
			fault[0]()
			require.Error(t, ask(url, 300*time.Millisecond))
			fault[1]()
			require.NoError(t, ask(url, 10*time.Second))
		})
	}
}

func TestDatabasesOfOneServerAreApart(t *testing.T) {
	s := pgtest.Start(t)
	a, b := s.NewDatabase(t), s.NewDatabase(t)
	require.NotEqual(t, a, b)
	s.Exec(t, a, "CREATE TABLE kept (n int)")
	require.NoError(t, ask(a, 5*time.Second))
	require.Error(t, ask(b, 5*time.Second))
}
