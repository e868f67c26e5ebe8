package flush_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/store"
)

// TestReportsInUseGiveTheRightRows runs queries that installations use, as they
// are written, on a handful of calls.
func TestReportsInUseGiveTheRightRows(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	now := time.Now().UTC().Add(-time.Minute)
	var calls []*store.Entry
	for n := range uint64(4) {
		e := entry(1, n+1)
		e.Start, e.User, e.Key, e.RequestUser, e.EndUser = now.Add(time.Duration(n)*time.Second), "", "litellm_proxy_master_key", "your_user_id", "your_user_id"
		e.End = e.Start.Add(2 * time.Second)
		e.Metadata = []byte(`{"session_id":"your_session_id","agent_name":"planner","conversation_name":"trip"}`)
		e.Messages, e.Response = []byte(`[{"role":"user","content":"hello"}]`), []byte(`{"choices":[]}`)
		calls = append(calls, e)
	}
	calls[2].Model, calls[2].Metadata = "anthropic/claude", nil
	calls[3].User, calls[3].Key = "owner", "key-1"
	calls[3].Status, calls[3].Cost, calls[3].Usage = store.Failure, price.Cost{Priced: true}, price.Usage{}
	calls[3].Metadata = nil
	db := open(t, url)
	require.NoError(t, db.Ready(t.Context()))
	s.Exec(t, url, `INSERT INTO "LiteLLM_VerificationToken" (token, user_id, key_alias, max_budget) VALUES ('key-1', 'owner', 'ci', 10), ('key-2', NULL, 'free', NULL);
		INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('owner')`)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), calls))
	want := map[string][]string{
		"01_recent_requests":   {"openai/gpt-4oowner0 0 0 0", "anthropic/claudeyour_user_id"},
		"02_by_model":          {"openai/gpt-4o", "anthropic/claude"},
		"03_users_and_keys":    {"owner"},
		"04_daily_usage":       {""},
		"05_latency":           {"2", "2"},
		"06_users":             {"your_user_id3", "owner1"},
		"07_zero_spend":        {"openai/gpt-4oowner"},
		"08_last_24_hours":     {""},
		"09_token_ratio":       {"openai/gpt-4o", "anthropic/claude"},
		"10_counts":            {"SpendLogs4", "VerificationToken2", "UserTable1"},
		"11_session_requests":  {"chatcmpl-1-1", "chatcmpl-1-2"},
		"12_session_summary":   {"your_session_idplannertripyour_user_id2"},
		"13_session_flow":      {"hello", "hello"},
		"14_agents_by_session": {"planner1 2"},
		"15_sessions_of_user":  {"your_session_idplannertrip2"},
		"16_session_days":      {""},
	}
	files, err := filepath.Glob("testdata/*.sql")
	require.NoError(t, err)
	require.Len(t, files, len(want))
	c := connect(t, url)
	for _, f := range files {
		sql, err := os.ReadFile(f)
		require.NoError(t, err)
		name := strings.TrimSuffix(filepath.Base(f), ".sql")
		rows := ask(t, c, string(sql))
		switch name {
		case "01_recent_requests":
			require.Len(t, rows, 4)
		case "04_daily_usage", "08_last_24_hours", "16_session_days": // a midnight may lie between
			require.NotEmpty(t, rows)
		default:
			require.Len(t, rows, len(want[name]), "%s: %q", name, rows)
		}
		for i, part := range want[name] {
			require.Contains(t, squeeze(rows[i]), squeeze(part), name)
		}
		t.Log(name, rows)
	}
}

// squeeze takes out what printing puts between values.
func squeeze(s string) string { return strings.ReplaceAll(s, " ", "") }
