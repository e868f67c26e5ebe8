package query

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"tollgate/ledger/store"
)

// daily are LiteLLM's daily tables with the column of the entity that each adds
// up. Every call counts once in the users' table, with ” where nobody owns it.
var daily = map[Dimension]struct{ table, entity string }{
	ByUser:         {`"LiteLLM_DailyUserSpend"`, "user_id"},
	ByTeam:         {`"LiteLLM_DailyTeamSpend"`, "team_id"},
	ByOrganization: {`"LiteLLM_DailyOrganizationSpend"`, "organization_id"},
	ByEndUser:      {`"LiteLLM_DailyEndUserSpend"`, "end_user_id"},
	ByTag:          {`"LiteLLM_DailyTagSpend"`, "tag"},
}

// dailyColumns are the other dimensions that those tables have.
var dailyColumns = map[Dimension]string{ByKey: "api_key", ByModel: "model", ByModelGroup: "model_group", ByProvider: "custom_llm_provider",
	ByDay: "date", ByEndpoint: "endpoint"}

// dailySums adds up a daily table. Each row is brought to nano-dollars before it
// is added: sums of floats would drift.
const dailySums = `COALESCE(sum(api_requests), 0)::bigint, COALESCE(sum(successful_requests), 0)::bigint, COALESCE(sum(failed_requests), 0)::bigint,
	COALESCE(sum(prompt_tokens), 0)::bigint, COALESCE(sum(completion_tokens), 0)::bigint, COALESCE(sum(cache_read_input_tokens), 0)::bigint,
	COALESCE(sum(cache_creation_input_tokens), 0)::bigint, COALESCE(sum(round(spend * 1e9)::bigint), 0)::bigint, 0::bigint, 0::bigint`

// logSums adds up the rows of calls, for what no daily table has together.
const logSums = `count(*), count(*) FILTER (WHERE status IS DISTINCT FROM 'failure'), count(*) FILTER (WHERE status = 'failure'),
	COALESCE(sum(prompt_tokens), 0)::bigint, COALESCE(sum(completion_tokens), 0)::bigint,
	COALESCE(sum((metadata->'usage_object'->>'cache_read_input_tokens')::bigint), 0)::bigint,
	COALESCE(sum((metadata->'usage_object'->>'cache_creation_input_tokens')::bigint), 0)::bigint,
	COALESCE(sum(round(spend * 1e9)::bigint), 0)::bigint,
	COALESCE(sum(GREATEST(floor(extract(epoch FROM ("endTime" - "startTime")) * 1000), 0)), 0)::bigint,
	count(*) FILTER (WHERE cache_hit = 'True')`

// logDimensions are the dimensions as the rows of calls have them.
var logDimensions = map[Dimension]string{ByKey: "api_key", ByUser: "metadata->>'user_api_key_user_id'", ByTeam: "team_id",
	ByOrganization: "organization_id", ByEndUser: "end_user", ByModel: "model", ByModelGroup: "model_group",
	ByProvider: "custom_llm_provider", ByDay: `to_char("startTime", 'YYYY-MM-DD')`, ByCallType: "call_type"}

