package model

import (
	"encoding/json"

	"tollgate/config/unit"
)

// OrgAdmin is the role of those who manage an organization.
const OrgAdmin = "org_admin"

// Organization shares models, limits and a budget between its teams and keys.
// Limits and budget stand in a budget row; of Spending it keeps what an operator
// has set as spent, and the mode where it differs from the row's.
type Organization struct {
	Meta
	Spending
	ID          string           `json:"organization_id"`
	Alias       string           `json:"organization_alias,omitempty"`
	BudgetID    string           `json:"budget_id,omitempty"`
	Models      []string         `json:"models,omitempty"`
	ModelRPM    map[string]int64 `json:"model_rpm_limit,omitempty"`
	ModelTPM    map[string]int64 `json:"model_tpm_limit,omitempty"`
	Metadata    json.RawMessage  `json:"metadata,omitempty"`
	DataRegions []string         `json:"data_regions,omitempty"`
	// Extra keeps fields that LiteLLM's API accepts and Tollgate only returns.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
}

// EntityID is the organization id.
func (o *Organization) EntityID() string { return o.ID }

// OrgMember is one user's membership in one organization. Of Spending it keeps
// what counts as spent beside the ledger.
type OrgMember struct {
	Meta
	Spending
	OrganizationID string `json:"organization_id"`
	UserID         string `json:"user_id"`
	Role           string `json:"user_role,omitempty"`
	BudgetID       string `json:"budget_id,omitempty"`
}

// EntityID joins organization and user as a team's membership does.
func (m *OrgMember) EntityID() string { return MemberID(m.OrganizationID, m.UserID) }

// Tag is a label of requests with limits and a budget of its own, by way of a
// budget row.
type Tag struct {
	Meta
	Spending
	Name        string          `json:"tag_name"`
	Description string          `json:"description,omitempty"`
	Models      []string        `json:"models,omitempty"`
	ModelInfo   json.RawMessage `json:"model_info,omitempty"`
	BudgetID    string          `json:"budget_id,omitempty"`
}

// EntityID is the tag itself.
func (t *Tag) EntityID() string { return t.Name }

// Alert is the word that a budget has passed a threshold in one of its windows.
// The cluster agrees on it before it is sent, so that it is sent once.
type Alert struct {
	Meta
	Scope     Scope      `json:"scope"`
	Threshold string     `json:"threshold"`
	Amount    unit.Money `json:"amount_nano"` // that was passed
	Window    int64      `json:"window"`      // its start, Unix seconds; 0 for a budget that never resets
	Node      string     `json:"node"`        // who sends it
}

// EntityID names scope and threshold.
func (a *Alert) EntityID() string { return AlertID(a.Scope, a.Threshold) }

// AlertID is the id of one threshold of one budget.
func AlertID(sc Scope, threshold string) string {
	return sc.Dim.String() + "\x1f" + threshold + "\x1f" + sc.ID
}

// BudgetWindow is one of several budgets that a key or team has at once, each
// over a duration of its own.
type BudgetWindow struct {
	Duration string     `json:"budget_duration"`
	Max      unit.Money `json:"max_budget_nano"`
}

// WindowScope is the scope of one budget window of a key or a team.
func WindowScope(dim Dim, owner, duration string) Scope {
	return Scope{Dim: dim, ID: owner + "\x1f" + duration}
}

// ModelScope is the scope of what an owner may do with one model group.
func ModelScope(dim Dim, owner, group string) Scope {
	return Scope{Dim: dim, ID: owner + "\x1f" + group}
}

// Guards: every table's type is an Entity.
var (
	_ Entity = (*Organization)(nil)
	_ Entity = (*OrgMember)(nil)
	_ Entity = (*Tag)(nil)
	_ Entity = (*Alert)(nil)
)
