//go:build unix

package pgtest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ask runs SQL in a session of its own and gives the rows of its last statement
// as psql shows them: text, and nothing for NULL.
func Ask(url, sql string) ([][]string, error) {
	ctx, end := context.WithTimeout(context.Background(), 30*time.Second)
	defer end()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer c.Close(ctx)
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	var rows [][]string
	for _, r := range results {
		rows = rows[:0]
		for _, values := range r.Rows {
			row := make([]string, len(values))
			for i, v := range values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
