package query

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tollgate/config/unit"
)

// Fallback asks the database, and the ledgers while the database cannot answer.
// Those keep rows and daily sums for some time after they were flushed, so what
// is missing is old.
type Fallback struct {
	figures
	e *either
}

var _ Query = (*Fallback)(nil)

// NewFallback makes a Query of the two.
func NewFallback(database, ledgers Query, clock unit.Clock, logger *slog.Logger) *Fallback {
	e := &either{database: database, ledgers: ledgers, clock: clock, logger: logger}
	return &Fallback{figures{e}, e}
}

// restFor is how long a database that was not reachable is left alone: each
// question would wait for it in vain.
const restFor = 5 * time.Second

type either struct {
	database, ledgers Query
	clock             unit.Clock
	logger            *slog.Logger

	mu      sync.Mutex // guards what follows
	resting time.Time  // until when the database is not asked
	why     error
}

// ask puts a question to the one that can answer. A cursor belongs to the place
// that made it.
func askEither[T any](ctx context.Context, e *either, cursor string, fn func(Query) (T, error)) (T, error) {
	why := e.rests()
	switch {
	case strings.HasPrefix(cursor, pgCursorMark) && !strings.Contains(cursor, "="): // a ledger's names its node
		return fn(e.database)
	case cursor == "" && why == nil:
		v, err := fn(e.database)
		if !failed(err) || asker(err) || ctx.Err() != nil {
			return v, err
		}
		why = err
		e.failed(err)
	}
	v, err := fn(e.ledgers) // also a page after one that they gave
	lacks := PartialError{Instead: true, Err: why}
	var partial *PartialError
	switch {
	case errors.As(err, &partial):
		lacks.Missing, lacks.Copies, lacks.Err = partial.Missing, partial.Copies, errors.Join(why, partial.Err)
	case err != nil:
		return v, err
	}
	return v, &lacks
}

// rests says why the database is not asked, nil when it is.
func (e *either) rests() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.clock.Now().Before(e.resting) {
		return e.why
	}
	return nil
}

// failed remembers that the database did not answer. A statement that it
// refused, or did not finish in time, says nothing about the next one.
func (e *either) failed(err error) {
	e.logger.Warn("spend is answered from the ledgers", "error", err)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "57P") && !strings.HasPrefix(refused.Code, "53") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resting, e.why = e.clock.Now().Add(restFor), err
}

// Groups implements the sums.
func (e *either) Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error) {
	return askEither(ctx, e, "", func(q Query) ([]Group, error) { return q.Groups(ctx, by, r) })
}

// Logs gives rows newest first.
func (q *Fallback) Logs(ctx context.Context, f Filter) (Page, error) {
	page, err := askEither(ctx, q.e, f.Cursor, func(q Query) (Page, error) { return q.Logs(ctx, f) })
	if f.RequestID == "" || len(page.Rows) > 0 || !lagging(err) {
		return page, err
	}
	// One call is quickly found where it was booked, when that has not come here.
	found, wrong := q.e.ledgers.Logs(ctx, f)
	if failed(wrong) || len(found.Rows) == 0 {
		return page, err
	}
	lacks := PartialError{Instead: true, Err: err}
	var partial *PartialError
	if errors.As(wrong, &partial) {
		lacks.Missing, lacks.Copies = partial.Missing, partial.Copies
	}
	return found, &lacks
}

// lagging reports an answer of the database that lacks what nodes have booked.
func lagging(err error) bool {
	var partial *PartialError
	return errors.As(err, &partial) && !partial.Instead
}

// Count says how many rows a filter has.
func (q *Fallback) Count(ctx context.Context, f Filter) (int64, bool, error) {
	c, err := askEither(ctx, q.e, "", func(q Query) (counted, error) {
		n, exact, err := q.Count(ctx, f)
		return counted{n, exact}, err
	})
	return c.n, c.exact, err
}
