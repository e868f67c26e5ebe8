package flush_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/query"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

func TestCallBecomesTheRowThatTheLedgerGives(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	e := entry(1, 1)
	e.Metadata, e.Messages, e.Response = []byte(`{"session_id":"x","note":"tab\there \\ and\nthere"}`), []byte(`[{"role":"user","content":"a\tb\\c"}]`), []byte(`{"id":"é"}`)
	require.NoError(t, open(t, url).Sink("n1").Deliver(t.Context(), []*store.Entry{e}))
	want, err := query.NewRow(e, query.UserAuto, true)
	require.NoError(t, err)
	c := connect(t, url)
	var got query.Row
	var metadata, tags, messages, response, request string
	require.NoError(t, c.QueryRow(t.Context(), `SELECT request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
		request_duration_ms, "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata::text, cache_hit, cache_key,
		request_tags::text, team_id, organization_id, end_user, requester_ip_address, messages::text, response::text, proxy_server_request::text, session_id, status
		FROM "LiteLLM_SpendLogs"`).Scan(&got.RequestID, &got.CallType, &got.APIKey, &got.Spend, &got.TotalTokens, &got.PromptTokens, &got.CompletionTokens,
		&got.StartTime, &got.EndTime, &got.RequestDurationMs, &got.CompletionStart, &got.Model, &got.ModelID, &got.ModelGroup, &got.Provider, &got.APIBase,
		&got.User, &metadata, &got.CacheHit, &got.CacheKey, &tags, &got.TeamID, &got.OrganizationID, &got.EndUser, &got.RequesterIP, &messages, &response,
		&request, &got.SessionID, &got.Status))
	require.JSONEq(t, string(want.Metadata), metadata)
	require.JSONEq(t, `["a","b"]`, tags)
	require.JSONEq(t, string(want.Messages), messages)
	require.JSONEq(t, string(want.Response), response)
	require.JSONEq(t, `{}`, request)
	want.Metadata, want.Messages, want.Response, want.ProxyRequest, want.RequestTags, want.CallID, want.Seq = nil, nil, nil, nil, nil, "", 0
	require.Equal(t, want, got)
}

func TestBatchThatComesAgainIsWrittenOnce(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	r := rand.New(rand.NewPCG(1, 2))
	var all []*store.Entry
	for n := range uint64(300) {
		all = append(all, random(r, 1, n+1))
	}
	s := open(t, url, func(c *flush.Config) { c.Rows = 64 }).Sink("n1")
	require.NoError(t, s.Deliver(t.Context(), all[:200]))
	require.NoError(t, s.Deliver(t.Context(), all[:200]))
	other := open(t, url).Sink("n1") // as after a start, or on a peer
	at, err := other.Position(t.Context())
	require.NoError(t, err)
	require.Equal(t, all[199].Seq, at)
	require.NoError(t, other.Deliver(t.Context(), all[100:]))
	require.NoError(t, s.Deliver(t.Context(), all))
	recount(t, connect(t, url), all)
}

func TestNodesThatFlushAtOnceNeitherLoseNorDouble(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	var all []*store.Entry
	var wg sync.WaitGroup
	faults := make([]error, 4)
	for node := range uint64(4) {
		r := rand.New(rand.NewPCG(7, node))
		var mine []*store.Entry
		for n := range uint64(400) {
			mine = append(mine, random(r, node, n+1))
		}
		all = append(all, mine...)
		d := open(t, url, func(c *flush.Config) { c.Rows = 50 })
		wg.Go(func() { faults[node] = d.Sink(fmt.Sprint("n", node)).Deliver(t.Context(), mine) })
	}
	wg.Wait()
	for _, err := range faults {
		require.NoError(t, err)
	}
	recount(t, connect(t, url), all)
}

func TestTakenRequestIDGivesWayToTheCallsOwn(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	a, b, c := entry(1, 1), entry(1, 2), entry(2, 1)
	a.RequestID, b.RequestID, c.RequestID = "same", "same", "same"
	d := entry(2, 2)
	d.RequestID = "00000000-0000-0001-0000-000000000002" // another call's own id, which that call goes by
	db := open(t, url)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{a, b}))
	require.NoError(t, db.Sink("n2").Deliver(t.Context(), []*store.Entry{c, d}))
	require.Equal(t, []string{"00000000-0000-0001-0000-000000000002 same", "00000000-0000-0002-0000-000000000001 same",
		"00000000-0000-0002-0000-000000000002 00000000-0000-0001-0000-000000000002", "same same"},
		ask(t, connect(t, url), `SELECT request_id || ' ' || (metadata->>'response_id') FROM "LiteLLM_SpendLogs" ORDER BY request_id`))
}

