package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// ErrCursor says that a page's cursor was not made here.
var ErrCursor = errors.New("cursor is not one of ours")

// Embedded answers from one node's ledger.
type Embedded struct {
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
	return &Embedded{ledger: l, users: users}
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
	limit := f.limit()
	next, err := q.scan(ctx, &f, before, func(e *store.Entry) (bool, error) {
		row, err := q.row(e, f.Bodies)
		if err != nil {
			return false, err
		}
		page.Rows = append(page.Rows, row)
		return len(page.Rows) < limit, nil
	})
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
		is(f.Provider, e.Provider) && is(f.Status, e.Status) &&
		(f.From.IsZero() || !e.Start.Before(f.From)) && (f.To.IsZero() || e.Start.Before(f.To)) &&
		(f.User == "" || f.User == userOf(e, column)) &&
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

// rollups walks the daily sums of a range.
func (q *Embedded) rollups(ctx context.Context, dim store.RollupDim, r Range, fn func(*store.RollupKey, store.Sums)) error {
	if err := q.ledger.CatchUp(); err != nil {
		return err
	}
	from, to := r.days()
	n := 0
	for k, s := range q.ledger.Rollups(dim, from, to) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.matches(&k) {
			fn(&k, s)
		}
	}
	return ctx.Err()
}

func (r *Range) days() (from, to int32) {
	from, to = -1<<31, 1<<31-1
	if !r.From.IsZero() {
		from = store.DayOf(r.From)
	}
	if !r.To.IsZero() {
		to = store.DayOf(r.To)
	}
	return from, to
}

func (r *Range) matches(k *store.RollupKey) bool {
	return (r.Key == "" || r.Key == k.Key) && (r.Model == "" || r.Model == k.Model || r.Model == k.Group) &&
		(r.User == "" || r.User == k.User) && (r.Team == "" || r.Team == k.Team)
}

// family is where a dimension's sums lie.
func (d Dimension) family() store.RollupDim {
	switch d {
	case ByEndUser:
		return store.ByEndUser
	case ByTag:
		return store.ByTag
	}
	return store.ByCaller
}

func (d Dimension) of(k *store.RollupKey) string {
	switch d {
	case ByKey:
		return k.Key
	case ByUser:
		return k.User
	case ByTeam:
		return k.Team
	case ByOrganization:
		return k.Org
	case ByEndUser, ByTag:
		return k.Entity
	case ByModel:
		return k.Model
	case ByModelGroup:
		return k.Group
	case ByProvider:
		return k.Provider
	case ByDay:
		return k.Date()
	}
	return ""
}

// Sums adds up the days by one dimension, the dearest first; days in their order.
func (q *Embedded) Sums(ctx context.Context, by Dimension, r Range) ([]Sum, error) {
	sums := map[string]*store.Sums{}
	err := q.rollups(ctx, by.family(), r, func(k *store.RollupKey, s store.Sums) {
		id := by.of(k)
		if sums[id] == nil {
			sums[id] = new(store.Sums)
		}
		sums[id].Add(s)
	})
	if err != nil {
		return nil, fmt.Errorf("sum spend: %w", err)
	}
	out := make([]Sum, 0, len(sums))
	for id, s := range sums {
		if id != "" {
			out = append(out, Sum{id, *s})
		}
	}
	return sortSums(out, by, r.Limit), nil
}

func sortSums(out []Sum, by Dimension, limit int) []Sum {
	slices.SortFunc(out, func(a, b Sum) int {
		if by == ByDay {
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Or(cmp.Compare(b.Spend, a.Spend), cmp.Compare(a.ID, b.ID))
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// Total adds up everything in the range.
func (q *Embedded) Total(ctx context.Context, r Range) (store.Sums, error) {
	var sum store.Sums
	err := q.rollups(ctx, store.ByCaller, r, func(_ *store.RollupKey, s store.Sums) { sum.Add(s) })
	if err != nil {
		return store.Sums{}, fmt.Errorf("sum spend: %w", err)
	}
	return sum, nil
}

// Days sums the rows of a filter by day.
func (q *Embedded) Days(ctx context.Context, f Filter) ([]DaySummary, error) {
	r := Range{From: f.From, To: f.To, Key: f.Key, User: f.User, Team: f.Team}
	if !r.To.IsZero() {
		r.To = r.To.Add(-time.Nanosecond) // the filter's end is not part of it
	}
	days := map[string]*DaySummary{}
	err := q.rollups(ctx, store.ByCaller, r, func(k *store.RollupKey, s store.Sums) {
		d := days[k.Date()]
		if d == nil {
			d = newDay(k.Date())
			days[k.Date()] = d
		}
		d.Spend = d.Spend.Add(s.Spend)
		d.Keys[k.Key] = d.Keys[k.Key].Add(s.Spend)
		d.Users[k.User] = d.Users[k.User].Add(s.Spend)
		d.Models[k.Model] = d.Models[k.Model].Add(s.Spend)
	})
	if err != nil {
		return nil, fmt.Errorf("sum days: %w", err)
	}
	return fillDays(days, r), nil
}

func newDay(date string) *DaySummary {
	return &DaySummary{Date: date, Keys: map[string]unit.Money{}, Users: map[string]unit.Money{}, Models: map[string]unit.Money{}}
}

// maxFilledDays bounds the empty days that are put in.
const maxFilledDays = 3660

// fillDays puts the days in order and adds the empty ones, when the range says
// where it begins and ends.
func fillDays(days map[string]*DaySummary, r Range) []DaySummary {
	if from, to := r.days(); !r.From.IsZero() && !r.To.IsZero() && to-from < maxFilledDays {
		for d := from; d <= to; d++ {
			date := (&store.RollupKey{Day: d}).Date()
			if days[date] == nil {
				days[date] = newDay(date)
			}
		}
	}
	out := make([]DaySummary, 0, len(days))
	for _, d := range days {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b DaySummary) int { return cmp.Compare(a.Date, b.Date) })
	return out
}
