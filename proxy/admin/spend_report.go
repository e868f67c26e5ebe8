package admin

import (
	"cmp"
	"slices"

	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
	"tollgate/proxy/refusal"
)

// globalReport answers what teams, customers or keys spent, by day and model.
// Its range is whole days, the last one included.
func globalReport(c *call) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	by := cmp.Or(c.query("group_by"), "team")
	q := &form{where: "query"}
	if !slices.Contains([]string{"team", "customer", "api_key"}, by) {
		q.fault("group_by", "literal_error", "Input should be 'team', 'customer' or 'api_key'")
		return c.refuseForm(q)
	}
	r := query.Range{From: from, To: to}
	if key := c.query("api_key"); key != "" {
		r.Key = c.keyOf(key)
	}
	r.User = c.query("internal_user_id")
	team, customer := c.query("team_id"), c.query("customer_id")
	switch {
	case r.Key != "" || r.User != "" || by == "api_key":
		return c.keyReport(c.own(r))
	case !c.seesSpend():
		return forbidden("Your role=%s may not read the spend of others.", c.p.Role)
	case team != "" && customer != "":
		return c.teamCustomerReport(r, team, customer)
	case by == "customer":
		r.EndUser = customer
		return c.customerReport(r)
	}
	r.Team = team
	return c.teamReport(r)
}

// keyReport sums by key, with the models of each.
func (c *call) keyReport(r query.Range) *refusal.Refusal {
	groups, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByKey, query.ByModel}, r)
	if r := c.unread(err); r != nil {
		return r
	}
	type detail struct {
		Model  string  `json:"model"`
		Cost   float64 `json:"total_cost"`
		Input  int64   `json:"total_input_tokens"`
		Output int64   `json:"total_output_tokens"`
	}
	type row struct {
		Key     string   `json:"api_key"`
		Cost    float64  `json:"total_cost"`
		Input   int64    `json:"total_input_tokens"`
		Output  int64    `json:"total_output_tokens"`
		Details []detail `json:"model_details"`
		spend   unit.Money
	}
	sortGroups(groups)
	byKey := map[string]*row{}
	for _, g := range groups {
		k := byKey[g.IDs[0]]
		if k == nil {
			k = &row{Key: g.IDs[0]}
			byKey[g.IDs[0]] = k
		}
		k.spend = k.spend.Add(g.Spend)
		k.Cost, k.Input, k.Output = k.spend.USD(), k.Input+g.Prompt, k.Output+g.Completion
		k.Details = append(k.Details, detail{g.IDs[1], g.Spend.USD(), g.Prompt, g.Completion})
	}
	rows := make([]*row, 0, len(byKey))
	for _, k := range byKey {
		rows = append(rows, k)
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Or(cmp.Compare(b.spend, a.spend), cmp.Compare(a.Key, b.Key)) })
	return c.ok(rows)
}

// reportUse is what one key spent on one model.
type reportUse struct {
	Model  string  `json:"model"`
	Key    string  `json:"api_key"`
	Spend  float64 `json:"spend"`
	Tokens int64   `json:"total_tokens"`
}

// reportPart is one team or customer of a day.
type reportPart struct {
	Team     string      `json:"team_name,omitempty"`
	Customer string      `json:"customer,omitempty"`
	Spend    float64     `json:"total_spend"`
	Uses     []reportUse `json:"metadata"`
	spend    unit.Money
}

// reportDay is one day; which list it has depends on what was asked for.
type reportDay struct {
	Day       string        `json:"group_by_day"`
	Teams     []*reportPart `json:"teams,omitempty"`
	Customers []*reportPart `json:"customers,omitempty"`
	Both      []*reportPart `json:"teams_customers,omitempty"`
}

// reportDays gathers groups by day, name, key and model.
type reportDays map[string]map[string]*reportPart

func (d reportDays) add(day, name, key, model string, s store.Sums) {
	if d[day] == nil {
		d[day] = map[string]*reportPart{}
	}
	p := d[day][name]
	if p == nil {
		p = &reportPart{}
		d[day][name] = p
	}
	p.spend = p.spend.Add(s.Spend)
	p.Spend = p.spend.USD()
	p.Uses = append(p.Uses, reportUse{model, key, s.Spend.USD(), s.Prompt + s.Completion})
}

