package admin

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/proxy/refusal"
)

// maxPagedRows bounds how far pages reach: beyond it a narrower range or a
// cursor is needed, because every row before the page has to be counted off.
const maxPagedRows = 100_000

// logPages are rows by page number, as LiteLLM's own pages ask for them.
type logPages struct {
	Data       []query.Row `json:"data"`
	Total      int64       `json:"total"`
	Page       int         `json:"page"`
	PageSize   int         `json:"page_size"`
	TotalPages int64       `json:"total_pages"`
}

// spendLogPages answers /spend/logs/ui and /spend/logs/v2.
func spendLogPages(c *call) *refusal.Refusal {
	from, to, r := c.moments()
	if r != nil {
		return r
	}
	f := c.logFilter(from, to)
	if v := c.query("status_filter"); v != "" {
		f.Status = v
	}
	if r := c.spendBounds(&f); r != nil {
		return r
	}
	return c.logPages(f)
}

// spendLogSession answers the calls of one session.
func spendLogSession(c *call) *refusal.Refusal {
	f := c.logFilter(time.Time{}, time.Time{})
	if f.Session == "" {
		q := &form{where: "query"}
		q.require("session_id", false)
		return c.refuseForm(q)
	}
	return c.logPages(f)
}

func (c *call) logPages(f query.Filter) *refusal.Refusal {
	pg, r := c.page("page_size", 50, 1000)
	if r != nil {
		return r
	}
	if pg.number > maxPagedRows/pg.size {
		return badRequest("page", "Pages reach %d rows deep: choose a narrower range, or follow X-Next-Cursor of /spend/logs.", maxPagedRows)
	}
	f.Bodies = false
	f.Limit, f.Skip = pg.size, (pg.number-1)*pg.size
	total, _, err := c.a.Spend.Count(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	out := logPages{Data: []query.Row{}, Total: total, Page: pg.number, PageSize: pg.size, TotalPages: (total + int64(pg.size) - 1) / int64(pg.size)}
	for {
		page, err := c.a.Spend.Logs(c.reading(), f)
		if r := c.unread(err); r != nil {
			return r
		}
		out.Data = append(out.Data, page.Rows...)
		// A rare filter is searched in steps, each of which may come up short.
		if page.Next == "" || len(out.Data) >= pg.size || c.ctx.Err() != nil {
			return c.ok(out)
		}
		f.Cursor, f.Skip, f.Limit = page.Next, 0, pg.size-len(out.Data)
	}
}

// moments reads start_date and end_date as times: LiteLLM's pages send seconds.
// A plain date ends with its day.
func (c *call) moments() (from, to time.Time, r *refusal.Refusal) {
	if from, to, r = c.days(false); r != nil || to.IsZero() {
		return from, to, r
	}
	if len(c.query("end_date")) <= len(time.DateOnly) {
		return from, to.AddDate(0, 0, 1), nil
	}
	return from, to.Add(time.Millisecond), nil // the end itself counts
}

// spendBounds reads min_spend and max_spend.
func (c *call) spendBounds(f *query.Filter) *refusal.Refusal {
	q := &form{where: "query"}
	for name, to := range map[string]**unit.Money{"min_spend": &f.MinSpend, "max_spend": &f.MaxSpend} {
		v := c.query(name)
		if v == "" {
			continue
		}
		usd, err := strconv.ParseFloat(v, 64)
		m, bad := unit.MoneyFromUSD(usd)
		if err != nil || bad != nil {
			q.fault(name, "float_parsing", "Input should be a valid number")
			continue
		}
		*to = &m
	}
	if q.wrong() {
		return c.refuseForm(q)
	}
	return nil
}

// spendLogBodies answers what one call asked and got, null when it is not there.
func spendLogBodies(c *call) *refusal.Refusal {
	f := c.logFilter(time.Time{}, time.Time{})
	f.RequestID, f.Bodies = c.param, true
	page, err := c.a.Spend.Logs(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	if len(page.Rows) == 0 {
		return c.ok(nil)
	}
	row := &page.Rows[0]
	return c.ok(struct {
		RequestID string         `json:"request_id"`
		Messages  jsontext.Value `json:"messages"`
		Response  jsontext.Value `json:"response"`
		Request   jsontext.Value `json:"proxy_server_request"`
	}{row.RequestID, jsontext.Value(row.Messages), jsontext.Value(row.Response), jsontext.Value(row.ProxyRequest)})
}
