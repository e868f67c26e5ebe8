package project

import (
	"iter"

	"tollgate/config/model"
	"tollgate/config/state"
)

// Names of kinds that are asked for elsewhere.
const (
	teamKind         = "team"
	memberKind       = "team_member"
	organizationKind = "organization"
	configKind       = "config"
)

// noBudget is the budget row of organizations without one: LiteLLM's table
// wants every organization to have a row.
const noBudget = "tollgate_no_budget"

// kinds are all tables, in the order in which they are written: what is pointed
// at comes before what points. A further table is a further row.
var kinds = []kind{
	{name: "budget", table: "LiteLLM_BudgetTable", key: []string{"budget_id"}, columns: budgetColumns,
		objects: &table[*model.Budget]{
			of:    func(s *state.Snapshot) *state.Table[*model.Budget] { return s.Budgets },
			about: func(b *model.Budget) brief { return brief{spending: &b.Spending, anchor: b.CreatedAt} },
			made:  func(b *model.Budget) uint64 { return b.CreatedIndex },
			show:  func(v *view, b *model.Budget) any { return budgetRowOf(v, b) }}},
	{name: organizationKind, table: "LiteLLM_OrganizationTable", key: []string{"organization_id"}, columns: organizationColumns,
		spent: spentBy("organization", "r.organization_id"),
		objects: &table[*model.Organization]{
			of: func(s *state.Snapshot) *state.Table[*model.Organization] { return s.Organizations },
			about: func(o *model.Organization) brief {
				return brief{scope: scopeOf(model.DimOrganization, o.ID), spending: &o.Spending, anchor: o.CreatedAt, budget: o.BudgetID}
			},
			made: func(o *model.Organization) uint64 { return o.CreatedIndex },
			show: func(v *view, o *model.Organization) any { return organizationRowOf(v, o) }}},
	{name: "user", table: "LiteLLM_UserTable", key: []string{"user_id"}, columns: userColumns, resets: true,
		spent: "CASE r.user_id WHEN '" + proxyUser + "' THEN " + spentBy("proxy", "'proxy'") + " ELSE " + spentBy("user", "r.user_id") + " END",
		objects: &withDefaults{table[*model.User]{
			of: func(s *state.Snapshot) *state.Table[*model.User] { return s.Users },
			about: func(u *model.User) brief {
				return brief{scope: scopeOf(model.DimUser, u.ID), spending: &u.Spending, anchor: u.CreatedAt, org: u.OrganizationID}
			},
			made: func(u *model.User) uint64 { return u.CreatedIndex },
			show: func(v *view, u *model.User) any { return userRowOf(v, u) }}}},
	{name: teamKind, table: "LiteLLM_TeamTable", key: []string{"team_id"}, columns: teamColumns, resets: true,
		spent: spentBy("team", "r.team_id"), archive: "LiteLLM_DeletedTeamTable",
		objects: &table[*model.Team]{
			of: func(s *state.Snapshot) *state.Table[*model.Team] { return s.Teams },
			about: func(t *model.Team) brief {
				return brief{scope: scopeOf(model.DimTeam, t.ID), spending: &t.Spending, anchor: t.CreatedAt, windows: t.BudgetWindows, org: t.OrganizationID}
			},
			made: func(t *model.Team) uint64 { return t.CreatedIndex },
			show: func(v *view, t *model.Team) any { return teamRowOf(v, t) }}},
	{name: "key", table: "LiteLLM_VerificationToken", key: []string{"token"}, columns: keyColumns, resets: true,
		spent: spentBy("api_key", "r.token"), archive: "LiteLLM_DeletedVerificationToken",
		objects: &table[*model.Key]{
			of: func(s *state.Snapshot) *state.Table[*model.Key] { return s.Keys },
			about: func(k *model.Key) brief {
				return brief{scope: scopeOf(model.DimKey, k.Hash), spending: &k.Spending, anchor: k.CreatedAt, windows: k.BudgetWindows, budget: k.BudgetID, org: k.OrganizationID}
			},
			made: func(k *model.Key) uint64 { return k.CreatedIndex },
			show: func(v *view, k *model.Key) any { return keyRowOf(v, k) }}},
	{name: "replaced_key", table: "LiteLLM_DeprecatedVerificationToken", key: []string{"active_token_id"}, unique: []string{"token"}, columns: replacedColumns, objects: replaced{}},
	{name: memberKind, table: "LiteLLM_TeamMembership", key: []string{"team_id", "user_id"}, columns: []string{"team_id", "user_id", "budget_id"},
		spent: spentBy("team_member", `r.team_id || E'\x1f' || r.user_id`),
		objects: &table[*model.Member]{
			of: func(s *state.Snapshot) *state.Table[*model.Member] { return s.Members },
			about: func(m *model.Member) brief {
				return brief{scope: scopeOf(model.DimMember, m.EntityID()), spending: &m.Spending, anchor: m.CreatedAt, budget: m.BudgetID}
			},
			made: func(m *model.Member) uint64 { return m.CreatedIndex },
			show: func(v *view, m *model.Member) any { return memberRow{m.TeamID, m.UserID, text(m.BudgetID)} }}},
	{name: "organization_member", table: "LiteLLM_OrganizationMembership", key: []string{"organization_id", "user_id"}, columns: orgMemberColumns,
		spent: spentBy("organization_member", `r.organization_id || E'\x1f' || r.user_id`),
		objects: &table[*model.OrgMember]{
			of: func(s *state.Snapshot) *state.Table[*model.OrgMember] { return s.OrgMembers },
			about: func(m *model.OrgMember) brief {
				return brief{scope: scopeOf(model.DimOrgMember, m.EntityID()), spending: &m.Spending, anchor: m.CreatedAt, budget: m.BudgetID}
			},
			made: func(m *model.OrgMember) uint64 { return m.CreatedIndex },
			show: func(v *view, m *model.OrgMember) any {
				return orgMemberRow{m.OrganizationID, m.UserID, text(m.Role), text(m.BudgetID), moment(m.CreatedAt), moment(m.UpdatedAt)}
			}}},
	{name: "end_user", table: "LiteLLM_EndUserTable", key: []string{"user_id"}, columns: endUserColumns,
		spent: spentBy("end_user", "r.user_id"),
		objects: &table[*model.EndUser]{
			of: func(s *state.Snapshot) *state.Table[*model.EndUser] { return s.EndUsers },
			about: func(e *model.EndUser) brief {
				return brief{scope: scopeOf(model.DimEndUser, e.ID), spending: &e.Spending, anchor: e.CreatedAt, budget: e.BudgetID}
			},
			made: func(e *model.EndUser) uint64 { return e.CreatedIndex },
			show: func(v *view, e *model.EndUser) any {
				return endUserRow{e.ID, text(e.Alias), text(e.AllowedRegion), text(e.DefaultModel), text(e.BudgetID), e.Blocked}
			}}},
	{name: "tag", table: "LiteLLM_TagTable", key: []string{"tag_name"}, columns: tagColumns,
		spent: spentBy("tag", "r.tag_name"),
		objects: &table[*model.Tag]{
			of: func(s *state.Snapshot) *state.Table[*model.Tag] { return s.Tags },
			about: func(t *model.Tag) brief {
				return brief{scope: scopeOf(model.DimTag, t.Name), spending: &t.Spending, anchor: t.CreatedAt, budget: t.BudgetID}
			},
			made: func(t *model.Tag) uint64 { return t.CreatedIndex },
			show: func(v *view, t *model.Tag) any {
				return tagRow{t.Name, text(t.Description), list(t.Models), rawJSONOrNull(t.ModelInfo), text(t.BudgetID),
					made(t.CreatedAt), text(t.CreatedBy), made(t.UpdatedAt)}
			}}},
	{name: "model", table: "LiteLLM_ProxyModelTable", key: []string{"model_id"}, columns: modelColumns,
		objects: &table[*model.DBModel]{
			of:    func(s *state.Snapshot) *state.Table[*model.DBModel] { return s.Models },
			about: func(*model.DBModel) brief { return brief{} },
			made:  func(d *model.DBModel) uint64 { return d.CreatedIndex },
			show:  func(v *view, d *model.DBModel) any { return modelRowOf(v, d) }}},
	{name: configKind, table: "LiteLLM_Config", key: []string{"param_name"}, columns: []string{"param_name", "param_value"}, objects: settings{}},
}

