package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tollgate/ledger/store"
)

// Book is one of several ledgers: a node's, here or across the network.
type Book struct {
	Name string
	Query
}

// Joined answers from several ledgers as if they were one. Every call stands in
// exactly one of them, so rows are merged and sums added.
type Joined struct {
	books func() []Book
}

var _ Query = (*Joined)(nil)

// NewJoined makes a Query of the books that there are at the moment of a question.
func NewJoined(books func() []Book) *Joined { return &Joined{books: books} }

// PartialError comes with an answer that lacks some books.
type PartialError struct {
	Missing []string
	Err     error
}

// Error names the books that did not answer.
func (e *PartialError) Error() string {
	return "no answer from " + strings.Join(e.Missing, ", ") + ": " + e.Err.Error()
}

// Unwrap gives the reasons.
func (e *PartialError) Unwrap() error { return e.Err }

// ask asks all books at once. The answers come in the order of the books; nil
// stands for one that did not answer. With no answer at all the error is plain.
func ask[T any](ctx context.Context, books []Book, fn func(context.Context, Book) (T, error)) ([]*T, error) {
	answers, faults := make([]*T, len(books)), make([]error, len(books))
	var wg sync.WaitGroup
	for i, b := range books {
		wg.Go(func() {
			v, err := fn(ctx, b)
			if err != nil {
				faults[i] = fmt.Errorf("%s: %w", b.Name, err)
				return
			}
			answers[i] = &v
		})
	}
	wg.Wait()
	var missing []string
	for i, err := range faults {
		if err != nil {
			missing = append(missing, books[i].Name)
		}
	}
	err := errors.Join(faults...)
	switch {
	case err == nil:
		return answers, nil
	case len(missing) == len(books):
		return nil, err
	}
	return answers, &PartialError{Missing: missing, Err: err}
}

// failed tells an answer that is not there from one that lacks something.
func failed(err error) bool {
	var partial *PartialError
	return err != nil && !errors.As(err, &partial)
}

// A joined cursor names each book and where to go on in it; a book that is not
// named starts anew, one marked spent has no more.
const spent = "-"

func readCursor(s string) (map[string]string, error) {
	at := map[string]string{}
	if s == "" {
		return at, nil
	}
	for _, part := range strings.Split(s, ";") {
		name, pos, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%w: %q", ErrCursor, s)
		}
		at[name] = pos
	}
	return at, nil
}

