package admin

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// madeUser is the answer to the making of a user, with its first key.
type madeUser struct {
	userRow
	Key      *string    `json:"key"`
	Token    *string    `json:"token"`
	TokenID  *string    `json:"token_id"`
	KeyName  *string    `json:"key_name"`
	KeyAlias *string    `json:"key_alias"`
	Expires  *time.Time `json:"expires"`
	Duration *string    `json:"duration"`
}

func userNew(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	c.defaultUserParams(f)
	id, x, key := f.id("user_id"), readUser(f), readKey(f)
	wantKey, teams := f.bool("auto_create_key"), f.joins("teams")
	f.bool("send_invite_email")
	wanted := f.str("key")
	f.checkKey("key", wanted)
	if f.wrong() {
		return c.refuseForm(f)
	}
	// The key inherits its owner's models and lives under its budget and limits;
	// it has none of its own.
	key.limitFields, key.spendingFields, key.modelMax = limitFields{}, spendingFields{}, field[map[string]model.ModelBudget]{}
	key.extra = nil
	if id.v == "" {
		if id.v, r = c.newID(); r != nil {
			return r
		}
	}
	key.user = field[string]{true, true, id.v}
	makeKey, plain := wantKey.or(true), ""
	if makeKey {
		if plain, r = c.secretKey(wanted); r != nil {
			return r
		}
	}
	password, r := c.passwordHash(x.password)
	if r != nil {
		return r
	}
	c.secret = plain
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.Users.Get(id.v); ok {
			return nil, refusal.New(409, "bad_request", "user_id", "User with id "+id.v+" already exists").Lift()
		}
		if r := checkEmail(s, x.email.v, ""); r != nil {
			return nil, r
		}
		u := &model.User{ID: id.v, PasswordHash: password}
		c.born(&u.Meta)
		x.into(u)
		if x.spend.set {
			c.offsetSpend(s, model.Scope{Dim: model.DimUser, ID: u.ID}, &u.Spending, x.spend.v)
		}
		b := c.batch(s)
		b.users[u.ID] = u
		for _, j := range teams {
			t, ok := b.team(j.team)
			if !ok {
				return nil, noSuchTeam(j.team)
			}
			j.userID = u.ID
			if _, r := b.join(t, j.newMember); r != nil {
				return nil, r
			}
		}
		for _, org := range stringList(u.Extra["organizations"]) {
			if r := checkOrganization(s, org); r != nil {
				return nil, r
			}
			if r := b.joinOrganization(org, u.ID, orgRoleOf(u.Role), nil); r != nil {
				return nil, r
			}
		}
		if makeKey {
			if r := checkReferences(s, &key, ""); r != nil {
				return nil, r
			}
			k, r := c.newKey(s, plain, &key)
			if r != nil {
				return nil, r
			}
			b.more = append(b.more, put(model.Keys, k))
		}
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	u, ok := c.s.Users.Get(id.v)
	if !ok {
		return c.notShownAgain()
	}
	out := madeUser{userRow: c.userRow(c.s, u), Duration: lifetimeView(&key)}
	if makeKey {
		k, ok := c.s.Keys.Get(auth.Hash([]byte(c.secret)))
		if !ok {
			return c.notShownAgain()
		}
		out.Key, out.Token, out.TokenID = &c.secret, &k.Hash, &k.Hash
		out.KeyName, out.KeyAlias, out.TeamID = optional(k.Name), optional(k.Alias), optional(k.TeamID)
		if k.Expires != nil {
			out.Expires = moment(*k.Expires)
		}
	}
	return c.ok(out)
}

