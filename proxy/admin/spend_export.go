package admin

import (
	"bytes"
	"context"
	"encoding/csv"
	stdjson "encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"tollgate/ledger/query"
	"tollgate/proxy/refusal"
)

// exportPage is how many rows are in memory at a time.
const exportPage = 1000

// spendExport streams rows as a file: the answer is as long as it has to be, and
// the node holds one page of it. When the books stop answering in the middle the
// connection is cut, so that half a file is not taken for a whole one.
func spendExport(c *call) *refusal.Refusal {
	from, to, r := c.moments()
	if r != nil {
		return r
	}
	q := &form{where: "query"}
	format := c.query("format")
	switch format {
	case "":
		format = "jsonl"
	case "csv", "jsonl":
	default:
		q.fault("format", "literal_error", "Input should be 'csv' or 'jsonl'")
		return c.refuseForm(q)
	}
	f := c.logFilter(from, to)
	f.Limit, f.Bodies = exportPage, c.queryBool("bodies", false)
	if r := c.spendBounds(&f); r != nil {
		return r
	}
	page, err := c.a.Spend.Logs(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	h := &c.ctx.Response.Header
	if n, exact, err := c.a.Spend.Count(c.reading(), f); err == nil && exact {
		h.Set("X-Total-Rows", strconv.FormatInt(n, 10))
	}
	var partial *query.PartialError
	whole := !errors.As(err, &partial)
	e := &export{page: page, filter: f, whole: whole, books: c.a.Spend, bodies: f.Bodies}
	if format == "csv" {
		e.csv = csv.NewWriter(&e.out)
		h.SetContentType("text/csv; charset=utf-8")
	} else {
		h.SetContentType("application/x-ndjson")
	}
	h.Set("Content-Disposition", `attachment; filename="spend-`+c.now().Format("20060102T150405Z")+"."+format+`"`)
	c.ctx.Response.SetStatusCode(200)
	c.ctx.Response.SetBodyStream(e, -1)
	return nil
}

// errShorter ends an export whose later pages lack what the first one had.
var errShorter = errors.New("a node stopped answering in the middle of the export")

// export is the file as it is read by the connection.
type export struct {
	books  query.Query
	filter query.Filter
	page   query.Page
	whole  bool // the first page lacked nothing
	bodies bool
	csv    *csv.Writer // nil: a JSON object a line
	out    bytes.Buffer
	begun  bool
	last   bool // no page comes after this one
}

// Read gives the next bytes, and fetches the next page when it needs to.
func (e *export) Read(p []byte) (int, error) {
	for e.out.Len() == 0 {
		if e.last {
			return 0, io.EOF
		}
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	return e.out.Read(p)
}

// pageWithin bounds the wait for one page.
const pageWithin = time.Minute

func (e *export) next() error {
	e.out.Reset()
	if e.begun {
		ctx, end := context.WithTimeout(context.Background(), pageWithin)
		defer end()
		e.filter.Cursor = e.page.Next
		page, err := e.books.Logs(ctx, e.filter)
		var partial *query.PartialError
		switch {
		case errors.As(err, &partial) && e.whole:
			return errShorter
		case err != nil && partial == nil:
			return err
		}
		e.page = page
	} else if e.csv != nil {
		if err := e.csv.Write(csvColumns(e.bodies)); err != nil {
			return err
		}
	}
	e.begun = true
	for i := range e.page.Rows {
		if err := e.row(&e.page.Rows[i]); err != nil {
			return err
		}
	}
	if e.csv != nil {
		e.csv.Flush()
	}
	e.page.Rows = nil
	e.last = e.page.Next == ""
	return nil
}

func (e *export) row(r *query.Row) error {
	if e.csv != nil {
		return e.csv.Write(csvRow(r, e.bodies))
	}
	line, err := stdjson.Marshal(r)
	if err != nil {
		return err
	}
	e.out.Write(line)
	e.out.WriteByte('\n')
	return nil
}

// csvColumns are the names of the row's columns, as in LiteLLM's table.
func csvColumns(bodies bool) []string {
	names := []string{"request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens",
		"startTime", "endTime", "request_duration_ms", "completionStartTime", "model", "model_id", "model_group", "custom_llm_provider",
		"api_base", "user", "metadata", "cache_hit", "cache_key", "request_tags", "team_id", "organization_id", "end_user",
		"requester_ip_address", "session_id", "status"}
	if bodies {
		names = append(names, "messages", "response", "proxy_server_request")
	}
	return names
}

func csvRow(r *query.Row, bodies bool) []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
	tags, err := stdjson.Marshal(r.RequestTags)
	if err != nil { // a list of strings
		tags = []byte("[]")
	}
	cells := []string{r.RequestID, r.CallType, r.APIKey, strconv.FormatFloat(r.Spend, 'f', -1, 64), n(r.TotalTokens), n(r.PromptTokens), n(r.CompletionTokens),
		at(r.StartTime), at(r.EndTime), n(r.RequestDurationMs), at(r.CompletionStart), r.Model, r.ModelID, r.ModelGroup, r.Provider,
		r.APIBase, r.User, string(r.Metadata), r.CacheHit, r.CacheKey, string(tags), r.TeamID, r.OrganizationID, r.EndUser,
		r.RequesterIP, r.SessionID, r.Status}
	if bodies {
		cells = append(cells, string(r.Messages), string(r.Response), string(r.ProxyRequest))
	}
	return cells
}
