package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

// tables is a database that calls are flushed to, as a node does.
type tables struct {
	t    testing.TB
	db   *flush.Database
	pool *pgxpool.Pool
	last uint64 // entry flushed
}

func newTables(t testing.TB) *tables {
	t.Helper()
	url := pgtest.Start(t).NewDatabase(t)
	log := slog.New(slog.DiscardHandler)
	db, err := flush.Open(flush.Config{Address: url, Logger: log, Settings: func() flush.Settings { return flush.Settings{UserColumn: query.UserAuto} }})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, db.Ready(context.Background()))
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	require.NoError(t, schema.BuildIndexes(context.Background(), cfg, log))
	return &tables{t: t, db: db, pool: db.Queries()}
}

// unnamed is the same database as it is asked behind a pooler: nothing is
// prepared, so the server is not asked for the types of arguments.
func (d *tables) unnamed() *query.Postgres {
	cfg := d.pool.Config()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(d.t, err)
	d.t.Cleanup(pool.Close)
	return query.NewPostgres(query.PostgresConfig{Pool: pool})
}

func (d *tables) query() *query.Postgres {
	return query.NewPostgres(query.PostgresConfig{Pool: d.pool})
}

func (d *tables) clear() {
	_, err := d.pool.Exec(context.Background(), `TRUNCATE "LiteLLM_SpendLogs", "LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend",
		"LiteLLM_DailyOrganizationSpend", "LiteLLM_DailyEndUserSpend", "LiteLLM_DailyTagSpend"`)
	require.NoError(d.t, err)
}

// add flushes calls.
func (d *tables) add(entries []*store.Entry) {
	d.t.Helper()
	batch := make([]*store.Entry, len(entries))
	for i, e := range entries {
		d.last++
		copied := *e
		copied.Seq = store.Seq(1, d.last)
		batch[i] = &copied
	}
	require.NoError(d.t, d.db.Sink("n1").Deliver(context.Background(), batch))
}

func TestPostgresAnswersAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		d := newTables(t)
		d.add(entries)
		return d.query()
	})
}

func TestPostgresBehindAPoolerAnswersAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		d := newTables(t)
		d.add(entries)
		return d.unnamed()
	})
}

// The rows that the database answers are those that the ledger answers.
func TestPostgresRowsAreTheLedgersRows(t *testing.T) {
	l := openLedger(t)
	entries := querytest.Entries()
	entries[3].Messages, entries[3].Response, entries[3].Request = []byte(`[{"role": "user"}]`), []byte(`{"a": 1}`), []byte(`{"model": "m"}`)
	for _, e := range entries {
		book(t, l, e)
	}
	d := newTables(t)
	d.add(entries)
	for _, f := range []query.Filter{{}, {Bodies: true, Limit: 60}} {
		want, err := query.NewEmbedded(l, nil).Logs(t.Context(), f)
		require.NoError(t, err)
		got, err := d.query().Logs(t.Context(), f)
		require.NoError(t, err)
		require.Len(t, got.Rows, len(want.Rows))
		for i := range got.Rows {
			a, err := json.Marshal(want.Rows[i])
			require.NoError(t, err)
			b, err := json.Marshal(got.Rows[i])
			require.NoError(t, err)
			require.JSONEq(t, string(a), string(b))
			require.Equal(t, want.Rows[i].CallID, got.Rows[i].CallID)
		}
	}
}

// Wherever the books are, one ledger, several nodes' or the database: the
// answers are the same.
func TestEveryPlaceOfTheBooksAnswersTheSame(t *testing.T) {
	d := newTables(t)
	drawn := rapid.Custom(func(rt *rapid.T) []*store.Entry { return drawEntries(rt, rapid.IntRange(0, 30).Draw(rt, "calls")) })
	for seed := range 10 { // each takes three ledgers
		t.Run("seed "+strconv.Itoa(seed), func(t *testing.T) {
			d.clear()
			one := openLedger(t)
			parts := []*store.Ledger{openLedger(t), openLedger(t)}
			entries := drawn.Example(seed)
			for i, e := range entries {
				// LiteLLM's daily tables tell model groups of one model not apart.
				e.Group = "group of " + e.Model
				copied := *e
				book(t, one, e)
				book(t, parts[i*seed%3%2], &copied)
			}
			d.add(entries)
			books := []query.Book{{Name: "a", Query: query.NewEmbedded(parts[0], nil)}, {Name: "b", Query: overWire(query.NewEmbedded(parts[1], nil))}}
			same(t, t, query.NewEmbedded(one, nil), d.query())
			same(t, t, query.NewJoined(func() []query.Book { return books }), d.query())
		})
	}
}

