// Package querytest is the one test that every implementation of query.Query
// passes: the embedded ledger, several ledgers, a database.
package querytest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// Day is the first day of the sample.
var Day = time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)

// ID makes the id of the n-th call, with its start in it as the gateway's have.
func ID(n int) (id store.CallID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	ms := Start(n).UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8] = 7<<4, id[8]&0x3f|0x80
	return id
}

// Start is when the n-th call began.
func Start(n int) time.Time { return Day.Add(time.Duration(n) * 2 * time.Hour) }

// Entries is the sample: 60 calls, one every 2 hours over 5 days, of 3 keys, 2
// teams, 2 models. Every tenth failed. Call 40 repeats the request id of call 4.
func Entries() []*store.Entry {
	out := make([]*store.Entry, 60)
	for i := range out {
		start := Start(i)
		e := &store.Entry{
			CallID: ID(i), RequestID: "chatcmpl-" + uuid.UUID(ID(i)).String()[30:], CallType: "acompletion", Status: store.Success,
			Start: start, End: start.Add(time.Second), FirstToken: start.Add(100 * time.Millisecond),
			Key: []string{"k0", "k1", "k2"}[i%3], User: []string{"u0", "u1", ""}[i%3], Team: []string{"t0", "t1"}[i%2],
			EndUser: []string{"", "e1"}[i%2], RequestUser: "asked-by", Group: []string{"small", "large"}[i%2],
			Model: []string{"openai/small-1", "anthropic/large-2"}[i%2], Provider: []string{"openai", "anthropic"}[i%2],
			ModelID: "d", Session: []string{"s0", "s1"}[i%2], Tags: []string{"all", []string{"even", "odd"}[i%2]},
			Metadata: []byte(`{"agent_name":"a","status":"forged"}`),
			Usage:    price.Usage{InUncached: 10, CacheRead: 5, OutTotal: 20, OutReasoning: 4, Known: true},
			Cost:     price.Cost{Total: 1_000_000, Input: 400_000, Output: 600_000, Priced: true, Version: "v1"},
			Attempts: 1, CacheHit: "False",
		}
		if i%10 == 9 {
			e.Status, e.RequestID, e.Cost, e.Usage = store.Failure, "", price.Cost{Priced: true}, price.Usage{}
			e.ErrorClass, e.ErrorCode, e.ErrorMessage = "RateLimitError", "429", "slow down"
		}
		out[i] = e
	}
	out[40].RequestID = out[4].RequestID
	return out
}

// Run tests an implementation; open books the entries in their order.
func Run(t *testing.T, open func(t *testing.T, entries []*store.Entry) query.Query) {
	entries := Entries()
	q := open(t, entries)
	s := suite{q, entries}
	t.Run("rows come newest first and once, over pages", s.pages)
	t.Run("filters choose rows", s.filters)
	t.Run("a request id finds its row", s.requestIDs)
	t.Run("a row carries LiteLLM's columns", s.columns)
	t.Run("days are summed, empty ones included", s.days)
	t.Run("sums by every dimension", s.sums)
	t.Run("activity adds up", s.activity)
	t.Run("sums by several dimensions together", s.groups)
	t.Run("rows are left out before the first", s.skips)
	t.Run("a bad cursor is refused", s.badCursor)
}

type suite struct {
	q       query.Query
	entries []*store.Entry
}

func (s suite) all(t *testing.T, f query.Filter) []query.Row {
	t.Helper()
	var rows []query.Row
	for range 100 {
		p, err := s.q.Logs(t.Context(), f)
		require.NoError(t, err)
		rows = append(rows, p.Rows...)
		if p.Next == "" {
			return rows
		}
		f.Cursor = p.Next
	}
	t.Fatal("pages do not end")
	return nil
}

func (s suite) pages(t *testing.T) {
	for _, limit := range []int{1, 7, 60, 0} {
		rows := s.all(t, query.Filter{Limit: limit})
		require.Len(t, rows, 60)
		for i, r := range rows {
			require.Equal(t, uuid.UUID(ID(59-i)).String(), r.CallID, "limit %d", limit)
		}
	}
}

