package flush

import (
	"cmp"
	"math"
	"slices"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// spendKey is one row of gateway_spend.
type spendKey struct {
	level, id string
	window    int64
}

// spendSum is what a batch adds to it.
type spendSum struct {
	add unit.Money
	// shown is the window that a scope is first heard of with.
	shown int64
}

// scopesOf names every scope that a call's cost counts for. A call with several
// tags counts in full for each.
func scopesOf(e *store.Entry, fn func(model.Dim, string)) {
	one := func(d model.Dim, a string) {
		if a != "" {
			fn(d, a)
		}
	}
	two := func(d model.Dim, a, b string) {
		if a != "" && b != "" {
			fn(d, a+"\x1f"+b)
		}
	}
	proxy := model.ProxyScope()
	fn(proxy.Dim, proxy.ID)
	one(model.DimKey, e.Key)
	two(model.DimModelPerKey, e.Key, e.Group)
	one(model.DimUser, e.User)
	two(model.DimModelPerUser, e.User, e.Group)
	one(model.DimTeam, e.Team)
	two(model.DimMember, e.Team, e.User)
	two(model.DimModelPerTeam, e.Team, e.Group)
	one(model.DimOrganization, e.Organization)
	two(model.DimOrgMember, e.Organization, e.User)
	one(model.DimEndUser, e.EndUser)
	one(model.DimDeployment, e.ModelID)
	one(model.DimProvider, e.Provider)
	for i, t := range e.Tags {
		if !slices.Contains(e.Tags[:i], t) {
			one(model.DimTag, t)
		}
	}
}

// spends are the exact sums of a batch.
type spends map[spendKey]spendSum

// add counts one call: for all time in each of its scopes, and in the window of
// each budget that it was charged to.
func (s spends) add(e *store.Entry) {
	cost := e.Cost.Total
	put := func(d model.Dim, id string, window, shown int64) {
		k := spendKey{d.String(), text(id, longestID), window}
		v := s[k]
		v.add = v.add.Add(cost)
		v.shown = max(v.shown, shown)
		s[k] = v
	}
	scopesOf(e, func(d model.Dim, id string) {
		shown := int64(0)
		for _, c := range e.Charges {
			if c.Scope.Dim == d && c.Scope.ID == id {
				shown = c.Window
			}
		}
		if cost != 0 || d == model.DimEndUser { // an end user has a row from the first call on
			put(d, id, 0, shown)
		}
	})
	for i, c := range e.Charges {
		if slices.Contains(e.Charges[:i], c) {
			continue
		}
		if c.Window != 0 {
			put(c.Scope.Dim, c.Scope.ID, c.Window, 0)
		}
		if c.Scope.Dim == model.DimKeyWindow || c.Scope.Dim == model.DimTeamWindow { // scopes by their charge alone
			put(c.Scope.Dim, c.Scope.ID, 0, c.Window)
		}
	}
}

// sorted gives the rows in the order in which everybody locks them.
func (s spends) sorted() []spendKey {
	keys := make([]spendKey, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b spendKey) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.id, b.id), cmp.Compare(a.window, b.window))
	})
	return keys
}

// dailyKey is one row of a daily table.
type dailyKey struct{ entity, date, key, model, provider, tool, endpoint string }

// dailySum is what a batch adds to it.
type dailySum struct {
	dailyKey // as the row has it, also where it is not part of the unique key
	group    string
	store.Sums
}

// dailyTable is one of LiteLLM's daily tables. Its unique key has one column
// more with each of LiteLLM's versions; what is no part of it is added up.
type dailyTable struct {
	name, entity string
	unique       []string
	short        []string // counts that its first versions keep in 32 bits
	of           func(e *store.Entry, fn func(entity string))
}

func given(s string, fn func(string)) {
	if s != "" {
		fn(s)
	}
}

// dailyTables are all tables; every call counts once in the users' table, with
// an empty id where nobody owns it.
func dailyTables() []dailyTable {
	return []dailyTable{
		{name: "LiteLLM_DailyEndUserSpend", entity: "end_user_id", of: func(e *store.Entry, fn func(string)) { given(e.EndUser, fn) }},
		{name: "LiteLLM_DailyOrganizationSpend", entity: "organization_id", of: func(e *store.Entry, fn func(string)) { given(e.Organization, fn) }},
		{name: "LiteLLM_DailyTagSpend", entity: "tag", of: func(e *store.Entry, fn func(string)) {
			for i, t := range e.Tags {
				if !slices.Contains(e.Tags[:i], t) {
					given(t, fn)
				}
			}
		}},
		{name: "LiteLLM_DailyTeamSpend", entity: "team_id", of: func(e *store.Entry, fn func(string)) { given(e.Team, fn) }},
		{name: "LiteLLM_DailyUserSpend", entity: "user_id", of: func(e *store.Entry, fn func(string)) { fn(e.User) }},
	}
}

// narrow blanks what is not part of the table's unique key.
func (t *dailyTable) narrow(k dailyKey) dailyKey {
	keep := func(column string, v *string) {
		if !slices.Contains(t.unique, column) {
			*v = ""
		}
	}
	keep(t.entity, &k.entity)
	keep("date", &k.date)
	keep("api_key", &k.key)
	keep("model", &k.model)
	keep("custom_llm_provider", &k.provider)
	keep("mcp_namespaced_tool_name", &k.tool)
	keep("endpoint", &k.endpoint)
	return k
}

// sums adds up a batch for one table, in the order in which everybody locks.
func (t *dailyTable) sums(entries []*store.Entry, endpoint func(string) string) []dailySum {
	at := map[dailyKey]int{}
	var out []dailySum
	for _, e := range entries {
		s := store.SumsOf(e)
		for _, n := range [...]*int64{&s.Prompt, &s.Completion, &s.CacheRead, &s.CacheWrite} {
			*n = max(0, min(*n, math.MaxInt32))
		}
		t.of(e, func(entity string) {
			k := dailyKey{
				entity: text(entity, longestDaily), date: e.Start.UTC().Format("2006-01-02"), key: text(e.Key, longestDaily),
				model: text(e.Model, longestDaily), provider: text(e.Provider, longestDaily), endpoint: text(endpoint(e.CallType), longestDaily),
			}
			id := t.narrow(k)
			i, ok := at[id]
			if !ok {
				i = len(out)
				at[id] = i
				out = append(out, dailySum{dailyKey: k, group: text(e.Group, longestDaily)})
			}
			out[i].Sums.Add(s)
		})
	}
	slices.SortFunc(out, func(a, b dailySum) int {
		x, y := &a.dailyKey, &b.dailyKey
		return cmp.Or(cmp.Compare(x.entity, y.entity), cmp.Compare(x.date, y.date), cmp.Compare(x.key, y.key), cmp.Compare(x.model, y.model),
			cmp.Compare(x.provider, y.provider), cmp.Compare(x.tool, y.tool), cmp.Compare(x.endpoint, y.endpoint))
	})
	return out
}
