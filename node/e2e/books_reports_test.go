package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// sampled is a sample call and what the books say of it.
var sampled = []struct{ session, agent, conversation, user, model, said string }{
	{"sess_abc123def456", "CustomerSupportBot", "Support_Ticket_789", "john_doe_123", "gpt-4o-mini", "Hello, how are you?"},
	{"cs_session_20241203_001", "OrderAssistant", "Order_Help_Chat", "customer_456", "gpt-4o-mini", "I need help with my order"},
	{"edu_session_ml_101", "EducationBot", "ML_Tutorial_Session", "student_789", "gpt-4o", "Explain machine learning"},
	{"weather_session_nyc_001", "WeatherBot", "NYC_Weather_Query", "weather_user_001", "gpt-4o", "What is the weather like"},
	{"dev_session_python_async_001", "CodingAssistant", "Python_Async_Help", "developer_555", "claude-3-5-haiku", "async/await patterns"},
}

func TestTheSampleCallsAnswerTheSampleQueriesOfPostgreSQL(t *testing.T) {
	server := pgtest.Start(t)
	for name, c := range map[string]struct {
		key    string // fields of the key; "" is the master key
		column string
		user   string // of every row; "" is the request's own
	}{
		"master key":                        {},
		"a user's key":                      {key: `"user_id":"owner-1","team_id":"crew","key_alias":"laptop"`, user: "owner-1"},
		"a user's key, the request's named": {key: `"user_id":"owner-1","team_id":"crew","key_alias":"laptop"`, column: "request_user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fake.Start(t)
			o := shippedFor(t, f)
			if c.column != "" {
				o.config = strings.Replace(o.config, "tollgate_settings:\n", "tollgate_settings:\n  spend_logs:\n    user_column: "+c.column+"\n", 1)
			}
			url := server.NewDatabase(t)
			o.env = append(o.env, booksIn(url))
			n := start(t, o)
			for path, body := range map[string]string{
				"/budget/new": `{"budget_id":"tier","max_budget":5}`,
				"/user/new":   `{"user_id":"owner-1","auto_create_key":false}`,
				"/team/new":   `{"team_id":"crew"}`,
			} {
				if a := n.do(t, "POST", path, masterKey, body); a.status != 200 {
					t.Fatalf("%s: %d %s", path, a.status, a.body)
				}
			}
			key := masterKey
			owned := n.newKey(t, `"user_id":"owner-1","team_id":"crew","key_alias":"laptop"`)
			if c.key != "" {
				key = owned
			}
			for i, text := range curls(t, n, key) {
				out, err := exec.Command("bash", "-c", strings.Replace(text, "curl ", "curl -sS --fail-with-body --max-time 60 ", 1)).CombinedOutput()
				if err != nil {
					t.Fatalf("curl %d: %v\n%s", i+1, err, out)
				}
			}
			if a := n.chat(t, key, "no-such-model", "hi", `"user":"unlucky"`); a.status < 400 {
				t.Fatalf("a model that is not there: %d", a.status)
			}
			sqlBecomes(t, url, "5", `SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE spend > 0`)
			asSampled(t, url, c.user)
			reports(t, url, c.user)
			for _, table := range []string{"SpendLogs", "VerificationToken", "UserTable", "TeamTable", "BudgetTable", "DailyUserSpend", "ErrorLogs", "AuditLog"} {
				sqlBecomes(t, url, "t", `SELECT count(*) > 0 FROM "LiteLLM_%s"`, table)
			}
			if c.key != "" {
				booksAgree(t, url, owned, n)
			}
		})
	}
}

