package admin

import (
	"slices"
	"strconv"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// mostMembers is how many may be named in one call, as in LiteLLM; and how many
// join by one mutation, which holds each of them whole.
const mostMembers = 500

// addedMember is what became of one of those who were to join.
type addedMember struct {
	UserID     *string        `json:"user_id"`
	Email      *string        `json:"user_email"`
	Success    bool           `json:"success"`
	Error      *string        `json:"error"`
	User       *userRow       `json:"updated_user"`
	Membership *membershipRow `json:"updated_team_membership"`
}

// bulkAnswer is LiteLLM's answer to an addition of many.
type bulkAnswer struct {
	TeamID    string        `json:"team_id"`
	Results   []addedMember `json:"results"`
	Requested int           `json:"total_requested"`
	Added     int           `json:"successful_additions"`
	Failed    int           `json:"failed_additions"`
	Team      *teamRow      `json:"updated_team"`
}

// membersAdd adds many to a team, or everybody there is. Who is a member already
// stays as he is: the call may be repeated.
func membersAdd(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id, members, all, own := f.str("team_id"), f.members("members"), f.bool("all_users"), f.inTeam()
	f.require("team_id", id.v != "")
	if !all.v {
		f.require("members", len(members) > 0)
	}
	if len(members) > mostMembers {
		f.invalid("members", "At most "+strconv.Itoa(mostMembers)+" members may be added by one call")
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	if all.v {
		if r := c.onlyAdmin(); r != nil {
			return r
		}
		members = everybody(c.s)
	}
	var joined []newMember
	for part := range slices.Chunk(members, mostMembers) {
		more, r := c.joinTeam(id.v, part, &own)
		if r != nil {
			return r
		}
		joined = append(joined, more...)
	}
	t, ok := c.s.Teams.Get(id.v)
	if !ok {
		return noSuchTeam(id.v)
	}
	return c.okLive(func() any {
		row := c.teamRow(c.s, t)
		out := bulkAnswer{TeamID: t.ID, Results: make([]addedMember, 0, len(joined)), Requested: len(joined), Team: &row}
		for _, m := range joined {
			one := addedMember{UserID: optional(m.userID), Email: optional(m.email)}
			who, in := memberOf(c.s, t, m.userID, m.email)
			if one.Success = in; in {
				out.Added++
				one.UserID = optional(who)
			} else { // taken out again by somebody else
				out.Failed++
				one.Error = optional("User is not a member of team=" + t.ID + " any more.")
			}
			if u, ok := c.s.Users.Get(who); ok {
				row := c.userRow(c.s, u)
				one.User = &row
			}
			if m, ok := c.s.Member(t.ID, who); ok {
				row := c.membership(c.s, m)
				one.Membership = &row
			}
			out.Results = append(out.Results, one)
		}
		return out
	})
}

// joinTeam has members join a team by one mutation and gives them with their ids.
func (c *call) joinTeam(team string, members []newMember, own *budgetFields) ([]newMember, *refusal.Refusal) {
	var joined []newMember
	r := c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		joined = slices.Clone(members)
		b := c.batch(s)
		t, ok := b.team(team)
		if !ok {
			return nil, noSuchTeam(team)
		}
		if r := c.onlyLead(t); r != nil {
			return nil, r
		}
		some := false
		for i := range joined {
			m := &joined[i]
			who, already := memberOf(s, t, m.userID, m.email)
			if already {
				m.userID = who
				continue
			}
			m.budget = own
			u, r := b.join(t, *m)
			if r != nil {
				return nil, r
			}
			m.userID, some = u.ID, true
		}
		if !some {
			return nil, nil
		}
		return b.changes(), nil
	})
	return joined, r
}

// everybody is every user there is, in a fixed order.
func everybody(s *state.Snapshot) []newMember {
	out := make([]newMember, 0, s.Users.Len())
	for id, u := range s.Users.Sorted() {
		out = append(out, newMember{userID: id, email: u.Email, role: "user"})
	}
	return out
}