// days lists the gathered days in order, each with its parts, the dearest first.
func (d reportDays) days(put func(day *reportDay, name string, p *reportPart)) []*reportDay {
	out := []*reportDay{}
	for date, parts := range d {
		day := &reportDay{Day: date + "T00:00:00+00:00"}
		for name, p := range parts {
			slices.SortFunc(p.Uses, func(a, b reportUse) int {
				return cmp.Or(cmp.Compare(b.Spend, a.Spend), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Key, b.Key))
			})
			put(day, name, p)
		}
		for _, list := range [][]*reportPart{day.Teams, day.Customers, day.Both} {
			slices.SortFunc(list, func(a, b *reportPart) int {
				return cmp.Or(cmp.Compare(b.spend, a.spend), cmp.Compare(a.Team, b.Team), cmp.Compare(a.Customer, b.Customer))
			})
		}
		out = append(out, day)
	}
	slices.SortFunc(out, func(a, b *reportDay) int { return cmp.Compare(a.Day, b.Day) })
	return out
}

// unassigned is LiteLLM's name for calls without a team.
const unassigned = "Unassigned Team"

// teamReport sums by team. What no team spent is the difference to everything.
func (c *call) teamReport(r query.Range) *refusal.Refusal {
	groups, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByDay, query.ByKey, query.ByModel, query.ByTeam}, r)
	if r := c.unread(err); r != nil {
		return r
	}
	days := reportDays{}
	type use struct{ day, key, model string }
	rest := map[use]store.Sums{}
	if r.Team == "" {
		all, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByDay, query.ByKey, query.ByModel}, r)
		if r := c.unread(err); r != nil {
			return r
		}
		for _, g := range all {
			rest[use{g.IDs[0], g.IDs[1], g.IDs[2]}] = g.Sums
		}
	}
	for _, g := range groups {
		days.add(g.IDs[0], g.IDs[3], g.IDs[1], g.IDs[2], g.Sums)
		u := use{g.IDs[0], g.IDs[1], g.IDs[2]}
		left := rest[u]
		left.Requests -= g.Requests
		left.Spend = left.Spend.Add(-g.Spend)
		left.Prompt -= g.Prompt
		left.Completion -= g.Completion
		rest[u] = left
	}
	for u, s := range rest {
		if s.Requests > 0 {
			days.add(u.day, "", u.key, u.model, s)
		}
	}
	return c.ok(days.days(func(day *reportDay, id string, p *reportPart) {
		p.Team = c.teamName(id)
		day.Teams = append(day.Teams, p)
	}))
}

// teamName is a team's alias, or its id where it has none.
func (c *call) teamName(id string) string {
	if id == "" {
		return unassigned
	}
	if t, ok := c.s.Teams.Get(id); ok && t.Alias != "" {
		return t.Alias
	}
	return id
}

func (c *call) customerReport(r query.Range) *refusal.Refusal {
	groups, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByDay, query.ByEndUser, query.ByKey, query.ByModel}, r)
	if r := c.unread(err); r != nil {
		return r
	}
	days := reportDays{}
	for _, g := range groups {
		days.add(g.IDs[0], g.IDs[1], g.IDs[2], g.IDs[3], g.Sums)
	}
	return c.ok(days.days(func(day *reportDay, id string, p *reportPart) {
		p.Customer = id
		day.Customers = append(day.Customers, p)
	}))
}

// teamCustomerReport sums one customer of one team. Sums by customer know no
// team, so they are those of the team's keys.
func (c *call) teamCustomerReport(r query.Range, team, customer string) *refusal.Refusal {
	ofTeam := r
	ofTeam.Team = team
	keys, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByKey}, ofTeam)
	if r := c.unread(err); r != nil {
		return r
	}
	mine := map[string]bool{}
	for _, k := range keys {
		mine[k.IDs[0]] = true
	}
	r.EndUser = customer
	groups, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByDay, query.ByKey, query.ByModel}, r)
	if r := c.unread(err); r != nil {
		return r
	}
	days := reportDays{}
	for _, g := range groups {
		if mine[g.IDs[1]] {
			days.add(g.IDs[0], customer, g.IDs[1], g.IDs[2], g.Sums)
		}
	}
	return c.ok(days.days(func(day *reportDay, id string, p *reportPart) {
		p.Team, p.Customer = c.teamName(team), id
		day.Both = append(day.Both, p)
	}))
}

// sortGroups puts the dearest first.
func sortGroups(groups []query.Group) {
	slices.SortFunc(groups, func(a, b query.Group) int {
		return cmp.Or(cmp.Compare(b.Spend, a.Spend), slices.Compare(a.IDs, b.IDs))
	})
}
