package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

// exporting is a node that answers an export in parts; it breaks off after them
// when whole is false.
func exporting(t *testing.T, whole bool, header map[string]string, parts ...string) (asked *string) {
	t.Helper()
	asked = new(string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.RequestURI()
		for k, v := range header {
			w.Header().Set(k, v)
		}
		for _, p := range parts {
			fmt.Fprint(w, p)
			w.(http.Flusher).Flush()
		}
		if !whole {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(srv.Close)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+srv.URL, "TOLLGATE_OUTPUT=json", "TOLLGATE_USER=nobody")
	return asked
}

func TestExportGoesToAFileOrToStandardOutput(t *testing.T) {
	asked := exporting(t, true, map[string]string{"X-Total-Rows": "2"}, "{\"a\":1}\n", "{\"a\":2}\n")
	out, said, status := command(t, "ledger", "export", "--since", "2026-05-01", "--until", "2026-05-31", "--model", "m", "--bodies")
	require.Zero(t, status, said)
	require.Equal(t, "{\"a\":1}\n{\"a\":2}\n", out)
	require.Contains(t, said, "2 calls exported")
	require.Equal(t, "/spend/logs/export?bodies=true&end_date=2026-05-31&format=jsonl&model=m&start_date=2026-05-01T00%3A00%3A00Z", *asked)

	file := filepath.Join(t.TempDir(), "calls.csv")
	exporting(t, true, map[string]string{"X-Spend-Without": "n2"}, "id,text\n1,\"two\nlines\"\n", "2,x\n")
	out, said, status = command(t, "ledger", "export", "--format", "csv", "--output", file)
	require.Zero(t, status, said)
	require.Empty(t, out)
	require.Contains(t, said, "2 calls exported", "line ends inside a cell are no rows")
	require.Contains(t, said, "missing: n2")
	_, said, status = command(t, "ledger", "export", "--output", file)
	require.Equal(t, 1, status)
	require.Contains(t, said, "--force")
	_, said, status = command(t, "ledger", "export", "--output", file, "--force")
	require.Zero(t, status, said)
}

func TestExportThatBreaksOffLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	exporting(t, false, nil, "{\"a\":1}\n")
	_, said, status := command(t, "ledger", "export", "--output", filepath.Join(dir, "calls.jsonl"))
	require.Equal(t, 1, status)
	require.Contains(t, said, "nothing was kept")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	_, said, status = command(t, "ledger", "export")
	require.Equal(t, 1, status)
	require.Contains(t, said, "not whole")
}

func TestTimesAreDatesOrHowLongAgo(t *testing.T) {
	now := time.Date(2026, 5, 31, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Time{
		"2026-05-01": time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), "2026-05-01T10:00:00Z": time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC),
		"7d": now.AddDate(0, 0, -7), "12h": now.Add(-12 * time.Hour), "": {},
	} {
		got, err := moment("since", v, now)
		require.NoError(t, err, v)
		require.Equal(t, want, got, v)
	}
	for _, v := range []string{"yesterday", "-3h", "-7d", "7dd", "31.5.2026"} {
		_, err := moment("since", v, now)
		require.Error(t, err, v)
	}
	bare(t, "LITELLM_MASTER_KEY=sk-admin")
	for _, args := range [][]string{{"--since", "x"}, {"--until", "x"}, {"--format", "xml"}, {"--since", "1h", "--until", "2h"}} {
		_, said, status := command(t, append([]string{"ledger", "export"}, args...)...)
		require.Equal(t, 1, status)
		require.Contains(t, said, args[0][2:])
	}
}

func TestSpendOfAStretchOfDaysIsSummed(t *testing.T) {
	metrics := func(usd float64) string {
		return fmt.Sprintf(`{"spend":%g,"api_requests":2,"total_tokens":10}`, usd)
	}
	day := func(date string) string {
		return `{"date":"` + date + `","metrics":` + metrics(0.3) + `,"breakdown":{"models":{"m":{"metrics":` + metrics(0.1) + `},"n":{"metrics":` + metrics(0.2) + `}},
			"api_keys":{"k":{"metrics":` + metrics(0.3) + `}},"entities":{"ada":{"metrics":` + metrics(0.3) + `}}}}`
	}
	addr, requests := gateway(t, 200, `{"results":[`+day("2026-05-02")+`,`+day("2026-05-01")+`],"metadata":{}}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	for by, want := range map[string]string{
		"model": "MODEL  SPEND  REQUESTS  TOKENS\nn      0.4    4         20\nm      0.2    4         20\n",
		"day":   "DAY         SPEND  REQUESTS  TOKENS\n2026-05-01  0.3    2         10\n2026-05-02  0.3    2         10\n",
		"key":   "KEY  SPEND  REQUESTS  TOKENS\nk    0.6    4         20\n",
		"team":  "TEAM  SPEND  REQUESTS  TOKENS\nada   0.6    4         20\n",
		"total": "TOTAL  SPEND  REQUESTS  TOKENS\nall    0.6    4         20\n",
	} {
		out, said, status := command(t, "spend", "--by", by, "--since", "2026-05-01", "--until", "2026-05-31")
		require.Zero(t, status, said)
		require.Equal(t, want, out, by)
	}
	seen := map[string]bool{}
	for _, r := range *requests {
		seen[r.target] = true
	}
	require.True(t, seen["/team/daily/activity/aggregated?end_date=2026-05-31&start_date=2026-05-01"])
	require.True(t, seen["/user/daily/activity/aggregated?end_date=2026-05-31&start_date=2026-05-01"])
}

func TestVerifyOfANodeEndsWithOneWhenSomethingDiffers(t *testing.T) {
	addr, requests := gateway(t, 200, `{"ok":false,"checks":[{"name":"entries","looked":5,"differences":0},{"name":"sums","looked":3,"differences":1,"examples":["2026-05-01 is off"]}],"notes":["a word"]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+addr)
	out, said, status := command(t, "ledger", "verify")
	require.Equal(t, 1, status)
	require.NotContains(t, said, "tollgate:")
	require.Equal(t, "CHECK    LOOKED AT  DIFFERENT  RESULT\nentries  5          0          ok\nsums     3          1          DIFFERS\n  2026-05-01 is off\nNote: a word.\n", out)
	require.Equal(t, "/spend/verify", (*requests)[0].target)
}

func TestVerifyOfAStoppedNodesDirectoryLeavesItAsItIs(t *testing.T) {
	dir := t.TempDir()
	l, err := store.Open(store.Config{Dir: filepath.Join(dir, "ledger"), Ballast: -1})
	require.NoError(t, err)
	for _, e := range querytest.Entries() {
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
	}
	_, err = l.Begin(&store.Intent{CallID: querytest.ID(70), At: querytest.Day, Max: 7})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	bare(t)
	for range 2 {
		out, said, status := command(t, "ledger", "verify", "--data-dir", dir)
		require.Zero(t, status, said)
		require.Contains(t, out, "61")
		require.Contains(t, out, "1 calls were running")
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	require.Equal(t, "ledger lock", strings.Join(names, " "), "the copy is gone")

	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	_, said, status := command(t, "ledger", "verify", "--data-dir", dir)
	require.Equal(t, 1, status)
	require.Contains(t, said, "in use")
	_, said, status = command(t, "ledger", "verify", "--data-dir", t.TempDir())
	require.Equal(t, 1, status)
	require.Contains(t, said, "no ledger")
}
