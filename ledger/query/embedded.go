package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"tollgate/ledger/store"
)

// ErrCursor says that a page's cursor was not made here.
var ErrCursor = errors.New("cursor is not one of ours")

// Embedded answers from one node's ledger.
type Embedded struct {
	figures
	ledger *store.Ledger
	users  func() UserColumn
}

var _ Query = (*Embedded)(nil)

// NewEmbedded makes a Query of a ledger. users tells what the user column holds
// at the moment; nil means UserAuto.
func NewEmbedded(l *store.Ledger, users func() UserColumn) *Embedded {
	if users == nil {
		users = func() UserColumn { return UserAuto }
	}
	q := &Embedded{ledger: l, users: users}
	q.figures = figures{rollups{l}}
	return q
}

// Logs gives rows newest first.
func (q *Embedded) Logs(ctx context.Context, f Filter) (Page, error) {
	var page Page
	if err := q.ledger.CatchUp(); err != nil {
		return page, fmt.Errorf("list calls: %w", err)
	}
	if f.RequestID != "" {
		return q.byRequest(&f)
	}
	before := uint64(1<<64 - 1)
	if f.Cursor != "" {
		var err error
		if before, err = strconv.ParseUint(f.Cursor, 36, 64); err != nil || before == 0 {
			return page, fmt.Errorf("list calls: %w: %q", ErrCursor, f.Cursor)
		}
	}
	limit, skip := f.limit(), f.skip()
	take := func(e *store.Entry) (bool, error) {
		if skip > 0 {
			skip--
			return true, nil
		}
		row, err := q.row(e, f.Bodies)
		if err != nil {
			return false, err
		}
		page.Rows = append(page.Rows, row)
		return len(page.Rows) < limit, nil
	}
	next, err := q.scan(ctx, &f, before, take)
	for err == nil && next != 0 && skip > 0 { // the next page could not go on with leaving out
		next, err = q.scan(ctx, &f, next, take)
	}
	if err != nil {
		return Page{}, fmt.Errorf("list calls: %w", err)
	}
	if next != 0 {
		page.Next = strconv.FormatUint(next, 36)
	}
	return page, nil
}

// scan walks the entries of a filter from before (excluded) to older ones. It
// returns where to go on, 0 at the end.
func (q *Embedded) scan(ctx context.Context, f *Filter, before uint64, fn func(*store.Entry) (bool, error)) (uint64, error) {
	spans, err := q.ledger.Spans(f.From, f.To)
	if err != nil {
		return 0, err
	}
	column := q.users()
	seen := 0
	for _, s := range slices.Backward(spans) {
		if s.First >= before {
			continue
		}
		for e, err := range q.ledger.Back(s.First, min(s.Last, before-1)) {
			if err != nil {
				return 0, err
			}
			seen++
			if seen%1024 == 0 && ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if f.matches(e, column) {
				more, err := fn(e)
				if err != nil {
					return 0, err
				}
				if !more {
					return e.Seq, nil
				}
			}
			if seen >= scanLimit {
				return e.Seq, nil
			}
		}
	}
	return 0, nil
}

func (f *Filter) matches(e *store.Entry, column UserColumn) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Key, e.Key) && is(f.Team, e.Team) && is(f.Org, e.Organization) && is(f.EndUser, e.EndUser) &&
		is(f.Provider, e.Provider) && is(f.Status, e.Status) && is(f.ErrorCode, e.ErrorCode) &&
		(f.From.IsZero() || !e.Start.Before(f.From)) && (f.To.IsZero() || e.Start.Before(f.To)) &&
		(f.User == "" || f.User == userOf(e, column)) &&
		(f.MinSpend == nil || e.Cost.Total >= *f.MinSpend) && (f.MaxSpend == nil || e.Cost.Total <= *f.MaxSpend) &&
		(f.Model == "" || f.Model == e.Model || f.Model == e.Group) &&
		(f.Tag == "" || slices.Contains(e.Tags, f.Tag)) &&
		(f.Session == "" || f.Session == e.Session || e.Session == "" && f.Session == uuid.UUID(e.CallID).String())
}

func (q *Embedded) row(e *store.Entry, bodies bool) (Row, error) {
	owns := true
	if e.RequestID != "" {
		seqs, err := q.ledger.ByRequest(e.RequestID)
		if err != nil {
			return Row{}, err
		}
		owns = len(seqs) == 0 || seqs[0] == e.Seq
	}
	if bodies {
		if err := q.ledger.LoadBodies(e); err != nil {
			return Row{}, err
		}
	}
	return NewRow(e, q.users(), owns)
}

// byRequest finds the row with a request id: the provider's, or the call's own.
func (q *Embedded) byRequest(f *Filter) (Page, error) {
	var page Page
	seqs, err := q.ledger.ByRequest(f.RequestID)
	if err != nil {
		return page, fmt.Errorf("find call: %w", err)
	}
	if id, err := uuid.Parse(f.RequestID); err == nil {
		e, err := q.ledger.ByCall(store.CallID(id))
		if err != nil {
			return page, fmt.Errorf("find call: %w", err)
		}
		if e != nil && !slices.Contains(seqs, e.Seq) {
			seqs = append(seqs, e.Seq)
		}
	}
	column := q.users()
	for _, seq := range seqs[:min(len(seqs), f.limit())] {
		e, err := q.ledger.Get(seq)
		if err != nil {
			return page, fmt.Errorf("find call: %w", err)
		}
		if e == nil || !f.matches(e, column) {
			continue
		}
		row, err := q.row(e, f.Bodies)
		if err != nil {
			return page, fmt.Errorf("find call: %w", err)
		}
		if row.RequestID == f.RequestID || row.CallID == f.RequestID {
			page.Rows = append(page.Rows, row)
		}
	}
	return page, nil
}

// Count says how many rows a filter has.
func (q *Embedded) Count(ctx context.Context, f Filter) (int64, bool, error) {
	if f.RequestID != "" {
		p, err := q.Logs(ctx, f)
		return int64(len(p.Rows)), err == nil, err
	}
	if err := q.ledger.CatchUp(); err != nil {
		return 0, false, fmt.Errorf("count calls: %w", err)
	}
	var n int64
	next, err := q.scan(ctx, &f, 1<<64-1, func(*store.Entry) (bool, error) {
		n++
		return true, nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("count calls: %w", err)
	}
	return n, next == 0, nil
}

// rollups gives the daily sums that a ledger keeps.
type rollups struct{ ledger *store.Ledger }

func (q rollups) Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error) {
	dim, err := family(by, &r)
	if err != nil {
		return nil, err
	}
	if err := q.ledger.CatchUp(); err != nil {
		return nil, err
	}
	from, to := r.days()
	all, n := grouped{}, 0
	var ids groupIDs
	for k, s := range q.ledger.Rollups(dim, from, to) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !r.matches(&k) || !fill(&ids, by, &k) {
			continue
		}
		if err := all.add(&ids, s); err != nil {
			return nil, err
		}
	}
	return all.list(len(by)), ctx.Err()
}
