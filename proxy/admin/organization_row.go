package admin

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// organizationExtras are the fields of organizations that are kept and shown only.
var organizationExtras = extras{"object_permission": objectShape, "object_permission_id": stringShape}

// organizationRow is an organization as the API shows it.
type organizationRow struct {
	ID          string             `json:"organization_id"`
	Alias       *string            `json:"organization_alias"`
	BudgetID    *string            `json:"budget_id"`
	Spend       float64            `json:"spend"`
	Metadata    jsontext.Value     `json:"metadata"`
	Models      []string           `json:"models"`
	ModelSpend  map[string]float64 `json:"model_spend"`
	ModelRPM    map[string]int64   `json:"model_rpm_limit"`
	ModelTPM    map[string]int64   `json:"model_tpm_limit"`
	DataRegions []string           `json:"data_regions,omitempty"`
	BudgetMode  string             `json:"budget_mode,omitempty"`
	PermsID     jsontext.Value     `json:"object_permission_id"`
	Perms       jsontext.Value     `json:"object_permission"`
	CreatedAt   *time.Time         `json:"created_at"`
	CreatedBy   *string            `json:"created_by"`
	UpdatedAt   *time.Time         `json:"updated_at"`
	UpdatedBy   *string            `json:"updated_by"`
	Budget      *budgetRow         `json:"litellm_budget_table"`
	Limits      []limitView        `json:"limits,omitempty"`
}

// organizationFull is an organization with its members and teams.
type organizationFull struct {
	organizationRow
	Members []orgMemberRow `json:"members"`
	Teams   []teamRow      `json:"teams"`
}

// orgMemberRow is one user's membership as the API shows it.
type orgMemberRow struct {
	UserID         string     `json:"user_id"`
	OrganizationID string     `json:"organization_id"`
	Role           *string    `json:"user_role"`
	Spend          float64    `json:"spend"`
	BudgetID       *string    `json:"budget_id"`
	Budget         *budgetRow `json:"litellm_budget_table"`
	Email          *string    `json:"user_email"`
	CreatedAt      *time.Time `json:"created_at"`
	UpdatedAt      *time.Time `json:"updated_at"`
}

func orgScope(id string) model.Scope { return model.Scope{Dim: model.DimOrganization, ID: id} }

func (c *call) organizationRow(s *state.Snapshot, o *model.Organization) organizationRow {
	return organizationRow{
		ID: o.ID, Alias: optional(o.Alias), BudgetID: optional(o.BudgetID), Spend: c.spent(s, orgScope(o.ID), &o.Spending).USD(),
		Metadata: organizationMetadata(o), Models: o.Models, ModelSpend: map[string]float64{}, ModelRPM: o.ModelRPM, ModelTPM: o.ModelTPM,
		DataRegions: o.DataRegions, BudgetMode: o.BudgetMode,
		PermsID: raw(o.Extra["object_permission_id"], "null"), Perms: raw(o.Extra["object_permission"], "null"),
		CreatedAt: moment(o.CreatedAt), CreatedBy: optional(o.CreatedBy), UpdatedAt: moment(o.UpdatedAt), UpdatedBy: optional(o.UpdatedBy),
		Budget: c.budgetTable(s, o.BudgetID, o.CreatedAt), Limits: c.organizationLimits(s, o),
	}
}

// organizationMetadata shows metadata as LiteLLM does, with the fields that it
// keeps there.
func organizationMetadata(o *model.Organization) jsontext.Value {
	fields := map[string]any{}
	if len(o.ModelRPM) > 0 {
		fields["model_rpm_limit"] = o.ModelRPM
	}
	if len(o.ModelTPM) > 0 {
		fields["model_tpm_limit"] = o.ModelTPM
	}
	return withFields(o.Metadata, fields)
}

func (c *call) organizationFull(s *state.Snapshot, o *model.Organization) organizationFull {
	out := organizationFull{c.organizationRow(s, o), []orgMemberRow{}, []teamRow{}}
	for m := range s.MembersOfOrg(o.ID) {
		out.Members = append(out.Members, c.orgMemberRow(s, m))
	}
	for t := range s.TeamsOfOrg(o.ID) {
		out.Teams = append(out.Teams, c.teamRow(s, t))
	}
	return out
}

func (c *call) orgMemberRow(s *state.Snapshot, m *model.OrgMember) orgMemberRow {
	row := orgMemberRow{UserID: m.UserID, OrganizationID: m.OrganizationID, Role: optional(m.Role), BudgetID: optional(m.BudgetID),
		Spend:     c.spent(s, model.Scope{Dim: model.DimOrgMember, ID: m.EntityID()}, &m.Spending).USD(),
		Budget:    c.budgetTable(s, m.BudgetID, m.CreatedAt),
		CreatedAt: moment(m.CreatedAt), UpdatedAt: moment(m.UpdatedAt)}
	if u, ok := s.Users.Get(m.UserID); ok {
		row.Email = optional(u.Email)
	}
	return row
}

func noSuchOrganization(id string) *refusal.Refusal {
	return notFound("organization_id", "Organization not found, passed organization_id: %s.", id)
}

// checkOrganization refuses an organization id that names nothing.
func checkOrganization(s *state.Snapshot, id string) *refusal.Refusal {
	if id == "" {
		return nil
	}
	if _, ok := s.Organizations.Get(id); !ok {
		return badRequest("organization_id", "Organization with organization_id=%s does not exist. Make it with /organization/new.", id)
	}
	return nil
}

// roleInOrg is the caller's role in an organization; "" when it is no member.
func (c *call) roleInOrg(id string) string {
	me := c.owner()
	if id == "" || me == "" {
		return ""
	}
	m, ok := c.s.OrgMembers.Get(model.MemberID(id, me))
	if !ok {
		return ""
	}
	if m.Role == "" {
		return "internal_user"
	}
	return m.Role
}

// leadsOrg reports whether the caller manages an organization.
func (c *call) leadsOrg(id string) bool { return c.roleInOrg(id) == model.OrgAdmin && !c.onlyReads() }

// seesOrg reports whether the caller may read an organization: its members may,
// and its keys.
func (c *call) seesOrg(id string) bool {
	return c.seesAll() || c.roleInOrg(id) != "" || c.p.OrganizationID() == id && id != ""
}

// onlyOrgAdmin refuses everybody but proxy admins and the organization's own.
func (c *call) onlyOrgAdmin(id string) *refusal.Refusal {
	if id == "" {
		return c.onlyAdmin()
	}
	if c.p.Admin() || c.leadsOrg(id) {
		return nil
	}
	return forbidden("Only proxy admins and admins of organization=%s may do this. Your role=%s. Your user_id=%s", id, c.p.Role, c.p.UserID())
}
