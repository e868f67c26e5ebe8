package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// database holds PostgreSQL against the ledgers of all nodes, and its rows
// against its own daily sums.
func database(ctx context.Context, ledgers, db query.Query, r *Report) error {
	sums := Check{Name: "PostgreSQL's daily sums are those of all ledgers"}
	rows := Check{Name: "PostgreSQL's rows are those of its daily sums"}
	note := func(err error) error {
		var partial *query.PartialError
		if errors.As(err, &partial) {
			r.Notes = append(r.Notes, partial.Error())
			return nil
		}
		return err
	}
	by := []query.Dimension{query.ByDay, query.ByKey}
	// The database is asked last: what is booked between the questions is then in
	// its answer, or in neither.
	want, err := ledgers.Groups(ctx, by, query.Range{})
	incomplete := err
	if err := note(err); err != nil {
		return fmt.Errorf("sum up the ledgers: %w", err)
	}
	have, err := db.Groups(ctx, by, query.Range{})
	incomplete = cmp.Or(incomplete, err)
	if err := note(err); err != nil {
		return fmt.Errorf("sum up the database: %w", err)
	}
	after, err := ledgers.Groups(ctx, by, query.Range{})
	incomplete = cmp.Or(incomplete, err)
	if err := note(err); err != nil {
		return fmt.Errorf("sum up the ledgers: %w", err)
	}
	switch {
	case incomplete != nil:
		sums.Skipped = "not all nodes answered: " + incomplete.Error()
	default:
		between(&sums, index(want), index(have), index(after))
	}

	// Adding up by the kind of call reads the rows, since no daily table has it.
	ofRows, err := db.Groups(ctx, []query.Dimension{query.ByDay, query.ByCallType}, query.Range{})
	if err := note(err); err != nil {
		return fmt.Errorf("sum up the rows: %w", err)
	}
	ofDays, err := db.Groups(ctx, []query.Dimension{query.ByDay}, query.Range{})
	if err := note(err); err != nil {
		return fmt.Errorf("sum up the days: %w", err)
	}
	days := map[string]store.Sums{}
	for _, g := range ofRows {
		s := days[g.IDs[0]]
		s.Add(g.Sums)
		days[g.IDs[0]] = s
	}
	rowsAgainstDays(&rows, days, index(ofDays))
	r.Checks = append(r.Checks, sums, rows)
	return nil
}

func index(groups []query.Group) map[string]store.Sums {
	m := make(map[string]store.Sums, len(groups))
	for _, g := range groups {
		m[strings.Join(g.IDs, " ")] = g.Sums
	}
	return m
}

// between wants each sum of the database to lie between what the ledgers said
// before and after it. Days and keys that no ledger has are other writers'.
func between(c *Check, before, db, after map[string]store.Sums) {
	for _, id := range slices.Sorted(maps.Keys(after)) {
		c.Looked++
		low, have, high := before[id], db[id], after[id]
		if have.Requests < low.Requests || have.Spend < low.Spend || have.Requests > high.Requests || have.Spend > high.Spend {
			c.differs("%s: %d calls of %s USD instead of %d of %s", id, have.Requests, have.Spend, high.Requests, high.Spend)
		}
	}
}

// rowsAgainstDays compares the days of which there are rows. The oldest of them
// may be dropped in part, and rows that were flushed between the two questions
// are in the sums of the newest alone.
func rowsAgainstDays(c *Check, rows, days map[string]store.Sums) {
	dates := slices.Sorted(maps.Keys(rows))
	for i, date := range dates {
		c.Looked++
		have, want := rows[date], days[date]
		short := have.Requests <= want.Requests && have.Spend <= want.Spend
		if (i == 0 || i == len(dates)-1) && short {
			continue
		}
		if have.Requests != want.Requests || have.Spend != want.Spend {
			c.differs("%s: rows of %d calls and %s USD, sums of %d and %s", date, have.Requests, have.Spend, want.Requests, want.Spend)
		}
	}
}
