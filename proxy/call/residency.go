package call

import (
	"slices"
	"strings"

	"tollgate/config/residency"
	"tollgate/ledger/store"
	"tollgate/proxy/refusal"
)

// regionNotAllowed is the code of refusals for data_regions.
const regionNotAllowed = "region_not_allowed"

// stayInside refuses a call whose data may not be in this node's region. It
// comes before the body is read, so that nothing of the call is kept here.
func (c *call) stayInside() *refusal.Refusal {
	set := c.principal.DataRegions()
	c.regions = set
	if residency.Allows(set, c.h.Region) {
		return nil
	}
	if residency.IsNowhere(set) {
		return regionRefusal("The data_regions of " + c.ruledBy() + " have no region in common, so that no node may take this call. An admin can change them.")
	}
	return regionRefusal("This node is in region " + c.h.Region + ", and the data_regions of " + c.ruledBy() + " allow only " + strings.Join(set, ", ") +
		". Send the call to a node in one of them.")
}

// modelRegions are the regions of the deployments that may serve the call: those
// that its data may be in and, for an end user with allowed_model_region, those
// of that name or beginning with it, as eu-west-1 does with eu.
func (c *call) modelRegions() []string {
	if c.req.endUser == "" {
		return c.regions
	}
	e, ok := c.snap.EndUsers.Get(c.req.endUser)
	if !ok || e.AllowedRegion == "" {
		return c.regions
	}
	allowed := residency.Nowhere()
	for _, d := range c.snap.Routing.ByID {
		if d.Region == e.AllowedRegion || strings.HasPrefix(d.Region, e.AllowedRegion+"-") {
			allowed = append(allowed, d.Region)
		}
	}
	if len(allowed) > 1 {
		allowed = allowed[1:]
	}
	return residency.Meet(c.regions, allowed)
}

// noDeploymentInside refuses a call that none of a model's deployments may
// serve, and says where they are.
func (c *call) noDeploymentInside() *refusal.Refusal {
	var there []string
	unknown := false
	target, _ := c.snap.Routing.Resolve(c.wants.Name)
	for _, d := range target.Deployments() {
		switch region := d.Deployment.Region; {
		case region == "":
			unknown = true
		case !slices.Contains(there, region):
			there = append(there, region)
		}
	}
	slices.Sort(there)
	where := "are in " + strings.Join(there, ", ")
	switch {
	case len(there) == 0:
		where = "have no region set (litellm_params.region_name)"
	case unknown:
		where += ", or have no region set"
	}
	why := "none is in a region that the call's data may be in (" + strings.Join(c.regions, ", ") + ")"
	if e, ok := c.snap.EndUsers.Get(c.req.endUser); ok && e.AllowedRegion != "" {
		why = "none is in the allowed_model_region of end user " + e.ID + " (" + e.AllowedRegion + ")"
		if len(c.regions) > 0 {
			why += " and in a region that the call's data may be in (" + strings.Join(c.regions, ", ") + ")"
		}
	}
	return regionRefusal("No deployment of model " + c.req.model + " may serve this call: " + why + "; its deployments " + where + ".")
}

func regionRefusal(message string) *refusal.Refusal {
	r := refusal.New(403, "", "", message).Lift()
	r.Code = regionNotAllowed
	return r
}

// ruledBy names whose data_regions hold.
func (c *call) ruledBy() string {
	p := &c.principal
	var who []string
	if o := p.Organization; o != nil && len(o.DataRegions) > 0 {
		who = append(who, "organization "+o.ID+" ("+strings.Join(o.DataRegions, ", ")+")")
	}
	if t := p.Team; t != nil && len(t.DataRegions) > 0 {
		who = append(who, "team "+t.ID+" ("+strings.Join(t.DataRegions, ", ")+")")
	}
	if k := p.Key; k != nil && len(k.DataRegions) > 0 {
		who = append(who, "the key ("+strings.Join(k.DataRegions, ", ")+")")
	}
	return strings.Join(who, ", ")
}

// rule gives the entry the regions of its call, and takes from it what this
// node must not keep.
func (c *call) rule(e *store.Entry) {
	e.DataRegions = c.regions
	if !residency.Allows(c.regions, c.h.Region) {
		e.Strip()
	}
}