func (s suite) filters(t *testing.T) {
	nothing, little := unit.Money(0), unit.Money(1)
	for name, c := range map[string]struct {
		f    query.Filter
		want func(*store.Entry) bool
	}{
		"key":      {query.Filter{Key: "k1"}, func(e *store.Entry) bool { return e.Key == "k1" }},
		"owner":    {query.Filter{User: "u1"}, func(e *store.Entry) bool { return e.User == "u1" }},
		"asker":    {query.Filter{User: "asked-by"}, func(e *store.Entry) bool { return e.User == "" }},
		"team":     {query.Filter{Team: "t1"}, func(e *store.Entry) bool { return e.Team == "t1" }},
		"end user": {query.Filter{EndUser: "e1"}, func(e *store.Entry) bool { return e.EndUser == "e1" }},
		"session":  {query.Filter{Session: "s1"}, func(e *store.Entry) bool { return e.Session == "s1" }},
		"tag":      {query.Filter{Tag: "odd"}, func(e *store.Entry) bool { return slices.Contains(e.Tags, "odd") }},
		"model":    {query.Filter{Model: "large"}, func(e *store.Entry) bool { return e.Group == "large" }},
		"status":   {query.Filter{Status: store.Failure}, func(e *store.Entry) bool { return e.Status == store.Failure }},
		"spend":    {query.Filter{MinSpend: &little}, func(e *store.Entry) bool { return e.Cost.Total > 0 }},
		"free":     {query.Filter{MaxSpend: &nothing}, func(e *store.Entry) bool { return e.Cost.Total == 0 }},
		"code":     {query.Filter{ErrorCode: "429"}, func(e *store.Entry) bool { return e.ErrorCode == "429" }},
		"from": {query.Filter{From: Day.Add(50 * time.Hour)}, func(e *store.Entry) bool {
			return !e.Start.Before(Day.Add(50 * time.Hour))
		}},
		"from to": {query.Filter{From: Day.Add(20 * time.Hour), To: Day.Add(40 * time.Hour)}, func(e *store.Entry) bool {
			return !e.Start.Before(Day.Add(20*time.Hour)) && e.Start.Before(Day.Add(40*time.Hour))
		}},
		"two":     {query.Filter{Key: "k0", Team: "t0"}, func(e *store.Entry) bool { return e.Key == "k0" && e.Team == "t0" }},
		"nothing": {query.Filter{Key: "none"}, func(*store.Entry) bool { return false }},
	} {
		var want []string
		for _, e := range slices.Backward(s.entries) {
			if c.want(e) {
				want = append(want, uuid.UUID(e.CallID).String())
			}
		}
		c.f.Limit = 9
		var got []string
		for _, r := range s.all(t, c.f) {
			got = append(got, r.CallID)
		}
		require.Equal(t, want, got, name)
		n, exact, err := s.q.Count(t.Context(), c.f)
		require.NoError(t, err)
		require.True(t, exact)
		require.Equal(t, int64(len(want)), n, name)
	}
}

func (s suite) requestIDs(t *testing.T) {
	find := func(id string) []query.Row {
		t.Helper()
		p, err := s.q.Logs(t.Context(), query.Filter{RequestID: id})
		require.NoError(t, err)
		return p.Rows
	}
	rows := find(s.entries[7].RequestID)
	require.Len(t, rows, 1)
	require.Equal(t, uuid.UUID(ID(7)).String(), rows[0].CallID)
	rows = find(uuid.UUID(ID(9)).String())
	require.Len(t, rows, 1, "a failure goes by the call's own id")
	require.Equal(t, rows[0].CallID, rows[0].RequestID)
	require.Empty(t, find("no-such-call"))
	rows = find(uuid.UUID(ID(7)).String())
	require.Len(t, rows, 1, "the call's own id finds every row")
}

func (s suite) columns(t *testing.T) {
	p, err := s.q.Logs(t.Context(), query.Filter{RequestID: s.entries[7].RequestID})
	require.NoError(t, err)
	r := p.Rows[0]
	require.Equal(t, 0.001, r.Spend)
	require.Equal(t, int64(15), r.PromptTokens)
	require.Equal(t, int64(20), r.CompletionTokens)
	require.Equal(t, int64(35), r.TotalTokens)
	require.Equal(t, int64(1000), r.RequestDurationMs)
	require.Equal(t, s.entries[7].Start, r.StartTime.UTC())
	require.Equal(t, "u1", r.User)
	require.JSONEq(t, "{}", string(r.Messages))
	var meta map[string]any
	require.NoError(t, json.Unmarshal(r.Metadata, &meta))
	require.Equal(t, "a", meta["agent_name"], "the client's keys are there")
	require.Equal(t, "success", meta["status"], "but not over the gateway's")
	require.Equal(t, "k1", meta["user_api_key"])
	require.Contains(t, meta, "usage_object")
	require.Equal(t, 0.001, meta["cost_breakdown"].(map[string]any)["total_cost"])

	p, err = s.q.Logs(t.Context(), query.Filter{RequestID: uuid.UUID(ID(9)).String()})
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(p.Rows[0].Metadata, &meta))
	require.Equal(t, "slow down", meta["error_information"].(map[string]any)["error_message"])
	require.Zero(t, p.Rows[0].Spend)
}

