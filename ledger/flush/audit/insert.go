package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tollgate/ledger/flush/project"
)

// insert writes rows. alone: when the database refuses them they are left out.
func (w *Writer) insert(ctx context.Context, tx pgx.Tx, rows []Row, alone bool) error {
	if !alone {
		return insertRows(ctx, tx, rows)
	}
	for i := range rows {
		inner, err := tx.Begin(ctx)
		if err != nil {
			return fmt.Errorf("audit log: begin: %w", err)
		}
		if err = insertRows(ctx, inner, rows[i:i+1]); err == nil {
			err = inner.Commit(ctx)
		}
		if err == nil {
			continue
		}
		rollback(ctx, inner)
		if !content(err) {
			return err
		}
		w.note(func(w *Writer) { w.stats.Refused++ })
		w.cfg.Logger.Error("audit record refused by PostgreSQL", "id", rows[i].ID, "table", rows[i].Table, "error", err)
	}
	return nil
}

func insertRows(ctx context.Context, tx pgx.Tx, rows []Row) error {
	data, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("audit log: encode: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO "LiteLLM_AuditLog" (id, updated_at, changed_by, changed_by_api_key, action, table_name, object_id, before_value, updated_values)
		SELECT id, updated_at AT TIME ZONE 'UTC', changed_by, changed_by_api_key, action, table_name, object_id, before_value, updated_values
		FROM jsonb_to_recordset($1::jsonb) AS r(id text, updated_at timestamptz, changed_by text, changed_by_api_key text, action text, table_name text,
			object_id text, before_value jsonb, updated_values jsonb)
		ON CONFLICT (id) DO NOTHING`, string(project.StorableJSON(data)))
	if err != nil {
		return fmt.Errorf("audit log: write: %w", err)
	}
	return nil
}

// content reports whether PostgreSQL refused what it was given, rather than
// being unable to take anything.
func content(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return false
	}
	return pg.Code[:2] == "22" || pg.Code[:2] == "23" || pg.Code[:2] == "54"
}
