package state

import (
	"iter"
	"strings"

	"tollgate/config/residency"
)

// ruleSep joins the names of a rule's regions: no name has it.
const ruleSep = "\x1f"

// ruleOf is the owner under which an object with data_regions is indexed.
func ruleOf(regions []string) string { return strings.Join(regions, ruleSep) }

// DataRegions are the regions that data of a key, its team and its organization
// may be in by the rules that hold now; empty ids, and what is not there any
// more, add nothing. nil: anywhere.
func (s *Snapshot) DataRegions(key, team, organization string) []string {
	var set []string
	if s.Organizations != nil && organization != "" {
		if o, ok := s.Organizations.Get(organization); ok {
			set = o.DataRegions
		}
	}
	if team != "" {
		if t, ok := s.Teams.Get(team); ok {
			set = residency.Meet(set, t.DataRegions)
		}
	}
	if key != "" {
		if k, ok := s.Keys.Get(key); ok {
			set = residency.Meet(set, k.DataRegions)
		}
	}
	return set
}

// RegionRules are the different data_regions that keys, teams and organizations
// have, whatever the number of those that have them.
func (s *Snapshot) RegionRules() iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for at, more := "", true; more; {
			more = false
			s.idx.sets[byDataRegions].from(pair{owner: at}, func(p pair) bool {
				at, more = p.owner+"\x00", true
				return false
			})
			if more && !yield(strings.Split(strings.TrimSuffix(at, "\x00"), ruleSep)) {
				return
			}
		}
	}
}
