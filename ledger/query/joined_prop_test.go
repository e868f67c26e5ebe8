package query_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

// drawEntries makes calls of few names, so that sums meet.
func drawEntries(rt *rapid.T, n int) []*store.Entry {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, label) }
	out := make([]*store.Entry, n)
	for i := range out {
		start := querytest.Day.Add(time.Duration(i) * time.Hour)
		e := &store.Entry{
			CallID: querytest.ID(i), CallType: pick("type", "acompletion", "aembedding"), Status: pick("status", store.Success, store.Failure, store.ClientClosed),
			Start: start, End: start.Add(time.Second), Key: pick("key", "k0", "k1"), User: pick("user", "", "u0", "u1"),
			Team: pick("team", "", "t0", "t1"), Organization: pick("org", "", "o"), EndUser: pick("end user", "", "e"),
			Group: pick("group", "small", "large"), Model: pick("model", "x/a", "x/b"), Provider: pick("provider", "x", "y"), CacheHit: "False",
			Usage: price.Usage{InUncached: rapid.Int64Range(0, 1000).Draw(rt, "in"), OutTotal: rapid.Int64Range(0, 1000).Draw(rt, "out"), Known: true},
		}
		if e.Status != store.Failure {
			c := unit.Money(rapid.Int64Range(0, 5_000_000_000).Draw(rt, "cost"))
			e.Cost = price.Cost{Total: c, Output: c, Priced: true, Version: "v"}
		}
		for _, tag := range []string{"a", "b"} {
			if rapid.Bool().Draw(rt, "tag") {
				e.Tags = append(e.Tags, tag)
			}
		}
		out[i] = e
	}
	return out
}

// same asks two queries everything and wants the same answers.
func same(t require.TestingT, tb *testing.T, one, other query.Query) {
	for _, f := range []query.Filter{{}, {Limit: 3}, {Key: "k0", Limit: 2}, {Team: "t0"}, {User: "u1"}, {Tag: "a", Limit: 5}, {Status: store.Failure}} {
		require.Equal(t, callsOf(t, tb, one, f), callsOf(t, tb, other, f), "%+v", f)
		n, exact, err := one.Count(tb.Context(), f)
		require.NoError(t, err)
		m, alike, err := other.Count(tb.Context(), f)
		require.NoError(t, err)
		require.Equal(t, n, m)
		require.Equal(t, exact, alike)
	}
	for by := query.ByKey; by <= query.ByEndpoint; by++ {
		a, err := one.Sums(tb.Context(), by, query.Range{})
		require.NoError(t, err)
		b, err := other.Sums(tb.Context(), by, query.Range{})
		require.NoError(t, err)
		require.Equal(t, keptOf(a), keptOf(b), "dimension %d", by)
	}
	for _, e := range []query.Dimension{query.ByUser, query.ByTeam, query.ByOrganization, query.ByEndUser, query.ByTag} {
		a, err := one.Activity(tb.Context(), query.ActivityFilter{Entity: e})
		require.NoError(t, err)
		b, err := other.Activity(tb.Context(), query.ActivityFilter{Entity: e})
		require.NoError(t, err)
		require.Equal(t, shown(a), shown(b), "entity %d", e)
	}
	a, err := one.Days(tb.Context(), query.Filter{})
	require.NoError(t, err)
	b, err := other.Days(tb.Context(), query.Filter{})
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func callsOf(t require.TestingT, tb *testing.T, q query.Query, f query.Filter) []string {
	var out []string
	for range 1000 {
		p, err := q.Logs(tb.Context(), f)
		require.NoError(t, err)
		for _, r := range p.Rows {
			out = append(out, r.CallID)
		}
		if p.Next == "" {
			return out
		}
		f.Cursor = p.Next
	}
	require.Fail(t, "pages do not end")
	return nil
}

func keptOf(sums []query.Sum) []query.Sum {
	for i := range sums {
		sums[i].DurationMs, sums[i].CacheHits = 0, 0
	}
	return sums
}

// However calls are spread over nodes, all nodes together answer as one node
// with all calls would.
func TestJoinedBooksOfAnySplitAnswerAsOneBook(t *testing.T) {
	drawn := rapid.Custom(func(rt *rapid.T) []*store.Entry { return drawEntries(rt, rapid.IntRange(0, 30).Draw(rt, "calls")) })
	for seed := range 12 {
		t.Run("seed "+strconv.Itoa(seed), func(t *testing.T) {
			one := openLedger(t)
			parts := []*store.Ledger{openLedger(t), openLedger(t)}
			for i, e := range drawn.Example(seed) {
				copied := *e
				book(t, one, e)
				book(t, parts[(i*seed+i/3)%2], &copied)
			}
			books := []query.Book{{Name: "a", Query: query.NewEmbedded(parts[0], nil)}, {Name: "b", Query: overWire(query.NewEmbedded(parts[1], nil))}}
			same(t, t, query.NewEmbedded(one, nil), query.NewJoined(func() []query.Book { return books }))
		})
	}
}

// shown is an activity as its readers get it.
func shown(a *query.Activity) string {
	raw, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
