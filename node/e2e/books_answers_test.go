package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

func TestEveryNodeAnswersAboutSpendAlikeWithPostgreSQLAndWhileItIsAway(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	pg := pgtest.StartOwn(t)
	url := pg.NewDatabase(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), env: []string{booksIn(url)}})
	first := c.nodes[0]
	for path, body := range map[string]string{
		"/team/new": `{"team_id":"crew"}`,
		"/user/new": `{"user_id":"ann","auto_create_key":false}`,
	} {
		if a := first.do(t, "POST", path, masterKey, body); a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	keys := []string{first.newKey(t, `"team_id":"crew"`), first.newKey(t, `"user_id":"ann"`)}
	calls := 0
	for _, n := range c.nodes {
		for i, key := range keys {
			eventually(t, soon, "a node knows the key", func() error {
				a, err := n.call("POST", "/v1/chat/completions", key, chatBody([]string{"gpt", "claude"}[i], "fake:words=30", `"user":"visitor"`))
				if err != nil || a.status != 200 {
					return fmt.Errorf("%d %w", a.status, err)
				}
				calls++
				return nil
			})
		}
	}
	day := time.Now().UTC()
	span := fmt.Sprintf("start_date=%s&end_date=%s", day.AddDate(0, 0, -1).Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly))
	questions := []string{
		"/spend/logs?summarize=false&" + span, "/spend/logs?" + span, "/global/spend/report?group_by=team&" + span, "/global/spend/report?group_by=api_key&" + span,
		"/user/daily/activity?" + span, "/team/daily/activity?" + span, "/global/activity?" + span, "/global/spend/models", "/spend/logs/export?format=csv&" + span,
	}
	ask := func(question string, away bool) string {
		t.Helper()
		var said string
		for i, n := range c.nodes {
			var got string
			eventually(t, soon, n.o.listen+" answers "+question, func() error {
				a, err := n.call("GET", question, masterKey, "")
				if err != nil || a.status != 200 {
					return fmt.Errorf("%d %w %s", a.status, err, tail(a.body, 200))
				}
				if source := a.header.Get("X-Spend-Source"); (source == "ledger") != away || a.header.Get("X-Spend-Without") != "" {
					return fmt.Errorf("X-Spend-Source is %q, X-Spend-Without %q", source, a.header.Get("X-Spend-Without"))
				}
				got = alike(t, a)
				return nil
			})
			if i > 0 && got != said {
				t.Errorf("%s: one node says\n%s\nanother\n%s", question, said, got)
			}
			said = got
		}
		return said
	}
	before := map[string]string{}
	for _, q := range questions {
		before[q] = ask(q, false)
	}
	if rows := strings.Count(before[questions[0]], `"request_id"`); rows != calls {
		t.Errorf("%d rows of %d calls", rows, calls)
	}
	pg.Stop()
	for _, q := range questions {
		if after := ask(q, true); after != before[q] {
			t.Errorf("%s: PostgreSQL says\n%s\nthe ledgers\n%s", q, before[q], after)
		}
	}
	pg.Start(t)
	for _, q := range questions[:2] {
		if after := ask(q, false); after != before[q] {
			t.Errorf("%s: after PostgreSQL has come back\n%s\nbefore\n%s", q, after, before[q])
		}
	}
}

// alike is an answer without what may differ between the two places: the order
// of rows and of members, and what a time has beyond milliseconds.
func alike(t *testing.T, a answer) string {
	t.Helper()
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") {
		return canonical(t, a.body)
	}
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		for k, cell := range row {
			if strings.HasPrefix(cell, "{") {
				row[k] = canonical(t, cell)
			}
		}
		lines[i] = strings.Join(row, "\t")
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

var finer = regexp.MustCompile(`("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})(\.[0-9]*)?Z"`)

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, tail(text, 300))
	}
	lines := []any{v}
	if list, ok := v.([]any); ok {
		lines = list
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		b, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = finer.ReplaceAllStringFunc(string(b), func(at string) string {
			m := finer.FindStringSubmatch(at)
			return m[1] + milliseconds(m[2]) + `Z"`
		})
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// milliseconds cuts or fills the fraction of a second to three digits.
func milliseconds(fraction string) string {
	if fraction == "" {
		fraction = "."
	}
	return (fraction + "000")[:4]
}
