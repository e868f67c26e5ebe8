package admin

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// organizationFields are the fields of an organization in a request. Its limits
// and budget live in a budget row, shared or its own.
type organizationFields struct {
	budgetFields
	alias, budgetID    field[string]
	models, regions    field[[]string]
	modelRPM, modelTPM field[map[string]int64]
	metadata           field[jsontext.Value]
	extra              map[string]field[jsontext.Value]
}

func readOrganization(f *form) organizationFields {
	x := organizationFields{budgetFields: readBudget(f), alias: f.id("organization_alias"), budgetID: f.id("budget_id"),
		models: f.strs("models"), regions: f.regions("data_regions"), modelRPM: f.limitMap("model_rpm_limit"), modelTPM: f.limitMap("model_tpm_limit"),
		metadata: f.object("metadata"), extra: organizationExtras.read(f)}
	if x.budgetID.v != "" && x.budgetFields.any() {
		f.invalid("budget_id", "Set either 'max_budget' or 'budget_id', not both.")
	}
	x.absorb(f)
	return x
}

// absorb takes out of metadata what has a field of its own, see keyFields.
func (x *organizationFields) absorb(f *form) {
	in := &form{where: "body", raw: map[string]jsontext.Value{}}
	if !x.metadata.set || json.Unmarshal(x.metadata.v, &in.raw) != nil {
		return
	}
	if rpm := in.limitMap("model_rpm_limit"); rpm.set && !x.modelRPM.given {
		x.modelRPM = rpm
	}
	if tpm := in.limitMap("model_tpm_limit"); tpm.set && !x.modelTPM.given {
		x.modelTPM = tpm
	}
	f.adopt(in, "metadata")
	x.metadata.v = withoutFields(x.metadata.v, "model_rpm_limit", "model_tpm_limit")
}

func (x *organizationFields) into(o *model.Organization) {
	x.alias.into(&o.Alias)
	x.budgetID.into(&o.BudgetID)
	x.models.into(&o.Models)
	x.regions.into(&o.DataRegions)
	x.modelRPM.into(&o.ModelRPM)
	x.modelTPM.into(&o.ModelTPM)
	x.mode.into(&o.BudgetMode)
	intoRaw(x.metadata, &o.Metadata)
	o.Extra = keep(o.Extra, x.extra)
}

func organizationNew(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("organization_id"), readOrganization(f)
	f.require("organization_alias", x.alias.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	c.warnOfRegions(x.regions)
	if id.v == "" {
		if id.v, r = c.newID(); r != nil {
			return r
		}
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.Organizations.Get(id.v); ok {
			return nil, badRequest("organization_id", "Organization id = %s already exists. Please use a different organization id.", id.v)
		}
		if r := checkBudget(s, x.budgetID.v); r != nil {
			return nil, r
		}
		o := &model.Organization{ID: id.v}
		c.born(&o.Meta)
		x.into(o)
		row, changes, r := c.ownedBudget(s, o.BudgetID, 0, &x.budgetFields)
		if r != nil {
			return nil, r
		}
		o.BudgetID = row
		if x.spend.set {
			c.offsetSpend(s, orgScope(o.ID), &o.Spending, x.spend.v)
		}
		return append(changes, put(model.Organizations, o)), nil
	})
	if r != nil {
		return r
	}
	o, ok := c.s.Organizations.Get(id.v)
	if !ok {
		return noSuchOrganization(id.v)
	}
	return c.ok(c.organizationRow(c.s, o))
}

func organizationUpdate(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("organization_id"), readOrganization(f)
	f.require("organization_id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	c.warnOfRegions(x.regions)
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Organizations.Get(id.v)
		if !ok {
			return nil, noSuchOrganization(id.v)
		}
		if r := checkBudget(s, x.budgetID.v); r != nil {
			return nil, r
		}
		o := *old
		x.into(&o)
		row, changes, r := c.ownedBudget(s, o.BudgetID, uses(old.BudgetID == o.BudgetID), &x.budgetFields)
		if r != nil {
			return nil, r
		}
		o.BudgetID = row
		if x.spend.set {
			c.setSpend(s, orgScope(o.ID), &o.Spending, x.spend.v)
		}
		c.touched(&o.Meta)
		return append(changes, put(model.Organizations, &o)), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	o, ok := c.s.Organizations.Get(id.v)
	if !ok {
		return noSuchOrganization(id.v)
	}
	return c.okLive(func() any { return c.organizationFull(c.s, o) })
}

// uses is how many references to a row are an object's own.
func uses(own bool) int {
	if own {
		return 1
	}
	return 0
}

func organizationInfo(c *call) *refusal.Refusal {
	id := c.query("organization_id")
	if id == "" {
		id = c.p.OrganizationID()
	}
	o, ok := c.s.Organizations.Get(id)
	if !ok {
		return noSuchOrganization(id)
	}
	if !c.seesOrg(id) {
		return forbidden("User=%s is not a member of organization=%s.", c.owner(), id)
	}
	return c.ok(c.organizationFull(c.s, o))
}

func organizationList(c *call) *refusal.Refusal {
	id, alias := c.query("org_id"), strings.ToLower(c.query("org_alias"))
	rows := []organizationFull{}
	for _, o := range c.s.Organizations.All() {
		if c.seesOrg(o.ID) && (id == "" || o.ID == id) && strings.Contains(strings.ToLower(o.Alias), alias) {
			rows = append(rows, c.organizationFull(c.s, o))
		}
	}
	slices.SortFunc(rows, func(a, b organizationFull) int { return cmp.Compare(a.ID, b.ID) })
	return c.ok(rows)
}

// organizationDelete removes organizations with their memberships, teams and
// keys, as LiteLLM does.
func organizationDelete(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	ids := f.strs("organization_ids")
	f.require("organization_ids", len(ids.v) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	rows := []organizationFull{}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		rows = rows[:0]
		b := c.batch(s)
		for _, id := range distinct(ids.v) {
			o, ok := s.Organizations.Get(id)
			if !ok {
				return nil, noSuchOrganization(id)
			}
			rows = append(rows, c.organizationFull(s, o))
			b.dropOrganization(o)
		}
		changes := b.changes()
		if len(changes) > mostReferences {
			return nil, badRequest("organization_ids", "%d teams, keys and members go with these organizations, more than one call may delete. Delete teams and keys first.", len(changes)-len(rows))
		}
		return changes, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.ok(rows)
}

func (b *batch) dropOrganization(o *model.Organization) {
	b.delete(model.Organizations, o)
	if row, ok := b.s.Budgets.Get(o.BudgetID); ok && len(detachBudget(b.s, row.ID)) <= 1 {
		b.delete(model.Budgets, row)
	}
	for m := range b.s.MembersOfOrg(o.ID) {
		b.delete(model.OrgMembers, m)
	}
	for t := range b.s.TeamsOfOrg(o.ID) {
		b.dropTeam(t)
	}
	for _, k := range b.s.Keys.All() {
		if k.OrganizationID == o.ID {
			b.delete(model.Keys, k)
		}
	}
}
