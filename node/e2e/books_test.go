package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"tollgate/ledger/flush/pgtest"
)

// booksIn is the variable that lets a node keep its books in PostgreSQL.
func booksIn(url string) string { return "DATABASE_URL=" + url }

// sqlRows asks PostgreSQL; rows are as psql shows them.
func sqlRows(t testing.TB, url, format string, args ...any) [][]string {
	t.Helper()
	rows, err := pgtest.Ask(url, fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// sqlBecomes waits until a question with one answer is answered so.
func sqlBecomes(t testing.TB, url, want, format string, args ...any) {
	t.Helper()
	question := fmt.Sprintf(format, args...)
	eventually(t, soon, question+" gives "+want, func() error {
		rows, err := pgtest.Ask(url, question)
		if err != nil {
			return err
		}
		if len(rows) != 1 || rows[0][0] != want {
			return fmt.Errorf("it gives %v", rows)
		}
		return nil
	})
}

// sqlText is a text as SQL writes it.
func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// nanos is a column of dollars as the whole nano-dollars that it stands for.
const nanos = "coalesce(sum(round(spend::numeric * 1000000000)), 0)::bigint"

// booksAgree waits until everything PostgreSQL says of a key's spend is the same
// sum, and every node says the same. It returns the sum in nano-dollars.
func booksAgree(t testing.TB, url, key string, nodes ...*node) int64 {
	t.Helper()
	token := hashOf(key)
	var sum int64
	eventually(t, soon, "rows, daily sums, key and nodes say the same", func() error {
		rows, err := pgtest.Ask(url, fmt.Sprintf(`SELECT
			(SELECT %[1]s FROM "LiteLLM_SpendLogs" WHERE api_key = %[2]s),
			(SELECT %[1]s FROM "LiteLLM_DailyUserSpend" WHERE api_key = %[2]s),
			(SELECT %[1]s FROM "LiteLLM_VerificationToken" WHERE token = %[2]s),
			(SELECT coalesce(sum(spend_nanos + offset_nanos), 0) FROM gateway_spend WHERE level = 'api_key' AND id = %[2]s AND window_start = 0)`, nanos, sqlText(token)))
		if err != nil {
			return err
		}
		said := rows[0]
		for _, n := range nodes {
			a, err := n.call("GET", "/key/info?key="+key, masterKey, "")
			if err != nil || a.status != 200 {
				return fmt.Errorf("%d %w", a.status, err)
			}
			said = append(said, strconv.FormatInt(int64(a.get("info.spend").Float()*1e9+0.5), 10))
		}
		for _, s := range said[1:] {
			if s != said[0] {
				return fmt.Errorf("rows, daily sums, the key's row, the exact sum and the nodes say %v", said)
			}
		}
		sum, err = strconv.ParseInt(said[0], 10, 64)
		return err
	})
	return sum
}

// oneRowEach requires that each answered call has one row, and no row is there
// twice.
func oneRowEach(t testing.TB, url string, ids []string) {
	t.Helper()
	times := map[string]int{}
	for _, row := range sqlRows(t, url, `SELECT request_id FROM "LiteLLM_SpendLogs"`) {
		times[row[0]]++
	}
	missing := 0
	for _, id := range ids {
		if times[id] == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d answered calls have no row", missing, len(ids))
	}
	for id, n := range times {
		if n > 1 {
			t.Errorf("call %s has %d rows", id, n)
		}
	}
}