func (s suite) days(t *testing.T) {
	days, err := s.q.Days(t.Context(), query.Filter{From: Day.AddDate(0, 0, -1), To: Day.AddDate(0, 0, 3), Key: "k0"})
	require.NoError(t, err)
	require.Len(t, days, 4)
	require.Equal(t, "2026-05-03", days[0].Date)
	require.Zero(t, days[0].Spend)
	for i, d := range days[1:] {
		var want unit.Money
		for _, e := range s.entries[i*12 : i*12+12] {
			if e.Key == "k0" {
				want = want.Add(e.Cost.Total)
			}
		}
		require.Equal(t, want, d.Spend, d.Date)
		require.Equal(t, want, d.Keys["k0"])
		require.NotContains(t, d.Keys, "k1")
	}
}

func (s suite) sums(t *testing.T) {
	whole := query.Range{From: Day, To: Day.AddDate(0, 0, 4)}
	for by, of := range map[query.Dimension]func(*store.Entry) []string{
		query.ByKey:        func(e *store.Entry) []string { return []string{e.Key} },
		query.ByUser:       func(e *store.Entry) []string { return []string{e.User} },
		query.ByTeam:       func(e *store.Entry) []string { return []string{e.Team} },
		query.ByEndUser:    func(e *store.Entry) []string { return []string{e.EndUser} },
		query.ByTag:        func(e *store.Entry) []string { return e.Tags },
		query.ByModel:      func(e *store.Entry) []string { return []string{e.Model} },
		query.ByModelGroup: func(e *store.Entry) []string { return []string{e.Group} },
		query.ByProvider:   func(e *store.Entry) []string { return []string{e.Provider} },
		query.ByDay:        func(e *store.Entry) []string { return []string{e.Start.Format(time.DateOnly)} },
	} {
		want := map[string]store.Sums{}
		for _, e := range s.entries {
			for _, id := range of(e) {
				if id != "" {
					w := want[id]
					w.Add(kept(store.SumsOf(e)))
					want[id] = w
				}
			}
		}
		sums, err := s.q.Sums(t.Context(), by, whole)
		require.NoError(t, err)
		got := map[string]store.Sums{}
		for i, x := range sums {
			got[x.ID] = kept(x.Sums)
			if i > 0 && by != query.ByDay {
				require.GreaterOrEqual(t, sums[i-1].Spend, x.Spend, "the dearest first")
			}
		}
		require.Equal(t, want, got, "dimension %d", by)
	}
	top, err := s.q.Sums(t.Context(), query.ByKey, query.Range{Limit: 1})
	require.NoError(t, err)
	require.Len(t, top, 1)
	total, err := s.q.Total(t.Context(), query.Range{})
	require.NoError(t, err)
	require.Equal(t, unit.Money(54_000_000), total.Spend)
	require.Equal(t, int64(6), total.Failed)
}

func (s suite) activity(t *testing.T) {
	a, err := s.q.Activity(t.Context(), query.ActivityFilter{From: Day, To: Day.AddDate(0, 0, 4), Entity: query.ByTeam, PageSize: 2})
	require.NoError(t, err)
	require.Len(t, a.Results, 2)
	require.Equal(t, "2026-05-08", a.Results[0].Date, "newest first")
	require.Equal(t, 3, a.Metadata.TotalPages)
	require.True(t, a.Metadata.HasMore)
	require.Equal(t, int64(60), a.Metadata.Requests)
	require.Equal(t, int64(6), a.Metadata.Failed)
	require.InDelta(t, 0.054, a.Metadata.Spend, 1e-12)
	d := a.Results[0]
	require.Equal(t, int64(12), d.Metrics.Requests)
	require.Equal(t, int64(6), d.Breakdown.Entities["t0"].Metrics.Requests)
	require.Equal(t, int64(6), d.Breakdown.Models["anthropic/large-2"].Metrics.Requests)
	require.Equal(t, int64(4), d.Breakdown.Keys["k1"].Metrics.Requests)
	require.Equal(t, int64(12), d.Breakdown.Endpoints["/chat/completions"].Metrics.Requests)
	require.NotEmpty(t, d.Breakdown.Providers["openai"].Keys)

	a, err = s.q.Activity(t.Context(), query.ActivityFilter{Entity: query.ByTeam, IDs: []string{"t1"}, Page: 1 << 40})
	require.NoError(t, err)
	require.Empty(t, a.Results)
	require.Equal(t, int64(30), a.Metadata.Requests)
}

