package query_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
	"tollgate/ledger/query"
)

// fixed is a place that gives the same page to every question.
type fixed struct {
	query.Query
	page  query.Page
	err   error
	asked *int
}

func (f fixed) Logs(context.Context, query.Filter) (query.Page, error) {
	*f.asked++
	return f.page, f.err
}

func TestACallIsFoundInTheLedgersWhileTheDatabaseLags(t *testing.T) {
	late := &query.PartialError{Missing: []string{"n2"}}
	row := query.Page{Rows: []query.Row{{RequestID: "r"}}}
	var partial *query.PartialError
	for name, x := range map[string]struct {
		database, ledgers fixed
		filter            query.Filter
		rows, asked       int
		instead           bool
	}{
		"it is in the database":  {database: fixed{page: row, err: late}, filter: query.Filter{RequestID: "r"}, rows: 1},
		"nothing lags":           {database: fixed{}, ledgers: fixed{page: row}, filter: query.Filter{RequestID: "r"}},
		"it has not come there":  {database: fixed{err: late}, ledgers: fixed{page: row}, filter: query.Filter{RequestID: "r"}, rows: 1, asked: 1, instead: true},
		"it is nowhere":          {database: fixed{err: late}, filter: query.Filter{RequestID: "r"}, asked: 1},
		"a list is not one call": {database: fixed{err: late}, ledgers: fixed{page: row}},
	} {
		t.Run(name, func(t *testing.T) {
			x.database.asked, x.ledgers.asked = new(int), new(int)
			q := query.NewFallback(x.database, x.ledgers, unit.ClockFunc(time.Now), slog.New(slog.DiscardHandler))
			page, err := q.Logs(t.Context(), x.filter)
			require.Len(t, page.Rows, x.rows)
			require.Equal(t, x.asked, *x.ledgers.asked)
			if x.database.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, &partial)
			require.Equal(t, x.instead, partial.Instead)
		})
	}
}