// Logs merges the books' rows, newest first by the end of the call.
func (j *Joined) Logs(ctx context.Context, f Filter) (Page, error) {
	at, err := readCursor(f.Cursor)
	if err != nil {
		return Page{}, fmt.Errorf("list calls: %w", err)
	}
	all := j.books()
	books := slices.DeleteFunc(slices.Clone(all), func(b Book) bool { return at[b.Name] == spent })
	if len(books) == 0 {
		return Page{}, nil
	}
	pages, err := ask(ctx, books, func(ctx context.Context, b Book) (Page, error) {
		g := f
		g.Cursor = at[b.Name]
		return b.Logs(ctx, g)
	})
	if failed(err) {
		return Page{}, err
	}
	var out Page
	limit := f.limit()
	taken := make([]int, len(books))
	for len(out.Rows) < limit {
		best := -1
		for i, p := range pages {
			if p == nil {
				continue
			}
			if taken[i] == len(p.Rows) {
				if p.Next != "" {
					best = -1 // its next row is unknown, so no other may go first
					break
				}
				continue
			}
			if best < 0 || p.Rows[taken[i]].EndTime.After(pages[best].Rows[taken[best]].EndTime) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		out.Rows = append(out.Rows, pages[best].Rows[taken[best]])
		taken[best]++
	}
	out.Next = joinCursor(books, pages, taken, at)
	return out, err
}

func joinCursor(books []Book, pages []*Page, taken []int, at map[string]string) string {
	more := false
	for i, p := range pages {
		name := books[i].Name
		switch {
		case p == nil: // not heard: it stays where it was
			continue
		case taken[i] < len(p.Rows):
			more = true
			if taken[i] > 0 {
				at[name] = strconv.FormatUint(p.Rows[taken[i]-1].Seq, 36)
			}
		case p.Next != "":
			more = true
			at[name] = p.Next
		default:
			at[name] = spent
		}
	}
	if !more {
		return ""
	}
	parts := make([]string, 0, len(at))
	for name, pos := range at {
		if pos != "" {
			parts = append(parts, name+"="+pos)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ";")
}

type counted struct {
	n     int64
	exact bool
}

// Count adds the books' counts.
func (j *Joined) Count(ctx context.Context, f Filter) (int64, bool, error) {
	counts, err := ask(ctx, j.books(), func(ctx context.Context, b Book) (counted, error) {
		n, exact, err := b.Count(ctx, f)
		return counted{n, exact}, err
	})
	if failed(err) {
		return 0, false, err
	}
	var n int64
	exact := err == nil
	for _, c := range counts {
		if c != nil {
			n += c.n
			exact = exact && c.exact
		}
	}
	return n, exact, err
}

// Days adds the books' days.
func (j *Joined) Days(ctx context.Context, f Filter) ([]DaySummary, error) {
	answers, err := ask(ctx, j.books(), func(ctx context.Context, b Book) ([]DaySummary, error) { return b.Days(ctx, f) })
	if failed(err) {
		return nil, err
	}
	days := map[string]*DaySummary{}
	for _, a := range answers {
		if a == nil {
			continue
		}
		for _, d := range *a {
			t := days[d.Date]
			if t == nil {
				t = newDay(d.Date)
				days[d.Date] = t
			}
			t.Spend = t.Spend.Add(d.Spend)
			addAll(t.Keys, d.Keys)
			addAll(t.Users, d.Users)
			addAll(t.Models, d.Models)
		}
	}
	return fillDays(days, Range{}), err
}

// Sums adds the books' sums.
func (j *Joined) Sums(ctx context.Context, by Dimension, r Range) ([]Sum, error) {
	limit := r.Limit
	r.Limit = 0 // what is small in every book may be large in all
	answers, err := ask(ctx, j.books(), func(ctx context.Context, b Book) ([]Sum, error) { return b.Sums(ctx, by, r) })
	if failed(err) {
		return nil, err
	}
	sums := map[string]*store.Sums{}
	for _, a := range answers {
		if a == nil {
			continue
		}
		for _, s := range *a {
			if sums[s.ID] == nil {
				sums[s.ID] = new(store.Sums)
			}
			sums[s.ID].Add(s.Sums)
		}
	}
	out := make([]Sum, 0, len(sums))
	for id, s := range sums {
		out = append(out, Sum{id, *s})
	}
	return sortSums(out, by, limit), err
}

// Total adds the books' totals.
func (j *Joined) Total(ctx context.Context, r Range) (store.Sums, error) {
	answers, err := ask(ctx, j.books(), func(ctx context.Context, b Book) (store.Sums, error) { return b.Total(ctx, r) })
	if failed(err) {
		return store.Sums{}, err
	}
	var sum store.Sums
	for _, a := range answers {
		if a != nil {
			sum.Add(*a)
		}
	}
	return sum, err
}

// Activity adds the books' days and pages the result.
func (j *Joined) Activity(ctx context.Context, f ActivityFilter) (*Activity, error) {
	whole := f
	whole.Page, whole.PageSize = 1, maxPageSize
	answers, err := ask(ctx, j.books(), func(ctx context.Context, b Book) (*Activity, error) { return b.Activity(ctx, whole) })
	if failed(err) {
		return nil, err
	}
	a := newActivity()
	for _, part := range answers {
		if part == nil {
			continue
		}
		for i := range (*part).Results {
			a.join(&(*part).Results[i])
		}
	}
	return a.page(f.Page, f.PageSize), err
}

func addAll[K cmp.Ordered, V ~int64](to, from map[K]V) {
	for k, v := range from {
		to[k] += v
	}
}
