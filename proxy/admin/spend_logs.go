package admin

import (
	"maps"
	"slices"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// spendLogs answers /spend/logs: rows, or sums per day when dates are given.
// The end date's own day is not part of the answer, as upstream: it stands for
// its midnight.
func spendLogs(c *call) *refusal.Refusal {
	from, to, wrong := c.days(false)
	if wrong != nil {
		return wrong
	}
	f := c.logFilter(from, to)
	if !from.IsZero() && f.RequestID == "" && c.queryBool("summarize", true) {
		days, err := c.a.Spend.Days(c.reading(), f)
		if r := c.unread(err); r != nil {
			return r
		}
		rows := make([]map[string]any, len(days))
		for i, d := range days {
			rows[i] = daySummary(d)
		}
		return c.ok(rows)
	}
	page, err := c.a.Spend.Logs(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	if page.Next != "" {
		c.ctx.Response.Header.Set("X-Next-Cursor", page.Next)
	}
	if page.Rows == nil {
		page.Rows = []query.Row{}
	}
	return c.ok(page.Rows)
}

// logFilter reads what chooses rows, narrowed to what the caller may see.
func (c *call) logFilter(from, to time.Time) query.Filter {
	f := query.Filter{RequestID: c.query("request_id"), User: c.query("user_id"), Team: c.query("team_id"), Org: c.query("organization_id"),
		EndUser: c.query("end_user"), Session: c.query("session_id"), Tag: c.query("tag"), Model: c.query("model"),
		Provider: c.query("custom_llm_provider"), Status: c.query("status"),
		From: from, To: to, Limit: c.limit(100), Cursor: c.query("cursor"), Bodies: c.query("request_id") != ""}
	if key := c.query("api_key"); key != "" {
		f.Key = c.keyOf(key)
	}
	switch {
	case c.seesSpend():
	case c.owner() != "":
		f.User = c.owner()
	default:
		f.Key = c.p.KeyHash()
	}
	return f
}

// keyOf is how the books name a key: by its hash, the master key by a word.
func (c *call) keyOf(key string) string {
	hash := hashOf(key)
	if hash == c.masterHash() {
		return auth.MasterKeyAlias
	}
	return hash
}

// daySummary is a day as LiteLLM sums it: the keys stand beside the fixed fields.
func daySummary(d query.DaySummary) map[string]any {
	row := map[string]any{}
	for key, v := range d.Keys {
		row[key] = v.USD()
	}
	row["startTime"], row["spend"] = d.Date, d.Spend.USD()
	row["users"], row["models"] = dollars(d.Users), dollars(d.Models)
	return row
}

func dollars(m map[string]unit.Money) map[string]float64 {
	out := make(map[string]float64, len(m))
	for k, v := range m {
		out[k] = v.USD()
	}
	return out
}

func globalSpend(c *call) *refusal.Refusal {
	l := &c.settings().LiteLLM
	var spent unit.Money
	if c.seesSpend() {
		start := time.Time{}
		if w, err := unit.ParseWindow(l.ProxyBudgetDuration); err == nil && !w.Endless() {
			start, _ = w.Span(c.now(), time.Time{}, location(c.s))
		}
		spent = c.shownSpent(proxyScope, start)
	} else {
		total, err := c.a.Spend.Total(c.reading(), c.own(query.Range{}))
		if r := c.unread(err); r != nil {
			return r
		}
		spent = total.Spend
	}
	return c.ok(struct {
		Spend float64  `json:"spend"`
		Max   *float64 `json:"max_budget"`
	}{spent.USD(), usd(l.ProxyBudget)})
}

func globalSpendLogs(c *call) *refusal.Refusal {
	r := c.last30()
	if key := c.query("api_key"); key != "" {
		r.Key = c.keyOf(key)
	}
	sums, refused := c.sums(query.ByDay, r)
	if refused != nil {
		return refused
	}
	type day struct {
		Date  string  `json:"date"`
		Spend float64 `json:"spend"`
	}
	rows := []day{}
	for _, s := range sums {
		rows = append(rows, day{s.ID, s.Spend.USD()})
	}
	return c.ok(rows)
}

func globalSpendKeys(c *call) *refusal.Refusal {
	r := c.last30()
	r.Limit = c.limit(100)
	sums, refused := c.sums(query.ByKey, r)
	if refused != nil {
		return refused
	}
	type row struct {
		Key   string  `json:"api_key"`
		Alias *string `json:"key_alias"`
		Name  *string `json:"key_name"`
		Spend float64 `json:"total_spend"`
	}
	rows := []row{}
	for _, s := range sums {
		alias, name := c.keyName(s.ID)
		rows = append(rows, row{s.ID, alias, name, s.Spend.USD()})
	}
	return c.ok(rows)
}

func globalSpendModels(c *call) *refusal.Refusal {
	r := c.last30()
	r.Limit = c.limit(10)
	sums, refused := c.sums(query.ByModel, r)
	if refused != nil {
		return refused
	}
	type row struct {
		Model string  `json:"model"`
		Spend float64 `json:"total_spend"`
	}
	rows := []row{}
	for _, s := range sums {
		rows = append(rows, row{s.ID, s.Spend.USD()})
	}
	return c.ok(rows)
}

func globalSpendProviders(c *call) *refusal.Refusal {
	from, to, wrong := c.days(false)
	if wrong != nil {
		return wrong
	}
	span := c.last30()
	if !from.IsZero() {
		span.From, span.To = from, to
	}
	sums, refused := c.sums(query.ByProvider, span)
	if refused != nil {
		return refused
	}
	type row struct {
		Provider string  `json:"provider"`
		Spend    float64 `json:"spend"`
	}
	rows := []row{}
	for _, s := range sums {
		rows = append(rows, row{s.ID, s.Spend.USD()})
	}
	return c.ok(rows)
}

// globalSpendTeams answers days with one member per team, as charts want them.
func globalSpendTeams(c *call) *refusal.Refusal {
	if !c.seesSpend() {
		return forbidden("Your role=%s may not read the spend of teams.", c.p.Role)
	}
	r := c.last30()
	activity, err := c.a.Spend.Activity(c.reading(), query.ActivityFilter{From: r.From, To: r.To, Entity: query.ByTeam})
	if r := c.unread(err); r != nil {
		return r
	}
	totals, err := c.a.Spend.Sums(c.reading(), query.ByTeam, r)
	if r := c.unread(err); r != nil {
		return r
	}
	name := func(id string) string {
		if t, ok := c.s.Teams.Get(id); ok && t.Alias != "" {
			return t.Alias
		}
		return id
	}
	daily := []map[string]any{}
	for _, d := range slices.Backward(activity.Results) { // oldest first
		row := map[string]any{}
		for id, part := range d.Breakdown.Entities {
			row[name(id)] = part.Metrics.Spend
		}
		row["date"] = d.Date
		daily = append(daily, row)
	}
	type total struct {
		ID    string  `json:"team_id"`
		Spend float64 `json:"total_spend"`
	}
	names, per := []string{}, []total{}
	for _, s := range totals {
		names = append(names, name(s.ID))
		per = append(per, total{name(s.ID), s.Spend.USD()})
	}
	return c.ok(struct {
		Daily []map[string]any `json:"daily_spend"`
		Teams []string         `json:"teams"`
		Per   []total          `json:"total_spend_per_team"`
	}{daily, names, per})
}

func globalSpendTags(c *call) *refusal.Refusal {
	from, to, wrong := c.days(false)
	if wrong != nil {
		return wrong
	}
	sums, refused := c.sums(query.ByTag, query.Range{From: from, To: to})
	if refused != nil {
		return refused
	}
	wanted := c.queries("tags")
	type row struct {
		Name  string  `json:"name"`
		Spend float64 `json:"spend"`
		Count int64   `json:"log_count"`
	}
	rows := []row{}
	for _, s := range sums {
		if len(wanted) == 0 || slices.Contains(wanted, "all-tags") || slices.Contains(wanted, s.ID) {
			rows = append(rows, row{s.ID, s.Spend.USD(), s.Requests})
		}
	}
	return c.ok(struct {
		Tags []row `json:"spend_per_tag"`
	}{rows})
}

func globalTagNames(c *call) *refusal.Refusal {
	sums, refused := c.sums(query.ByTag, query.Range{})
	if refused != nil {
		return refused
	}
	names := map[string]bool{}
	for _, s := range sums {
		names[s.ID] = true
	}
	return c.ok(struct {
		Names []string `json:"tag_names"`
	}{slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(names))))})
}

// globalEndUsers sums by end user: POST {api_key?, startTime?, endTime?}.
func globalEndUsers(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	span := query.Range{Limit: 100}
	at := func(name string) time.Time {
		v := f.str(name)
		if !v.set || v.v == "" {
			return time.Time{}
		}
		t, ok := parseMoment(v.v)
		if !ok {
			f.fault(name, "datetime_parsing", "Input should be a valid datetime")
		}
		return t
	}
	key := f.str("api_key")
	span.From, span.To = at("startTime"), at("endTime")
	if f.wrong() {
		return c.refuseForm(f)
	}
	if key.v != "" {
		span.Key = c.keyOf(key.v)
	}
	sums, r := c.sums(query.ByEndUser, span)
	if r != nil {
		return r
	}
	type row struct {
		ID    string  `json:"end_user"`
		Count int64   `json:"total_count"`
		Spend float64 `json:"total_spend"`
	}
	rows := []row{}
	for _, s := range sums {
		rows = append(rows, row{s.ID, s.Requests, s.Spend.USD()})
	}
	return c.ok(rows)
}
