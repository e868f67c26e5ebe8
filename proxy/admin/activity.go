package admin

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tollgate/ledger/query"
	"tollgate/proxy/refusal"
)

// activityDay is one day of /global/activity.
type activityDay struct {
	Date     string `json:"date"` // "Jan 22"
	Requests int64  `json:"api_requests"`
	Tokens   int64  `json:"total_tokens"`
}

type activitySums struct {
	Daily    []activityDay `json:"daily_data"`
	Requests int64         `json:"sum_api_requests"`
	Tokens   int64         `json:"sum_total_tokens"`
}

func (a *activitySums) add(date string, requests, tokens int64) {
	shown := date
	if t, err := time.Parse(time.DateOnly, date); err == nil {
		shown = t.Format("Jan 02")
	}
	a.Daily = append(a.Daily, activityDay{shown, requests, tokens})
	a.Requests += requests
	a.Tokens += tokens
}

func globalActivity(c *call) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	sums, r := c.sums(query.ByDay, query.Range{From: from, To: to})
	if r != nil {
		return r
	}
	out := activitySums{Daily: []activityDay{}}
	for _, s := range sums {
		out.add(s.ID, s.Requests, s.Prompt+s.Completion)
	}
	return c.ok(out)
}

func globalActivityModels(c *call) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	f := query.ActivityFilter{From: from, To: to}
	c.ownActivity(&f)
	activity, err := c.a.Spend.Activity(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	type modelSums struct {
		Model string `json:"model"`
		activitySums
	}
	byModel := map[string]*modelSums{}
	for _, d := range slices.Backward(activity.Results) {
		for name, part := range d.Breakdown.ModelGroups {
			m := byModel[name]
			if m == nil {
				m = &modelSums{Model: name, activitySums: activitySums{Daily: []activityDay{}}}
				byModel[name] = m
			}
			m.add(d.Date, part.Metrics.Requests, part.Metrics.Total)
		}
	}
	rows := slices.SortedFunc(maps.Values(byModel), func(a, b *modelSums) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Model, b.Model))
	})
	if rows == nil {
		rows = []*modelSums{}
	}
	return c.ok(rows)
}

// ownActivity narrows activity to what the caller may see.
func (c *call) ownActivity(f *query.ActivityFilter) {
	switch {
	case c.seesSpend():
	case c.owner() != "":
		f.Entity, f.IDs = query.ByUser, []string{c.owner()}
	default:
		f.Key = c.p.KeyHash()
	}
}

func userActivity(c *call) *refusal.Refusal {
	return c.activity(query.ByUser, "user_id", func(f *query.ActivityFilter) *refusal.Refusal {
		c.ownActivity(f)
		return nil
	})
}

func teamActivity(c *call) *refusal.Refusal {
	return c.activity(query.ByTeam, "team_ids", func(f *query.ActivityFilter) *refusal.Refusal {
		if c.seesSpend() {
			return nil
		}
		if len(f.IDs) == 0 {
			for m := range c.s.MembershipsOf(c.owner()) {
				f.IDs = append(f.IDs, m.TeamID)
			}
		}
		for _, id := range f.IDs {
			if t, ok := c.s.Teams.Get(id); !ok || !c.seesTeam(t) {
				return forbidden("User=%s is not a member of team=%s.", c.owner(), id)
			}
		}
		if len(f.IDs) == 0 {
			return forbidden("User=%s is in no team.", c.owner())
		}
		return nil
	})
}

func tagActivity(c *call) *refusal.Refusal {
	return c.activity(query.ByTag, "tags", c.needsSpend)
}

func organizationActivity(c *call) *refusal.Refusal {
	return c.activity(query.ByOrganization, "organization_ids", func(f *query.ActivityFilter) *refusal.Refusal {
		if c.seesSpend() {
			return nil
		}
		for _, id := range f.IDs {
			if !c.leadsOrg(id) {
				return forbidden("User=%s does not manage organization=%s.", c.owner(), id)
			}
		}
		if len(f.IDs) == 0 {
			return forbidden("Name the organizations: organization_ids. Your role=%s", c.p.Role)
		}
		return nil
	})
}

func customerActivity(c *call) *refusal.Refusal {
	return c.activity(query.ByEndUser, "end_user_ids", c.needsSpend)
}

func (c *call) needsSpend(*query.ActivityFilter) *refusal.Refusal {
	if c.seesSpend() {
		return nil
	}
	return forbidden("Your role=%s may not read the spend of others.", c.p.Role)
}

// maxAggregatedDays is more than the books keep.
const maxAggregatedDays = 4000

// activity answers one page of daily figures with their breakdown.
func (c *call) activity(entity query.Dimension, ids string, may func(*query.ActivityFilter) *refusal.Refusal) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	pg := page{1, maxAggregatedDays}
	if !strings.HasSuffix(c.path, "/aggregated") { // that form has no pages
		var r *refusal.Refusal
		if pg, r = c.page("page_size", 10, 1000); r != nil {
			return r
		}
	}
	f := query.ActivityFilter{From: from, To: to, Entity: entity, IDs: c.queries(ids), Model: c.query("model"),
		Page: pg.number, PageSize: pg.size}
	if key := c.query("api_key"); key != "" {
		f.Key = c.keyOf(key)
	}
	if r := may(&f); r != nil {
		return r
	}
	out, err := c.a.Spend.Activity(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	for i := range out.Results {
		c.nameParts(&out.Results[i].Breakdown, entity)
	}
	return c.ok(out)
}

// nameParts adds the names that the state has for what the books know by id.
func (c *call) nameParts(b *query.Breakdown, entity query.Dimension) {
	c.nameKeys(b.Keys)
	for _, parts := range []query.Parts{b.Models, b.ModelGroups, b.Providers, b.Endpoints, b.Entities} {
		for _, p := range parts {
			c.nameKeys(p.Keys)
		}
	}
	for id, p := range b.Entities {
		switch entity {
		case query.ByUser:
			if u, ok := c.s.Users.Get(id); ok {
				name(p, "user_email", u.Email)
				name(p, "user_alias", u.Alias)
			}
		case query.ByTeam:
			if t, ok := c.s.Teams.Get(id); ok {
				name(p, "team_alias", t.Alias)
			}
		}
	}
}

func (c *call) nameKeys(parts query.Parts) {
	for hash, p := range parts {
		if k, ok := c.s.Keys.Get(hash); ok {
			name(p, "key_alias", k.Alias)
			name(p, "team_id", k.TeamID)
		}
	}
}

func name(p *query.Part, what, value string) {
	if value == "" {
		return
	}
	if p.Metadata == nil {
		p.Metadata = map[string]string{}
	}
	p.Metadata[what] = value
}