// fill books n calls of a hundred keys over 30 days, quickly.
func (d *tables) fill(n int) {
	_, err := d.pool.Exec(context.Background(), `INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, "startTime", "endTime", model, model_group,
			custom_llm_provider, "user", team_id, organization_id, end_user, session_id, status, metadata, request_tags)
		SELECT 'r' || i, 'acompletion', 'k' || i % 100, 0.001, '2026-05-01'::timestamp + i * interval '26 seconds', '2026-05-01'::timestamp + i * interval '26 seconds',
			'm' || i % 5, 'g' || i % 5, 'openai', 'u' || i % 50, 't' || i % 20, '', 'e' || i % 1000, 's' || i % 5000,
			CASE WHEN i % 50 = 0 THEN 'failure' ELSE 'success' END, '{}', '["a"]' FROM generate_series(1, $1::int) i`, n)
	require.NoError(d.t, err)
	_, err = d.pool.Exec(context.Background(), `INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
			mcp_namespaced_tool_name, spend, api_requests, updated_at)
		SELECT gen_random_uuid(), 'u' || k % 50, to_char('2025-05-01'::date + day, 'YYYY-MM-DD'), 'k' || k, 'm' || k % 5, 'g' || k % 5, 'openai', '/chat/completions', '', 1, 10, now()
		FROM generate_series(0, 364) day, generate_series(1, $1::int) k`, n/365)
	require.NoError(d.t, err)
	_, err = d.pool.Exec(context.Background(), `ANALYZE`)
	require.NoError(d.t, err)
}

// plan is how the database goes about a statement.
func (d *tables) plan(sql string, args []any) string {
	rows, err := d.pool.Query(context.Background(), `EXPLAIN `+sql, args...)
	require.NoError(d.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(d.t, err)
	return strings.Join(lines, "\n")
}

func TestCommonQuestionsReadNoWholeTable(t *testing.T) {
	d := newTables(t)
	d.fill(100_000)
	day := time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC)
	for name, f := range map[string]query.Filter{
		"newest": {}, "key": {Key: "k7"}, "key and days": {Key: "k7", From: day, To: day.AddDate(0, 0, 2)}, "user": {User: "u7"}, "team": {Team: "t7"},
		"end user": {EndUser: "e7"}, "session": {Session: "s7"}, "days": {From: day, To: day.AddDate(0, 0, 1)}, "day and model": {From: day, To: day.AddDate(0, 0, 1), Model: "g1"},
		"failures of a day": {From: day, To: day.AddDate(0, 0, 1), Status: "failure"},
	} {
		sql, args := query.LogSQL(&f, "")
		require.NotContains(t, d.plan(sql, args), "Seq Scan", name)
		next := query.PostgresCursor(day, "r5")
		sql, args = query.LogSQL(&f, next)
		require.NotContains(t, d.plan(sql, args), "Seq Scan", "%s, a later page", name)
	}
	for name, c := range map[string]struct {
		by []query.Dimension
		r  query.Range
	}{
		"a month by day": {[]query.Dimension{query.ByDay}, query.Range{From: day.AddDate(0, 0, -30), To: day}},
		"a key's year":   {[]query.Dimension{query.ByDay, query.ByModel}, query.Range{Key: "k7"}},
		"a user's month": {[]query.Dimension{query.ByModel}, query.Range{User: "u7", From: day.AddDate(0, 0, -30), To: day}},
	} {
		sql, args, err := query.GroupSQL(c.by, &c.r)
		require.NoError(t, err)
		require.NotContains(t, d.plan(sql, args), "Seq Scan", name)
	}
}

// Large pages are read by the place they begin at, not counted off.
func TestPagesOfPostgresGoOnWhereTheLastOneEnded(t *testing.T) {
	d := newTables(t)
	d.fill(3000)
	seen := map[string]bool{}
	f := query.Filter{Limit: 700}
	for {
		p, err := d.query().Logs(t.Context(), f)
		require.NoError(t, err)
		for _, r := range p.Rows {
			require.False(t, seen[r.RequestID])
			seen[r.RequestID] = true
		}
		if p.Next == "" {
			break
		}
		f.Cursor = p.Next
	}
	require.Len(t, seen, 3000)
	n, exact, err := d.query().Count(t.Context(), query.Filter{Key: "k1"})
	require.NoError(t, err)
	require.True(t, exact)
	require.Equal(t, int64(30), n)
}

