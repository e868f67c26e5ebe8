package call

import (
	"strings"

	"tollgate/config/model"
)

// budgetOwner names whose budget is exhausted, for the levels that LiteLLM's
// sentence begins with; "" for the others.
func budgetOwner(sc model.Scope) string {
	owner, part, _ := strings.Cut(sc.ID, "\x1f")
	switch sc.Dim {
	case model.DimTeam:
		return "Team=" + sc.ID
	case model.DimOrganization:
		return "Organization=" + sc.ID
	case model.DimOrgMember:
		return "User=" + part + " in Organization=" + owner
	case model.DimMember:
		return "User=" + part + " in Team=" + owner
	case model.DimTag:
		return "Tag=" + sc.ID
	case model.DimKeyWindow:
		return "Key=" + owner + " over " + part
	case model.DimTeamWindow:
		return "Team=" + owner + " over " + part
	case model.DimModelPerTeam:
		return "Team=" + owner + " for model=" + part
	case model.DimModelPerUser:
		return "User=" + owner + " for model=" + part
	case model.DimModelPerEndUser: // the name is the client's own: the group is what stands last
		i := strings.LastIndexByte(sc.ID, '\x1f')
		return "End User=" + sc.ID[:max(i, 0)] + " for model=" + sc.ID[i+1:]
	case model.DimDeployment:
		return "Deployment=" + sc.ID
	case model.DimProvider:
		return "Provider=" + sc.ID
	}
	return ""
}
