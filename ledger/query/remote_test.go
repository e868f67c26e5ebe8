package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

// overWire asks a query as another node does.
func overWire(q query.Query) query.Query {
	return query.NewRemote(func(ctx context.Context, payload []byte) ([]byte, error) { return query.Serve(ctx, q, payload) })
}

func TestRemoteAnswersAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		l := openLedger(t)
		for _, e := range entries {
			book(t, l, e)
		}
		return overWire(query.NewEmbedded(l, nil))
	})
}

func TestJoinedNodesAnswerAsEveryQueryDoes(t *testing.T) {
	querytest.Run(t, func(t *testing.T, entries []*store.Entry) query.Query {
		var books []query.Book
		var ledgers []*store.Ledger
		for i := range 3 {
			l := openLedger(t)
			ledgers = append(ledgers, l)
			var q query.Query = query.NewEmbedded(l, nil)
			if i > 0 {
				q = overWire(q)
			}
			books = append(books, query.Book{Name: "node=" + strconv.Itoa(i) + ";", Query: q})
		}
		for i, e := range entries {
			book(t, ledgers[i*5%7%3], e)
		}
		return query.NewJoined(func() []query.Book { return books })
	})
}

// The wire keeps what a row's JSON leaves out, and bodies.
func TestRemoteRowsAreTheRowsOfTheBook(t *testing.T) {
	l := openLedger(t)
	for _, e := range querytest.Entries() {
		e.Messages, e.Response = []byte(`[{"role":"user"}]`), []byte(`{"id":"x"}`)
		book(t, l, e)
	}
	q := query.NewEmbedded(l, nil)
	f := query.Filter{Bodies: true, Limit: 20}
	want, err := q.Logs(t.Context(), f)
	require.NoError(t, err)
	got, err := overWire(q).Logs(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// A page of large rows ends early and says where to go on.
func TestLargeRowsComeInSeveralAnswers(t *testing.T) {
	l := openLedger(t)
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = "0123456789abcdef"[i*i%16]
	}
	large[0], large[len(large)-1] = '"', '"'
	for _, e := range querytest.Entries()[:30] {
		e.Messages = large
		book(t, l, e)
	}
	answers := 0
	q := query.NewRemote(func(ctx context.Context, payload []byte) ([]byte, error) {
		answers++
		out, err := query.Serve(ctx, query.NewEmbedded(l, nil), payload)
		require.Less(t, len(out), 32<<20)
		return out, err
	})
	seen := 0
	f := query.Filter{Bodies: true, Limit: 1000}
	for {
		p, err := q.Logs(t.Context(), f)
		require.NoError(t, err)
		seen += len(p.Rows)
		if p.Next == "" {
			break
		}
		f.Cursor = p.Next
	}
	require.Equal(t, 30, seen)
	require.Greater(t, answers, 2)
}

// many has more groups than one answer takes.
type many struct {
	query.Query
	asked int
}

func (m *many) Groups(_ context.Context, _ []query.Dimension, r query.Range) ([]query.Group, error) {
	m.asked++
	var out []query.Group
	for i := range 200_000 {
		day := time.Date(2026, 1, 1+i/2000, 0, 0, 0, 0, time.UTC)
		if !day.Before(r.From) {
			out = append(out, query.Group{IDs: []string{day.Format(time.DateOnly), "key-" + strconv.Itoa(i)}, Sums: store.Sums{Requests: 1}})
		}
	}
	return out, nil
}

func TestManyGroupsComeInSeveralAnswersAndOnce(t *testing.T) {
	m := &many{}
	groups, err := overWire(m).Groups(t.Context(), []query.Dimension{query.ByDay, query.ByKey}, query.Range{})
	require.NoError(t, err)
	require.Greater(t, m.asked, 1)
	seen := map[string]bool{}
	for _, g := range groups {
		require.False(t, seen[g.IDs[1]])
		seen[g.IDs[1]] = true
	}
	require.Len(t, groups, 200_000)
}

func TestRefusalsCrossTheWireAsTheyAre(t *testing.T) {
	l := openLedger(t)
	q := overWire(query.NewEmbedded(l, nil))
	_, err := q.Logs(t.Context(), query.Filter{Cursor: "?"})
	require.ErrorIs(t, err, query.ErrCursor)
	_, err = q.Total(t.Context(), query.Range{Tag: "a", Team: "b"})
	require.ErrorIs(t, err, query.ErrNotKept)
	_, err = overWire(silent{}).Total(t.Context(), query.Range{})
	require.ErrorContains(t, err, "away")
	_, err = query.NewRemote(func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no route") }).Total(t.Context(), query.Range{})
	require.ErrorContains(t, err, "no route")
}

func TestQuestionsOfOtherVersionsAreRefused(t *testing.T) {
	q := query.NewEmbedded(openLedger(t), nil)
	for _, payload := range []string{``, `{}`, `{"v":2,"ask":"logs","filter":{}}`, `{"v":1,"ask":"logs"}`, `{"v":1,"ask":"groups"}`,
		`{"v":1,"ask":"drop","filter":{}}`, `{"v":1,"ask":"groups","range":{},"after":["x"]}`} {
		_, err := query.Serve(t.Context(), q, []byte(payload))
		require.Error(t, err, payload)
	}
}

// What this release says must be understood by those that are updated later.
func TestWireFormsStayAsTheyAre(t *testing.T) {
	l := openLedger(t)
	for _, e := range querytest.Entries()[:2] {
		book(t, l, e)
	}
	day := querytest.Day
	for name, ask := range map[string]func(q query.Query) error{
		"logs": func(q query.Query) error {
			_, err := q.Logs(t.Context(), query.Filter{RequestID: "chatcmpl-000001", Key: "k0", User: "u", Team: "t", Org: "o", EndUser: "e",
				Session: "s", Tag: "a", Model: "m", Provider: "p", Status: "success", ErrorCode: "429", From: day, To: day, Limit: 7, Cursor: "1", Skip: 2, Bodies: true})
			return err
		},
		"count": func(q query.Query) error {
			_, _, err := q.Count(t.Context(), query.Filter{})
			return err
		},
		"groups": func(q query.Query) error {
			_, err := q.Groups(t.Context(), []query.Dimension{query.ByDay, query.ByKey}, query.Range{From: day, To: day, Model: "small"})
			return err
		},
		"refusal": func(q query.Query) error {
			_, err := q.Groups(t.Context(), nil, query.Range{Tag: "a", Team: "b"})
			require.ErrorIs(t, err, query.ErrNotKept)
			return nil
		},
	} {
		var question, answer []byte
		require.NoError(t, ask(query.NewRemote(func(ctx context.Context, payload []byte) ([]byte, error) {
			out, err := query.Serve(ctx, query.NewEmbedded(l, nil), payload)
			question, answer = payload, out
			return out, err
		})))
		file := filepath.Join("testdata", "wire", name+".json")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			raw, err := json.MarshalIndent(map[string]json.RawMessage{"question": question, "answer": answer}, "", " ")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, append(raw, '\n'), 0o644))
		}
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var golden struct{ Question, Answer json.RawMessage }
		require.NoError(t, json.Unmarshal(raw, &golden))
		require.JSONEq(t, string(golden.Question), string(question), name)
		require.JSONEq(t, string(golden.Answer), string(answer), name)
	}
}