// asSampled looks at the rows themselves.
func asSampled(t *testing.T, url, owner string) {
	t.Helper()
	for _, s := range sampled {
		rows := sqlRows(t, url, `SELECT "user", end_user, session_id, metadata->>'agent_name', metadata->>'conversation_name', model, messages, response,
			spend, total_tokens, prompt_tokens + completion_tokens, cache_hit, request_tags, "endTime" >= "startTime", model_group FROM "LiteLLM_SpendLogs" WHERE metadata->>'session_id' = %s`, sqlText(s.session))
		if len(rows) != 1 {
			t.Errorf("%d rows of session %s", len(rows), s.session)
			continue
		}
		r, user := rows[0], s.user
		if owner != "" {
			user = owner
		}
		if r[0] != user || r[1] != s.user || r[2] != s.session || r[3] != s.agent || r[4] != s.conversation || r[14] != s.model || r[13] != "t" {
			t.Errorf("row of %s: %q", s.session, r)
		}
		if !strings.Contains(r[6], s.said) || !gjson.Get(r[7], "choices.0.message").Exists() || r[9] == "0" || r[9] != r[10] || r[11] == "" || !strings.HasPrefix(r[12], "[") {
			t.Errorf("content and figures of %s: %q", s.session, r)
		}
	}
}

// reports runs every sample query: as it is written, and for each session and
// user that it can be asked for.
func reports(t *testing.T, url, owner string) {
	t.Helper()
	files, err := filepath.Glob("../../ledger/flush/testdata/*.sql")
	if err != nil || len(files) != 16 {
		t.Fatalf("%d queries: %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, query := filepath.Base(file), string(raw)
		rows, err := pgtest.Ask(url, query)
		if err != nil {
			t.Errorf("%s as it is written: %v", name, err)
			continue
		}
		said := fmt.Sprint(rows)
		want := map[string][]string{
			"01_": {"gpt-4o-mini", "claude-3-5-haiku"}, "02_": {"gpt-4o", "gpt-4o-mini", "claude-3-5-haiku"}, "03_": {"owner-1", "laptop"},
			"05_": {"gpt-4o", "claude-3-5-haiku"}, "07_": {"no-such-model"}, "09_": {"gpt-4o-mini", "claude-3-5-haiku"},
			"10_": {"SpendLogs 6", "VerificationToken 1", "UserTable"}, "14_": {"CodingAssistant 1 1", "WeatherBot 1 1", "EducationBot 1 1"},
		}[name[:3]]
		if name[:3] == "06_" {
			want = []string{"developer_555 1"}
			if owner != "" {
				want = []string{owner}
			}
		}
		for _, part := range want {
			if !strings.Contains(said, part) {
				t.Errorf("%s lacks %s: %s", name, part, said)
			}
		}
		switch name[:3] {
		case "04_", "08_", "16_":
			if len(rows) == 0 {
				t.Errorf("%s gives nothing", name)
			}
		}
		if !strings.Contains(query, "your_") {
			continue
		}
		for _, s := range sampled {
			user := s.user
			if owner != "" {
				user = owner
			}
			asked := strings.NewReplacer("your_session_id", s.session, "your_user_id", user).Replace(query)
			rows := sqlRows(t, url, "%s", asked)
			if want := map[bool]int{true: 5, false: 1}[owner != "" && name[:3] == "15_"]; len(rows) != want {
				t.Errorf("%s for %s gives %d rows, want %d: %q", name, s.session, len(rows), want, rows)
			}
		}
	}
}

func TestASessionNamedAtTheTopComesFirstAndStaysHere(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	o := shippedFor(t, f)
	o.env = append(o.env, booksIn(url))
	n := start(t, o)
	if a := n.chat(t, masterKey, "gpt-4o", "of-a-session", `"session_id":"outer","metadata":{"session_id":"inner"},"request_tags":["blue"]`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	sqlBecomes(t, url, "outer", `SELECT session_id FROM "LiteLLM_SpendLogs" WHERE metadata->>'session_id' = 'inner' AND request_tags = '["blue"]'`)
	if got := f.Last("of-a-session"); got == nil || strings.Contains(string(got.Body), "outer") {
		t.Errorf("the provider got %v", got)
	}
}
