package query

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Book is one of several ledgers: a node's, here or across the network.
type Book struct {
	Name string
	// Query answers for the book; nil says that nobody can at the moment.
	Query
	// Copy says that another node answers from its copy of this book.
	Copy bool
}

// Joined answers from several ledgers as if they were one. Every call stands in
// exactly one of them, so rows are merged and sums added.
type Joined struct {
	figures
	books func() []Book
}

var _ Query = (*Joined)(nil)

// NewJoined makes a Query of the books that there are at the moment of a question.
func NewJoined(books func() []Book) *Joined {
	return &Joined{figures{joinedGroups(books)}, books}
}

// answerWithin bounds how long one book is waited for: what it knows is then
// missing, and said to be.
const answerWithin = 15 * time.Second

// ask asks all books at once. The answers come in the order of the books; nil
// stands for one that did not answer. With no answer at all the error is plain.
func ask[T any](ctx context.Context, books []Book, fn func(context.Context, Book) (T, error)) ([]*T, error) {
	ctx, end := context.WithTimeout(ctx, answerWithin)
	defer end()
	answers, faults := make([]*T, len(books)), make([]error, len(books))
	var wg sync.WaitGroup
	for i, b := range books {
		if b.Query == nil {
			faults[i] = fmt.Errorf("%s: %w", b.Name, ErrAway)
			continue
		}
		wg.Go(func() {
			v, err := fn(ctx, b)
			if failed(err) {
				faults[i] = fmt.Errorf("%s: %w", b.Name, err)
				return
			}
			answers[i] = &v
		})
	}
	wg.Wait()
	lacks := PartialError{Err: errors.Join(faults...)}
	for i, b := range books {
		switch {
		case faults[i] != nil:
			lacks.Missing = append(lacks.Missing, b.Name)
		case b.Copy:
			lacks.Copies = append(lacks.Copies, b.Name)
		}
	}
	// A question that no book can answer is the same for all of them.
	for _, err := range faults {
		if asker(err) {
			return nil, err
		}
	}
	switch {
	case len(books) > 0 && len(lacks.Missing) == len(books):
		return nil, lacks.Err
	case len(lacks.Missing) > 0 || len(lacks.Copies) > 0:
		return answers, &lacks
	}
	return answers, nil
}

// joinedGroups adds the books' groups.
type joinedGroups func() []Book

func (j joinedGroups) Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error) {
	answers, err := ask(ctx, j(), func(ctx context.Context, b Book) ([]Group, error) { return b.Groups(ctx, by, r) })
	if failed(err) {
		return nil, err
	}
	all := grouped{}
	for i, a := range answers {
		if a == nil {
			continue
		}
		if err := all.join(*a); err != nil {
			return nil, err
		}
		answers[i] = nil // only the sum stays in memory
	}
	return all.list(len(by)), err
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
		name, err := url.QueryUnescape(name)
		if !ok || err != nil {
			return nil, fmt.Errorf("%w: %q", ErrCursor, s)
		}
		at[name] = pos
	}
	return at, nil
}

// Logs merges the books' rows, newest first by the end of the call.
func (j *Joined) Logs(ctx context.Context, f Filter) (Page, error) {
	skip := f.skip()
	f.Skip = 0
	for skip > 0 {
		off := f
		off.Limit, off.Bodies = min(skip, maxLimit), false
		page, err := j.page(ctx, off)
		if failed(err) || page.Next == "" {
			return Page{}, err
		}
		skip -= len(page.Rows)
		f.Cursor = page.Next
	}
	return j.page(ctx, f)
}

func (j *Joined) page(ctx context.Context, f Filter) (Page, error) {
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
			parts = append(parts, url.QueryEscape(name)+"="+pos)
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
