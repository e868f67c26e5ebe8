package admin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// Spend answers what was spent: questions to the books, and what counts
// against budgets at this moment.
type Spend interface {
	query.Query
	// Spent is what a scope has spent since the start of a budget window as this
	// node knows it; the zero time means ever, and on this node.
	Spent(sc model.Scope, since time.Time) unit.Money
	// Everywhere is the same of all nodes together. It names the nodes that did
	// not answer before ctx ended: what only they know is missing.
	Everywhere(ctx context.Context, asked []Spending) (spent []unit.Money, away []string)
	// Before tells what all nodes together know of whoever bears or bore the ids.
	Before(ctx context.Context, scopes []model.Scope) (known []Before, away []string)
}

// Before is what the nodes know of an id, whether its object is there or not.
type Before struct {
	Spent unit.Money // in all time, by the ledgers
	// Window is the newest window in which a node holds credit or has lately
	// booked, Unix seconds; below 0: none.
	Window int64
	// Counted is what its budget has counted in the window that is open now. It is
	// less than Spent where the budget is younger than what was spent.
	Counted unit.Money
}

// Spending asks what a scope has spent since the start of a budget window; the
// zero time means ever.
type Spending struct {
	Scope model.Scope
	Since time.Time
}

// proxyScope is the budget of the proxy as a whole.
var proxyScope = model.ProxyScope()

// seesSpend reports whether the caller may read everybody's spend.
func (c *call) seesSpend() bool {
	if c.seesAll() {
		return true
	}
	if c.p.Key == nil {
		return false
	}
	var permissions map[string]jsontext.Value
	if len(c.p.Key.Permissions) == 0 || json.Unmarshal(c.p.Key.Permissions, &permissions) != nil {
		return false
	}
	return string(permissions["get_spend_routes"]) == "true"
}

// own narrows a range to what the caller may see: the spend of its user, or of
// its own key when that belongs to nobody.
func (c *call) own(r query.Range) query.Range {
	switch {
	case c.seesSpend():
	case c.owner() != "":
		r.User = c.owner()
	default:
		r.Key = c.p.KeyHash()
	}
	return r
}

// sums adds up what the caller may see. Sums by tag and by end user know no
// user, so a user's are put together from those of its keys.
func (c *call) sums(by query.Dimension, r query.Range) ([]query.Sum, *refusal.Refusal) {
	ctx := c.reading()
	r = c.own(r)
	if r.User == "" || by != query.ByTag && by != query.ByEndUser {
		out, err := c.a.Spend.Sums(ctx, by, r)
		return out, c.unread(err)
	}
	all := map[string]query.Sum{}
	for k := range c.s.KeysOfUser(r.User) {
		part := query.Range{From: r.From, To: r.To, Key: k.Hash, Model: r.Model}
		got, err := c.a.Spend.Sums(ctx, by, part)
		if r := c.unread(err); r != nil {
			return nil, r
		}
		for _, s := range got {
			have := all[s.ID]
			have.ID = s.ID
			have.Sums.Add(s.Sums)
			all[s.ID] = have
		}
	}
	out := make([]query.Sum, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b query.Sum) int { return cmp.Or(cmp.Compare(b.Spend, a.Spend), cmp.Compare(a.ID, b.ID)) })
	if r.Limit > 0 && len(out) > r.Limit {
		out = out[:r.Limit]
	}
	return out, nil
}

// reading is the context of a read. fasthttp's own ends with the server only,
// so a read is bounded by what queries bound themselves.
func (c *call) reading() context.Context { return c.ctx }

// unread is the refusal of a question that the books did not answer. An answer
// that lacks something is given, with a header that says what.
func (c *call) unread(err error) *refusal.Refusal {
	var partial *query.PartialError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &partial):
		c.lacks(partial)
		return nil
	case errors.Is(err, query.ErrCursor):
		return refusal.New(400, "bad_request", "cursor", "This cursor is not one of ours; begin with the first page.")
	case errors.Is(err, query.ErrTooMany), errors.Is(err, query.ErrNotKept):
		return refusal.New(400, "bad_request", refusal.None, err.Error())
	}
	c.a.Logger.Warn("spend not readable", "path", c.path, "error", err)
	return refusal.Unavailable("spend_unavailable", "The spend records could not be read; try again.", time.Second)
}

// lacks marks an answer that lacks something: X-Spend-Without names the nodes
// whose calls are missing, X-Spend-From-Copy those that another node answered
// for, X-Spend-Source says that the ledgers answered in the database's place.
func (c *call) lacks(p *query.PartialError) {
	h := &c.ctx.Response.Header
	add := func(header string, names []string) {
		if have := string(h.Peek(header)); have != "" {
			names = append(strings.Split(have, ","), names...)
		}
		if len(names) > 0 {
			h.Set(header, strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ","))
		}
	}
	add("X-Spend-Without", p.Missing)
	add("X-Spend-From-Copy", p.Copies)
	if p.Instead {
		h.Set("X-Spend-Source", "ledger")
	}
	c.a.Logger.Debug("spend answered in part", "path", c.path, "error", p)
}

// days reads start_date and end_date. Both or neither must be there; required
// says that they must.
func (c *call) days(required bool) (from, to time.Time, r *refusal.Refusal) {
	f := &form{where: "query"}
	read := func(name string) time.Time {
		v := c.query(name)
		if v == "" {
			return time.Time{}
		}
		t, ok := parseMoment(v)
		if !ok {
			f.fault(name, "date_parsing", "Input should be a date: YYYY-MM-DD")
		}
		return t
	}
	from, to = read("start_date"), read("end_date")
	if !f.wrong() {
		f.require("start_date", !from.IsZero() || !required && to.IsZero())
		f.require("end_date", !to.IsZero() || !required && from.IsZero())
	}
	if !f.wrong() && to.Before(from) {
		f.invalid("end_date", "end_date is before start_date")
	}
	if f.wrong() {
		return from, to, c.refuseForm(f)
	}
	return from, to, nil
}

