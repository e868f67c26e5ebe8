package flush

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// findDaily looks up by which columns the daily tables are unique.
func (d *Database) findDaily(ctx context.Context) ([]dailyTable, error) {
	conn, err := d.flush.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up unique keys: %w", err)
	}
	defer conn.Release()
	tables := dailyTables()
	for i := range tables {
		t := &tables[i]
		// The narrowest is what a row must not meet twice; the primary key is an
		// id that we make.
		err := conn.QueryRow(ctx, `SELECT array_agg(a.attname::text ORDER BY a.attname)
			FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
			WHERE x.indrelid = to_regclass($1) AND x.indisunique AND NOT x.indisprimary AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
			GROUP BY x.indexrelid ORDER BY count(*) LIMIT 1`, pgx.Identifier{t.name}.Sanitize()).Scan(&t.unique)
		if err != nil {
			return nil, fmt.Errorf("look up the unique key of %s: %w", t.name, err)
		}
		err = conn.QueryRow(ctx, `SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute
			WHERE attrelid = to_regclass($1) AND atttypid = 'integer'::regtype AND attnum > 0 AND NOT attisdropped`, pgx.Identifier{t.name}.Sanitize()).Scan(&t.short)
		if err != nil {
			return nil, fmt.Errorf("look up the columns of %s: %w", t.name, err)
		}
	}
	return tables, nil
}

// tx is one transaction of a flush.
type tx struct {
	pgx.Tx
	d *Database
}

// bound sets how long statements and locks are waited for, and that rows are
// found by their keys: all that a flush looks up has an index, and without
// statistics, as in a new table, the planner would rather read the whole.
func (t tx) bound(ctx context.Context) error {
	_, err := t.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d; SET LOCAL timezone = 'UTC'; "+
		"SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
		t.d.cfg.Statement.Milliseconds(), t.d.cfg.Lock.Milliseconds(), 2*t.d.cfg.Batch.Milliseconds()))
	return err
}

// cursor locks the node's row and gives how far it has come.
func (t tx) cursor(ctx context.Context, node string) (uint64, error) {
	const lock = "SELECT last_seq FROM gateway_flush_cursor WHERE node_id = $1 FOR UPDATE"
	var last int64
	err := t.QueryRow(ctx, lock, node).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err = t.Exec(ctx, "INSERT INTO gateway_flush_cursor (node_id, last_seq) VALUES ($1, 0) ON CONFLICT DO NOTHING", node); err == nil {
			err = t.QueryRow(ctx, lock, node).Scan(&last)
		}
	}
	return uint64(last), err
}

func (t tx) move(ctx context.Context, node string, to uint64) error {
	_, err := t.Exec(ctx, "UPDATE gateway_flush_cursor SET last_seq = $2, updated_at = now() WHERE node_id = $1", node, int64(to))
	return err
}

// logs copies the rows of calls.
func (t tx) logs(ctx context.Context, r *rows) error {
	taken := make(map[string]bool, 2*len(r.ids))
	if err := t.look(ctx, r.ids, taken); err != nil {
		return err
	}
	// Those without their provider's id go by their call's own, which is free as
	// a rule.
	var own []string
	seen := make(map[string]bool, len(r.ids))
	for i, id := range r.ids {
		if taken[id] || seen[id] {
			own = append(own, r.calls[i])
		}
		seen[id] = true
	}
	if len(own) > 0 {
		if err := t.look(ctx, own, taken); err != nil {
			return err
		}
	}
	// Straight into the table: an id that another node takes between that look
	// and this row breaks the unique key, and the next try sees it.
	ids := r.resolve(taken)
	_, err := t.Conn().PgConn().CopyFrom(ctx, &lines{rows: r, ids: ids, order: ordered(ids)}, `COPY "LiteLLM_SpendLogs" (`+rowColumns+`) FROM STDIN`)
	return err
}

// look notes which request ids stand in the table.
func (t tx) look(ctx context.Context, ids []string, taken map[string]bool) error {
	found, err := t.Query(ctx, `SELECT request_id FROM "LiteLLM_SpendLogs" WHERE request_id = ANY ($1)`, ids)
	if err != nil {
		return err
	}
	var id string
	_, err = pgx.ForEachRow(found, []any{&id}, func() error {
		taken[id] = true
		return nil
	})
	return err
}