// Groups adds up in the database.
func (d *database) Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error) {
	dim, err := family(by, &r)
	if err != nil {
		return nil, err
	}
	sql, args, err := groupSQL(by, &r, dim)
	if err != nil {
		return nil, err
	}
	lacks := d.settle(ctx)
	var out []Group
	err = d.read(ctx, "sum spend", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			g := Group{IDs: make([]string, len(by))}
			to := make([]any, 0, len(by)+10)
			for i := range g.IDs {
				to = append(to, &g.IDs[i])
			}
			for _, v := range wireSums(&g.Sums) {
				to = append(to, v)
			}
			if err := rows.Scan(to...); err != nil {
				return err
			}
			if g.Requests == 0 && g.Spend == 0 { // the sum of nothing is one row
				continue
			}
			if len(out) >= maxGroups {
				return ErrTooMany
			}
			out = append(out, g)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return out, lacks.orNil()
}

// groupSQL chooses the table that has all the dimensions together.
func groupSQL(by []Dimension, r *Range, dim store.RollupDim) (string, []any, error) {
	entity := ByUser
	switch dim {
	case store.ByEndUser:
		entity = ByEndUser
	case store.ByTag:
		entity = ByTag
	default:
		used := map[Dimension]bool{ByUser: r.User != "", ByTeam: r.Team != "", ByOrganization: r.Org != ""}
		for _, d := range by {
			used[d] = true
		}
		n := 0
		for _, d := range []Dimension{ByUser, ByTeam, ByOrganization} {
			if used[d] {
				entity = d
				n++
			}
		}
		if n > 1 || used[ByCallType] {
			sql, args := groupLogsSQL(by, r)
			return sql, args, nil
		}
	}
	for _, d := range by {
		if d == ByCallType { // rows of calls keep tags as a list, and end users with all others
			return "", nil, ErrNotKept
		}
	}
	t := daily[entity]
	column := func(d Dimension) string {
		if d == entity {
			return "COALESCE(" + t.entity + ", '')"
		}
		return "COALESCE(" + dailyColumns[d] + ", '')"
	}
	w := &where{}
	of := map[Dimension]string{ByUser: r.User, ByTeam: r.Team, ByOrganization: r.Org, ByEndUser: r.EndUser, ByTag: r.Tag}
	w.is(t.entity, of[entity])
	w.is("api_key", r.Key)
	if r.Model != "" {
		w.and("(model = ? OR model_group = ?)", r.Model, r.Model)
	}
	if !r.From.IsZero() {
		w.and("date >= ?", r.From.UTC().Format(time.DateOnly))
	}
	if !r.To.IsZero() {
		w.and("date <= ?", r.To.UTC().Format(time.DateOnly))
	}
	if entity != ByUser && of[entity] == "" {
		w.and(t.entity + " <> ''")
	}
	return groupStatement(by, column, dailySums, " FROM "+t.table, w), w.args, nil
}

// groupLogsSQL adds up rows of calls.
func groupLogsSQL(by []Dimension, r *Range) (string, []any) {
	w := &where{}
	w.is("api_key", r.Key)
	w.is(logDimensions[ByUser], r.User)
	w.is("team_id", r.Team)
	w.is("organization_id", r.Org)
	if r.Model != "" {
		w.and("(model = ? OR model_group = ?)", r.Model, r.Model)
	}
	if !r.From.IsZero() {
		w.and(`"startTime" >= ?::timestamp`, r.From.UTC().Truncate(24*time.Hour))
	}
	if !r.To.IsZero() {
		w.and(`"startTime" < ?::timestamp`, r.To.UTC().Truncate(24*time.Hour).Add(24*time.Hour))
	}
	for _, d := range by {
		if d == ByTeam && r.Team == "" || d == ByOrganization && r.Org == "" {
			w.and("COALESCE(" + logDimensions[d] + ", '') <> ''")
		}
	}
	column := func(d Dimension) string {
		if d == ByEndpoint {
			return endpointSQL
		}
		return "COALESCE(" + logDimensions[d] + ", '')"
	}
	return groupStatement(by, column, logSums, logTable, w), w.args
}

// endpointSQL is Endpoint of a row of calls.
var endpointSQL = func() string {
	sql := "CASE call_type"
	for _, t := range []string{"acompletion", "atext_completion", "aembedding", "anthropic_messages"} {
		sql += " WHEN '" + t + "' THEN '" + Endpoint(t) + "'"
	}
	return sql + " ELSE call_type END"
}()

func groupStatement(by []Dimension, column func(Dimension) string, sums, from string, w *where) string {
	var sql strings.Builder
	sql.WriteString("SELECT ")
	for _, d := range by {
		sql.WriteString(column(d) + ", ")
	}
	sql.WriteString(sums + from + w.String())
	for i := range by {
		if i == 0 {
			sql.WriteString(" GROUP BY 1")
			continue
		}
		sql.WriteString(", " + strconv.Itoa(i+1))
	}
	return sql.String()
}
