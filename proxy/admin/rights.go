package admin

import (
	"slices"

	"tollgate/config/model"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// teamAdmin is the role of those who manage a team.
const teamAdmin = "admin"

// seesAll reports whether the caller may read every object.
func (c *call) seesAll() bool { return c.p.Admin() || c.p.Role == auth.RoleAdminViewer }

// owner is the user id that the caller acts for; "" owns nothing.
func (c *call) owner() string {
	if c.p.Master {
		return ""
	}
	return c.p.UserID()
}

// roleIn is the caller's role in a team; "" when it is not a member.
func (c *call) roleIn(t *model.Team) string {
	me := c.owner()
	if t == nil || me == "" {
		return ""
	}
	for _, m := range t.Members {
		if m.UserID == me {
			return m.Role
		}
	}
	return ""
}

// onlyReads reports whether the caller's role changes nothing, whatever it owns.
func (c *call) onlyReads() bool {
	return c.p.Role == auth.RoleAdminViewer || c.p.Role == auth.RoleInternalViewer
}

// leads reports whether the caller is an admin of the team or of its
// organization.
func (c *call) leads(teamID string) bool {
	if teamID == "" || c.onlyReads() {
		return false
	}
	t, ok := c.s.Teams.Get(teamID)
	return ok && (c.roleIn(t) == teamAdmin || c.leadsOrg(t.OrganizationID))
}

// manages reports whether the caller may change a key: proxy admins any, others
// their own and those of the teams they lead.
func (c *call) manages(k *model.Key) bool {
	return c.p.Admin() || c.ownsKey(k) && !c.onlyReads() || c.leads(k.TeamID)
}

func (c *call) ownsKey(k *model.Key) bool {
	me := c.owner()
	return me != "" && k.UserID == me
}

// sees reports whether the caller may read a key; each key may read itself.
func (c *call) sees(k *model.Key) bool {
	return c.seesAll() || c.ownsKey(k) || c.leads(k.TeamID) || c.p.Key != nil && c.p.Key.Hash == k.Hash
}

// seesTeam reports whether the caller may read a team: its members may, and
// its keys.
func (c *call) seesTeam(t *model.Team) bool {
	return c.seesAll() || c.roleIn(t) != "" || c.p.Key != nil && c.p.Key.TeamID == t.ID || c.leadsOrg(t.OrganizationID)
}

// onlyAdmin refuses everybody but proxy admins.
func (c *call) onlyAdmin() *refusal.Refusal {
	if c.p.Admin() {
		return nil
	}
	return forbidden("Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route=%s. Your role=%s. Your user_id=%s",
		c.path, c.p.Role, c.p.UserID())
}

// onlyViewer refuses those who may not read everything.
func (c *call) onlyViewer() *refusal.Refusal {
	if c.seesAll() {
		return nil
	}
	return forbidden("Only proxy admins and viewers may call this route. Route=%s. Your role=%s", c.path, c.p.Role)
}

// onlyLead refuses everybody but proxy admins and the team's own admins.
func (c *call) onlyLead(t *model.Team) *refusal.Refusal {
	if c.p.Admin() || c.roleIn(t) == teamAdmin && !c.onlyReads() || c.leadsOrg(t.OrganizationID) {
		return nil
	}
	return forbidden("Only proxy admins and admins of team=%s may do this. Your role=%s. Your user_id=%s", t.ID, c.p.Role, c.p.UserID())
}

// grants reports whether a team lets its ordinary members call a route.
func grants(t *model.Team, route string) bool {
	return slices.Contains(stringList(t.Extra["team_member_permissions"]), route)
}