// spentBy is the SQL of gateway_spent written out: called for each row of a large
// batch the function would take longer than all the rest.
func spentBy(level, id string) string {
	return `(SELECT (coalesce(w.spend_nanos, 0)::numeric + coalesce(w.offset_nanos, 0))::double precision / 1e9::double precision
		FROM gateway_spend s LEFT JOIN gateway_spend w ON w.level = s.level AND w.id = s.id AND w.window_start = s.shown_window
		WHERE s.level = '` + level + `' AND s.id = ` + id + ` AND s.window_start = 0)`
}

// replaced finds the keys that were rotated away and still work: each stands in
// its successor.
type replaced struct{}

var replacedColumns = []string{"id", "token", "active_token_id", "revoke_at"}

type replacedRow struct {
	ID     string `json:"id"`
	Token  string `json:"token"`
	Active string `json:"active_token_id"`
	Revoke stamp  `json:"revoke_at"`
}

func (replaced) same(a, b *state.Snapshot) bool { return a.Keys == b.Keys }

func (replaced) versions(s *state.Snapshot) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for id, k := range s.Keys.All() {
			if isReplacement(k) && !yield(id, k.Version) {
				return
			}
		}
	}
}

func isReplacement(k *model.Key) bool { return k.Replaces != "" && k.ReplacesUntil != nil }

