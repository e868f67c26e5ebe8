package schema

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
)

// index is one that the queries of the gateway, of LiteLLM or of its users need.
// How is the definition as PostgreSQL itself prints it after USING.
type index struct{ table, name, how string }

// indexes are the ones that are no constraint. Those of LiteLLM have its names;
// the others it lacks.
var indexes = []index{
	{"LiteLLM_SpendLogs", "LiteLLM_SpendLogs_startTime_idx", `btree ("startTime")`},
	{"LiteLLM_SpendLogs", "LiteLLM_SpendLogs_startTime_request_id_idx", `btree ("startTime", request_id)`},
	{"LiteLLM_SpendLogs", "LiteLLM_SpendLogs_end_user_idx", `btree (end_user)`},
	{"LiteLLM_SpendLogs", "LiteLLM_SpendLogs_session_id_idx", `btree (session_id)`},
	{"LiteLLM_SpendLogs", "gateway_spend_logs_api_key", `btree (api_key, "startTime")`},
	{"LiteLLM_SpendLogs", "gateway_spend_logs_team_id", `btree (team_id, "startTime")`},
	{"LiteLLM_SpendLogs", "gateway_spend_logs_user", `btree ("user", "startTime")`},
	// By hash: a client's session id may be longer than an entry of a tree.
	{"LiteLLM_SpendLogs", "gateway_spend_logs_session", `hash (((metadata ->> 'session_id'::text)))`},
	{"LiteLLM_ErrorLogs", "gateway_error_logs_time", `btree ("startTime")`},
	{"LiteLLM_AuditLog", "gateway_audit_log_time", `btree (updated_at)`},
	{"LiteLLM_AuditLog", "gateway_audit_log_object", `btree (object_id)`},
	{"LiteLLM_VerificationToken", "LiteLLM_VerificationToken_user_id_team_id_idx", `btree (user_id, team_id)`},
	{"LiteLLM_VerificationToken", "LiteLLM_VerificationToken_team_id_idx", `btree (team_id)`},
	{"LiteLLM_VerificationToken", "LiteLLM_VerificationToken_budget_reset_at_expires_idx", `btree (budget_reset_at, expires)`},
	{"LiteLLM_TeamTable", "LiteLLM_TeamTable_organization_id_idx", `btree (organization_id)`},
	{"LiteLLM_TeamTable", "LiteLLM_TeamTable_team_alias_idx", `btree (team_alias)`},
	{"LiteLLM_TeamTable", "LiteLLM_TeamTable_created_at_idx", `btree (created_at)`},
}

// daily are the tables of daily sums.
var daily = [...]string{"LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend", "LiteLLM_DailyOrganizationSpend", "LiteLLM_DailyEndUserSpend",
	"LiteLLM_DailyAgentSpend", "LiteLLM_DailyTagSpend"}

// wanted are all indexes. Of the daily sums only the one by day, and by key the
// one table that a key's figures come from: by whom, their unique keys serve, and
// LiteLLM's others there cost each flush more than they spare a report.
func wanted() []index {
	all := append(indexes[:len(indexes):len(indexes)],
		index{"LiteLLM_DailyUserSpend", "LiteLLM_DailyUserSpend_api_key_idx", `btree (api_key)`})
	for _, d := range daily {
		all = append(all, index{d, d + "_date_idx", `btree (date)`})
	}
	return all
}

// BuildIndexes adds the indexes that are missing, without holding up who reads
// or writes: on a large table it may take long, so it runs beside the flush. One
// node does it at a time; another's turn is no error.
func BuildIndexes(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) error {
	c, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return fmt.Errorf("build indexes: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, "SET lock_timeout TO '30s'; SET statement_timeout TO 0"); err != nil {
		return fmt.Errorf("build indexes: %w", err)
	}
	var mine bool
	if err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockIndexes)).Scan(&mine); err != nil {
		return fmt.Errorf("build indexes: %w", err)
	}
	if !mine {
		return nil
	}
	for _, i := range wanted() {
		if err := i.build(ctx, c, log); err != nil {
			return explain(ctx, cfg, fmt.Errorf("build index %s: %w", i.name, err))
		}
	}
	return nil
}

func (i index) build(ctx context.Context, c *pgx.Conn, log *slog.Logger) error {
	rows, err := c.Query(ctx, `SELECT ic.relname, pg_get_indexdef(x.indexrelid), x.indisvalid
		FROM pg_index x JOIN pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = to_regclass($1)`, pgx.Identifier{i.table}.Sanitize())
	if err != nil {
		return err
	}
	var name, def string
	var valid, broken, there bool
	_, err = pgx.ForEachRow(rows, []any{&name, &def, &valid}, func() error {
		_, how, _ := strings.Cut(def, " USING ")
		switch {
		case valid && how == i.how:
			there = true
		case !valid && name == i.name:
			broken = true // what a build leaves that was broken off
		}
		return nil
	})
	if err != nil || there {
		return err
	}
	quoted := pgx.Identifier{i.name}.Sanitize()
	if broken {
		if _, err := c.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+quoted); err != nil {
			return err
		}
	}
	_, err = c.Exec(ctx, "CREATE INDEX CONCURRENTLY IF NOT EXISTS "+quoted+" ON "+pgx.Identifier{i.table}.Sanitize()+" USING "+i.how)
	if err == nil {
		log.Debug("index built", "table", i.table, "index", i.name)
	}
	return err
}
