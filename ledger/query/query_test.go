package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

func openLedger(t *testing.T) *store.Ledger {
	t.Helper()
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func book(t *testing.T, l *store.Ledger, e *store.Entry) {
	t.Helper()
	_, err := l.Settle(store.Ref{}, e)
	require.NoError(t, err)
}

func TestEmbeddedAnswersAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		l := openLedger(t)
		for _, e := range entries {
			book(t, l, e)
		}
		return query.NewEmbedded(l, nil)
	})
}

func TestJoinedAnswersAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		var books []query.Book
		var ledgers []*store.Ledger
		for i := range 3 {
			l := openLedger(t)
			ledgers = append(ledgers, l)
			books = append(books, query.Book{Name: "n" + strconv.Itoa(i), Query: query.NewEmbedded(l, nil)})
		}
		for i, e := range entries {
			book(t, ledgers[i*7%11%3], e)
		}
		return query.NewJoined(func() []query.Book { return books })
	})
}

func TestRepeatedRequestIDGoesToTheFirstCall(t *testing.T) {
	l := openLedger(t)
	for _, e := range querytest.Entries() {
		book(t, l, e)
	}
	q := query.NewEmbedded(l, nil)
	id := querytest.Entries()[4].RequestID
	p, err := q.Logs(t.Context(), query.Filter{RequestID: id})
	require.NoError(t, err)
	require.Len(t, p.Rows, 1)
	require.Equal(t, querytest.Entries()[4].Start, p.Rows[0].StartTime)
	p, err = q.Logs(t.Context(), query.Filter{From: querytest.Entries()[40].Start, To: querytest.Entries()[41].Start})
	require.NoError(t, err)
	require.Equal(t, p.Rows[0].CallID, p.Rows[0].RequestID)
	var meta map[string]any
	require.NoError(t, json.Unmarshal(p.Rows[0].Metadata, &meta))
	require.Equal(t, id, meta["response_id"], "the provider's id is kept")
}

func TestUserColumnFollowsItsSetting(t *testing.T) {
	for _, c := range []struct {
		column                    query.UserColumn
		key, owner, asker, expect string
	}{
		{query.UserAuto, "k", "owner", "asker", "owner"},
		{query.UserAuto, "k", "", "asker", "asker"},
		{query.UserAuto, "litellm_proxy_master_key", "", "asker", "asker"},
		{query.UserAuto, "litellm_proxy_master_key", "default_user_id", "", "default_user_id"},
		{query.UserOwner, "k", "", "asker", ""},
		{query.UserOwner, "litellm_proxy_master_key", "", "asker", "default_user_id"},
		{query.UserRequest, "k", "owner", "asker", "asker"},
	} {
		r, err := query.NewRow(&store.Entry{Key: c.key, User: c.owner, RequestUser: c.asker}, c.column, true)
		require.NoError(t, err)
		require.Equal(t, c.expect, r.User, "%+v", c)
	}
}

func TestUnpricedCallSaysSo(t *testing.T) {
	r, err := query.NewRow(&store.Entry{Status: store.Success, Model: "x/y", Cost: price.Cost{}}, query.UserAuto, true)
	require.NoError(t, err)
	var meta map[string]any
	require.NoError(t, json.Unmarshal(r.Metadata, &meta))
	require.Contains(t, meta["cost_error"], "x/y")
}

func TestBodiesAreLoadedOnDemand(t *testing.T) {
	l := openLedger(t)
	e := querytest.Entries()[0]
	e.Messages, e.Response, e.Request = []byte(`[1]`), []byte(`{"a":2}`), []byte(`not json`)
	book(t, l, e)
	q := query.NewEmbedded(l, nil)
	p, err := q.Logs(t.Context(), query.Filter{Bodies: true})
	require.NoError(t, err)
	require.JSONEq(t, `[1]`, string(p.Rows[0].Messages))
	require.JSONEq(t, `{}`, string(p.Rows[0].ProxyRequest), "what is not JSON cannot stand in a JSON column")
	p, err = q.Logs(t.Context(), query.Filter{})
	require.NoError(t, err)
	require.JSONEq(t, `{}`, string(p.Rows[0].Messages))
}

func TestMetadataThatIsNoObjectIsLeftOut(t *testing.T) {
	for _, m := range []string{`[1,2]`, `"x"`, `{`, `null`, `{}`} {
		r, err := query.NewRow(&store.Entry{Metadata: []byte(m)}, query.UserAuto, true)
		require.NoError(t, err)
		require.True(t, json.Valid(r.Metadata), m)
	}
}

type silent struct{ query.Query }

var errAway = errors.New("away")

func (silent) Groups(context.Context, []query.Dimension, query.Range) ([]query.Group, error) {
	return nil, errAway
}

func TestMissingBookIsNamedBesideTheAnswer(t *testing.T) {
	l := openLedger(t)
	book(t, l, querytest.Entries()[0])
	books := []query.Book{{Name: "here", Query: query.NewEmbedded(l, nil)}, {Name: "gone", Query: silent{}}}
	q := query.NewJoined(func() []query.Book { return books })
	sum, err := q.Total(t.Context(), query.Range{})
	var partial *query.PartialError
	require.ErrorAs(t, err, &partial)
	require.Equal(t, []string{"gone"}, partial.Missing)
	require.Equal(t, int64(1), sum.Requests)
	books[0].Copy = true
	_, err = q.Total(t.Context(), query.Range{})
	require.ErrorAs(t, err, &partial)
	require.Equal(t, []string{"here"}, partial.Copies)
	require.ErrorContains(t, err, "no answer from gone; answered from the copy of here")
	books = []query.Book{books[1], {Name: "nobody"}}
	_, err = q.Total(t.Context(), query.Range{})
	require.ErrorIs(t, err, errAway)
	require.ErrorIs(t, err, query.ErrAway)
	var still *query.PartialError
	require.NotErrorAs(t, err, &still)
}

func TestQuestionThatNoBookKeepsIsNoPartialAnswer(t *testing.T) {
	l := openLedger(t)
	books := []query.Book{{Name: "a", Query: query.NewEmbedded(l, nil)}, {Name: "gone"}}
	q := query.NewJoined(func() []query.Book { return books })
	_, err := q.Groups(t.Context(), []query.Dimension{query.ByTag, query.ByTeam}, query.Range{})
	require.ErrorIs(t, err, query.ErrNotKept)
	var partial *query.PartialError
	require.NotErrorAs(t, err, &partial)
	_, err = q.Groups(t.Context(), make([]query.Dimension, 9), query.Range{})
	require.Error(t, err)
	_, err = q.Groups(t.Context(), []query.Dimension{99}, query.Range{})
	require.Error(t, err)
}

func TestNodesThatAreNotSettledAreNamed(t *testing.T) {
	tails := []query.Tail{{Name: "a", Settle: func(context.Context) error { return nil }}}
	settle := query.SettleAll(func() []query.Tail { return tails })
	require.NoError(t, settle(t.Context()))
	tails = append(tails, query.Tail{Name: "gone"}, query.Tail{Name: "slow", Settle: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	ctx, end := context.WithCancel(t.Context())
	end()
	var partial *query.PartialError
	require.ErrorAs(t, settle(ctx), &partial)
	require.Equal(t, []string{"gone", "slow"}, partial.Missing)
	require.ErrorIs(t, partial, query.ErrAway)
}
