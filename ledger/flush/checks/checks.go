// Package checks brings the results of models' health checks into PostgreSQL, in
// LiteLLM's table, and reads them back. Results wait in memory, bounded, while
// the database is away: they say how things were, and nobody is charged by
// them. It checks nothing itself.
package checks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tollgate/config/unit"
	"tollgate/ledger/flush/project"
)

// Row is one check of one model, as LiteLLM_HealthCheckTable has it.
type Row struct {
	ID        string    `json:"health_check_id"`
	Name      string    `json:"model_name"`
	Model     string    `json:"model_id"`
	Status    string    `json:"status"` // healthy, unhealthy
	Healthy   int       `json:"healthy_count"`
	Unhealthy int       `json:"unhealthy_count"`
	Error     *string   `json:"error_message"`
	Millis    *float64  `json:"response_time_ms"`
	By        string    `json:"checked_by"`
	At        time.Time `json:"checked_at"`
}

// maxError is how much of an error's text is kept.
const maxError = 2000

// NewRow is a check that took so long and found a fault, or none.
func NewRow(name, model, fault, by string, at time.Time, took time.Duration) Row {
	millis := float64(took.Microseconds()) / 1000
	r := Row{ID: uuid.NewString(), Name: project.StorableText(name), Model: project.StorableText(model), Status: "healthy", Healthy: 1,
		Millis: &millis, By: project.StorableText(by), At: at.UTC().Truncate(time.Millisecond)}
	if fault != "" {
		if len(fault) > maxError {
			fault = strings.ToValidUTF8(fault[:maxError], "")
		}
		fault = project.StorableText(fault)
		r.Status, r.Healthy, r.Unhealthy, r.Error = "unhealthy", 0, 1, &fault
	}
	return r
}

// Config is what a Writer works with.
type Config struct {
	// Pool lends the connection that this node has for the projection, while it
	// does not project itself.
	Pool interface {
		Acquire(ctx context.Context) (*pgxpool.Conn, error)
	}
	// Ready makes the schema what it has to be; nil: it is.
	Ready  func(ctx context.Context) error
	Clock  unit.Clock
	Logger *slog.Logger
	// Every is the pause between two looks whether anything waits; 0: 5 s.
	Every time.Duration
}

const (
	// maxWaiting rows are kept for a database that is away; the oldest go first.
	maxWaiting = 10_000
	// batch is how many rows one statement writes.
	batch = 500
)

// Writer writes what this node has checked.
type Writer struct {
	cfg Config

	mu      sync.Mutex // guards the fields below
	waiting []Row
	held    time.Time // when this node last wrote in the projection's turn
	fault   string    // that was told last
}

// NewWriter makes a writer. The projection calls its Beside, and Run does the
// rest.
func NewWriter(cfg Config) (*Writer, error) {
	if cfg.Pool == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("health check writer needs a pool, a clock and a logger")
	}
	if cfg.Every == 0 {
		cfg.Every = 5 * time.Second
	}
	return &Writer{cfg: cfg}, nil
}

// Add has rows written soon.
func (w *Writer) Add(rows ...Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, rows...)
	if over := len(w.waiting) - maxWaiting; over > 0 {
		w.waiting = append([]Row(nil), w.waiting[over:]...)
	}
}

// Waiting is how many rows are not written yet.
func (w *Writer) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

// Beside writes what waits, on the connection of whoever projects. A fault is
// told and tried again; it ends the projection's turn only when the connection
// is gone.
func (w *Writer) Beside(ctx context.Context, conn *pgx.Conn) error {
	w.mu.Lock()
	w.held = w.cfg.Clock.Now()
	w.mu.Unlock()
	err := w.write(ctx, conn)
	w.tell(ctx, err)
	if err != nil && (conn.IsClosed() || ctx.Err() != nil) {
		return err
	}
	return nil
}

// After has something else written first in the projection's turn.
func (w *Writer) After(first func(ctx context.Context, conn *pgx.Conn) error) func(ctx context.Context, conn *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		if err := first(ctx, conn); err != nil {
			return err
		}
		return w.Beside(ctx, conn)
	}
}

// Run writes on a node that does not project.
func (w *Writer) Run(ctx context.Context) error {
	t := time.NewTicker(w.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		w.mu.Lock()
		idle := len(w.waiting) == 0 || w.cfg.Clock.Now().Sub(w.held) < 3*w.cfg.Every
		w.mu.Unlock()
		if !idle {
			w.tell(ctx, w.alone(ctx))
		}
	}
}

func (w *Writer) alone(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if w.cfg.Ready != nil {
		if err := w.cfg.Ready(limit); err != nil {
			return fmt.Errorf("health checks: %w", err)
		}
	}
	conn, err := w.cfg.Pool.Acquire(limit)
	if err != nil {
		return fmt.Errorf("health checks: connect: %w", err)
	}
	defer conn.Release()
	return w.write(limit, conn.Conn())
}

// tell logs a fault when it is news.
func (w *Writer) tell(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	news := text != w.fault
	w.fault = text
	w.mu.Unlock()
	if news && err != nil {
		w.cfg.Logger.Warn("health checks not written to PostgreSQL, they are tried again", "error", err)
	}
}

// insert does nothing for a row that is there: an answer may have been lost.
const insert = `INSERT INTO "LiteLLM_HealthCheckTable" (health_check_id, model_name, model_id, status, healthy_count, unhealthy_count,
  error_message, response_time_ms, checked_by, checked_at, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10) ON CONFLICT (health_check_id) DO NOTHING`

// write writes all that waits, in batches each of which is written as a whole.
func (w *Writer) write(ctx context.Context, conn *pgx.Conn) error {
	for {
		w.mu.Lock()
		rows := append([]Row(nil), w.waiting[:min(len(w.waiting), batch)]...)
		w.mu.Unlock()
		if len(rows) == 0 {
			return nil
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for i := range rows {
				r := &rows[i]
				if _, err := tx.Exec(ctx, insert, r.ID, r.Name, r.Model, r.Status, r.Healthy, r.Unhealthy, r.Error, r.Millis, r.By, r.At); err != nil {
					return fmt.Errorf("write a health check: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.written(rows)
	}
}

// written drops rows from what waits. More may have come and old ones may have
// gone since they were taken.
func (w *Writer) written(rows []Row) {
	done := make(map[string]bool, len(rows))
	for i := range rows {
		done[rows[i].ID] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.waiting) && done[w.waiting[n].ID] {
		n++
	}
	w.waiting = append([]Row(nil), w.waiting[n:]...)
}