// defaultUserParams fills what a request leaves open about an internal user
// from litellm_settings.
func (c *call) defaultUserParams(f *form) {
	l := &c.settings().LiteLLM
	open := func(name string) bool { _, given, null := f.value(name); return !given || null }
	role := f.raw["user_role"]
	if !open("user_role") && string(role) != `"internal_user"` && string(role) != `"internal_user_viewer"` {
		return
	}
	defaults := map[string]jsontext.Value{}
	if len(l.DefaultInternalUser) > 0 && json.Unmarshal(l.DefaultInternalUser, &defaults) == nil {
		for name, v := range defaults {
			if open(name) {
				f.raw[name] = v
			}
		}
	}
	if l.InternalUserBudget != nil && open("max_budget") {
		f.raw["max_budget"] = jsontext.Value(l.InternalUserBudget.String())
		if l.InternalUserDuration != "" && open("budget_duration") {
			f.raw["budget_duration"] = jsontext.Value(strconv.Quote(l.InternalUserDuration))
		}
	}
}

// teamJoin is one team that a new user joins.
type teamJoin struct {
	team string
	newMember
}

// joins reads a list of team ids or of {team_id, max_budget_in_team, user_role}.
func (f *form) joins(name string) []teamJoin {
	return read(f, name, func(v jsontext.Value) ([]teamJoin, bool) {
		items, ok := f.items(name, v)
		out, fine := make([]teamJoin, 0, len(items)), ok
		for i, it := range items {
			at := name + "." + strconv.Itoa(i)
			switch it.Kind() {
			case '"':
				out = append(out, teamJoin{text(it), newMember{role: "user"}})
			case '{':
				in, _ := parseForm(it)
				team, role := in.id("team_id"), in.choice("user_role", "user", "admin")
				max := in.budget("max_budget_in_team")
				in.require("team_id", team.v != "")
				out = append(out, teamJoin{team.v, newMember{role: role.or("user"), budget: inTeam(max)}})
				fine = f.adopt(in, at) && fine
			default:
				f.fault(at, "string_type", "Input should be a valid string")
				fine = false
			}
		}
		return out, fine
	}).v
}

// adopt takes the faults of a nested form; it reports whether there were none.
func (f *form) adopt(in *form, at string) bool {
	for _, x := range in.faults {
		inner := x.Loc[1:]
		f.fault(at, x.Type, x.Msg)
		last := &f.faults[len(f.faults)-1]
		last.Loc = append(last.Loc, inner...)
	}
	return !in.wrong()
}

func userUpdate(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("user_id"), readUser(f)
	f.require("user_id", id.v != "" || x.email.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	password, r := c.passwordHash(x.password)
	if r != nil {
		return r
	}
	var found string
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := findUser(s, id.v, x.email.v)
		if !ok {
			return nil, noSuchUser(id.v + x.email.v)
		}
		if r := checkEmail(s, x.email.v, old.ID); r != nil {
			return nil, r
		}
		u := *old
		found = u.ID
		x.into(&u)
		if x.password.given {
			u.PasswordHash = password
		}
		if x.spend.set {
			c.setSpend(s, userScope(u.ID), &u.Spending, x.spend.v)
		}
		c.touched(&u.Meta)
		return []model.Change{put(model.Users, &u)}, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	u, ok := c.s.Users.Get(found)
	if !ok {
		return noSuchUser(found)
	}
	return c.okLive(func() any {
		return struct {
			ID   string  `json:"user_id"`
			Data userRow `json:"data"`
		}{u.ID, c.userRow(c.s, u)}
	})
}

// userDelete removes users with their keys and their places in teams.
func userDelete(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	ids := f.strs("user_ids")
	f.require("user_ids", len(ids.v) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	n := 0
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		seen := map[string]bool{}
		for _, id := range ids.v {
			u, ok := s.Users.Get(id)
			if !ok {
				return nil, noSuchUser(id)
			}
			seen[id] = true
			b.delete(model.Users, u)
			for k := range s.KeysOfUser(id) {
				b.delete(model.Keys, k)
			}
			for m := range s.MembershipsOf(id) {
				if t, ok := b.team(m.TeamID); ok {
					b.leave(t, id)
				}
				b.delete(model.Members, m)
			}
			for m := range s.OrgsOf(id) {
				b.delete(model.OrgMembers, m)
			}
		}
		n = len(seen)
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	if c.repeated {
		n = len(distinct(ids.v))
	}
	c.spread()
	return c.ok(n)
}
