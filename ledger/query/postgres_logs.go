package query

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// logColumns are those of a Row without bodies. LiteLLM's own rows have NULLs
// where ours have empty texts.
const logColumns = `request_id, call_type, COALESCE(api_key, ''), COALESCE(spend, 0), COALESCE(total_tokens, 0), COALESCE(prompt_tokens, 0),
	COALESCE(completion_tokens, 0), "startTime", "endTime", request_duration_ms, "completionStartTime", COALESCE(model, ''), COALESCE(model_id, ''),
	COALESCE(model_group, ''), COALESCE(custom_llm_provider, ''), COALESCE(api_base, ''), COALESCE("user", ''), metadata,
	COALESCE(cache_hit, ''), COALESCE(cache_key, ''), request_tags, COALESCE(team_id, ''), COALESCE(organization_id, ''),
	COALESCE(end_user, ''), COALESCE(requester_ip_address, ''), COALESCE(session_id, ''), COALESCE(status, '')`

const (
	logBodies   = `, messages, response, proxy_server_request`
	logNoBodies = `, NULL::jsonb, NULL::jsonb, NULL::jsonb`
	logTable    = ` FROM "LiteLLM_SpendLogs"`
)

// Logs gives rows newest first, by the start of the call.
func (q *Postgres) Logs(ctx context.Context, f Filter) (Page, error) {
	var lacks *PartialError
	after, err := readPostgresCursor(f.Cursor)
	if err != nil {
		return Page{}, fmt.Errorf("list calls: %w", err)
	}
	if f.Cursor == "" { // what came later than the first page's question is not for the next
		lacks = q.db.settle(ctx)
	}
	var page Page
	err = q.db.read(ctx, "list calls", func(ctx context.Context, tx pgx.Tx) error {
		if f.RequestID != "" {
			page.Rows, err = byRequestID(ctx, tx, &f)
			return err
		}
		return logPage(ctx, tx, &f, after, &page)
	})
	if err != nil {
		return Page{}, err
	}
	return page, lacks.orNil()
}

// orNil keeps a nil pointer from becoming an error that is not nil.
func (e *PartialError) orNil() error {
	if e == nil {
		return nil
	}
	return e
}

// logPage reads one page. Rows with bodies come in small steps, so that a page
// of large ones ends early instead of filling the memory.
func logPage(ctx context.Context, tx pgx.Tx, f *Filter, after *pgCursor, page *Page) error {
	limit, bytes, skip := f.limit(), 0, f.skip()
	for {
		step := limit - len(page.Rows)
		if f.Bodies {
			step = min(step, bodyRows)
		}
		sql, args := logSQL(f, after, step, skip)
		rows, err := readRows(ctx, tx, sql, args)
		if err != nil {
			return err
		}
		page.Rows = append(page.Rows, rows...)
		if len(rows) < step {
			page.Next = ""
			return nil
		}
		last := &rows[len(rows)-1]
		after = &pgCursor{last.StartTime, last.RequestID}
		page.Next = after.String()
		for i := range rows {
			bytes += len(rows[i].Messages) + len(rows[i].Response) + len(rows[i].ProxyRequest)
		}
		if len(page.Rows) >= limit || bytes >= replyBytes {
			return nil
		}
		skip = 0
	}
}

// logSQL is the statement for one step of a page.
func logSQL(f *Filter, after *pgCursor, limit, skip int) (string, []any) {
	w := f.where()
	if after != nil {
		// The first condition alone would do; the plain bound lets every index
		// that ends in "startTime" serve.
		w.and(`("startTime", request_id) < (?::timestamp, ?)`, after.start, after.id)
		w.and(`"startTime" <= ?::timestamp`, after.start)
	}
	bodies := logNoBodies
	if f.Bodies {
		bodies = logBodies
	}
	sql := `SELECT ` + logColumns + bodies + logTable + w.String() +
		` ORDER BY "startTime" DESC, request_id DESC LIMIT ` + strconv.Itoa(limit)
	if skip > 0 {
		sql += ` OFFSET ` + strconv.Itoa(skip)
	}
	return sql, w.args
}

func (f *Filter) where() *where {
	w := &where{}
	w.is("api_key", f.Key)
	w.is(`"user"`, f.User)
	w.is("team_id", f.Team)
	w.is("organization_id", f.Org)
	w.is("end_user", f.EndUser)
	w.is("session_id", f.Session)
	w.is("custom_llm_provider", f.Provider)
	w.is("status", f.Status)
	w.is("metadata->'error_information'->>'error_code'", f.ErrorCode)
	if f.MinSpend != nil {
		w.and("spend >= ?", f.MinSpend.USD())
	}
	if f.MaxSpend != nil {
		w.and("spend <= ?", f.MaxSpend.USD())
	}
	if f.Model != "" {
		w.and("(model = ? OR model_group = ?)", f.Model, f.Model)
	}
	if f.Tag != "" {
		w.and("request_tags @> to_jsonb(?::text)", f.Tag)
	}
	if !f.From.IsZero() {
		w.and(`"startTime" >= ?::timestamp`, f.From.UTC())
	}
	if !f.To.IsZero() {
		w.and(`"startTime" < ?::timestamp`, f.To.UTC())
	}
	return w
}

// callWindow is how far the start of a call may lie from the time in its id.
const callWindow = 5 * time.Second

