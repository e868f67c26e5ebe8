package flush

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockRetain is held by the one node that cleans up.
const lockRetain = 7_106_519_846_303

// blankedTo is the cursor row that says up to when bodies are removed already,
// in milliseconds: rows without bodies are not looked at again.
const blankedTo = "retention_bodies"

// Retain removes what is past its time, in small steps with a rest after each,
// so that neither the flush nor a report has to wait. Where another node is at
// it, it does nothing.
func (d *Database) Retain(ctx context.Context, s Settings) error {
	if err := d.Ready(ctx); err != nil {
		return err
	}
	c, err := pgx.ConnectConfig(ctx, d.conn.Copy())
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, fmt.Sprintf("SET statement_timeout = %d; SET lock_timeout = %d", d.cfg.Statement.Milliseconds(), d.cfg.Lock.Milliseconds())); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	var mine bool
	if err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockRetain)).Scan(&mine); err != nil || !mine {
		if err != nil {
			err = fmt.Errorf("clean up: %w", err)
		}
		return err
	}
	now := d.cfg.Clock.Now().UTC()
	if s.KeepBodies > 0 {
		if err := d.blank(ctx, c, now.Add(-s.KeepBodies)); err != nil {
			return fmt.Errorf("remove bodies: %w", err)
		}
	}
	if s.KeepLogs > 0 {
		for _, table := range []string{"LiteLLM_SpendLogs", "LiteLLM_ErrorLogs"} {
			if err := d.remove(ctx, c, table, now.Add(-s.KeepLogs)); err != nil {
				return fmt.Errorf("remove rows of %s: %w", table, err)
			}
		}
	}
	return nil
}

// blank empties the body columns of the rows of calls before a time, the oldest
// first.
func (d *Database) blank(ctx context.Context, c *pgx.Conn, before time.Time) error {
	var from int64
	err := c.QueryRow(ctx, "SELECT coalesce((SELECT index FROM gateway_state_cursor WHERE name = $1), 0)", blankedTo).Scan(&from)
	if err != nil {
		return err
	}
	at := time.UnixMilli(from).UTC()
	for ctx.Err() == nil && at.Before(before) {
		// Rows of one moment go together, so a step may be a little longer. A
		// flush that lags behind by days adds old rows: what it brings below the
		// mark keeps its bodies until the row goes.
		var to *time.Time
		err := c.QueryRow(ctx, `SELECT max("startTime") FROM (SELECT "startTime" FROM "LiteLLM_SpendLogs" WHERE "startTime" >= $1 AND "startTime" < $2
			ORDER BY "startTime" LIMIT $3) step`, at, before, d.cfg.RetainRows).Scan(&to)
		if err != nil {
			return err
		}
		next := before
		if to != nil {
			tag, err := c.Exec(ctx, `UPDATE "LiteLLM_SpendLogs" SET messages = '{}', response = '{}', proxy_server_request = '{}'
				WHERE "startTime" >= $1 AND "startTime" <= $2 AND (messages <> '{}' OR response <> '{}' OR proxy_server_request <> '{}')`, at, *to)
			if err != nil {
				return err
			}
			d.counts.blanked.Add(uint64(tag.RowsAffected()))
			if to.Add(time.Millisecond).Before(before) {
				next = to.Add(time.Millisecond)
			}
		}
		if _, err := c.Exec(ctx, `INSERT INTO gateway_state_cursor (name, index) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET index = excluded.index, updated_at = now()`, blankedTo, next.UnixMilli()); err != nil {
			return err
		}
		at = next
		if to != nil {
			rest(ctx, d.cfg.RetainPause)
		}
	}
	return ctx.Err()
}

// remove deletes the rows from before a time.
func (d *Database) remove(ctx context.Context, c *pgx.Conn, table string, before time.Time) error {
	for ctx.Err() == nil {
		tag, err := c.Exec(ctx, `DELETE FROM "`+table+`" WHERE request_id IN (SELECT request_id FROM "`+table+`" WHERE "startTime" < $1
			ORDER BY "startTime" LIMIT $2)`, before, d.cfg.RetainRows)
		if err != nil {
			return err
		}
		d.counts.cleaned.Add(uint64(tag.RowsAffected()))
		if tag.RowsAffected() < int64(d.cfg.RetainRows) {
			return nil
		}
		rest(ctx, d.cfg.RetainPause)
	}
	return ctx.Err()
}
