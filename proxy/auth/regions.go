package auth

import "tollgate/config/residency"

// DataRegions are the regions in which the caller's data may be: those that the
// organization, the team and the key all allow. nil: anywhere. Where they have
// none in common the set allows no region (residency.IsNowhere); it is not empty.
func (p *Principal) DataRegions() []string {
	var set []string
	if p.Organization != nil {
		set = p.Organization.DataRegions
	}
	if p.Team != nil {
		set = residency.Meet(set, p.Team.DataRegions)
	}
	if p.Key != nil {
		set = residency.Meet(set, p.Key.DataRegions)
	}
	return set
}
