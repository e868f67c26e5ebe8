package checks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Querier is a connection, or a pool of them.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Filter chooses rows; what is empty chooses all.
type Filter struct {
	Name, Status string
	Skip, Max    int
}

const columns = `health_check_id, model_name, COALESCE(model_id, ''), status, healthy_count, unhealthy_count, error_message, response_time_ms,
  COALESCE(checked_by, ''), checked_at`

// History finds checks, the newest first.
func History(ctx context.Context, db Querier, f Filter) ([]Row, error) {
	return read(ctx, db, `SELECT `+columns+` FROM "LiteLLM_HealthCheckTable"
  WHERE ($1 = '' OR model_name = $1) AND ($2 = '' OR status = $2) ORDER BY checked_at DESC, health_check_id LIMIT $3 OFFSET $4`, f.Name, f.Status, f.Max, f.Skip)
}

// Latest is the last check of each model.
func Latest(ctx context.Context, db Querier) ([]Row, error) {
	return read(ctx, db, `SELECT DISTINCT ON (model_name, model_id) `+columns+` FROM "LiteLLM_HealthCheckTable"
  ORDER BY model_name, model_id, checked_at DESC`)
}

func read(ctx context.Context, db Querier, sql string, args ...any) ([]Row, error) {
	found, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read health checks: %w", err)
	}
	rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (Row, error) {
		var r Row
		err := row.Scan(&r.ID, &r.Name, &r.Model, &r.Status, &r.Healthy, &r.Unhealthy, &r.Error, &r.Millis, &r.By, &r.At)
		r.At = r.At.In(time.UTC)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read health checks: %w", err)
	}
	return rows, nil
}
