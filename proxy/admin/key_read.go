package admin

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// dashboardTeam owns the session keys of the console; listings leave them out.
const dashboardTeam = "litellm-dashboard"

func keyInfo(c *call) *refusal.Refusal {
	asked := c.query("key")
	hash := hashOf(asked)
	if asked == "" && c.p.Key != nil {
		asked, hash = c.p.Key.Hash, c.p.Key.Hash
	}
	k, ok := c.s.Keys.Get(hash)
	if !ok {
		return noSuchKey(asked)
	}
	if !c.sees(k) {
		return forbidden("You are not allowed to access this key's info. Your role=%s", c.p.Role)
	}
	return c.ok(struct {
		Key  string `json:"key"`
		Info keyRow `json:"info"`
	}{asked, c.keyRow(c.s, k)})
}

func keyInfos(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	keys := f.strs("keys")
	if f.wrong() {
		return c.refuseForm(f)
	}
	info := []keyRow{}
	for _, key := range keys.v {
		if k, ok := c.s.Keys.Get(hashOf(key)); ok && c.sees(k) {
			info = append(info, c.keyRow(c.s, k))
		}
	}
	if len(info) == 0 {
		return notFound("keys", "No keys found")
	}
	return c.ok(struct {
		Key  []string `json:"key"`
		Info []keyRow `json:"info"`
	}{keys.v, info})
}

// candidates are the keys that a listing looks through: the narrowest index
// that its filters allow.
func (c *call) candidates() iter.Seq[*model.Key] {
	user, team := c.query("user_id"), c.query("team_id")
	switch {
	case team != "":
		return c.s.KeysOfTeam(team)
	case user != "" && !c.queryBool("include_created_by_keys", false) && !c.queryBool("include_team_keys", false):
		return c.s.KeysOfUser(user)
	case c.query("key_hash") != "":
		return func(yield func(*model.Key) bool) {
			if k, ok := c.s.Keys.Get(hashOf(c.query("key_hash"))); ok {
				yield(k)
			}
		}
	case !c.seesAll():
		return c.reachable()
	}
	return func(yield func(*model.Key) bool) {
		for _, k := range c.s.Keys.All() {
			if !yield(k) {
				return
			}
		}
	}
}

// reachable are the keys that a caller who is no admin may see.
func (c *call) reachable() iter.Seq[*model.Key] {
	return func(yield func(*model.Key) bool) {
		seen := map[string]bool{}
		each := func(k *model.Key) bool {
			if seen[k.Hash] {
				return true
			}
			seen[k.Hash] = true
			return yield(k)
		}
		if c.p.Key != nil && !each(c.p.Key) {
			return
		}
		me := c.owner()
		if me == "" {
			return
		}
		for k := range c.s.KeysOfUser(me) {
			if !each(k) {
				return
			}
		}
		for m := range c.s.MembershipsOf(me) {
			if !c.leads(m.TeamID) {
				continue
			}
			for k := range c.s.KeysOfTeam(m.TeamID) {
				if !each(k) {
					return
				}
			}
		}
	}
}

// listed reports whether a key passes the filters of a listing.
func (c *call) listed() func(k *model.Key) bool {
	user, team, org := c.query("user_id"), c.query("team_id"), c.query("organization_id")
	alias, hash := c.query("key_alias"), c.query("key_hash")
	byCreated, teams := c.queryBool("include_created_by_keys", false), map[string]bool{}
	if c.queryBool("include_team_keys", false) && user != "" {
		for m := range c.s.MembershipsOf(user) {
			teams[m.TeamID] = true
		}
	}
	return func(k *model.Key) bool {
		switch {
		case k.TeamID == dashboardTeam && team != dashboardTeam,
			team != "" && k.TeamID != team, org != "" && k.OrganizationID != org,
			alias != "" && k.Alias != alias, hash != "" && k.Hash != hashOf(hash):
			return false
		case user != "" && k.UserID != user && !(byCreated && k.CreatedBy == user) && !teams[k.TeamID]:
			return false
		}
		return c.sees(k)
	}
}

func keyList(c *call) *refusal.Refusal {
	pg, r := c.page("size", 10, 100)
	if r != nil {
		return r
	}
	var keys []*model.Key
	if c.query("status") != "deleted" { // deleted keys leave no row behind
		keep := c.listed()
		for k := range c.candidates() {
			if keep(k) {
				keys = append(keys, k)
			}
		}
	}
	sortKeys(c.s, c, keys)
	total := len(keys)
	from, to, pages := pg.cut(total)
	return c.ok(struct {
		Keys    any `json:"keys"`
		Total   int `json:"total_count"`
		Current int `json:"current_page"`
		Pages   int `json:"total_pages"`
	}{c.listedKeys(keys[from:to]), total, pg.number, pages})
}

// listedKeys shows keys as hashes, or as rows when the caller wants rows.
func (c *call) listedKeys(keys []*model.Key) any {
	expand := slices.Contains(c.queries("expand"), "user")
	if !c.queryBool("return_full_object", false) && !expand {
		hashes := make([]string, len(keys))
		for i, k := range keys {
			hashes[i] = k.Hash
		}
		return hashes
	}
	if !expand {
		return c.tokenRows(c.s, keys)
	}
	type withUser struct {
		tokenRow
		User *userRow `json:"user"`
	}
	rows := make([]withUser, len(keys))
	for i, k := range keys {
		rows[i].tokenRow = c.tokenRow(c.s, k)
		if u, ok := c.s.Users.Get(k.UserID); ok {
			row := c.userRow(c.s, u)
			rows[i].User = &row
		}
	}
	return rows
}

// sortKeys orders a listing; the hash breaks ties, so that pages do not overlap.
func sortKeys(s *state.Snapshot, c *call, keys []*model.Key) {
	less := func(a, b *model.Key) int { return a.CreatedAt.Compare(b.CreatedAt) }
	switch c.query("sort_by") {
	case "spend":
		spend := make(map[string]int64, len(keys))
		for _, k := range keys {
			spend[k.Hash] = int64(c.spent(s, keyScope(k.Hash), &k.Spending))
		}
		less = func(a, b *model.Key) int { return cmp.Compare(spend[a.Hash], spend[b.Hash]) }
	case "max_budget":
		amount := func(k *model.Key) int64 {
			if k.MaxBudget == nil {
				return -1
			}
			return int64(*k.MaxBudget)
		}
		less = func(a, b *model.Key) int { return cmp.Compare(amount(a), amount(b)) }
	case "key_alias":
		less = func(a, b *model.Key) int { return cmp.Compare(a.Alias, b.Alias) }
	case "updated_at":
		less = func(a, b *model.Key) int { return a.UpdatedAt.Compare(b.UpdatedAt) }
	}
	up := strings.EqualFold(c.query("sort_order"), "asc")
	slices.SortFunc(keys, func(a, b *model.Key) int {
		n := less(a, b)
		if !up {
			n = -n
		}
		if n == 0 {
			n = cmp.Compare(a.Hash, b.Hash)
		}
		return n
	})
}

func keyAliases(c *call) *refusal.Refusal {
	aliases := []string{}
	for k := range c.candidates() {
		if k.Alias != "" && k.TeamID != dashboardTeam && c.sees(k) {
			aliases = append(aliases, k.Alias)
		}
	}
	slices.Sort(aliases)
	return c.ok(struct {
		Aliases []string `json:"aliases"`
	}{slices.Compact(aliases)})
}
