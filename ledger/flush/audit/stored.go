package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// cursorName is the row of gateway_state_cursor that says how far the log is
// written.
const cursorName = "audit"

const columns = `id, updated_at, changed_by, changed_by_api_key, action, table_name, object_id, before_value::text, updated_values::text`

// stored finds rows in PostgreSQL. What is not written there yet is added from
// this node's records where the order is that of time.
func (l *Log) stored(ctx context.Context, f Filter) (Page, error) {
	// One snapshot: else a row that is written meanwhile would be missing or twice.
	tx, err := l.database.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Page{}, fmt.Errorf("read the audit log: %w", err)
	}
	defer rollback(ctx, tx)
	var written int64
	err = tx.QueryRow(ctx, "SELECT index FROM gateway_state_cursor WHERE name = $1", cursorName).Scan(&written)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Page{}, fmt.Errorf("read the audit log: %w", err)
	}
	var fresh []head
	if f.Sort == "" || f.Sort == "updated_at" {
		if fresh, err = l.heads(uint64(written), f); err != nil {
			return Page{}, err
		}
	}
	where, args := f.sql()
	page := Page{Rows: []Row{}}
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM "LiteLLM_AuditLog" WHERE `+where, args...).Scan(&page.Total); err != nil {
		return Page{}, fmt.Errorf("count the audit log: %w", err)
	}
	older := page.Total
	page.Total += len(fresh)
	// The rows are those of the database and the fresh ones, one after the other.
	before := 0 // how many stand before the database's
	if !f.Ascending {
		before = len(fresh)
		if page.Rows, err = l.load(cut(fresh, f.Skip, f.Max)); err != nil {
			return Page{}, err
		}
	}
	if room := f.Max - len(page.Rows); room > 0 && f.Skip+len(page.Rows)-before < older {
		rows, err := f.read(ctx, tx, where, args, max(f.Skip-before, 0), room)
		if err != nil {
			return Page{}, err
		}
		page.Rows = append(page.Rows, rows...)
	}
	if f.Ascending {
		last, err := l.load(cut(fresh, f.Skip+len(page.Rows)-older, f.Max-len(page.Rows)))
		if err != nil {
			return Page{}, err
		}
		page.Rows = append(page.Rows, last...)
	}
	return page, nil
}

func cut(heads []head, skip, most int) []head {
	if skip < 0 {
		return nil
	}
	skip = min(skip, len(heads))
	return heads[skip:min(skip+most, len(heads))]
}

func (l *Log) storedOne(ctx context.Context, id string) (Row, error) {
	tx, err := l.database.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return Row{}, fmt.Errorf("read the audit log: %w", err)
	}
	defer rollback(ctx, tx)
	rows, err := tx.Query(ctx, `SELECT `+columns+` FROM "LiteLLM_AuditLog" WHERE id = $1`, id)
	if err != nil {
		return Row{}, fmt.Errorf("read the audit log: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, scanRow)
	if errors.Is(err, pgx.ErrNoRows) {
		return Row{}, ErrNone
	}
	if err != nil {
		return Row{}, fmt.Errorf("read the audit log: %w", err)
	}
	return row, nil
}

// sql is the filter as a condition.
func (f *Filter) sql() (where string, args []any) {
	parts := []string{"true"}
	add := func(condition string, v any) {
		args = append(args, v)
		parts = append(parts, condition+" $"+strconv.Itoa(len(args)))
	}
	for _, c := range [][2]string{{"changed_by", f.By}, {"changed_by_api_key", f.ByKey}, {"action", f.Action}, {"table_name", f.Table}, {"object_id", f.Object}} {
		if c[1] != "" {
			add(c[0]+" =", strings.ReplaceAll(strings.ToValidUTF8(c[1], "\ufffd"), "\x00", "\ufffd"))
		}
	}
	if !f.From.IsZero() {
		add("updated_at >=", f.From.UTC())
	}
	if !f.To.IsZero() {
		add("updated_at <=", f.To.UTC())
	}
	return strings.Join(parts, " AND "), args
}

func (f *Filter) read(ctx context.Context, tx pgx.Tx, where string, args []any, skip, most int) ([]Row, error) {
	column, way := "updated_at", "DESC"
	if slices.Contains(Sorts(), f.Sort) {
		column = f.Sort
	}
	if f.Ascending {
		way = "ASC"
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT %s FROM "LiteLLM_AuditLog" WHERE %s ORDER BY %s %s, id %s OFFSET %d LIMIT %d`,
		columns, where, column, way, way, skip, most), args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	out, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return out, nil
}

func scanRow(r pgx.CollectableRow) (Row, error) {
	var row Row
	var at time.Time
	var before, after *string
	err := r.Scan(&row.ID, &at, &row.By, &row.ByKey, &row.Action, &row.Table, &row.Object, &before, &after)
	row.At = Moment(at)
	if before != nil {
		row.Before = json.RawMessage(*before)
	}
	if after != nil {
		row.UpdatedTo = json.RawMessage(*after)
	}
	return row, err
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer end()
	_ = tx.Rollback(ctx) // what it says is no news after a fault
}
