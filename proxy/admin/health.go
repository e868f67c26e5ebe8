package admin

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"tollgate/ledger/flush/checks"
	"tollgate/proxy/refusal"
)

// Checks is what is kept of earlier health checks of models.
type Checks interface {
	// History finds checks, the newest first.
	History(ctx context.Context, f checks.Filter) ([]checks.Row, error)
	// Latest is the last check of each model.
	Latest(ctx context.Context) ([]checks.Row, error)
}

// maxChecks is how many checks one page shows.
const maxChecks = 1000

func (c *call) mayReadChecks() *refusal.Refusal {
	if c.seesAll() {
		return nil
	}
	return forbidden("Only proxy admins may read the health checks of models.")
}

func healthHistory(c *call) *refusal.Refusal {
	if r := c.mayReadChecks(); r != nil {
		return r
	}
	f := checks.Filter{Name: c.query("model"), Status: c.query("status_filter"), Max: 100}
	for name, to := range map[string]*int{"limit": &f.Max, "offset": &f.Skip} {
		v := c.query(name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || name == "limit" && (n < 1 || n > maxChecks) {
			return badRequest(name, "%s must be a number, from 1 to %d for limit, from 0 on for offset.", name, maxChecks)
		}
		*to = n
	}
	rows := []checks.Row{}
	if c.a.Checks != nil {
		found, err := c.a.Checks.History(c.reading(), f)
		if err != nil {
			return c.unchecked(err)
		}
		rows = append(rows, found...)
	}
	return c.ok(map[string]any{"health_checks": rows, "total_records": len(rows), "limit": f.Max, "offset": f.Skip})
}

func healthLatest(c *call) *refusal.Refusal {
	if r := c.mayReadChecks(); r != nil {
		return r
	}
	latest := map[string]checks.Row{}
	if c.a.Checks != nil {
		found, err := c.a.Checks.Latest(c.reading())
		if err != nil {
			return c.unchecked(err)
		}
		for _, row := range found {
			latest[cmp.Or(row.Model, row.Name)] = row
		}
	}
	return c.ok(map[string]any{"latest_health_checks": latest, "total_models": len(latest)})
}

func (c *call) unchecked(err error) *refusal.Refusal {
	c.a.Logger.Warn("health checks not readable", "path", c.path, "error", err)
	return refusal.Unavailable("health_checks_unavailable", "The health checks could not be read; try again.", time.Second)
}
