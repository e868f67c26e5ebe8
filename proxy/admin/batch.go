package admin

import (
	"cmp"
	"slices"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// batch collects changes to several objects that belong together. Each object
// is copied when it is first touched; the copies become one mutation.
type batch struct {
	c       *call
	s       *state.Snapshot
	users   map[string]*model.User
	teams   map[string]*model.Team
	members map[string]*model.Member
	budgets map[string]*model.Budget
	gone    map[string]model.Change // by table and id: deletions
	more    []model.Change
}

func (c *call) batch(s *state.Snapshot) *batch {
	return &batch{c: c, s: s, users: map[string]*model.User{}, teams: map[string]*model.Team{},
		members: map[string]*model.Member{}, budgets: map[string]*model.Budget{}, gone: map[string]model.Change{}}
}

// touch gives the working copy of an entity, made on first use.
func touch[T any, E interface {
	*T
	model.Entity
}](c *call, copies map[string]E, t *state.Table[E], id string, meta func(E) *model.Meta) (E, bool) {
	if e, ok := copies[id]; ok {
		return e, true
	}
	old, ok := t.Get(id)
	if !ok {
		return nil, false
	}
	e := E(new(T))
	*e = *old
	c.touched(meta(e))
	copies[id] = e
	return e, true
}

func (b *batch) user(id string) (*model.User, bool) {
	return touch(b.c, b.users, b.s.Users, id, func(u *model.User) *model.Meta { return &u.Meta })
}

func (b *batch) team(id string) (*model.Team, bool) {
	return touch(b.c, b.teams, b.s.Teams, id, func(t *model.Team) *model.Meta { return &t.Meta })
}

func (b *batch) member(id string) (*model.Member, bool) {
	return touch(b.c, b.members, b.s.Members, id, func(m *model.Member) *model.Meta { return &m.Meta })
}

func (b *batch) budget(id string) (*model.Budget, bool) {
	return touch(b.c, b.budgets, b.s.Budgets, id, func(x *model.Budget) *model.Meta { return &x.Meta })
}

func (b *batch) delete(t model.Table, e model.Entity) {
	b.gone[string(t)+"\x00"+e.EntityID()] = remove(t, e)
}

func (b *batch) deleted(t model.Table, id string) bool {
	_, ok := b.gone[string(t)+"\x00"+id]
	return ok
}

// changes is everything collected, in a fixed order. What is deleted is not
// put as well.
func (b *batch) changes() []model.Change {
	var out []model.Change
	add := func(t model.Table, e model.Entity) {
		if !b.deleted(t, e.EntityID()) {
			out = append(out, put(t, e))
		}
	}
	for _, e := range b.budgets {
		add(model.Budgets, e)
	}
	for _, e := range b.users {
		add(model.Users, e)
	}
	for _, e := range b.teams {
		add(model.Teams, e)
	}
	for _, e := range b.members {
		add(model.Members, e)
	}
	for _, ch := range b.gone {
		out = append(out, ch)
	}
	out = append(out, b.more...)
	slices.SortStableFunc(out, func(x, y model.Change) int {
		return cmp.Or(cmp.Compare(x.Table, y.Table), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// newMember is somebody who is to join a team.
type newMember struct {
	userID, email, role string
	budget              *budgetFields // nil: the team's default
}

// join adds a member to a team: role, membership, and the team in the user's
// own list. A user who does not exist yet is made.
func (b *batch) join(t *model.Team, m newMember) (*model.User, *refusal.Refusal) {
	u, r := b.memberUser(m)
	if r != nil {
		return nil, r
	}
	id := model.MemberID(t.ID, u.ID)
	row, ok := b.member(id)
	if !ok {
		row = &model.Member{TeamID: t.ID, UserID: u.ID}
		b.c.born(&row.Meta)
		b.members[id] = row
	}
	if m.budget != nil && m.budget.given() {
		if r := b.memberBudget(t, row, m.budget); r != nil {
			return nil, r
		}
	}
	t.Members = slices.DeleteFunc(slices.Clone(t.Members), func(x model.TeamRole) bool { return x.UserID == u.ID })
	t.Members = append(t.Members, model.TeamRole{UserID: u.ID, Email: u.Email, Role: m.role})
	if !slices.Contains(u.Teams, t.ID) {
		u.Teams = append(slices.Clone(u.Teams), t.ID)
	}
	return u, nil
}

// memberUser finds a member's user by id or address, or makes it.
func (b *batch) memberUser(m newMember) (*model.User, *refusal.Refusal) {
	id := m.userID
	if id == "" {
		if u, ok := b.s.UserByEmail(m.email); ok {
			id = u.ID
		}
		for _, u := range b.users { // made by this very call
			if id == "" && m.email != "" && sameEmail(u.Email, m.email) {
				id = u.ID
			}
		}
	}
	if u, ok := b.user(id); ok && id != "" {
		return u, nil
	}
	if id == "" {
		var r *refusal.Refusal
		if id, r = b.c.newID(); r != nil {
			return nil, r
		}
	}
	u := &model.User{ID: id, Email: m.email}
	b.c.born(&u.Meta)
	b.users[id] = u
	return u, nil
}

// memberBudget gives a membership a budget row of its own, or changes the one
// it has. The row that a team gives all its members is never changed for one.
func (b *batch) memberBudget(t *model.Team, m *model.Member, x *budgetFields) *refusal.Refusal {
	if m.BudgetID != "" && m.BudgetID != t.MemberBudgetID {
		if row, ok := b.budget(m.BudgetID); ok {
			x.into(row)
			return nil
		}
	}
	id, r := b.c.newID()
	if r != nil {
		return r
	}
	row := b.c.newBudget(id, x)
	b.budgets[id] = row
	m.BudgetID = id
	return nil
}

// leave takes a user out of a team, with the keys it has there.
func (b *batch) leave(t *model.Team, userID string) {
	t.Members = slices.DeleteFunc(slices.Clone(t.Members), func(x model.TeamRole) bool { return x.UserID == userID })
	if m, ok := b.s.Member(t.ID, userID); ok {
		b.delete(model.Members, m)
	}
	if u, ok := b.user(userID); ok {
		u.Teams = slices.DeleteFunc(slices.Clone(u.Teams), func(x string) bool { return x == t.ID })
	}
	for k := range b.s.KeysOfUser(userID) {
		if k.TeamID == t.ID {
			b.delete(model.Keys, k)
		}
	}
}
