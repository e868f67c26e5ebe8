package admin

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// teamFields are the fields that making and changing a team have in common.
type teamFields struct {
	limitFields
	spendingFields
	alias, organization   field[string]
	models, tags, regions field[[]string]
	aliases               field[map[string]string]
	modelMax              field[map[string]model.ModelBudget]
	modelRPM, modelTPM    field[map[string]int64]
	windows               field[[]model.BudgetWindow]
	metadata              field[jsontext.Value]
	blocked               field[bool]
	member                budgetFields // what every member may spend at most
	extra                 map[string]field[jsontext.Value]
}

func readTeam(f *form) teamFields {
	x := teamFields{
		limitFields: readLimits(f), spendingFields: readSpending(f),
		alias: f.id("team_alias"), organization: f.id("organization_id"),
		models: f.strs("models"), tags: f.strs("tags"), regions: f.regions("data_regions"),
		aliases: f.strMap("model_aliases"), modelMax: f.modelBudgets("model_max_budget"),
		modelRPM: f.limitMap("model_rpm_limit"), modelTPM: f.limitMap("model_tpm_limit"), windows: f.windows("budget_limits"),
		metadata: f.object("metadata"), blocked: f.bool("blocked"), extra: teamExtras.read(f),
	}
	x.member.max = f.budget("team_member_budget")
	x.member.duration = f.window("team_member_budget_duration")
	x.member.rpm, x.member.tpm = f.limit("team_member_rpm_limit"), f.limit("team_member_tpm_limit")
	x.absorb(f)
	return x
}

// absorb takes out of metadata what has a field of its own, see keyFields.
func (x *teamFields) absorb(f *form) {
	in := &form{where: "body", raw: map[string]jsontext.Value{}}
	if !x.metadata.set || json.Unmarshal(x.metadata.v, &in.raw) != nil {
		return
	}
	if tags := in.strs("tags"); tags.set && !x.tags.given {
		x.tags = tags
	}
	if rpm := in.limitMap("model_rpm_limit"); rpm.set && !x.modelRPM.given {
		x.modelRPM = rpm
	}
	if tpm := in.limitMap("model_tpm_limit"); tpm.set && !x.modelTPM.given {
		x.modelTPM = tpm
	}
	for _, name := range teamInMetadata {
		if _, given := x.extra[name]; !given {
			if v, ok := (extras{name: teamExtras[name]}).read(in)[name]; ok {
				x.extra[name] = v
			}
		}
	}
	f.adopt(in, "metadata")
	x.metadata.v = withoutFields(x.metadata.v, append([]string{"tags", "model_rpm_limit", "model_tpm_limit", "team_member_budget_id"}, teamInMetadata...)...)
}

func (x *teamFields) into(t *model.Team) {
	x.limitFields.into(&t.Limits)
	x.spendingFields.into(&t.Spending)
	x.alias.into(&t.Alias)
	x.organization.into(&t.OrganizationID)
	x.models.into(&t.Models)
	x.tags.into(&t.Tags)
	x.regions.into(&t.DataRegions)
	x.aliases.into(&t.ModelAliases)
	x.modelMax.into(&t.ModelMaxBudget)
	x.windows.into(&t.BudgetWindows)
	x.modelRPM.into(&t.ModelRPM)
	x.modelTPM.into(&t.ModelTPM)
	intoRaw(x.metadata, &t.Metadata)
	x.blocked.into(&t.Blocked)
	t.Extra = keep(t.Extra, x.extra)
}

func noSuchTeam(id string) *refusal.Refusal {
	return notFound("team_id", "Team not found, passed team id: %s.", id)
}

