package flush_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
	"tollgate/ledger/store"
)

// size is a number of the benchmark's, or what the environment says.
func size(b *testing.B, name string, def int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err, name)
	return n
}

// BenchmarkFlushAgainstBareCopy writes the same rows once with all that a flush
// does, and once by COPY alone into a table with the same indexes: 100,000 rows, in
// batches of 5,000 calls of 50 keys and 200 end users, or FLUSH_ROWS and FLUSH_KEYS.
// Memory is what the process has taken at most beyond the entries.
func BenchmarkFlushAgainstBareCopy(b *testing.B) {
	const batch = 5_000
	rows, keys := size(b, "FLUSH_ROWS", 100_000), size(b, "FLUSH_KEYS", 50)
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
		for at := uint64(0); at < uint64(rows); at += batch {
			entries := make([]*store.Entry, batch)
			for i := range entries {
				e := entry(1, at+uint64(i)+1)
				e.Key, e.EndUser = fmt.Sprint("key-", i%keys), fmt.Sprint("customer-", i%200)
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
		source := connect(b, url)
		out, in := io.Pipe()
		go func() {
			_, err := source.PgConn().CopyTo(b.Context(), in, `COPY (SELECT * FROM "LiteLLM_SpendLogs" ORDER BY "startTime") TO STDOUT`)
			in.CloseWithError(err)
		}()
		lines, buf, held := bufio.NewReaderSize(out, 1<<20), bytes.Buffer{}, 0
		for at := 0; at < rows; at++ {
			line, err := lines.ReadBytes('\n')
			require.NoError(b, err)
			buf.Write(line)
			if held++; held < batch && at < rows-1 {
				continue
			}
			start := time.Now()
			_, err = c.PgConn().CopyFrom(b.Context(), &buf, "COPY bare FROM STDIN")
			require.NoError(b, err)
			bare += time.Since(start)
			buf.Reset()
			held = 0
		}
		require.Equal(b, int64(rows), one[int64](b, c, `SELECT count(*) FROM bare`))
		b.ReportMetric(float64(bare)/float64(spent), "of-bare-copy")
		b.ReportMetric(float64(rows)/spent.Seconds(), "rows/s")
		b.ReportMetric(float64(peak)/(1<<20), "MiB")
	}
}