func (replaced) brief(s *state.Snapshot, id string) (brief, bool) {
	k, ok := s.Keys.Get(id)
	if !ok || !isReplacement(k) {
		return brief{}, false
	}
	return brief{version: k.Version, created: k.CreatedIndex}, true
}

func (replaced) row(v *view, id string) (any, bool) {
	k, ok := v.s.Keys.Get(id)
	if !ok || !isReplacement(k) {
		return nil, false
	}
	return replacedRow{k.Hash, k.Replaces, k.Hash, made(*k.ReplacesUntil)}, true
}

// The users that LiteLLM makes by itself.
const (
	masterUser = "default_user_id"
	proxyUser  = "litellm-proxy-budget"
)

// withDefaults finds users, and the two that LiteLLM has beside them: the owner
// of the master key, and the one that stands for the proxy as a whole while it
// has a budget.
type withDefaults struct{ table[*model.User] }

func (d *withDefaults) same(a, b *state.Snapshot) bool {
	return d.table.same(a, b) && a.ActiveConfig() == b.ActiveConfig()
}

// defaults are the users that are not in the state and have a row all the same.
func defaults(s *state.Snapshot) []*model.User {
	var out []*model.User
	if _, ok := s.Users.Get(masterUser); !ok {
		out = append(out, &model.User{Meta: model.Meta{CreatedIndex: 1, Version: 1}, ID: masterUser, Role: "proxy_admin"})
	}
	if c := s.ActiveConfig(); c != nil && c.Config.LiteLLM.ProxyBudget != nil {
		u := &model.User{Meta: c.Meta, ID: proxyUser, Role: "proxy_admin"}
		u.MaxBudget, u.BudgetDuration = c.Config.LiteLLM.ProxyBudget, c.Config.LiteLLM.ProxyBudgetDuration
		out = append(out, u)
	}
	return out
}

func (d *withDefaults) versions(s *state.Snapshot) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, u := range defaults(s) {
			if !yield(u.ID, u.Version) {
				return
			}
		}
		for id, version := range d.table.versions(s) {
			if id != proxyUser && !yield(id, version) {
				return
			}
		}
	}
}

func (d *withDefaults) brief(s *state.Snapshot, id string) (brief, bool) {
	for _, u := range defaults(s) {
		if u.ID != id {
			continue
		}
		b := d.about(u)
		b.version, b.created, b.spending = u.Version, u.CreatedIndex, nil
		if id == proxyUser {
			b.scope = model.ProxyScope()
		}
		return b, true
	}
	if id == proxyUser {
		return brief{}, false
	}
	return d.table.brief(s, id)
}

func (d *withDefaults) row(v *view, id string) (any, bool) {
	for _, u := range defaults(v.s) {
		if u.ID == id {
			return userRowOf(v, u), true
		}
	}
	return d.table.row(v, id)
}
