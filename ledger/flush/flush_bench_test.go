package flush_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
	"tollgate/ledger/store"
)

// BenchmarkFlushAgainstBareCopy writes the same 100,000 rows once with all that
// a flush does, and once by COPY alone into a table with the same indexes. The calls of a batch are of 50
// keys and 200 end users.
// Memory is what the process has taken at most beyond the entries.
func BenchmarkFlushAgainstBareCopy(b *testing.B) {
	const rows, batch = 100_000, 5_000
	s := pgtest.Start(b)
	for b.Loop() {
		url := s.NewDatabase(b)
		db := open(b, url)
		require.NoError(b, db.Ready(b.Context()))
		c := connect(b, url)
		require.NoError(b, schema.BuildIndexes(b.Context(), c.Config(), slog.New(slog.DiscardHandler)))
		var peak uint64
		var spent time.Duration
		sink := db.Sink("n1")
		for at := uint64(0); at < rows; at += batch {
			entries := make([]*store.Entry, batch)
			for i := range entries {
				e := entry(1, at+uint64(i)+1)
				e.Key, e.EndUser = fmt.Sprint("key-", i%50), fmt.Sprint("customer-", i%200)
				entries[i] = e
			}
			start := time.Now()
			require.NoError(b, sink.Deliver(b.Context(), entries))
			spent += time.Since(start)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		require.Equal(b, int64(rows), one[int64](b, c, `SELECT count(*) FROM "LiteLLM_SpendLogs"`))
		_, err := c.Exec(b.Context(), `CREATE TABLE bare (LIKE "LiteLLM_SpendLogs" INCLUDING ALL)`)
		require.NoError(b, err)
		var bare time.Duration
		for at := 0; at < rows; at += batch {
			var buf bytes.Buffer
			_, err := c.PgConn().CopyTo(b.Context(), &buf, fmt.Sprintf(`COPY (SELECT * FROM "LiteLLM_SpendLogs" ORDER BY "startTime" OFFSET %d LIMIT %d) TO STDOUT`, at, batch))
			require.NoError(b, err)
			start := time.Now()
			_, err = c.PgConn().CopyFrom(b.Context(), &buf, "COPY bare FROM STDIN")
			require.NoError(b, err)
			bare += time.Since(start)
		}
		b.ReportMetric(float64(bare)/float64(spent), "of-bare-copy")
		b.ReportMetric(rows/spent.Seconds(), "rows/s")
		b.ReportMetric(float64(peak)/(1<<20), "MiB")
	}
}
