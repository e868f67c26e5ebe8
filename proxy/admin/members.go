package admin

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/refusal"
)

func sameEmail(a, b string) bool { return strings.EqualFold(a, b) }

// inTeam is the budget row that a max_budget_in_team asks for; nil: none.
func inTeam(max field[unit.Money]) *budgetFields {
	if !max.given {
		return nil
	}
	return &budgetFields{spendingFields: spendingFields{max: max}}
}

// inTeam reads the limits of one member of a team.
func (f *form) inTeam() budgetFields {
	x := budgetFields{limitFields: readLimits(f), models: f.strs("allowed_models")}
	x.max, x.soft, x.duration = f.budget("max_budget_in_team"), f.budget("soft_budget"), f.window("budget_duration")
	return x
}

// members reads one member or a list of them: {role, user_id? | user_email?}.
func (f *form) members(name string) []newMember {
	v, given, null := f.value(name)
	if !given || null {
		return nil
	}
	if v.Kind() == '{' {
		m, _ := f.memberAt(name, v)
		return []newMember{m}
	}
	items, _ := f.items(name, v)
	var out []newMember
	for i, it := range items {
		m, _ := f.memberAt(name+"."+strconv.Itoa(i), it)
		out = append(out, m)
	}
	return out
}

func (f *form) memberAt(at string, v jsontext.Value) (newMember, bool) {
	if v.Kind() != '{' {
		f.fault(at, "model_attributes_type", "Input should be a valid dictionary")
		return newMember{}, false
	}
	in, _ := parseForm(v)
	in.where = f.where
	id, email, role := in.id("user_id"), in.str("user_email"), in.choice("role", "user", teamAdmin)
	if id.v == "" && email.v == "" {
		in.invalid("user_id", "Either user_id or user_email must be provided")
	}
	return newMember{userID: id.v, email: email.v, role: role.or("user")}, f.adopt(in, at)
}

// memberOf finds a team's member by id or address.
func memberOf(s *state.Snapshot, t *model.Team, id, email string) (string, bool) {
	if id == "" {
		if u, ok := s.UserByEmail(email); ok {
			id = u.ID
		}
	}
	for _, m := range t.Members {
		if m.UserID != "" && m.UserID == id || email != "" && sameEmail(m.Email, email) {
			return m.UserID, true
		}
	}
	return id, false
}

func memberAdd(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, members, own := f.str("team_id"), f.members("member"), f.inTeam()
	f.require("team_id", id.v != "")
	f.require("member", len(members) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	single := f.raw["member"].Kind() == '{'
	var joined []string
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		joined = nil
		b := c.batch(s)
		t, ok := b.team(id.v)
		if !ok {
			return nil, noSuchTeam(id.v)
		}
		if r := c.onlyLead(t); r != nil {
			return nil, r
		}
		for _, m := range members {
			who, already := memberOf(s, t, m.userID, m.email)
			if already && single {
				return nil, refusal.New(400, "team_member_already_in_team", "user_id",
					"User with user_id="+who+" is already a member of team="+t.ID+".").Lift()
			}
			if already {
				continue
			}
			m.budget = &own
			u, r := b.join(t, m)
			if r != nil {
				return nil, r
			}
			joined = append(joined, u.ID)
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	t, ok := c.s.Teams.Get(id.v)
	if !ok {
		return noSuchTeam(id.v)
	}
	out := struct {
		teamRow
		Users       []userRow       `json:"updated_users"`
		Memberships []membershipRow `json:"updated_team_memberships"`
	}{teamRow: c.teamRow(c.s, t), Users: []userRow{}, Memberships: []membershipRow{}}
	if c.repeated {
		for _, m := range members {
			if who, ok := memberOf(c.s, t, m.userID, m.email); ok {
				joined = append(joined, who)
			}
		}
	}
	for _, who := range joined {
		if u, ok := c.s.Users.Get(who); ok {
			out.Users = append(out.Users, c.userRow(c.s, u))
		}
		if m, ok := c.s.Member(t.ID, who); ok {
			out.Memberships = append(out.Memberships, c.membership(c.s, m))
		}
	}
	return c.ok(out)
}

func memberUpdate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, user, email := f.str("team_id"), f.str("user_id"), f.str("user_email")
	role := f.choice("role", "user", teamAdmin)
	x := f.inTeam()
	f.require("team_id", id.v != "")
	f.require("user_id", user.v != "" || email.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	var who string
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		t, ok := b.team(id.v)
		if !ok {
			return nil, noSuchTeam(id.v)
		}
		if r := c.onlyLead(t); r != nil {
			return nil, r
		}
		if who, ok = memberOf(s, t, user.v, email.v); !ok {
			return nil, notFound("user_id", "User %s%s is not a member of team=%s.", user.v, email.v, t.ID)
		}
		if role.set {
			t.Members = slices.Clone(t.Members)
			for i := range t.Members {
				if t.Members[i].UserID == who {
					t.Members[i].Role = role.v
				}
			}
		}
		if x.given() {
			m, ok := b.member(model.MemberID(t.ID, who))
			if !ok { // a member imported without a row of its own
				m = &model.Member{TeamID: t.ID, UserID: who}
				c.born(&m.Meta)
				b.members[m.EntityID()] = m
			}
			if r := b.memberBudget(t, m, &x); r != nil {
				return nil, r
			}
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	out := struct {
		TeamID string   `json:"team_id"`
		UserID string   `json:"user_id"`
		Email  *string  `json:"user_email"`
		Max    *float64 `json:"max_budget_in_team"`
		TPM    *int64   `json:"tpm_limit"`
		RPM    *int64   `json:"rpm_limit"`
	}{TeamID: id.v, UserID: who, Email: optional(email.v)}
	if m, ok := c.s.Member(id.v, who); ok {
		if b, ok := c.s.Budgets.Get(m.BudgetID); ok {
			out.Max, out.TPM, out.RPM = usd(b.MaxBudget), b.TPM, b.RPM
		}
	}
	return c.ok(out)
}

func memberDelete(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, user, email := f.str("team_id"), f.str("user_id"), f.str("user_email")
	f.require("team_id", id.v != "")
	f.require("user_id", user.v != "" || email.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		t, ok := b.team(id.v)
		if !ok {
			return nil, noSuchTeam(id.v)
		}
		if r := c.onlyLead(t); r != nil {
			return nil, r
		}
		who, ok := memberOf(s, t, user.v, email.v)
		if !ok {
			return nil, badRequest("user_id", "User not found in team. team_id=%s, user_id=%s%s", t.ID, user.v, email.v)
		}
		b.leave(t, who)
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
	return c.okLive(func() any { return c.teamRow(c.s, t) })
}
