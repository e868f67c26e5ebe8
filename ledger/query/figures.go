package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// grouper is what all figures follow from.
type grouper interface {
	Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error)
}

// figures answers every question for sums from the groups of one place. An
// answer that lacks something is given with the error that says so.
type figures struct{ grouper }

// Sums adds up the days by one dimension, the dearest first; days in their order.
func (q figures) Sums(ctx context.Context, by Dimension, r Range) ([]Sum, error) {
	groups, err := q.Groups(ctx, []Dimension{by}, r)
	if failed(err) {
		return nil, fmt.Errorf("sum spend: %w", err)
	}
	out := make([]Sum, 0, len(groups))
	for _, g := range groups {
		if g.IDs[0] != "" {
			out = append(out, Sum{g.IDs[0], g.Sums})
		}
	}
	slices.SortFunc(out, func(a, b Sum) int {
		if by == ByDay {
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Or(cmp.Compare(b.Spend, a.Spend), cmp.Compare(a.ID, b.ID))
	})
	if r.Limit > 0 && len(out) > r.Limit {
		out = out[:r.Limit]
	}
	return out, err
}

// Total adds up everything in the range.
func (q figures) Total(ctx context.Context, r Range) (store.Sums, error) {
	groups, err := q.Groups(ctx, nil, r)
	if failed(err) {
		return store.Sums{}, fmt.Errorf("sum spend: %w", err)
	}
	var sum store.Sums
	for _, g := range groups {
		sum.Add(g.Sums)
	}
	return sum, err
}

// Days sums the rows of a filter by day.
func (q figures) Days(ctx context.Context, f Filter) ([]DaySummary, error) {
	r := Range{From: f.From, To: f.To, Key: f.Key, User: f.User, Team: f.Team}
	if !r.To.IsZero() {
		r.To = r.To.Add(-time.Nanosecond) // the filter's end is not part of it
	}
	groups, err := q.Groups(ctx, []Dimension{ByDay, ByKey, ByUser, ByModel}, r)
	if failed(err) {
		return nil, fmt.Errorf("sum days: %w", err)
	}
	days := map[string]*DaySummary{}
	for i := range groups {
		g := &groups[i]
		date, key, user, model := g.IDs[0], g.IDs[1], g.IDs[2], g.IDs[3]
		d := days[date]
		if d == nil {
			d = newDay(date)
			days[date] = d
		}
		d.Spend = d.Spend.Add(g.Spend)
		d.Keys[key] = d.Keys[key].Add(g.Spend)
		d.Users[user] = d.Users[user].Add(g.Spend)
		d.Models[model] = d.Models[model].Add(g.Spend)
	}
	return fillDays(days, r), err
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

// maxEntitiesAsked bounds the entities that are asked for one by one; more are
// sorted out of the sums of all.
const maxEntitiesAsked = 20

// Activity breaks the days down. Calls that belong to no team, organization, end
// user or tag are not part of an activity by those.
func (q figures) Activity(ctx context.Context, f ActivityFilter) (*Activity, error) {
	entity := cmp.Or(f.Entity, ByUser)
	r := Range{From: f.From, To: f.To, Key: f.Key, Model: f.Model}
	by := []Dimension{ByDay, entity, ByKey, ByModel, ByModelGroup, ByProvider, ByEndpoint}
	ids := slices.Compact(slices.Sorted(slices.Values(f.IDs)))
	ranges := []Range{r}
	if n := len(ids); n > 0 && n <= maxEntitiesAsked {
		ranges = ranges[:0]
		for _, id := range ids {
			ranges = append(ranges, r.of(entity, id))
		}
	}
	a := newActivity()
	var lacks error
	for _, r := range ranges {
		groups, err := q.Groups(ctx, by, r)
		if failed(err) {
			return nil, fmt.Errorf("daily activity: %w", err)
		}
		lacks = cmp.Or(err, lacks)
		for i := range groups {
			id := groups[i].IDs[1]
			if len(ids) > 0 && !slices.Contains(ids, id) || id == "" && entity != ByUser {
				continue
			}
			a.add(&groups[i])
		}
	}
	return a.page(f.Page, f.PageSize), lacks
}

// of narrows a range to one entity.
func (r Range) of(entity Dimension, id string) Range {
	switch entity {
	case ByUser:
		r.User = id
	case ByTeam:
		r.Team = id
	case ByOrganization:
		r.Org = id
	case ByEndUser:
		r.EndUser = id
	case ByTag:
		r.Tag = id
	}
	return r
}