// byRequestID finds a row by its id, else by the call's own id. That one has no
// index: it says itself when it was made, and only rows of that time are looked at.
func byRequestID(ctx context.Context, tx pgx.Tx, f *Filter) ([]Row, error) {
	find := func(condition string, args ...any) ([]Row, error) {
		g := *f
		w := g.where()
		w.and(condition, args...)
		bodies := logNoBodies
		if f.Bodies {
			bodies = logBodies
		}
		return readRows(ctx, tx, `SELECT `+logColumns+bodies+logTable+w.String()+` LIMIT 10`, w.args)
	}
	if strings.ContainsRune(f.RequestID, 0) {
		return nil, nil // no text of PostgreSQL has it
	}
	rows, err := find("request_id = ?", f.RequestID)
	if err != nil || len(rows) > 0 {
		return rows, err
	}
	id, err := uuid.Parse(f.RequestID)
	if err != nil || id.Version() != 7 {
		return nil, nil
	}
	at := time.UnixMilli(int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])).UTC()
	return find(`"startTime" BETWEEN ?::timestamp AND ?::timestamp AND metadata->'tollgate'->>'call_id' = ?`, at.Add(-callWindow), at.Add(callWindow), id.String())
}

// Count says how many rows a filter has.
func (q *Postgres) Count(ctx context.Context, f Filter) (int64, bool, error) {
	if f.RequestID != "" {
		p, err := q.Logs(ctx, f)
		return int64(len(p.Rows)), !failed(err), err
	}
	lacks := q.db.settle(ctx)
	var n int64
	err := q.db.read(ctx, "count calls", func(ctx context.Context, tx pgx.Tx) error {
		w := f.where()
		return tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1`+logTable+w.String()+` LIMIT `+strconv.Itoa(scanLimit+1)+`) found`, w.args...).Scan(&n)
	})
	if err != nil {
		return 0, false, err
	}
	return min(n, scanLimit), n <= scanLimit && lacks == nil, lacks.orNil()
}

// pgCursor is the last row that was given.
type pgCursor struct {
	start time.Time
	id    string
}

// pgCursorMark tells these cursors from those of ledgers.
const pgCursorMark = "pg."

func (c *pgCursor) String() string {
	return pgCursorMark + strconv.FormatInt(c.start.UnixMicro(), 36) + "." + base64.RawURLEncoding.EncodeToString([]byte(c.id))
}

func readPostgresCursor(s string) (*pgCursor, error) {
	if s == "" {
		return nil, nil
	}
	rest, ours := strings.CutPrefix(s, pgCursorMark)
	at, id, both := strings.Cut(rest, ".")
	micros, wrong := strconv.ParseInt(at, 36, 64)
	raw, bad := base64.RawURLEncoding.DecodeString(id)
	if !ours || !both || wrong != nil || bad != nil || strings.ContainsRune(string(raw), 0) {
		return nil, fmt.Errorf("%w: %q", ErrCursor, s)
	}
	// Outside these years PostgreSQL would refuse the time.
	start := time.UnixMicro(micros).UTC()
	if y := start.Year(); y < 1 || y > 9999 {
		return nil, fmt.Errorf("%w: %q", ErrCursor, s)
	}
	return &pgCursor{start, string(raw)}, nil
}

func readRows(ctx context.Context, tx pgx.Tx, sql string, args []any) ([]Row, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRow)
}

// scanRow reads one row of LiteLLM's table, written by us or by LiteLLM.
func scanRow(from pgx.CollectableRow) (Row, error) {
	var r Row
	var first *time.Time
	var took *int64 // older rows of LiteLLM's have none
	var tags []byte
	err := from.Scan(&r.RequestID, &r.CallType, &r.APIKey, &r.Spend, &r.TotalTokens, &r.PromptTokens,
		&r.CompletionTokens, &r.StartTime, &r.EndTime, &took, &first, &r.Model, &r.ModelID,
		&r.ModelGroup, &r.Provider, &r.APIBase, &r.User, (*[]byte)(&r.Metadata),
		&r.CacheHit, &r.CacheKey, &tags, &r.TeamID, &r.OrganizationID,
		&r.EndUser, &r.RequesterIP, &r.SessionID, &r.Status, (*[]byte)(&r.Messages), (*[]byte)(&r.Response), (*[]byte)(&r.ProxyRequest))
	if err != nil {
		return Row{}, err
	}
	r.CompletionStart = r.EndTime
	if first != nil {
		r.CompletionStart = *first
	}
	switch {
	case took != nil: // the times are cut to milliseconds, this was counted before
		r.RequestDurationMs = *took
	case r.EndTime.After(r.StartTime):
		r.RequestDurationMs = r.EndTime.Sub(r.StartTime).Milliseconds()
	}
	r.RequestTags = []string{}
	var list []any // other writers put other things there
	if json.Unmarshal(tags, &list) == nil {
		for _, t := range list {
			if s, ok := t.(string); ok {
				r.RequestTags = append(r.RequestTags, s)
			}
		}
	}
	for _, b := range []*json.RawMessage{&r.Metadata, &r.Messages, &r.Response, &r.ProxyRequest} {
		if len(*b) == 0 {
			*b = json.RawMessage("{}")
		}
	}
	var known struct {
		Status   string `json:"status"`
		Tollgate struct {
			CallID      string   `json:"call_id"`
			DataRegions []string `json:"data_regions"`
		} `json:"tollgate"`
	}
	_ = json.Unmarshal(r.Metadata, &known) //nolint:errcheck // a row of another writer may hold anything
	if r.Status == "" {
		r.Status = known.Status
	}
	r.CallID, r.DataRegions = known.Tollgate.CallID, known.Tollgate.DataRegions
	if r.CallID == "" {
		r.CallID = r.RequestID
	}
	return r, nil
}
