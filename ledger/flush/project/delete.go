package project

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// remove deletes the rows of objects that are gone. Only rows that were written
// or taken over are ever deleted.
func (w *work) remove(ctx context.Context, pl *plan) error {
	slices.Sort(pl.gone)
	for part := range slices.Chunk(pl.gone, batchRows) {
		if err := w.removeBatch(ctx, pl.kind, part); err != nil {
			return err
		}
		w.progress(pl.kind, len(part))
	}
	return nil
}

func (w *work) removeBatch(ctx context.Context, k *kind, ids []string) error {
	err := w.removeNow(ctx, k, ids)
	if err == nil || !content(err) {
		return err
	}
	if len(ids) == 1 {
		// Rows of other tools point at it: it stays, and is tried again when the
		// next node takes the work up.
		w.p.note(func(s *Stats) { s.Refused++ })
		w.p.cfg.Logger.Warn("row not deleted", "table", k.table, "id", shortID(ids[0]), "error", err)
		return nil
	}
	for i := range ids {
		if err := w.removeBatch(ctx, k, ids[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) removeNow(ctx context.Context, k *kind, ids []string) error {
	tx, err := w.begin(ctx)
	if err != nil {
		return err
	}
	defer rollback(ctx, tx)
	stored := make([]string, len(ids))
	for i, id := range ids {
		stored[i] = storableText(id)
	}
	known, err := w.marked(ctx, tx, k, stored)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return nil
	}
	where, args := k.where(known)
	if k.archive != "" {
		columns, err := w.shared(ctx, k)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %q (id, deleted_at, %s) SELECT gen_random_uuid()::text, now() AT TIME ZONE 'UTC', %s FROM %q t WHERE %s`,
			k.archive, quoted(columns), prefixed("t", columns), k.table, where), args...)
		if err != nil {
			return fmt.Errorf("projection: keep deleted rows of %s: %w", k.table, err)
		}
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`DELETE FROM %q t WHERE %s`, k.table, where), args...); err != nil {
		return fmt.Errorf("projection: delete from %s: %w", k.table, err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM gateway_projected WHERE kind = $1 AND id = ANY($2)", k.name, known); err != nil {
		return fmt.Errorf("projection: forget rows of %s: %w", k.table, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("projection: commit deletions from %s: %w", k.table, err)
	}
	return nil
}

// marked are those of ids whose rows are the gateway's to delete.
func (w *work) marked(ctx context.Context, tx pgx.Tx, k *kind, ids []string) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT id FROM gateway_projected WHERE kind = $1 AND id = ANY($2) ORDER BY id", k.name, ids)
	if err != nil {
		return nil, fmt.Errorf("projection: look up rows of %s: %w", k.table, err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("projection: look up rows of %s: %w", k.table, err)
	}
	return known, nil
}

// where names rows by their ids. An id of two parts has the parts of the
// primary key, in the order in which the state joins them.
func (k *kind) where(ids []string) (sql string, args []any) {
	if len(k.key) == 1 {
		return fmt.Sprintf("t.%q = ANY($1)", k.key[0]), []any{ids}
	}
	first, second := make([]string, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		first[i], second[i], _ = strings.Cut(id, "\x1f")
	}
	return fmt.Sprintf("(t.%q, t.%q) IN (SELECT a, b FROM unnest($1::text[], $2::text[]) AS p(a, b))", k.key[0], k.key[1]), []any{first, second}
}

// shared are the columns that a table has in common with its archive.
func (w *work) shared(ctx context.Context, k *kind) ([]string, error) {
	if c, ok := w.archives[k.table]; ok {
		return c, nil
	}
	rows, err := w.db.Query(ctx, `SELECT a.attname::text FROM pg_attribute a JOIN pg_attribute b ON b.attname = a.attname AND b.atttypid = a.atttypid
		WHERE a.attrelid = to_regclass($1) AND b.attrelid = to_regclass($2) AND a.attnum > 0 AND b.attnum > 0
		AND NOT a.attisdropped AND NOT b.attisdropped AND a.attname NOT IN ('id', 'deleted_at') ORDER BY 1`, `"`+k.table+`"`, `"`+k.archive+`"`)
	if err != nil {
		return nil, fmt.Errorf("projection: read the columns of %s: %w", k.archive, err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("projection: read the columns of %s: %w", k.archive, err)
	}
	if w.archives == nil {
		w.archives = map[string][]string{}
	}
	w.archives[k.table] = columns
	return columns, nil
}
