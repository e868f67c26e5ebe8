package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tollgate/ledger/flush/audit"
	"tollgate/proxy/refusal"
)

// Audit is who changed what.
type Audit interface {
	List(ctx context.Context, f audit.Filter) (audit.Page, error)
	// Get gives audit.ErrNone for an id that no change has.
	Get(ctx context.Context, id string) (audit.Row, error)
}

// auditPages are changes by page number, as LiteLLM answers them.
type auditPages struct {
	Rows       []audit.Row `json:"audit_logs"`
	Total      int         `json:"total"`
	Page       int         `json:"page"`
	PageSize   int         `json:"page_size"`
	TotalPages int         `json:"total_pages"`
}

// mayAudit refuses those who may not see everything: rows show all objects.
func (c *call) mayAudit() *refusal.Refusal {
	if c.seesAll() {
		return nil
	}
	return forbidden("Only proxy admins may read the audit log.")
}

func auditLog(c *call) *refusal.Refusal {
	if r := c.mayAudit(); r != nil {
		return r
	}
	pg, r := c.page("page_size", 10, 100)
	if r != nil {
		return r
	}
	if pg.number > maxPagedRows/pg.size {
		return badRequest("page", "Pages reach %d rows deep: choose a narrower range.", maxPagedRows)
	}
	f := audit.Filter{By: c.query("changed_by"), ByKey: c.query("changed_by_api_key"), Action: c.query("action"), Table: c.query("table_name"),
		Object: c.query("object_id"), Skip: (pg.number - 1) * pg.size, Max: pg.size}
	if r := c.auditOrder(&f); r != nil {
		return r
	}
	out := auditPages{Rows: []audit.Row{}, Page: pg.number, PageSize: pg.size}
	if c.a.Audit == nil {
		return c.ok(out)
	}
	found, err := c.a.Audit.List(c.reading(), f)
	if err != nil {
		return c.unaudited(err)
	}
	if found.Rows != nil {
		out.Rows = found.Rows
	}
	out.Total, out.TotalPages = found.Total, (found.Total+pg.size-1)/pg.size
	return c.ok(out)
}

// auditOrder reads the range and the order. Either end of the range may be
// left open; a plain date ends with its day.
func (c *call) auditOrder(f *audit.Filter) *refusal.Refusal {
	q := &form{where: "query"}
	for name, to := range map[string]*time.Time{"start_date": &f.From, "end_date": &f.To} {
		v := c.query(name)
		if v == "" {
			continue
		}
		t, ok := parseMoment(v)
		if !ok {
			q.fault(name, "date_parsing", "Input should be a date: YYYY-MM-DD")
		}
		if *to = t; name == "end_date" && len(v) <= len(time.DateOnly) {
			*to = t.AddDate(0, 0, 1).Add(-time.Millisecond)
		}
	}
	f.Sort = c.query("sort_by")
	if f.Sort != "" && !slices.Contains(audit.Sorts(), f.Sort) {
		q.fault("sort_by", "literal_error", "Input should be one of "+strings.Join(audit.Sorts(), ", "))
	}
	switch c.query("sort_order") {
	case "", "desc":
	case "asc":
		f.Ascending = true
	default:
		q.fault("sort_order", "literal_error", "Input should be 'asc' or 'desc'")
	}
	if q.wrong() {
		return c.refuseForm(q)
	}
	return nil
}

func auditRow(c *call) *refusal.Refusal {
	if r := c.mayAudit(); r != nil {
		return r
	}
	if c.a.Audit == nil {
		return c.unaudited(audit.ErrNone)
	}
	row, err := c.a.Audit.Get(c.reading(), c.param)
	if err != nil {
		return c.unaudited(err)
	}
	return c.ok(row)
}

func (c *call) unaudited(err error) *refusal.Refusal {
	if errors.Is(err, audit.ErrNone) {
		return notFound("id", "There is no audit record with id %q.", c.param)
	}
	c.a.Logger.Warn("audit log not readable", "path", c.path, "error", err)
	return refusal.Unavailable("audit_unavailable", "The audit log could not be read; try again.", time.Second)
}
