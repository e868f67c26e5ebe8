package query_test

import (
	"context"
	"testing"

	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

func FuzzServe(f *testing.F) {
	for _, s := range []string{`{"v":1,"ask":"logs","filter":{"Limit":3,"Bodies":true}}`, `{"v":1,"ask":"count","filter":{"Tag":"odd"}}`,
		`{"v":1,"ask":"groups","by":[10,1],"range":{"Key":"k0"},"after":["2026-05-04","k0"]}`, `{"v":1,"ask":"groups","by":[6,2],"range":{}}`} {
		f.Add([]byte(s))
	}
	l, err := store.Open(store.Config{Dir: f.TempDir(), Ballast: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	for _, e := range querytest.Entries() {
		if _, err := l.Settle(store.Ref{}, e); err != nil {
			f.Fatal(err)
		}
	}
	q := query.NewEmbedded(l, nil)
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := query.Serve(context.Background(), q, payload)
		if err == nil && len(out) == 0 {
			t.Fatal("neither an answer nor an error")
		}
	})
}

// A broken node can say anything; what comes of it is an error or an answer.
func FuzzRemote(f *testing.F) {
	for _, s := range []string{`{"v":1,"rows":[{"request_id":"a","metadata":{"x":1},"call_id":"c","seq":3}],"next":"3"}`,
		`{"v":1,"groups":[{"i":["2026-05-04","k0"],"s":[1,2,3]}],"more":true}`, `{"v":1,"code":"cursor","error":"no"}`, `{"v":1,"count":4,"exact":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		q := query.NewRemote(func(context.Context, []byte) ([]byte, error) { return answer, nil })
		p, err := q.Logs(context.Background(), query.Filter{})
		if err == nil {
			for _, r := range p.Rows {
				if len(r.Metadata) == 0 || r.RequestTags == nil {
					t.Fatal("a row that has no answer of its own")
				}
			}
		}
		_, _, _ = q.Count(context.Background(), query.Filter{})
		_, _ = q.Activity(context.Background(), query.ActivityFilter{})
		_, _ = q.Groups(context.Background(), []query.Dimension{query.ByDay, query.ByKey}, query.Range{})
	})
}

// A cursor comes back from whoever was given it: each is refused or followed.
func FuzzCursorOfSeveralBooks(f *testing.F) {
	l, err := store.Open(store.Config{Dir: f.TempDir(), Ballast: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	for _, e := range querytest.Entries() {
		if _, err := l.Settle(store.Ref{}, e); err != nil {
			f.Fatal(err)
		}
	}
	q := query.NewJoined(func() []query.Book {
		return []query.Book{{Name: "a", Query: query.NewEmbedded(l, nil)}, {Name: "b%;=", Query: query.NewEmbedded(l, nil)}}
	})
	for _, s := range []string{"", "a=3;b%25%3B%3D=-", "a=-", ";", "a=%", "c=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := q.Logs(context.Background(), query.Filter{Cursor: cursor, Limit: 3})
		if err != nil {
			return
		}
		if len(p.Rows) > 3 {
			t.Fatalf("a page of %d rows where 3 were asked for", len(p.Rows))
		}
	})
}