func TestAnswerSaysWhoseCallsAreNotInTheDatabaseYet(t *testing.T) {
	d := newTables(t)
	d.add(querytest.Entries())
	var settled error
	q := query.NewPostgres(query.PostgresConfig{Pool: d.pool, Settle: func(context.Context) error { return settled }})
	_, err := q.Total(t.Context(), query.Range{})
	require.NoError(t, err)
	settled = &query.PartialError{Missing: []string{"n2"}, Err: errors.New("not flushed in time")}
	sum, err := q.Total(t.Context(), query.Range{})
	var partial *query.PartialError
	require.ErrorAs(t, err, &partial)
	require.Equal(t, []string{"n2"}, partial.Missing)
	require.Equal(t, int64(60), sum.Requests, "what is there is answered")
	p, err := q.Logs(t.Context(), query.Filter{Limit: 5})
	require.ErrorAs(t, err, &partial)
	_, err = q.Logs(t.Context(), query.Filter{Limit: 5, Cursor: p.Next})
	require.NoError(t, err, "what comes later is not for a later page")
	settled = errors.New("no answer")
	_, exact, err := q.Count(t.Context(), query.Filter{})
	require.ErrorAs(t, err, &partial)
	require.False(t, exact)
}

// LiteLLM's own rows have NULLs and odd values where ours have none.
func TestRowsOfLiteLLMAreRead(t *testing.T) {
	d := newTables(t)
	_, err := d.pool.Exec(t.Context(), `INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, "startTime", "endTime", model_id, model_group, custom_llm_provider, api_base, "user",
		metadata, cache_hit, cache_key, request_tags, messages, response, proxy_server_request)
		VALUES ('old', 'acompletion', '2024-01-01', '2024-01-01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '"[]"', NULL, NULL, NULL),
		('older', 'acompletion', '2023-01-01', '2023-01-01 00:00:01', '', '', '', '', '', '{"status":"failure","tollgate":7}', '', '', '["a", 1, null]', '{}', '{}', '{}')`)
	require.NoError(t, err)
	p, err := d.query().Logs(t.Context(), query.Filter{Bodies: true})
	require.NoError(t, err)
	require.Len(t, p.Rows, 2)
	require.Equal(t, "old", p.Rows[0].CallID)
	require.Equal(t, []string{"a"}, p.Rows[1].RequestTags)
	require.Equal(t, "failure", p.Rows[1].Status)
	_, err = json.Marshal(p.Rows)
	require.NoError(t, err)
}

func TestLedgersAnswerWhileTheDatabaseIsAway(t *testing.T) {
	l := openLedger(t)
	for _, e := range querytest.Entries() {
		book(t, l, e)
	}
	d := newTables(t)
	d.add(querytest.Entries())
	now := time.Unix(1_800_000_000, 0)
	gone := false
	pool := gated{d.pool, &gone, new(int)}
	q := query.NewFallback(query.NewPostgres(query.PostgresConfig{Pool: pool}), query.NewEmbedded(l, nil),
		unit.ClockFunc(func() time.Time { return now }), slog.New(slog.DiscardHandler))
	first, err := q.Logs(t.Context(), query.Filter{Limit: 10})
	require.NoError(t, err)
	gone = true
	sum, err := q.Total(t.Context(), query.Range{})
	var partial *query.PartialError
	require.ErrorAs(t, err, &partial)
	require.True(t, partial.Instead)
	require.Empty(t, partial.Missing)
	require.Equal(t, int64(60), sum.Requests)
	asked := *pool.asked
	ledgers, err := q.Logs(t.Context(), query.Filter{Limit: 10})
	require.ErrorAs(t, err, &partial)
	require.Equal(t, asked, *pool.asked, "it is left alone for a moment")
	_, err = q.Logs(t.Context(), query.Filter{Cursor: first.Next})
	require.Error(t, err, "its pages go on with it")
	require.NotErrorAs(t, err, &partial)
	gone, now = false, now.Add(time.Minute)
	_, err = q.Total(t.Context(), query.Range{})
	require.NoError(t, err)
	second, err := q.Logs(t.Context(), query.Filter{Limit: 10, Cursor: ledgers.Next})
	require.ErrorAs(t, err, &partial, "the ledgers' pages go on with them")
	require.Equal(t, uuid.UUID(querytest.ID(49)).String(), second.Rows[0].CallID)
	_, err = q.Groups(t.Context(), []query.Dimension{query.ByTag, query.ByTeam}, query.Range{})
	require.ErrorIs(t, err, query.ErrNotKept)
}

// gated is a pool whose server can be made to go away.
type gated struct {
	query.Pool
	gone  *bool
	asked *int
}

func (g gated) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	*g.asked++
	if *g.gone {
		return nil, errors.New("connection refused")
	}
	return g.Pool.BeginTx(ctx, o)
}

func FuzzPostgresCursor(f *testing.F) {
	f.Add("pg.1.YQ")
	f.Add("n0=1")
	f.Add(query.PostgresCursor(querytest.Day, "chatcmpl-1"))
	f.Fuzz(func(t *testing.T, s string) {
		start, id, err := query.ReadPostgresCursor(s)
		if err != nil || s == "" {
			return
		}
		again, same, err := query.ReadPostgresCursor(query.PostgresCursor(start, id))
		if err != nil || !again.Equal(start) || same != id {
			t.Fatal(fmt.Sprint(start, id, again, same, err))
		}
	})
}