func TestBytesThatPostgreSQLRefusesDoNotStopTheFlush(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	e := entry(1, 1)
	e.User, e.Model, e.EndUser = "nul\x00byte", "bad\xffutf8", strings.Repeat("ü", 4000)
	e.Session, e.Tags = strings.Repeat("s", 5000), []string{strings.Repeat("tag", 3000), "t\x00"}
	e.Metadata = []byte(`{"a":"\u0000","b":"\ud800 x","c":"\\u0000","d":"\ud83d\ude00","session_id":"` + strings.Repeat("y", 9000) + `"}`)
	e.Response = []byte(`{"content":"\u0000"}`)
	e.Usage.InUncached = math.MaxInt64 / 4
	e.Status, e.ErrorMessage = store.Failure, "broken\x00\xfe"
	e.RequestID = strings.Repeat("id", 3000)
	require.NoError(t, open(t, url).Sink("n1").Deliver(t.Context(), []*store.Entry{e}))
	c := connect(t, url)
	require.Equal(t, "\ufffd|\ufffd x|\\u0000|\U0001f600", one[string](t, c, `SELECT concat_ws('|', metadata->>'a', metadata->>'b', metadata->>'c', metadata->>'d') FROM "LiteLLM_SpendLogs"`))
	require.Equal(t, int32(math.MaxInt32), one[int32](t, c, `SELECT prompt_tokens FROM "LiteLLM_SpendLogs"`))
	require.Equal(t, int64(1), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_EndUserTable"`))
}

func TestRowThatIsRefusedIsPutAsideAndItsMoneyCounted(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	db := open(t, url)
	require.NoError(t, db.Ready(t.Context()))
	s.Exec(t, url, `ALTER TABLE "LiteLLM_SpendLogs" ADD CONSTRAINT picky CHECK (end_user <> 'unwanted')`)
	var all []*store.Entry
	for n := range uint64(20) {
		e := entry(1, n+1)
		if n == 6 || n == 13 {
			e.EndUser = "unwanted"
		}
		all = append(all, e)
	}
	err := db.Sink("n1").Deliver(t.Context(), all)
	var refused *reader.Rejected
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Entries, 2)
	require.Contains(t, refused.Entries, all[6].Seq)
	require.ErrorContains(t, refused.Entries[all[13].Seq], "picky")
	c := connect(t, url)
	require.Equal(t, int64(18), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_SpendLogs"`))
	require.Equal(t, int64(20*750_001), one[int64](t, c, `SELECT spend_nanos FROM gateway_spend WHERE level = 'api_key' AND id = 'key-1' AND window_start = 0`))
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), all), "an entry put aside is done with")
	require.True(t, db.Health().Healthy)
}

func TestSpendColumnsShowTheirWindowWithWhatCountsBeside(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	db := open(t, url)
	require.NoError(t, db.Ready(t.Context()))
	s.Exec(t, url, `INSERT INTO "LiteLLM_VerificationToken" (token) VALUES ('key-1'), ('key-2');
		INSERT INTO "LiteLLM_TeamTable" (team_id) VALUES ('t-1'); INSERT INTO "LiteLLM_TeamMembership" (team_id, user_id) VALUES ('t-1', 'u-1');
		INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('u-1'), ('litellm-proxy-budget');
		INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by) VALUES ('o-1', '', '', '', '');
		INSERT INTO "LiteLLM_TagTable" (tag_name) VALUES ('a');
		INSERT INTO gateway_spend (level, id, window_start, offset_nanos, shown_window) VALUES ('team', 't-1', 0, 1000000000, 0),
			('api_key', 'key-1', 0, 0, 200), ('api_key', 'key-1', 200, 5, 0)`)
	old, now := entry(1, 1), entry(1, 2)
	old.Charges = []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: "key-1"}, Window: 100}}
	now.Charges = []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: "key-1"}, Window: 200}}
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{old, now}))
	c := connect(t, url)
	require.Equal(t, 0.000750006, one[float64](t, c, `SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = 'key-1'`), "the shown window's and its offset")
	require.Equal(t, 1.001500002, one[float64](t, c, `SELECT spend FROM "LiteLLM_TeamTable"`), "all time and its offset")
	for _, sql := range []string{`SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u-1'`, `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'litellm-proxy-budget'`,
		`SELECT spend FROM "LiteLLM_OrganizationTable"`, `SELECT spend FROM "LiteLLM_TagTable"`, `SELECT spend FROM "LiteLLM_TeamMembership"`,
		`SELECT total_spend FROM "LiteLLM_TeamMembership"`, `SELECT spend FROM "LiteLLM_EndUserTable" WHERE user_id = 'customer-7'`} {
		require.Equal(t, 0.001500002, one[float64](t, c, sql), sql)
	}
	require.Zero(t, one[float64](t, c, `SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = 'key-2'`))
	spent, err := db.Spent(t.Context(), "api_key", "key-1", 100)
	require.NoError(t, err)
	require.Equal(t, unit.Money(750_001), spent)
}

