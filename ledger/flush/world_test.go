package flush_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/store"
)

var t0 = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

// entry is one ordinary call. n makes it differ from others.
func entry(node, n uint64) *store.Entry {
	e := &store.Entry{
		Seq: store.Seq(1, n), RequestID: fmt.Sprintf("chatcmpl-%d-%d", node, n), CallType: "acompletion", Status: store.Success,
		Start: t0.Add(time.Duration(n) * time.Second), Key: "key-1", KeyAlias: "ci", User: "u-1", Team: "t-1", TeamAlias: "platform",
		Organization: "o-1", EndUser: "customer-7", RequestUser: "r-1", Group: "gpt-4o", Model: "openai/gpt-4o", ModelID: "d-1", Provider: "openai",
		APIBase: "https://api.openai.com/v1", IP: "10.0.0.9", Session: "s-1", Tags: []string{"a", "b"}, Metadata: []byte(`{"trace":"x"}`),
		Usage: price.Usage{InUncached: 100, CacheRead: 20, OutTotal: 50, Known: true},
		Cost:  price.Cost{Total: 750_001, Input: 250_001, Output: 500_000, Priced: true, Version: "2026-03"}, CacheHit: "False", Attempts: 1,
	}
	e.End = e.Start.Add(820 * time.Millisecond)
	binary.BigEndian.PutUint64(e.CallID[:], node)
	binary.BigEndian.PutUint64(e.CallID[8:], n)
	return e
}

// random is some call among few callers, so that nodes touch the same rows.
func random(r *rand.Rand, node, n uint64) *store.Entry {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	e := entry(node, n)
	e.Start = t0.Add(time.Duration(r.IntN(3*24*3600)) * time.Second)
	e.End = e.Start.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
	e.Key, e.User, e.Team = pick("key-1", "key-2", "key-3"), pick("", "u-1", "u-2"), pick("", "t-1", "t-2")
	e.Organization, e.EndUser = pick("", "o-1"), pick("", "c-1", "c-2", "c-3")
	e.Model, e.Provider = pick("openai/gpt-4o", "anthropic/claude"), pick("openai", "anthropic")
	e.Tags = [][]string{nil, {"a"}, {"a", "b"}, {"b", "b"}}[r.IntN(4)]
	e.Cost = price.Cost{Total: unit.Money(r.Int64N(3_000_000_000)), Priced: true}
	e.RequestID = pick(e.RequestID, e.RequestID, "", fmt.Sprintf("same-%d", r.IntN(40)))
	window := t0.Truncate(24*time.Hour).Unix() + 86400*int64(r.IntN(2))
	e.Charges = []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: e.Key}, Window: window}, {Scope: model.ProxyScope()}}
	if e.Team != "" {
		e.Charges = append(e.Charges, store.Charge{Scope: model.Scope{Dim: model.DimTeamWindow, ID: e.Team + "\x1f1d"}, Window: window})
	}
	if r.IntN(5) == 0 {
		e.Status, e.ErrorClass, e.ErrorCode, e.ErrorMessage, e.Cost = store.Failure, "RateLimitError", "429", "slow down", price.Cost{Priced: true}
	}
	return e
}

// open makes a Database with its tables in place.
func open(t testing.TB, url string, change ...func(*flush.Config)) *flush.Database {
	t.Helper()
	cfg := flush.Config{Address: url}
	for _, c := range change {
		c(&cfg)
	}
	d, err := flush.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// ask gives the rows of a query as lines of text.
func ask(t testing.TB, c *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := c.Query(t.Context(), sql, args...)
	require.NoError(t, err, sql)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		return fmt.Sprint(v...), err
	})
	require.NoError(t, err, sql)
	return out
}

func one[T any](t testing.TB, c *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, c.QueryRow(t.Context(), sql, args...).Scan(&v), sql)
	return v
}

