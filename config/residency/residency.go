// Package residency is the arithmetic of data_regions: which regions hold for a
// call, and whether one of them is meant. It knows regions by name only, and
// decides nothing about what to do where a region is not allowed.
//
// A set is a list of region names. An empty one is no rule: anywhere. A set that
// allows no region at all is not an empty list, so that no reader can take the
// strictest rule for none: it holds one name that no region has.
package residency

import "slices"

// nowhere is a name that no region has: names of regions are never empty.
const nowhere = ""

// Nowhere is the set that allows no region.
func Nowhere() []string { return []string{nowhere} }

// IsNowhere reports whether there is a rule and no region satisfies it.
func IsNowhere(set []string) bool {
	for _, r := range set {
		if r != nowhere {
			return false
		}
	}
	return len(set) > 0
}

// Allows reports whether data may be in a region. A place whose region is not
// known is allowed only where there is no rule.
func Allows(set []string, region string) bool {
	return len(set) == 0 || region != nowhere && slices.Contains(set, region)
}

// Meet is the set that holds where both do. It allocates only when neither of
// them is the answer.
func Meet(a, b []string) []string {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	case within(a, b):
		return a
	case within(b, a):
		return b
	}
	var both []string
	for _, r := range a {
		if r != nowhere && slices.Contains(b, r) && !slices.Contains(both, r) {
			both = append(both, r)
		}
	}
	if len(both) == 0 {
		return Nowhere()
	}
	return both
}

// within reports whether everything that a allows b allows too.
func within(a, b []string) bool {
	for _, r := range a {
		if r != nowhere && !slices.Contains(b, r) {
			return false
		}
	}
	return true
}
