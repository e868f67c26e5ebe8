package auth

import (
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/limiter/admit"
	"tollgate/proxy/refusal"
)

// OrganizationID is the id of the organization that a key counts for: its own, or
// its team's.
func (p *Principal) OrganizationID() string {
	switch {
	case p.Key == nil:
		return ""
	case p.Key.OrganizationID != "":
		return p.Key.OrganizationID
	case p.Team != nil:
		return p.Team.OrganizationID
	}
	return ""
}

// findOrganization resolves the organization behind a key, with its budget row,
// and whether the key's user manages one.
func (p *Principal) findOrganization(s *state.Snapshot) {
	if id := p.OrganizationID(); id != "" {
		if o, ok := s.Organizations.Get(id); ok {
			p.Organization = o
			if b, ok := s.Budgets.Get(o.BudgetID); ok {
				p.OrgBudget = b
			}
		}
	}
	if p.Key.UserID == "" || s.OrgMembers.Len() == 0 {
		return
	}
	for m := range s.OrgsOf(p.Key.UserID) {
		if m.Role == model.OrgAdmin {
			p.OrgAdmin = true
			return
		}
	}
}

// MayUseModelOfOwners is the later half of the check: LiteLLM reports expiry
// between the key's own list and those of its owners.
func (p *Principal) MayUseModelOfOwners(s *state.Snapshot, name string, compatOld bool) *refusal.Refusal {
	if p.Master || p.Key == nil {
		return nil
	}
	if r := p.ownersAllow(s, name, compatOld); r != nil {
		return r
	}
	if o := p.Organization; o != nil && !p.listAllows(s, o.Models, name, nil) {
		return modelDenied("org", o.Models, name, compatOld)
	}
	return nil
}

// sharedRates are the limits of the organization and the tags. They are nobody's
// own: the defaults for callers without limits apply beside them, or a caller
// could shed those with a tag.
func (c *charger) sharedRates(p *Principal, group string, tags []string) {
	own := c.own
	c.organizationRates(p, group)
	c.tagRates(tags)
	c.own = own
}

func (c *charger) organizationRates(p *Principal, group string) {
	o := p.Organization
	if o == nil {
		return
	}
	if p.OrgBudget != nil {
		c.limits(model.Scope{Dim: model.DimOrganization, ID: o.ID}, &p.OrgBudget.Limits)
	}
	if len(o.ModelRPM)+len(o.ModelTPM) > 0 {
		c.perModel(model.ModelScope(model.DimModelPerOrg, o.ID, group), o.ModelRPM, o.ModelTPM, group)
	}
}

func (c *charger) tagRates(tags []string) {
	for _, tag := range tags {
		if t, ok := c.s.Tags.Get(tag); ok {
			if b, ok := c.s.Budgets.Get(t.BudgetID); ok {
				c.limits(model.Scope{Dim: model.DimTag, ID: tag}, &b.Limits)
			}
		}
	}
}

// windows are the budgets that an owner has over several durations at once.
func (c *charger) windows(dim model.Dim, owner string, list []model.BudgetWindow) {
	for i := range list {
		c.budget(model.WindowScope(dim, owner, list[i].Duration))
	}
}

// sharedBudgets are those of the organization and the tags. A key is charged
// for them between its team and its user.
func (c *charger) sharedBudgets(p *Principal, tags []string) {
	if p.Organization != nil {
		c.budget(model.Scope{Dim: model.DimOrganization, ID: p.Organization.ID})
		if p.Key.UserID != "" && c.s.OrgMembers.Len() > 0 {
			c.budget(model.Scope{Dim: model.DimOrgMember, ID: model.MemberID(p.Organization.ID, p.Key.UserID)})
		}
	}
	for _, tag := range tags {
		c.budget(model.Scope{Dim: model.DimTag, ID: tag})
	}
}

// LaneCharges fills an ask with the limits and budgets of one deployment and its
// provider. They decide which deployment answers, not whether the caller may
// call. tokens is the estimate that token limits reserve.
func LaneCharges(s *state.Snapshot, d *state.Deployment, tokens int64, ask *admit.Ask, id func(model.Scope, admit.Kind) uint64) {
	c := charger{s: s, ask: ask, id: id, tokens: tokens}
	sc := model.Scope{Dim: model.DimDeployment, ID: d.ID}
	limits := model.Limits{Parallel: d.Parallel}
	if (d.RPM != nil || d.TPM != nil) && s.Routing.EnforcesRates() {
		limits.RPM, limits.TPM = d.RPM, d.TPM
	}
	c.limits(sc, &limits)
	if d.Price != nil && d.Price.Free() {
		return // no budget is asked for what costs nothing
	}
	c.budget(sc)
	c.budget(model.Scope{Dim: model.DimProvider, ID: d.Provider})
}