// errors writes what failed calls failed with.
func (t tx) errors(ctx context.Context, entries []*store.Entry) error {
	var ids, base, group, name, id, kwargs, kind, said, status []string
	var start, end []time.Time
	for _, e := range entries {
		if e.Status != store.Failure {
			continue
		}
		about, err := json.Marshal(struct {
			CallType string `json:"call_type"`
			Key      string `json:"user_api_key"`
			User     string `json:"user_api_key_user_id"`
			Team     string `json:"user_api_key_team_id"`
			EndUser  string `json:"end_user"`
			Session  string `json:"session_id"`
		}{e.CallType, e.Key, e.User, e.Team, e.EndUser, e.Session})
		if err != nil {
			return fmt.Errorf("compose an error's row: %w", err)
		}
		ids = append(ids, callText(e))
		base, group, name = append(base, text(e.APIBase, longestText)), append(group, text(e.Group, longestText)), append(name, text(e.Model, longestText))
		id, kwargs = append(id, text(e.ModelID, longestText)), append(kwargs, string(jsonText(about)))
		kind, said, status = append(kind, text(e.ErrorClass, longestText)), append(said, text(e.ErrorMessage, longestText)), append(status, text(e.ErrorCode, longestText))
		start, end = append(start, e.Start.UTC()), append(end, e.End.UTC())
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := t.Exec(ctx, `INSERT INTO "LiteLLM_ErrorLogs" (request_id, "startTime", "endTime", api_base, model_group, litellm_model_name, model_id,
			request_kwargs, exception_type, exception_string, status_code)
		SELECT id, s, e, base, grp, name, model, kwargs::jsonb, kind, said, status
		FROM unnest($1::text[], $2::timestamp[], $3::timestamp[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])
			AS b(id, s, e, base, grp, name, model, kwargs, kind, said, status)
		ON CONFLICT DO NOTHING`, ids, start, end, base, group, name, id, kwargs, kind, said, status)
	return err
}

// days adds to one daily table. A spend is brought back to whole nano-dollars
// each time, so that sums of floats do not drift.
func (t tx) days(ctx context.Context, table *dailyTable, entries []*store.Entry) error {
	sums := table.sums(entries, query.Endpoint)
	if len(sums) == 0 {
		return nil
	}
	numbers := [...]string{"prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "api_requests",
		"successful_requests", "failed_requests"}
	// A count that is full stays full: it must not stop the books.
	var most [len(numbers)]int64
	var set strings.Builder
	for i, n := range numbers {
		if most[i] = math.MaxInt64; slices.Contains(table.short, n) {
			most[i] = math.MaxInt32
			set.WriteString(n + " = least(t." + n + "::bigint + excluded." + n + ", 2147483647), ")
			continue
		}
		set.WriteString(n + " = t." + n + " + excluded." + n + ", ")
	}
	var texts [8][]string
	var counts [len(numbers)][]int64
	spend := make([]float64, len(sums))
	for i := range sums {
		s := &sums[i]
		for j, v := range [...]string{s.entity, s.date, s.key, s.model, s.group, s.provider, s.tool, s.endpoint} {
			texts[j] = append(texts[j], v)
		}
		for j, v := range [...]int64{s.Prompt, s.Completion, s.CacheRead, s.CacheWrite, s.Requests, s.Successful, s.Failed} {
			counts[j] = append(counts[j], min(v, most[j]))
		}
		spend[i] = s.Spend.USD()
	}
	args := make([]any, 0, 16)
	kinds := make([]string, 0, 16)
	for _, v := range texts {
		args, kinds = append(args, v), append(kinds, fmt.Sprintf("$%d::text[]", len(args)+1))
	}
	for _, v := range counts {
		args, kinds = append(args, v), append(kinds, fmt.Sprintf("$%d::bigint[]", len(args)+1))
	}
	args, kinds = append(args, spend), append(kinds, fmt.Sprintf("$%d::double precision[]", len(args)+1))
	unique := make([]string, len(table.unique))
	for i, c := range table.unique {
		unique[i] = pgx.Identifier{c}.Sanitize()
	}
	_, err := t.Exec(ctx, `INSERT INTO "`+table.name+`" AS t (id, updated_at, `+table.entity+`, date, api_key, model, model_group, custom_llm_provider,
			mcp_namespaced_tool_name, endpoint, `+strings.Join(numbers[:], ", ")+`, spend)
		SELECT gen_random_uuid()::text, timezone('UTC', now()), b.* FROM unnest(`+strings.Join(kinds, ", ")+`) AS b
		ON CONFLICT (`+strings.Join(unique, ", ")+`) DO UPDATE SET `+set.String()+`spend = round((t.spend + excluded.spend) * 1e9) / 1e9, updated_at = excluded.updated_at`, args...)
	return err
}

// spend adds to the exact sums. The rows it locks are those that guard the spend
// columns, so it comes before them.
func (t tx) spend(ctx context.Context, s spends, keys []spendKey) error {
	levels, ids := make([]string, len(keys)), make([]string, len(keys))
	windows, adds, shown := make([]int64, len(keys)), make([]int64, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		levels[i], ids[i], windows[i], adds[i], shown[i] = k.level, k.id, k.window, int64(s[k].add), s[k].shown
	}
	_, err := t.Exec(ctx, `INSERT INTO gateway_spend AS t (level, id, window_start, spend_nanos, shown_window)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
		ON CONFLICT (level, id, window_start) DO UPDATE SET
			spend_nanos = least(t.spend_nanos::numeric + excluded.spend_nanos, 9223372036854775807)::bigint, updated_at = now()`,
		levels, ids, windows, adds, shown)
	return err
}

// shown is what gateway_spent says of many ids at once, and what is their sum of
// all time.
const shown = `WITH b AS (
	SELECT u.id, split_part(u.id, E'\x1f', 1) AS first, split_part(u.id, E'\x1f', 2) AS second, s.spent, s.total
	FROM unnest($2::text[]) AS u(id), LATERAL (
		SELECT (coalesce(w.spend_nanos, 0)::numeric + coalesce(w.offset_nanos, 0))::double precision / 1e9::double precision AS spent,
			(g.spend_nanos::numeric + g.offset_nanos)::double precision / 1e9::double precision AS total
		FROM gateway_spend g LEFT JOIN gateway_spend w ON w.level = g.level AND w.id = g.id AND w.window_start = g.shown_window
		WHERE g.level = $1 AND g.id = u.id AND g.window_start = 0 OFFSET 0) s) `

// column is a spend column of LiteLLM's and whose sum it shows.
type column struct{ level, sql string }

// columns are set from the exact sums, each rounded once. first and second are
// the parts of an id that is two.
var columns = []column{
	{"api_key", `UPDATE "LiteLLM_VerificationToken" t SET spend = b.spent FROM b WHERE t.token = b.id AND t.spend IS DISTINCT FROM b.spent`},
	{"user", `UPDATE "LiteLLM_UserTable" t SET spend = b.spent FROM b WHERE t.user_id = b.id AND t.spend IS DISTINCT FROM b.spent`},
	{"proxy", `UPDATE "LiteLLM_UserTable" t SET spend = b.spent FROM b WHERE t.user_id = 'litellm-proxy-budget' AND t.spend IS DISTINCT FROM b.spent`},
	{"team", `UPDATE "LiteLLM_TeamTable" t SET spend = b.spent FROM b WHERE t.team_id = b.id AND t.spend IS DISTINCT FROM b.spent`},
	{"team_member", `UPDATE "LiteLLM_TeamMembership" t SET spend = b.spent, total_spend = b.total FROM b
		WHERE t.team_id = b.first AND t.user_id = b.second AND (t.spend, t.total_spend) IS DISTINCT FROM (b.spent, b.total)`},
	{"organization", `UPDATE "LiteLLM_OrganizationTable" t SET spend = b.spent FROM b WHERE t.organization_id = b.id AND t.spend IS DISTINCT FROM b.spent`},
	{"organization_member", `UPDATE "LiteLLM_OrganizationMembership" t SET spend = b.spent FROM b
		WHERE t.organization_id = b.first AND t.user_id = b.second AND t.spend IS DISTINCT FROM b.spent`},
	{"tag", `UPDATE "LiteLLM_TagTable" t SET spend = b.spent FROM b WHERE t.tag_name = b.id AND t.spend IS DISTINCT FROM b.spent`},
	// An end user has a row as soon as one is named.
	{"end_user", `INSERT INTO "LiteLLM_EndUserTable" AS t (user_id, spend, blocked) SELECT id, spent, false FROM b ORDER BY id COLLATE "C"
		ON CONFLICT (user_id) DO UPDATE SET spend = excluded.spend WHERE t.spend IS DISTINCT FROM excluded.spend`},
}

// columns brings the spend columns of whom the batch touched to what the sums
// now say.
func (t tx) columns(ctx context.Context, keys []spendKey) error {
	touched := map[string][]string{}
	for _, k := range keys {
		if k.window == 0 {
			touched[k.level] = append(touched[k.level], k.id)
		}
	}
	batch := &pgx.Batch{}
	for _, c := range columns {
		if ids := touched[c.level]; len(ids) > 0 {
			batch.Queue(shown+c.sql, c.level, ids)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	return t.SendBatch(ctx, batch).Close()
}