// kept are the sums that every place keeps: LiteLLM's daily tables have no
// durations and no cache hits.
func kept(s store.Sums) store.Sums {
	s.DurationMs, s.CacheHits = 0, 0
	return s
}

func (s suite) groups(t *testing.T) {
	for _, c := range []struct {
		by   []query.Dimension
		r    query.Range
		of   func(*store.Entry) []string
		keep func(*store.Entry) bool
	}{
		{by: []query.Dimension{query.ByDay, query.ByKey, query.ByModel}, r: query.Range{Model: "small"},
			of:   func(e *store.Entry) []string { return []string{e.Start.Format(time.DateOnly), e.Key, e.Model} },
			keep: func(e *store.Entry) bool { return e.Group == "small" }},
		{by: []query.Dimension{query.ByTeam, query.ByUser}, r: query.Range{From: Day.AddDate(0, 0, 1), To: Day.AddDate(0, 0, 2)},
			of: func(e *store.Entry) []string { return []string{e.Team, e.User} },
			keep: func(e *store.Entry) bool {
				return !e.Start.Before(Day.AddDate(0, 0, 1)) && e.Start.Before(Day.AddDate(0, 0, 3))
			}},
		{by: []query.Dimension{query.ByUser, query.ByProvider}, r: query.Range{User: "u1"},
			of:   func(e *store.Entry) []string { return []string{e.User, e.Provider} },
			keep: func(e *store.Entry) bool { return e.User == "u1" }},
		{by: []query.Dimension{query.ByKey}, r: query.Range{Team: "t1", User: "u0"},
			of:   func(e *store.Entry) []string { return []string{e.Key} },
			keep: func(e *store.Entry) bool { return e.Team == "t1" && e.User == "u0" }},
		{by: []query.Dimension{query.ByEndUser, query.ByModelGroup}, r: query.Range{Key: "k1"},
			of:   func(e *store.Entry) []string { return []string{e.EndUser, e.Group} },
			keep: func(e *store.Entry) bool { return e.EndUser != "" && e.Key == "k1" }},
		{by: []query.Dimension{query.ByTag, query.ByEndpoint}, r: query.Range{Tag: "even"},
			of:   func(*store.Entry) []string { return []string{"even", "/chat/completions"} },
			keep: func(e *store.Entry) bool { return slices.Contains(e.Tags, "even") }},
		{by: []query.Dimension{query.ByCallType, query.ByEndpoint, query.ByDay},
			of: func(e *store.Entry) []string {
				return []string{e.CallType, "/chat/completions", e.Start.Format(time.DateOnly)}
			}},
		{by: nil, of: func(*store.Entry) []string { return nil }},
		{by: nil, r: query.Range{Key: "none"}, keep: func(*store.Entry) bool { return false }},
	} {
		want := map[string]store.Sums{}
		for _, e := range s.entries {
			if c.keep == nil || c.keep(e) {
				id := strings.Join(c.of(e), "|")
				w := want[id]
				w.Add(kept(store.SumsOf(e)))
				want[id] = w
			}
		}
		groups, err := s.q.Groups(t.Context(), c.by, c.r)
		require.NoError(t, err)
		got := map[string]store.Sums{}
		for _, g := range groups {
			require.Len(t, g.IDs, len(c.by))
			got[strings.Join(g.IDs, "|")] = kept(g.Sums)
		}
		require.Len(t, groups, len(got), "a group comes once")
		require.Equal(t, want, got, "%v %+v", c.by, c.r)
	}
	_, err := s.q.Groups(t.Context(), []query.Dimension{query.ByTag}, query.Range{User: "u0"})
	require.ErrorIs(t, err, query.ErrNotKept)
}

func (s suite) skips(t *testing.T) {
	for _, skip := range []int{0, 1, 9, 59, 60, 1 << 40} {
		p, err := s.q.Logs(t.Context(), query.Filter{Skip: skip, Limit: 3})
		require.NoError(t, err)
		var got, want []string
		for _, r := range p.Rows {
			got = append(got, r.CallID)
		}
		for n := 59 - skip; n >= 0 && len(want) < 3; n-- {
			want = append(want, uuid.UUID(ID(n)).String())
		}
		require.Equal(t, want, got, "skip %d", skip)
	}
}

func (s suite) badCursor(t *testing.T) {
	_, err := s.q.Logs(context.Background(), query.Filter{Cursor: "?"})
	require.ErrorIs(t, err, query.ErrCursor)
}
