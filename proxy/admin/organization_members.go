package admin

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// orgRoles are what a member of an organization may be.
var orgRoles = []string{model.OrgAdmin, "internal_user", "internal_user_viewer"}

// orgRoleOf is the role that a new user of a role gets in an organization.
func orgRoleOf(role string) string {
	if slices.Contains(orgRoles, role) {
		return role
	}
	return "internal_user"
}

// orgMembers reads one member or a list of them: {role, user_id? | user_email?}.
func (f *form) orgMembers(name string) []newMember {
	v, given, null := f.value(name)
	if !given || null {
		return nil
	}
	one := func(at string, v jsontext.Value) (m newMember, ok bool) {
		if v.Kind() != '{' {
			f.fault(at, "model_attributes_type", "Input should be a valid dictionary")
			return m, false
		}
		in, _ := parseForm(v)
		in.where = f.where
		id, email, role := in.id("user_id"), in.str("user_email"), in.choice("role", orgRoles...)
		if id.v == "" && email.v == "" {
			in.invalid("user_id", "Either user_id or user_email must be provided")
		}
		return newMember{userID: id.v, email: email.v, role: role.or("internal_user")}, f.adopt(in, at)
	}
	if v.Kind() == '{' {
		m, _ := one(name, v)
		return []newMember{m}
	}
	items, _ := f.items(name, v)
	var out []newMember
	for i, it := range items {
		m, _ := one(name+"."+strconv.Itoa(i), it)
		out = append(out, m)
	}
	return out
}

// orgMember finds a member of an organization by id or address.
func orgMember(s *state.Snapshot, org, id, email string) (*model.OrgMember, bool) {
	if id == "" {
		u, ok := s.UserByEmail(email)
		if !ok {
			return nil, false
		}
		id = u.ID
	}
	return s.OrgMembers.Get(model.MemberID(org, id))
}

func orgMemberAdd(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, members, max := f.str("organization_id"), f.orgMembers("member"), f.budget("max_budget_in_organization")
	f.require("organization_id", id.v != "")
	f.require("member", len(members) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	single := f.raw["member"].Kind() == '{'
	var joined []string
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		joined = nil
		if _, ok := s.Organizations.Get(id.v); !ok {
			return nil, noSuchOrganization(id.v)
		}
		if r := c.onlyOrgAdmin(id.v); r != nil {
			return nil, r
		}
		b := c.batch(s)
		for _, m := range members {
			if old, ok := orgMember(s, id.v, m.userID, m.email); ok {
				if single {
					return nil, badRequest("user_id", "User with user_id=%s is already a member of organization=%s.", old.UserID, id.v)
				}
				continue
			}
			u, r := b.memberUser(m)
			if r != nil {
				return nil, r
			}
			if r := b.joinOrganization(id.v, u.ID, m.role, inTeam(max)); r != nil {
				return nil, r
			}
			joined = append(joined, u.ID)
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	out := struct {
		ID          string         `json:"organization_id"`
		Users       []userRow      `json:"updated_users"`
		Memberships []orgMemberRow `json:"updated_organization_memberships"`
	}{id.v, []userRow{}, []orgMemberRow{}}
	if c.repeated {
		joined = nil
		for _, m := range members {
			if row, ok := orgMember(c.s, id.v, m.userID, m.email); ok {
				joined = append(joined, row.UserID)
			}
		}
	}
	for _, who := range distinct(joined) {
		if u, ok := c.s.Users.Get(who); ok {
			out.Users = append(out.Users, c.userRow(c.s, u))
		}
		if m, ok := c.s.OrgMembers.Get(model.MemberID(id.v, who)); ok {
			out.Memberships = append(out.Memberships, c.orgMemberRow(c.s, m))
		}
	}
	return c.ok(out)
}

// joinOrganization makes a user a member, with a budget row of its own where
// fields ask for one. A user named twice joins once.
func (b *batch) joinOrganization(org, user, role string, x *budgetFields) *refusal.Refusal {
	m := &model.OrgMember{OrganizationID: org, UserID: user, Role: role}
	for _, ch := range b.more {
		if ch.Table == model.OrgMembers && ch.ID == m.EntityID() {
			return nil
		}
	}
	b.c.born(&m.Meta)
	if x != nil && x.given() {
		id, changes, r := b.c.ownedBudget(b.s, "", 0, x)
		if r != nil {
			return r
		}
		m.BudgetID = id
		b.more = append(b.more, changes...)
	}
	b.more = append(b.more, put(model.OrgMembers, m))
	return nil
}

// changeOrgMember is what changing and deleting a membership have in common.
func (c *call) changeOrgMember(f *form, change func(s *state.Snapshot, m *model.OrgMember) ([]model.Change, *refusal.Refusal)) (row orgMemberRow, r *refusal.Refusal) {
	id, user, email := f.str("organization_id"), f.str("user_id"), f.str("user_email")
	f.require("organization_id", id.v != "")
	f.require("user_id", user.v != "" || email.v != "")
	if f.wrong() {
		return row, c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.Organizations.Get(id.v); !ok {
			return nil, noSuchOrganization(id.v)
		}
		if r := c.onlyOrgAdmin(id.v); r != nil {
			return nil, r
		}
		old, ok := orgMember(s, id.v, user.v, email.v)
		if !ok {
			return nil, notFound("user_id", "User %s%s is not a member of organization=%s.", user.v, email.v, id.v)
		}
		row = c.orgMemberRow(s, old)
		m := *old
		c.touched(&m.Meta)
		return change(s, &m)
	})
	if r != nil {
		return row, r
	}
	c.spread()
	if m, ok := orgMember(c.s, id.v, user.v, email.v); ok {
		row = c.orgMemberRow(c.s, m)
	}
	return row, nil
}

func orgMemberUpdate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	role, max := f.choice("role", orgRoles...), f.budget("max_budget_in_organization")
	row, r := c.changeOrgMember(f, func(s *state.Snapshot, m *model.OrgMember) ([]model.Change, *refusal.Refusal) {
		role.into(&m.Role)
		var changes []model.Change
		if x := inTeam(max); x != nil {
			var r *refusal.Refusal
			if m.BudgetID, changes, r = c.ownedBudget(s, m.BudgetID, 1, x); r != nil {
				return nil, r
			}
		}
		return append(changes, put(model.OrgMembers, m)), nil
	})
	if r != nil {
		return r
	}
	return c.ok(row)
}

func orgMemberDelete(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	row, r := c.changeOrgMember(f, func(s *state.Snapshot, m *model.OrgMember) ([]model.Change, *refusal.Refusal) {
		changes := []model.Change{remove(model.OrgMembers, m)}
		if b, ok := s.Budgets.Get(m.BudgetID); ok && len(detachBudget(s, b.ID)) <= 1 {
			changes = append(changes, remove(model.Budgets, b))
		}
		return changes, nil
	})
	if r != nil {
		return r
	}
	return c.ok(row)
}