// recount checks everything that the database holds against the entries.
func recount(t testing.TB, c *pgx.Conn, entries []*store.Entry) {
	t.Helper()
	calls := map[string]unit.Money{} // by the call's own id, which metadata does not have: by row id
	require.Equal(t, int64(len(entries)), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_SpendLogs"`), "rows")
	ids := map[string]bool{}
	for _, e := range entries {
		ids[e.RequestID], ids[uuid.UUID(e.CallID).String()] = true, true
		calls[e.RequestID] += e.Cost.Total
	}
	for _, id := range ask(t, c, `SELECT request_id FROM "LiteLLM_SpendLogs"`) {
		require.True(t, ids[id], "row %s is nobody's", id)
	}
	// By the id that the provider gave, which each row has whatever its own is.
	rows, err := c.Query(t.Context(), `SELECT metadata->>'response_id', sum(round(spend * 1e9)::bigint)::bigint FROM "LiteLLM_SpendLogs"
		WHERE metadata ? 'response_id' GROUP BY 1`)
	require.NoError(t, err)
	delete(calls, "")
	var id string
	var nanos int64
	_, err = pgx.ForEachRow(rows, []any{&id, &nanos}, func() error {
		require.Equal(t, int64(calls[id]), nanos, id)
		delete(calls, id)
		return nil
	})
	require.NoError(t, err)
	require.Empty(t, calls)
	sums, failed := map[[3]string]unit.Money{}, 0
	daily := map[[2]string]store.Sums{}
	add := func(level, id string, window int64, m unit.Money) {
		if id != "" {
			sums[[3]string{level, id, fmt.Sprint(window)}] += m
		}
	}
	for _, e := range entries {
		m := e.Cost.Total
		add("proxy", "proxy", 0, m)
		add("api_key", e.Key, 0, m)
		add("user", e.User, 0, m)
		add("team", e.Team, 0, m)
		add("organization", e.Organization, 0, m)
		add("end_user", e.EndUser, 0, m)
		add("provider", e.Provider, 0, m)
		if e.Team != "" && e.User != "" {
			add("team_member", e.Team+"\x1f"+e.User, 0, m)
		}
		for i, tag := range e.Tags {
			if !slices.Contains(e.Tags[:i], tag) {
				add("tag", tag, 0, m)
			}
		}
		for _, ch := range e.Charges {
			if ch.Window != 0 {
				add(ch.Scope.Dim.String(), ch.Scope.ID, ch.Window, m)
			}
		}
		if e.Status == store.Failure {
			failed++
		}
		k := [2]string{e.User, e.Start.UTC().Format(time.DateOnly)}
		s := daily[k]
		s.Add(store.SumsOf(e))
		daily[k] = s
	}
	for k, want := range sums {
		if want != 0 {
			require.Equal(t, int64(want), one[int64](t, c, `SELECT spend_nanos FROM gateway_spend WHERE level = $1 AND id = $2 AND window_start = $3::text::bigint`,
				k[0], k[1], k[2]), k)
		}
	}
	require.Equal(t, int64(failed), one[int64](t, c, `SELECT count(*) FROM "LiteLLM_ErrorLogs"`), "rows of errors")
	for k, want := range daily {
		got := store.Sums{}
		var nanos int64
		require.NoError(t, c.QueryRow(t.Context(), `SELECT sum(api_requests)::bigint, sum(successful_requests)::bigint, sum(failed_requests)::bigint,
			sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint, sum(cache_read_input_tokens)::bigint, sum(round(spend * 1e9)::bigint)::bigint
			FROM "LiteLLM_DailyUserSpend" WHERE user_id = $1 AND date = $2`, k[0], k[1]).Scan(
			&got.Requests, &got.Successful, &got.Failed, &got.Prompt, &got.Completion, &got.CacheRead, &nanos))
		got.Spend, want.DurationMs = unit.Money(nanos), 0
		require.Equal(t, want, got, k)
	}
	for _, row := range ask(t, c, `SELECT level, id FROM (
		SELECT 'api_key' AS level, token AS id, spend FROM "LiteLLM_VerificationToken" UNION ALL SELECT 'team', team_id, spend FROM "LiteLLM_TeamTable"
		UNION ALL SELECT 'end_user', user_id, spend FROM "LiteLLM_EndUserTable") x WHERE spend IS DISTINCT FROM gateway_spent(level, id)`) {
		require.Failf(t, "spend column", "of %s is not what the sums say", row)
	}
}