func TestSumsHaveTheScopesOfTheLedger(t *testing.T) {
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	defer l.Close()
	url := pgtest.Start(t).NewDatabase(t)
	e := entry(1, 1)
	_, err = l.Settle(store.Ref{}, e)
	require.NoError(t, err)
	db := open(t, url)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{e}))
	c := connect(t, url)
	for d := model.DimKey; d <= model.DimLast; d++ {
		for _, id := range ask(t, c, "SELECT id FROM gateway_spend WHERE level = $1", d.String()) {
			require.Equal(t, e.Cost.Total, l.SpendOf(model.Scope{Dim: d, ID: id}), "%s %s", d, id)
		}
		for _, id := range []string{"proxy", "key-1", "u-1", "t-1", "o-1", "customer-7", "d-1", "openai", "a", "b", "key-1\x1fgpt-4o", "u-1\x1fgpt-4o",
			"t-1\x1fgpt-4o", "t-1\x1fu-1", "o-1\x1fu-1", "o-1\x1fgpt-4o", "customer-7\x1fgpt-4o"} {
			spent, err := db.Spent(t.Context(), d.String(), id, 0)
			require.NoError(t, err)
			require.Equal(t, l.SpendOf(model.Scope{Dim: d, ID: id}), spent, "%s %s", d, id)
		}
	}
}

func TestSwitchesLeaveRowsOutAndCountAllTheSame(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	e := entry(1, 1)
	e.Status = store.Failure
	db := open(t, url, func(c *flush.Config) {
		c.Settings = func() flush.Settings { return flush.Settings{NoSpendLogs: true, NoErrorLogs: true} }
	})
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{e}))
	c := connect(t, url)
	require.Equal(t, int64(0), one[int64](t, c, `SELECT (SELECT count(*) FROM "LiteLLM_SpendLogs") + (SELECT count(*) FROM "LiteLLM_ErrorLogs")`))
	require.Equal(t, int64(1), one[int64](t, c, `SELECT failed_requests FROM "LiteLLM_DailyTeamSpend"`))
	require.Equal(t, int64(750_001), one[int64](t, c, `SELECT spend_nanos FROM gateway_spend WHERE level = 'proxy'`))
}

func TestDailySumsOfAnEarlierLiteLLMAreAddedUpByItsUniqueKey(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	s.Exec(t, url, `CREATE TABLE "LiteLLM_DailyUserSpend" (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, date TEXT NOT NULL, api_key TEXT NOT NULL, model TEXT NOT NULL,
		custom_llm_provider TEXT, spend DOUBLE PRECISION NOT NULL DEFAULT 0, created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP(3) NOT NULL);
		CREATE UNIQUE INDEX "LiteLLM_DailyUserSpend_user_id_date_api_key_model_custom_ll_key" ON "LiteLLM_DailyUserSpend" (user_id, date, api_key, model, custom_llm_provider)`)
	a, b := entry(1, 1), entry(1, 2)
	b.CallType = "aembedding"
	require.NoError(t, open(t, url).Sink("n1").Deliver(t.Context(), []*store.Entry{a, b}))
	c := connect(t, url)
	require.Equal(t, []string{"2 0.001500002"}, ask(t, c, `SELECT api_requests || ' ' || spend FROM "LiteLLM_DailyUserSpend"`))
	require.Len(t, ask(t, c, `SELECT 1 FROM "LiteLLM_DailyTeamSpend"`), 2)
}

func TestTablesThatWereDroppedAreMadeAnew(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	db := open(t, url)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 1)}))
	s.Exec(t, url, `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	require.Error(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 2)}))
	require.Equal(t, flush.Schema, db.Health().Class)
	at, err := db.Sink("n1").Position(t.Context())
	require.NoError(t, err)
	require.Zero(t, at)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 1), entry(1, 2)}))
	require.True(t, db.Health().Healthy)
}

// A standby that takes over without the last commits, or a backup put back, while
// nothing is written: no connection is seen to break.
func TestDatabaseThatHasLostWhatWasWrittenGetsItAgain(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	defer l.Close()
	var all []*store.Entry
	book := func(from, to uint64) {
		for n := from; n <= to; n++ {
			e := entry(1, n)
			_, err := l.Settle(store.Ref{}, e)
			require.NoError(t, err)
			all = append(all, e)
		}
	}
	db := open(t, url)
	r := reader.New(l, "postgres", db.Sink("n1"), reader.Config{MinPause: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	defer func() { end(); require.NoError(t, <-done) }()
	book(1, 5)
	require.NoError(t, r.Flush(t.Context()))
	s.Exec(t, url, `TRUNCATE "LiteLLM_SpendLogs", "LiteLLM_DailyUserSpend", gateway_spend; UPDATE gateway_flush_cursor SET last_seq = 0`)
	book(6, 8)
	require.Eventually(t, func() bool { return r.Flush(t.Context()) == nil }, 20*time.Second, time.Millisecond)
	c := connect(t, url)
	require.Equal(t, int64(8), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_SpendLogs"`))
	require.Equal(t, int64(8*750_001), one[int64](t, c, `SELECT spend_nanos FROM gateway_spend WHERE level = 'proxy'`))
	require.True(t, db.Health().Healthy)
}

