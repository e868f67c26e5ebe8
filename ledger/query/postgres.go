package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pool lends connections; a *pgxpool.Pool does.
type Pool interface {
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// PostgresConfig says how the database is asked.
type PostgresConfig struct {
	Pool Pool
	// Settle returns when all calls booked so far, on any node, stand in the
	// database. An error says that some may not; a *PartialError names the nodes
	// whose calls they are. Nil: the database holds everything.
	Settle func(ctx context.Context) error
	// SettleWithin bounds that wait, default 2 s.
	SettleWithin time.Duration
	// Timeout bounds one statement, default 30 s.
	Timeout time.Duration
	// AcquireWithin bounds the wait for a connection, default 3 s.
	AcquireWithin time.Duration
}

// WithDefaults fills what is not set.
func (c PostgresConfig) WithDefaults() PostgresConfig {
	if c.SettleWithin == 0 {
		c.SettleWithin = 2 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.AcquireWithin == 0 {
		c.AcquireWithin = 3 * time.Second
	}
	return c
}

// Postgres answers from LiteLLM's tables in PostgreSQL: rows from the spend
// logs, sums from the daily tables. It never writes.
type Postgres struct {
	figures
	db *database
}

var _ Query = (*Postgres)(nil)

// NewPostgres makes a Query of a database that the ledgers are flushed to.
func NewPostgres(cfg PostgresConfig) *Postgres {
	db := &database{cfg.WithDefaults()}
	return &Postgres{figures{db}, db}
}

// database runs one read at a time.
type database struct{ cfg PostgresConfig }

// settle waits until what has been booked is there. What it returns belongs to
// an answer that is given all the same.
func (d *database) settle(ctx context.Context) *PartialError {
	if d.cfg.Settle == nil {
		return nil
	}
	ctx, end := context.WithTimeout(ctx, d.cfg.SettleWithin)
	defer end()
	err := d.cfg.Settle(ctx)
	var partial *PartialError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &partial):
		return partial
	}
	return &PartialError{Missing: []string{"calls-of-the-last-moments"}, Err: err}
}

// read runs fn in a transaction that cannot write and does not run for ever.
func (d *database) read(ctx context.Context, what string, fn func(ctx context.Context, tx pgx.Tx) error) error {
	// A little longer than the server's own bound, whose error says more.
	ctx, end := context.WithTimeout(ctx, d.cfg.Timeout+d.cfg.AcquireWithin+time.Second)
	defer end()
	waiting, got := context.WithTimeout(ctx, d.cfg.AcquireWithin)
	tx, err := d.cfg.Pool.BeginTx(waiting, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	got()
	if err != nil {
		return fmt.Errorf("%s: connect to PostgreSQL: %w", what, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has only read
	bound := fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL TimeZone = 'UTC'", d.cfg.Timeout.Milliseconds())
	if _, err := tx.Exec(ctx, bound); err != nil {
		return fmt.Errorf("%s: prepare the session: %w", what, err)
	}
	if err := fn(ctx, tx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// where gathers conditions and their arguments.
type where struct {
	sql  []byte
	args []any
}

// and adds a condition, in which ? stands for the next argument.
func (w *where) and(condition string, args ...any) {
	if len(w.sql) == 0 {
		w.sql = append(w.sql, " WHERE "...)
	} else {
		w.sql = append(w.sql, " AND "...)
	}
	first := len(w.args)
	for i := range len(condition) {
		if condition[i] == '?' {
			first++
			w.sql = fmt.Appendf(w.sql, "$%d", first)
		} else {
			w.sql = append(w.sql, condition[i])
		}
	}
	w.args = append(w.args, args...)
}

// is adds a condition unless the value is empty.
func (w *where) is(column, value string) {
	if value != "" {
		w.and(column+" = ?", value)
	}
}

func (w *where) String() string { return string(w.sql) }
