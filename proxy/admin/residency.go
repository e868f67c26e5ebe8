package admin

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"

	"tollgate/config/model"
	"tollgate/config/residency"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// longestRegion bounds a region's name, which gossip sends along.
const longestRegion = 64

// regions reads data_regions: words, each once. A name that is empty or blank
// would allow nothing, which nobody means.
func (f *form) regions(name string) field[[]string] {
	x := f.strs(name)
	kept := make([]string, 0, len(x.v))
	for i, r := range x.v {
		if r == "" || len(r) > longestRegion || strings.ContainsFunc(r, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }) {
			f.invalid(name+"."+strconv.Itoa(i), "a region is a word of 1 to 64 characters without spaces")
			continue
		}
		if !slices.Contains(kept, r) {
			kept = append(kept, r)
		}
	}
	if x.set {
		x.v = kept
	}
	return x
}

// checkHome refuses a home_region in which the key could not be used. self is
// the hash of the key that is changed, "" for a new one.
func checkHome(s *state.Snapshot, x *keyFields, self string) *refusal.Refusal {
	if !x.homeRegion.given && !x.regions.given && !x.team.given && !x.organization.given {
		return nil
	}
	var k model.Key
	if old, ok := s.Keys.Get(self); ok {
		k = *old
	}
	x.homeRegion.into(&k.HomeRegion)
	x.regions.into(&k.DataRegions)
	x.team.into(&k.TeamID)
	x.organization.into(&k.OrganizationID)
	if k.HomeRegion == "" {
		return nil
	}
	organization := k.OrganizationID
	if t, ok := s.Teams.Get(k.TeamID); ok && organization == "" {
		organization = t.OrganizationID
	}
	set := residency.Meet(k.DataRegions, s.DataRegions("", k.TeamID, organization))
	if residency.Allows(set, k.HomeRegion) {
		return nil
	}
	allowed := "have no region in common"
	if !residency.IsNowhere(set) {
		allowed = "allow only " + strings.Join(set, ", ")
	}
	return badRequest("home_region", "home_region=%s is outside the data_regions of the key, its team and its organization, which %s. Choose one of them, or leave home_region out.", k.HomeRegion, allowed)
}

// withinOwnRegions keeps a key with data_regions from making another, or itself,
// into one whose data may go further. A new key without regions gets the caller's.
func (c *call) withinOwnRegions(x *keyFields, fresh bool) *refusal.Refusal {
	if c.p.Key == nil || len(c.p.Key.DataRegions) == 0 {
		return nil
	}
	mine := c.p.Key.DataRegions
	if fresh && len(x.regions.v) == 0 {
		x.regions = field[[]string]{true, true, mine}
	}
	beyond := func(region string) bool { return !slices.Contains(mine, region) }
	if x.regions.given && (len(x.regions.v) == 0 || slices.ContainsFunc(x.regions.v, beyond)) {
		return forbidden("data_regions may not go beyond those of the calling key: %s", joined(mine))
	}
	return nil
}

// warnOfRegions notes names under which nothing stands: they may be misspelt, or
// of nodes that are yet to come.
func (c *call) warnOfRegions(given field[[]string]) {
	if !given.set || c.a.Regions == nil {
		return
	}
	known := c.a.Regions()
	if c.s.Routing != nil {
		for _, d := range c.s.Routing.ByID {
			known = append(known, d.Region)
		}
	}
	for _, r := range given.v {
		if !slices.Contains(known, r) {
			c.warnings = append(c.warnings, "data_regions: no node and no deployment is in a region named "+r)
		}
	}
}

// withWarnings adds what there is to warn of to an answer that is an object.
func (c *call) withWarnings(body []byte) []byte {
	if len(c.warnings) == 0 || !bytes.HasSuffix(body, []byte("}")) || len(body) < 3 {
		return body
	}
	text, err := json.Marshal(c.warnings)
	if err != nil { // texts of ours
		return body
	}
	body = append(body[:len(body)-1], `,"warnings":`...)
	return append(append(body, text...), '}')
}