// last30 are the days of LiteLLM's monthly views.
func (c *call) last30() query.Range {
	now := c.now()
	return query.Range{From: now.AddDate(0, 0, -30), To: now}
}

func spendKeys(c *call) *refusal.Refusal {
	var keys []*model.Key
	if c.seesSpend() {
		for _, k := range c.s.Keys.All() {
			keys = append(keys, k)
		}
	} else {
		keys = slices.Collect(c.reachable())
	}
	rows := topBy(keys, c.limit(1000), func(k *model.Key) int64 { return int64(c.spent(c.s, keyScope(k.Hash), &k.Spending)) },
		func(k *model.Key) string { return k.Hash })
	return c.ok(c.tokenRows(c.s, rows))
}

func spendUsers(c *call) *refusal.Refusal {
	id := c.query("user_id")
	if !c.seesSpend() {
		if me := c.owner(); id != "" && id != me || me == "" {
			return forbidden("User=%s may not read the spend of other users. Your role=%s", me, c.p.Role)
		}
		id = c.owner()
	}
	var users []*model.User
	if id != "" {
		u, ok := c.s.Users.Get(id)
		if !ok {
			return noSuchUser(id)
		}
		users = append(users, u)
	} else {
		for _, u := range c.s.Users.All() {
			users = append(users, u)
		}
	}
	users = topBy(users, c.limit(1000), func(u *model.User) int64 { return int64(c.spent(c.s, userScope(u.ID), &u.Spending)) },
		func(u *model.User) string { return u.ID })
	rows := make([]userRow, len(users))
	for i, u := range users {
		rows[i] = c.userRow(c.s, u)
	}
	return c.ok(rows)
}

// limit reads ?limit=; a bad one counts as none.
func (c *call) limit(otherwise int) int {
	if n := c.ctx.QueryArgs().GetUintOrZero("limit"); n > 0 && n <= 100_000 {
		return n
	}
	return otherwise
}

// topBy sorts by an amount, the largest first, and keeps the first n.
func topBy[T any](list []T, n int, amount func(T) int64, id func(T) string) []T {
	type rated struct {
		amount int64
		id     string
		v      T
	}
	all := make([]rated, len(list))
	for i, v := range list {
		all[i] = rated{amount(v), id(v), v}
	}
	slices.SortFunc(all, func(a, b rated) int { return cmp.Or(cmp.Compare(b.amount, a.amount), cmp.Compare(a.id, b.id)) })
	out := make([]T, 0, min(n, len(all)))
	for _, r := range all[:min(n, len(all))] {
		out = append(out, r.v)
	}
	return out
}

// tagRow is the spend of one tag.
type tagRow struct {
	Tag   string  `json:"individual_request_tag"`
	Count int64   `json:"log_count"`
	Spend float64 `json:"total_spend"`
}

func spendTags(c *call) *refusal.Refusal {
	from, to, r := c.days(false)
	if r != nil {
		return r
	}
	sums, r := c.sums(query.ByTag, query.Range{From: from, To: to})
	if r != nil {
		return r
	}
	rows := []tagRow{}
	for _, s := range sums {
		rows = append(rows, tagRow{s.ID, s.Requests, s.Spend.USD()})
	}
	return c.ok(rows)
}

// globalReset sets the spend of all keys and teams to zero; the books stay.
func globalReset(c *call) *refusal.Refusal {
	if !c.p.Master {
		return refusal.New(401, "auth_error", refusal.None,
			"Authentication Error, Tried to access route="+c.path+", which is only for MASTER KEY")
	}
	var keys, teams []string
	var asked []Spending
	for _, k := range c.s.Keys.All() {
		asked = append(asked, Spending{keyScope(k.Hash), c.window(c.s, keyScope(k.Hash), &k.Spending)})
	}
	for _, t := range c.s.Teams.All() {
		asked = append(asked, Spending{teamScope(t.ID), c.window(c.s, teamScope(t.ID), &t.Spending)})
	}
	c.count(asked...)
	for _, k := range c.s.Keys.All() {
		if c.spentEverywhere(c.s, keyScope(k.Hash), &k.Spending) != 0 {
			keys = append(keys, k.Hash)
		}
	}
	for _, t := range c.s.Teams.All() {
		if c.spentEverywhere(c.s, teamScope(t.ID), &t.Spending) != 0 {
			teams = append(teams, t.ID)
		}
	}
	slices.Sort(keys)
	slices.Sort(teams)
	for part := range slices.Chunk(keys, resetChunk) {
		if r := c.resetKeys(part); r != nil {
			return r
		}
	}
	for part := range slices.Chunk(teams, resetChunk) {
		if r := c.resetTeams(part); r != nil {
			return r
		}
	}
	return c.ok(struct {
		Message string `json:"message"`
		Status  string `json:"status"`
	}{"Spend for all API Keys and Teams reset successfully", "success"})
}

// keyName is what listings of spend show of a key.
func (c *call) keyName(hash string) (alias, name *string) {
	if hash == auth.MasterKeyAlias {
		return optional(hash), nil
	}
	if k, ok := c.s.Keys.Get(hash); ok {
		return optional(k.Alias), optional(k.Name)
	}
	return nil, nil
}