func teamNew(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	f.fill(c.settings().LiteLLM.Raw["default_team_params"])
	id, x, members := f.id("team_id"), readTeam(f), f.members("members_with_roles")
	for _, u := range f.strs("admins").v {
		members = append(members, newMember{userID: u, role: teamAdmin})
	}
	for _, u := range f.strs("members").v {
		members = append(members, newMember{userID: u, role: "user"})
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	if r := c.onlyOrgAdmin(x.organization.v); r != nil {
		return r
	}
	c.warnOfRegions(x.regions)
	if id.v == "" {
		if id.v, r = c.newID(); r != nil {
			return r
		}
	}
	if me := c.owner(); me != "" { // who makes a team leads it
		members = append(members, newMember{userID: me, role: teamAdmin})
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.Teams.Get(id.v); ok {
			return nil, badRequest("team_id", "Team id = %s already exists. Please use a different team id.", id.v)
		}
		if r := checkOrganization(s, x.organization.v); r != nil {
			return nil, r
		}
		t := &model.Team{ID: id.v}
		c.born(&t.Meta)
		x.into(t)
		if x.spend.set {
			c.offsetSpend(s, teamScope(t.ID), &t.Spending, x.spend.v)
		}
		b := c.batch(s)
		b.teams[t.ID] = t
		if r := b.everyMember(t, &x.member); r != nil {
			return nil, r
		}
		for _, m := range members {
			if _, r := b.join(t, m); r != nil {
				return nil, r
			}
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	t, ok := c.s.Teams.Get(id.v)
	if !ok {
		return c.notShownAgain()
	}
	return c.ok(c.teamRow(c.s, t))
}

// everyMember keeps what each member of a team may spend in one budget row,
// made when it is first needed.
func (b *batch) everyMember(t *model.Team, x *budgetFields) *refusal.Refusal {
	if !x.given() {
		return nil
	}
	if row, ok := b.budget(t.MemberBudgetID); ok && t.MemberBudgetID != "" {
		x.into(row)
		return nil
	}
	id, r := b.c.newID()
	if r != nil {
		return r
	}
	b.budgets[id] = b.c.newBudget(id, x)
	t.MemberBudgetID = id
	return nil
}

func teamUpdate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.str("team_id"), readTeam(f)
	f.require("team_id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	c.warnOfRegions(x.regions)
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		t, ok := b.team(id.v)
		if !ok {
			return nil, noSuchTeam(id.v)
		}
		if r := c.onlyLead(t); r != nil {
			return nil, r
		}
		if r := checkOrganization(s, x.organization.v); r != nil {
			return nil, r
		}
		moves := x.organization.given && x.organization.v != t.OrganizationID
		if x.widening() && !c.p.Admin() && (!c.leadsOrg(t.OrganizationID) || moves || x.spend.given) {
			return nil, forbidden("Only proxy admins may change the limits, budgets, models, regions, organization_id or blocked of a team. Your user_id=%s", c.owner())
		}
		x.into(t)
		if x.spend.set {
			c.setSpend(s, teamScope(t.ID), &t.Spending, x.spend.v)
		}
		if r := b.everyMember(t, &x.member); r != nil {
			return nil, r
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	t, ok := c.s.Teams.Get(id.v)
	if !ok {
		return noSuchTeam(id.v)
	}
	return c.okLive(func() any {
		return struct {
			ID   string  `json:"team_id"`
			Data teamRow `json:"data"`
		}{t.ID, c.teamRow(c.s, t)}
	})
}

// widening reports whether fields were given that bound a team as a whole:
// those are not its own admins' to change.
func (x *teamFields) widening() bool {
	return x.limitFields.given() || x.spendingFields.given() || x.models.given || x.regions.given || x.organization.given ||
		x.blocked.given || x.modelMax.given || x.modelRPM.given || x.modelTPM.given || x.windows.given
}

// teamWithKeys is a team with its memberships and keys.
type teamWithKeys struct {
	teamRow
	Memberships []membershipRow `json:"team_memberships"`
	Keys        []tokenRow      `json:"keys"`
}

func (c *call) teamWithKeys(t *model.Team) teamWithKeys {
	return teamWithKeys{c.teamRow(c.s, t), c.memberships(c.s, t.ID), c.teamKeys(c.s, t.ID)}
}

func teamInfo(c *call) *refusal.Refusal {
	id := c.query("team_id")
	if id == "" && c.p.Key != nil {
		id = c.p.Key.TeamID
	}
	t, ok := c.s.Teams.Get(id)
	if !ok {
		return noSuchTeam(id)
	}
	if !c.seesTeam(t) {
		return forbidden("User=%s is not a member of team=%s.", c.owner(), id)
	}
	full := c.teamWithKeys(t)
	return c.ok(struct {
		ID          string          `json:"team_id"`
		Info        teamRow         `json:"team_info"`
		Keys        []tokenRow      `json:"keys"`
		Memberships []membershipRow `json:"team_memberships"`
	}{t.ID, full.teamRow, full.Keys, full.Memberships})
}

// listedTeams are the teams that the caller may see and asked for, by name.
func (c *call) listedTeams() ([]*model.Team, *refusal.Refusal) {
	user, org := c.query("user_id"), c.query("organization_id")
	alias, id := strings.ToLower(c.query("team_alias")), c.query("team_id")
	if user != "" && !c.seesAll() && user != c.owner() {
		return nil, forbidden("User=%s may not list the teams of user=%s.", c.owner(), user)
	}
	var teams []*model.Team
	for _, t := range c.s.Teams.All() {
		switch {
		case t.ID == dashboardTeam, org != "" && t.OrganizationID != org, id != "" && t.ID != id,
			alias != "" && !strings.Contains(strings.ToLower(t.Alias), alias),
			user != "" && !slices.ContainsFunc(t.Members, func(m model.TeamRole) bool { return m.UserID == user }):
		case c.seesTeam(t):
			teams = append(teams, t)
		}
	}
	slices.SortFunc(teams, func(a, b *model.Team) int { return cmp.Or(cmp.Compare(a.Alias, b.Alias), cmp.Compare(a.ID, b.ID)) })
	return teams, nil
}

func teamList(c *call) *refusal.Refusal {
	teams, r := c.listedTeams()
	if r != nil {
		return r
	}
	rows := make([]teamWithKeys, len(teams))
	for i, t := range teams {
		rows[i] = c.teamWithKeys(t)
	}
	return c.ok(rows)
}

func teamPages(c *call) *refusal.Refusal {
	pg, r := c.page("page_size", 10, 100)
	if r != nil {
		return r
	}
	teams, r := c.listedTeams()
	if r != nil {
		return r
	}
	from, to, pages := pg.cut(len(teams))
	rows := []teamRow{}
	for _, t := range teams[from:to] {
		rows = append(rows, c.teamRow(c.s, t))
	}
	return c.ok(struct {
		Teams []teamRow `json:"teams"`
		Total int       `json:"total"`
		Page  int       `json:"page"`
		Size  int       `json:"page_size"`
		Pages int       `json:"total_pages"`
	}{rows, len(teams), pg.number, pg.size, pages})
}

// dropTeam removes a team with its keys, memberships and the budget row that it
// gives its members.
func (b *batch) dropTeam(t *model.Team) {
	b.delete(model.Teams, t)
	if row, ok := b.s.Budgets.Get(t.MemberBudgetID); ok {
		b.delete(model.Budgets, row)
	}
	for k := range b.s.KeysOfTeam(t.ID) {
		b.delete(model.Keys, k)
	}
	for m := range b.s.MembersOf(t.ID) {
		b.delete(model.Members, m)
		if u, ok := b.user(m.UserID); ok {
			u.Teams = slices.DeleteFunc(slices.Clone(u.Teams), func(x string) bool { return x == t.ID })
		}
	}
}

// teamDelete removes teams with their keys and memberships.
func teamDelete(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	ids := f.strs("team_ids")
	f.require("team_ids", len(ids.v) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		for _, id := range ids.v {
			t, ok := s.Teams.Get(id)
			if !ok {
				return nil, noSuchTeam(id)
			}
			if r := c.onlyLead(t); r != nil {
				return nil, r
			}
			b.dropTeam(t)
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.ok(struct {
		Deleted []string `json:"deleted_teams"`
	}{ids.v})
}
