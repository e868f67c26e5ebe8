package checks_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
	"tollgate/ledger/flush/checks"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) (*checks.Writer, *pgxpool.Pool) {
	t.Helper()
	url := pgtest.Start(t).NewDatabase(t)
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	require.NoError(t, schema.Migrate(t.Context(), cfg, slog.New(slog.DiscardHandler)))
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	w, err := checks.NewWriter(checks.Config{Pool: pool, Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Every: 10 * time.Millisecond})
	require.NoError(t, err)
	return w, pool
}

func TestChecksAreReadBackAsLiteLLMHasThem(t *testing.T) {
	w, pool := open(t)
	for i, fault := range []string{"", "RateLimitError: no", ""} {
		w.Add(checks.NewRow("gpt", "d1", fault, "node", noon.Add(time.Duration(i)*time.Minute), 1500*time.Microsecond))
	}
	w.Add(checks.NewRow("other", "d2", "nul \x00 and "+strings.Repeat("é", 2000), "node", noon, time.Second))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	first := 0
	require.NoError(t, w.After(func(context.Context, *pgx.Conn) error { first++; return nil })(t.Context(), conn.Conn()))
	conn.Release()
	require.Equal(t, 1, first)
	require.Zero(t, w.Waiting())

	rows, err := checks.History(t.Context(), pool, checks.Filter{Name: "gpt", Max: 2})
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, noon.Add(2*time.Minute), rows[0].At)
	require.Equal(t, "healthy", rows[0].Status)
	require.Nil(t, rows[0].Error)
	require.Equal(t, 1.5, *rows[0].Millis)
	require.Equal(t, "unhealthy", rows[1].Status)
	require.Equal(t, "RateLimitError: no", *rows[1].Error)
	require.Equal(t, [2]int{0, 1}, [2]int{rows[1].Healthy, rows[1].Unhealthy})

	rows, err = checks.History(t.Context(), pool, checks.Filter{Status: "unhealthy", Skip: 1, Max: 9})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	rows, err = checks.Latest(t.Context(), pool)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "healthy", rows[0].Status)
	require.LessOrEqual(t, len(*rows[1].Error), 2010)
}

func TestNodeThatDoesNotProjectWritesByItself(t *testing.T) {
	w, pool := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for range 1200 { // more than a batch
		w.Add(checks.NewRow("gpt", "d1", "", "node", noon, time.Second))
	}
	require.Eventually(t, func() bool { return w.Waiting() == 0 }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	rows, err := checks.History(t.Context(), pool, checks.Filter{Max: 5000})
	require.NoError(t, err)
	require.Len(t, rows, 1200)
}

func TestChecksWaitBoundedWhileTheDatabaseIsAway(t *testing.T) {
	w, err := checks.NewWriter(checks.Config{Pool: away{}, Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	for range 11_000 {
		w.Add(checks.NewRow("gpt", "d1", "", "node", noon, time.Second))
	}
	require.Equal(t, 10_000, w.Waiting())
}

type away struct{}

func (away) Acquire(context.Context) (*pgxpool.Conn, error) { return nil, errors.New("away") }
