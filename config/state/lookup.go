package state

import (
	"iter"
	"slices"
	"strings"
	"time"

	"tollgate/config/model"
)

// indexes are the secondary indexes of one snapshot.
type indexes struct {
	sets   [indexCount]*ordered
	active *model.ConfigVersion
	// budgeted are the deployments of the active config that have a budget.
	budgeted map[string]*model.Deployment
}

// KeyByHash finds a key by its own hash; rotated hashes are KeyFor's matter.
func (s *Snapshot) KeyByHash(hash string) (*model.Key, bool) { return s.Keys.Get(hash) }

// KeyFor finds the key that a caller with this hash may use: the key itself, or
// the key that replaced it while the old one still counts.
func (s *Snapshot) KeyFor(hash string, now time.Time) (*model.Key, bool) {
	if k, ok := s.Keys.Get(hash); ok {
		return k, true
	}
	for id := range s.idx.sets[keysByReplaced].of(hash) {
		if k, ok := s.Keys.Get(id); ok && k.ReplacesUntil != nil && now.Before(*k.ReplacesUntil) {
			return k, true
		}
	}
	return nil, false
}

// KeyByAlias finds a key by its alias. Of several with one alias, which two
// nodes may have made at once, it is the one with the smallest hash.
func (s *Snapshot) KeyByAlias(alias string) (*model.Key, bool) {
	id, ok := s.idx.sets[keysByAlias].first(alias)
	if !ok {
		return nil, false
	}
	return s.Keys.Get(id)
}

// KeysOfUser walks a user's keys in order of their hashes.
func (s *Snapshot) KeysOfUser(user string) iter.Seq[*model.Key] {
	return follow(s.idx.sets[keysByUser], user, s.Keys)
}

// KeysOfTeam walks a team's keys in order of their hashes.
func (s *Snapshot) KeysOfTeam(team string) iter.Seq[*model.Key] {
	return follow(s.idx.sets[keysByTeam], team, s.Keys)
}

// Member finds one user's membership in one team.
func (s *Snapshot) Member(team, user string) (*model.Member, bool) {
	return s.Members.Get(model.MemberID(team, user))
}

// MembersOf walks the memberships of a team.
func (s *Snapshot) MembersOf(team string) iter.Seq[*model.Member] {
	return follow(s.idx.sets[membersByTeam], team, s.Members)
}

// MembershipsOf walks the memberships of a user.
func (s *Snapshot) MembershipsOf(user string) iter.Seq[*model.Member] {
	return follow(s.idx.sets[membersByUser], user, s.Members)
}

// MembersOfOrg walks the memberships of an organization.
func (s *Snapshot) MembersOfOrg(org string) iter.Seq[*model.OrgMember] {
	return follow(s.idx.sets[orgMembersByOrg], org, s.OrgMembers)
}

// OrgsOf walks the memberships of a user in organizations.
func (s *Snapshot) OrgsOf(user string) iter.Seq[*model.OrgMember] {
	return follow(s.idx.sets[orgMembersByUser], user, s.OrgMembers)
}

// TeamsOfOrg walks the teams of an organization.
func (s *Snapshot) TeamsOfOrg(org string) iter.Seq[*model.Team] {
	return follow(s.idx.sets[teamsByOrg], org, s.Teams)
}

// UserByEmail finds a user by address, upper and lower case alike.
func (s *Snapshot) UserByEmail(email string) (*model.User, bool) {
	id, ok := s.idx.sets[usersByEmail].first(strings.ToLower(email))
	if !ok {
		return nil, false
	}
	return s.Users.Get(id)
}

// ActiveConfig is the config that nodes run, the one with the highest number;
// nil before the first.
func (s *Snapshot) ActiveConfig() *model.ConfigVersion { return s.idx.active }

// ConfigHistory lists the kept config versions, newest first.
func (s *Snapshot) ConfigHistory() []*model.ConfigVersion {
	all := make([]*model.ConfigVersion, 0, s.Configs.Len())
	for _, v := range s.Configs.Sorted() {
		all = append(all, v)
	}
	slices.Reverse(all)
	return all
}

func follow[T model.Entity](set *ordered, owner string, t *Table[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for id := range set.of(owner) {
			if e, ok := t.Get(id); ok && !yield(e) {
				return
			}
		}
	}
}
