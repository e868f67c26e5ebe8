// Package query answers questions about what was spent: rows, daily sums,
// activity. It has one interface and an implementation for each place where the
// books may be: the node's own ledger, several nodes', or PostgreSQL. It only
// reads, and a reader never makes a booking wait. It knows nothing of HTTP.
package query

import (
	"context"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// Query is what the spend endpoints, the console and the command line ask.
// Every answer holds all that was booked before the question came in.
type Query interface {
	// Logs gives rows newest first.
	Logs(ctx context.Context, f Filter) (Page, error)
	// Count says how many rows a filter has; exact is false when there are more
	// than were looked at.
	Count(ctx context.Context, f Filter) (n int64, exact bool, err error)
	// Groups adds up the days of a range by several dimensions together, in no
	// order; none gives one group. The other sums follow from it. Sums by end
	// user or by tag are kept apart from those by user, team and organization:
	// ErrNotKept says that two were asked for at once.
	Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error)
	// Days sums the rows of a filter by day, oldest first, days without calls
	// included. Only the filter's key, user, team and times are looked at, the
	// times by the day.
	Days(ctx context.Context, f Filter) ([]DaySummary, error)
	// Sums adds up the days by one dimension, the dearest first.
	Sums(ctx context.Context, by Dimension, r Range) ([]Sum, error)
	// Total adds up everything in the range.
	Total(ctx context.Context, r Range) (store.Sums, error)
	// Activity breaks the days down as LiteLLM's daily activity pages do.
	Activity(ctx context.Context, f ActivityFilter) (*Activity, error)
}

// Filter chooses rows. Empty fields do not restrict.
type Filter struct {
	RequestID string // a row's request id, or the call's own id
	Key       string // hash
	User      string // as in the row's user column
	Team      string
	Org       string
	EndUser   string
	Session   string
	Tag       string
	Model     string // upstream model or model group
	Provider  string
	Status    string
	ErrorCode string // HTTP status of a failure, "429"
	MinSpend  *unit.Money
	MaxSpend  *unit.Money
	From, To  time.Time // the call's start: From <= start < To
	Limit     int       // rows a page, default 100, at most 1000
	Cursor    string    // Next of the page before
	Skip      int       // leave out so many rows, at most 100,000, before the first
	Bodies    bool      // load messages, response and request
}

// Page is one page of rows.
type Page struct {
	Rows []Row
	// Next is where the following page starts, "" when there is none. A page
	// may be short, or even empty, and still have a next one: a rare filter is
	// searched in bounded steps.
	Next string
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	// scanLimit bounds the entries that one page or count looks at.
	scanLimit = 200_000
	// maxSkip bounds what is counted off before a page: cursors go further.
	maxSkip = 100_000
)

func (f *Filter) skip() int { return min(max(f.Skip, 0), maxSkip) }

func (f *Filter) limit() int {
	switch {
	case f.Limit <= 0:
		return defaultLimit
	case f.Limit > maxLimit:
		return maxLimit
	}
	return f.Limit
}

// Range is a stretch of UTC days, both included; zero times are open ends.
// Limit 0 gives all.
type Range struct {
	From, To time.Time
	Key      string // restrict to one key's hash
	User     string
	Team     string
	Org      string
	EndUser  string
	Tag      string
	Model    string // upstream model or model group
	Limit    int
}

// Sum is what one key, user, … amounts to.
type Sum struct {
	ID string
	store.Sums
}

// DaySummary is one day of /spend/logs with summarize=true.
type DaySummary struct {
	Date   string
	Spend  unit.Money
	Keys   map[string]unit.Money
	Users  map[string]unit.Money
	Models map[string]unit.Money
}
