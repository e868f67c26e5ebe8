package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// One transaction takes this many rows, or as many as fit these bytes: what a
// first projection of a large state holds in memory.
const (
	batchRows  = 500
	batchBytes = 1 << 20
)

// rawJSON is JSON that stands in a column as it is.
type rawJSON = json.RawMessage

// item is one row on its way.
type item struct {
	id    string
	brief brief
	at    spans
	row   []byte // JSON by column
	light bool   // only the spend
}

// write brings the due rows of a kind into its table.
func (w *work) write(ctx context.Context, v *view, pl *plan) error {
	for _, part := range []struct {
		ids   []string
		light bool
	}{{pl.due, false}, {pl.light, true}} {
		slices.Sort(part.ids) // all who write lock rows in one order
		var batch []item
		size := 0
		flush := func() error {
			if len(batch) == 0 {
				return nil
			}
			n, err := w.batch(ctx, v, pl.kind, batch)
			w.progress(pl.kind, n)
			batch, size = batch[:0], 0
			return err
		}
		for _, id := range part.ids {
			it, ok := makeItem(v, pl.kind, id, part.light)
			if !ok {
				continue
			}
			batch = append(batch, it)
			if size += len(it.row); len(batch) == batchRows || size > batchBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

func makeItem(v *view, k *kind, id string, light bool) (item, bool) {
	b, ok := k.brief(v.s, id)
	if !ok {
		return item{}, false
	}
	r, ok := k.row(v, id)
	if !ok {
		return item{}, false
	}
	data, err := json.Marshal(r)
	if err != nil {
		v.faults(id, fmt.Errorf("compose the row: %w", err))
		return item{}, false
	}
	return item{id: id, brief: b, at: v.spans(&b), row: storable(data), light: light}, true
}

// batch writes rows in one transaction; what the database refuses for its
// content is found by writing one at a time.
func (w *work) batch(ctx context.Context, v *view, k *kind, items []item) (written int, err error) {
	written, err = w.transact(ctx, v, k, items)
	if err == nil || !content(err) {
		return written, err
	}
	if len(items) == 1 {
		v.faults(items[0].id, err)
		return 0, nil
	}
	for i := range items {
		n, err := w.batch(ctx, v, k, items[i:i+1])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// content reports whether PostgreSQL refused what it was given, rather than
// being unable to take anything: data, a constraint, or a limit.
func content(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return false
	}
	switch pg.Code[:2] {
	case "22", "23", "54":
		return true
	}
	return false
}

func (w *work) transact(ctx context.Context, v *view, k *kind, items []item) (written int, err error) {
	tx, err := w.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer rollback(ctx, tx)
	if k.name == configKind {
		if items, err = ownSettings(ctx, tx, items); err != nil || len(items) == 0 {
			return 0, err
		}
	}
	if k.spent != "" {
		if err := spend(ctx, tx, items); err != nil {
			return 0, err
		}
	}
	rows := make([][]byte, len(items))
	for i := range items {
		rows[i] = items[i].row
	}
	all := append(append([]byte{'['}, bytes.Join(rows, []byte{','})...), ']')
	sql := k.upsert(w.links[k.table])
	if items[0].light {
		sql = k.refresh()
	}
	if bytes.Contains(all, []byte(`"`+noBudget+`"`)) && !items[0].light {
		if err := emptyBudget(ctx, tx); err != nil {
			return 0, err
		}
	}
	if sql != "" {
		if _, err := tx.Exec(ctx, sql, string(all)); err != nil {
			return 0, fmt.Errorf("projection: write %s: %w", k.table, err)
		}
	}
	if k.name == teamKind && !items[0].light {
		if err := teamAliases(ctx, tx, v, items); err != nil {
			return 0, err
		}
	}
	if err := mark(ctx, tx, k, items); err != nil {
		return 0, err
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("projection: commit %s: %w", k.table, err)
	}
	return len(items), nil
}

// upsert writes rows given as a JSON list. A row that stands so already is not
// written again; a column that is not named here stays as it is.
// What it points at and is not there is left out where a foreign key would
// refuse the row for it.
func (k *kind) upsert(links map[string]string) string {
	picks := make([]string, len(k.columns))
	for i, c := range k.columns {
		if picks[i] = links[c]; picks[i] == "" {
			picks[i] = `r."` + c + `"`
		}
	}
	columns, values := quoted(k.columns), strings.Join(picks, ", ")
	set := slices.DeleteFunc(slices.Clone(k.columns), func(c string) bool {
		return slices.Contains(k.key, c) && k.unique == nil || slices.Contains(k.unique, c) || slices.Contains([]string{"id", "created_at", "created_by"}, c)
	})
	if k.spent != "" {
		columns, values = columns+", spend", values+", coalesce("+k.spent+", 0)"
		set = append(set, "spend")
	}
	conflict := k.unique
	if conflict == nil {
		conflict = k.key
	}
	on := "DO NOTHING"
	if len(set) > 0 {
		on = fmt.Sprintf("DO UPDATE SET (%s) = ROW (%s) WHERE (%s) IS DISTINCT FROM (%s)",
			quoted(set), prefixed("excluded", set), prefixed("t", set), prefixed("excluded", set))
	}
	return fmt.Sprintf(`INSERT INTO %q AS t (%s) SELECT %s FROM jsonb_populate_recordset(NULL::%q, $1::jsonb) r ON CONFLICT (%s) %s`,
		k.table, columns, values, k.table, quoted(conflict), on)
}

// refresh writes only what has been spent, into rows that stand already.
func (k *kind) refresh() string {
	if k.spent == "" {
		return ""
	}
	set := "spend = coalesce(" + k.spent + ", t.spend)"
	if k.resets {
		set += ", budget_reset_at = r.budget_reset_at"
	}
	var where []string
	for _, c := range k.key {
		where = append(where, fmt.Sprintf("t.%q = r.%q", c, c))
	}
	return fmt.Sprintf(`UPDATE %q t SET %s FROM jsonb_populate_recordset(NULL::%q, $1::jsonb) r WHERE %s`,
		k.table, set, k.table, strings.Join(where, " AND "))
}

func prefixed(table string, names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = table + `."` + n + `"`
	}
	return strings.Join(out, ", ")
}

// spend tells the sums which window each row shows, and what counts beside the
// sums in it. It comes first: the rows it locks are those that the flush locks
// first, so that neither writes a sum that the other has outdated.
func spend(ctx context.Context, tx pgx.Tx, items []item) error {
	var levels, ids, offsetLevels, offsetIDs []string
	var windows, offsets, offsetWindows, bases []int64
	for i := range items {
		b := &items[i].brief
		if b.scope.Dim == 0 {
			continue
		}
		level, id := b.scope.Dim.String(), storableText(b.scope.ID)
		levels, ids, windows = append(levels, level), append(ids, id), append(windows, items[i].at.shown)
		if b.spending != nil {
			offsetLevels, offsetIDs = append(offsetLevels, level), append(offsetIDs, id)
			offsets, offsetWindows = append(offsets, int64(b.spending.SpendOffset)), append(offsetWindows, b.spending.SpendOffsetWindow)
			bases = append(bases, int64(b.spending.SpendBase))
		}
	}
	if len(ids) > 0 {
		_, err := tx.Exec(ctx, `INSERT INTO gateway_spend AS g (level, id, window_start, shown_window)
			SELECT level, id, 0, shown FROM unnest($1::text[], $2::text[], $3::bigint[]) AS b(level, id, shown) ORDER BY level, id COLLATE "C"
			ON CONFLICT (level, id, window_start) DO UPDATE SET shown_window = excluded.shown_window, updated_at = now()
			WHERE g.shown_window <> excluded.shown_window`, levels, ids, windows)
		if err != nil {
			return fmt.Errorf("projection: note the windows that are shown: %w", err)
		}
	}
	if len(offsetIDs) == 0 {
		return nil
	}
	// From the sum of all time is taken what objects of the same id had spent before.
	const beside = `(CASE WHEN g.window_start = b.win THEN b.amount ELSE 0 END - CASE WHEN g.window_start = 0 THEN b.base ELSE 0 END)`
	_, err := tx.Exec(ctx, `UPDATE gateway_spend g SET offset_nanos = `+beside+`, updated_at = now()
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS b(level, id, win, amount, base)
		WHERE g.level = b.level AND g.id = b.id AND g.offset_nanos <> `+beside,
		offsetLevels, offsetIDs, offsetWindows, offsets, bases)
	if err == nil { // rows of all time stand by now
		_, err = tx.Exec(ctx, `INSERT INTO gateway_spend (level, id, window_start, offset_nanos)
			SELECT level, id, win, amount FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS b(level, id, win, amount)
			WHERE amount <> 0 ORDER BY level, id COLLATE "C" ON CONFLICT (level, id, window_start) DO NOTHING`,
			offsetLevels, offsetIDs, offsetWindows, offsets)
	}
	if err != nil {
		return fmt.Errorf("projection: note what counts beside the sums: %w", err)
	}
	return nil
}

// mark notes what was written.
func mark(ctx context.Context, tx pgx.Tx, k *kind, items []item) error {
	ids, versions, windows := make([]string, len(items)), make([]int64, len(items)), make([]int64, len(items))
	for i := range items {
		ids[i], versions[i], windows[i] = storableText(items[i].id), int64(items[i].brief.version), items[i].at.tick
	}
	_, err := tx.Exec(ctx, `INSERT INTO gateway_projected (kind, id, version, window_start)
		SELECT $1, id, version, win FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS b(id, version, win)
		ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, window_start = excluded.window_start`, k.name, ids, versions, windows)
	if err != nil {
		return fmt.Errorf("projection: note what was written to %s: %w", k.table, err)
	}
	return nil
}

// findLinks finds the foreign keys of LiteLLM's tables, which its own migrations
// make and the gateway's do not: for each column the SQL of its value in a row r,
// NULL when what it names does not stand there.
func (w *work) findLinks(ctx context.Context) error {
	rows, err := w.db.Query(ctx, `SELECT t.relname::text, a.attname::text, f.relname::text, b.attname::text
		FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
		JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] JOIN pg_attribute b ON b.attrelid = f.oid AND b.attnum = c.confkey[1]
		WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND NOT a.attnotnull AND t.relnamespace = current_schema()::regnamespace`)
	if err != nil {
		return fmt.Errorf("projection: read foreign keys: %w", err)
	}
	w.links = map[string]map[string]string{}
	var table, column, target, key string
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &target, &key}, func() error {
		if w.links[table] == nil {
			w.links[table] = map[string]string{}
		}
		w.links[table][column] = fmt.Sprintf(`(SELECT f.%q FROM %q f WHERE f.%q = r.%q)`, key, target, key, column)
		return nil
	})
	if err != nil {
		return fmt.Errorf("projection: read foreign keys: %w", err)
	}
	return nil
}

// ownSettings leaves out the settings that LiteLLM has saved.
func ownSettings(ctx context.Context, tx pgx.Tx, items []item) ([]item, error) {
	rows, err := tx.Query(ctx, `SELECT param_name FROM "LiteLLM_Config" c
		WHERE NOT EXISTS (SELECT 1 FROM gateway_projected p WHERE p.kind = $1 AND p.id = c.param_name)`, configKind)
	if err != nil {
		return nil, fmt.Errorf("projection: look for saved settings: %w", err)
	}
	theirs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("projection: look for saved settings: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(items), func(it item) bool { return slices.Contains(theirs, it.id) }), nil
}

// emptyBudget makes the row that organizations without a budget point at.
func emptyBudget(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_at, created_by, updated_at, updated_by)
		VALUES ($1, now() AT TIME ZONE 'UTC', $2, now() AT TIME ZONE 'UTC', $2) ON CONFLICT DO NOTHING`, noBudget, masterUser)
	if err != nil {
		return fmt.Errorf("projection: make the budget of those without one: %w", err)
	}
	return nil
}