// A database that an early LiteLLM made counts in 32 bits.
func TestDailyCountsThatAreFullDoNotStopTheFlush(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	db := open(t, url)
	require.NoError(t, db.Ready(t.Context()))
	s.Exec(t, url, `ALTER TABLE "LiteLLM_DailyUserSpend" ALTER prompt_tokens TYPE INTEGER, ALTER api_requests TYPE INTEGER`)
	db = open(t, url)
	var all []*store.Entry
	for n := range uint64(3) {
		e := entry(1, n+1)
		e.Usage.InUncached = 1 << 30
		all = append(all, e)
	}
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), all))
	all[2] = entry(1, 4)
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), all[2:]))
	c := connect(t, url)
	require.Equal(t, []string{"2147483647 4"}, ask(t, c, `SELECT prompt_tokens || ' ' || api_requests FROM "LiteLLM_DailyUserSpend"`))
	require.Less(t, int64(math.MaxInt32), one[int64](t, c, `SELECT prompt_tokens FROM "LiteLLM_DailyTeamSpend"`))
}

func TestDatabaseThatIsAwayIsNoErrorUntilSomethingIsWritten(t *testing.T) {
	db := open(t, "postgres://nobody@127.0.0.1:1/none?connect_timeout=2")
	err := db.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 1)})
	require.Error(t, err)
	h := db.Health()
	require.False(t, h.Healthy || h.Ready)
	require.Equal(t, flush.Away, h.Class)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(db.Collector()))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "tollgate_pg_healthy" {
			require.Zero(t, f.GetMetric()[0].GetGauge().GetValue())
			return
		}
	}
	t.Fatal("tollgate_pg_healthy is not there")
}

func TestAddressesOfLiteLLMAreUnderstood(t *testing.T) {
	cfg, err := flush.ParseAddress("postgresql://llm:p%40ss@db:5433/litellm?schema=gw&connection_limit=10&pool_timeout=60&pgbouncer=true&sslmode=disable")
	require.NoError(t, err)
	require.Equal(t, "db", cfg.ConnConfig.Host)
	require.Equal(t, "p@ss", cfg.ConnConfig.Password)
	require.Equal(t, "gw", cfg.ConnConfig.RuntimeParams["search_path"])
	for _, bad := range []string{"", "mysql://x@y/z", "postgres://u:s3cret%zz@h/db", "postgres://u:s3cret@h:notaport/db", "just words"} {
		_, err := flush.Open(flush.Config{Address: bad})
		require.ErrorIs(t, err, flush.ErrAddress, bad)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestCleanUpKeepsWhatIsYoungAndRemovesBodiesFirst(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	var all []*store.Entry
	for n := range uint64(90) {
		e := entry(1, n+1)
		e.Start = t0.Add(-time.Duration(n) * 24 * time.Hour)
		e.End = e.Start
		e.Response = []byte(`{"x":1}`)
		if n%2 == 0 {
			e.Status = store.Failure
		}
		all = append(all, e)
	}
	db := open(t, url, func(c *flush.Config) {
		c.Clock, c.RetainRows, c.RetainPause = unit.ClockFunc(func() time.Time { return t0.Add(time.Hour) }), 7, time.Millisecond
	})
	require.NoError(t, db.Sink("n1").Deliver(t.Context(), all))
	keep := flush.Settings{KeepLogs: 60 * 24 * time.Hour, KeepBodies: 10 * 24 * time.Hour}
	require.NoError(t, db.Retain(t.Context(), keep))
	c := connect(t, url)
	require.Equal(t, int64(60), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_SpendLogs"`))
	require.Equal(t, int64(10), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE response <> '{}'`))
	require.Equal(t, int64(30), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_ErrorLogs"`))
	require.Equal(t, int64(90), one[int64](t, c, `SELECT sum(api_requests)::bigint FROM "LiteLLM_DailyUserSpend"`), "sums stay")
	before := db.Stats()
	require.NoError(t, db.Retain(t.Context(), keep))
	require.Equal(t, before.Blanked, db.Stats().Blanked)
}
