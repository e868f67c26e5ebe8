// Package model holds what the cluster agrees on: keys, users, teams, budgets,
// end users and the configuration, and the one payload that changes them. Types
// here are plain data with LiteLLM's field names in JSON; they decide nothing.
package model

import (
	"encoding/json"
	"time"

	"tollgate/config/unit"
)

// Entity is one replicated object. Version is the raft index of its last
// change, Created the index that made it; the state machine sets both.
type Entity interface {
	EntityID() string
	SetVersion(created, version uint64)
	EntityVersion() uint64
}

// Meta is embedded by every entity.
type Meta struct {
	CreatedIndex uint64    `json:"created_index,omitempty"`
	Version      uint64    `json:"version,omitempty"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	UpdatedAt    time.Time `json:"updated_at,omitzero"`
	CreatedBy    string    `json:"created_by,omitempty"`
	UpdatedBy    string    `json:"updated_by,omitempty"`
}

// SetVersion records the raft indexes of creation and last change.
func (m *Meta) SetVersion(created, version uint64) { m.CreatedIndex, m.Version = created, version }

// EntityVersion is the raft index of the last change.
func (m *Meta) EntityVersion() uint64 { return m.Version }

// Limits are the rate limits one entity may carry; nil means none of its own.
type Limits struct {
	RPM      *int64 `json:"rpm_limit,omitempty"`
	TPM      *int64 `json:"tpm_limit,omitempty"`
	Parallel *int64 `json:"max_parallel_requests,omitempty"`
}

// Spending is what one entity may spend. MaxBudget nil means no budget;
// BudgetDuration "" means the budget never resets.
type Spending struct {
	MaxBudget      *unit.Money `json:"max_budget_nano,omitempty"`
	SoftBudget     *unit.Money `json:"soft_budget_nano,omitempty"`
	BudgetDuration string      `json:"budget_duration,omitempty"`
	// BudgetMode is "" or "strict", or "soft" for LiteLLM's check-after way.
	BudgetMode string `json:"budget_mode,omitempty"`
	// SpendOffset is added to what the ledger has counted, for an operator who
	// sets a spend by hand; the ledger itself is never rewritten.
	SpendOffset unit.Money `json:"spend_offset_nano,omitempty"`
	// SpendOffsetWindow is the start of the budget window in which the offset
	// counts, Unix seconds; 0 when the budget never resets. In any other window
	// it counts for nothing.
	SpendOffsetWindow int64 `json:"spend_offset_window,omitempty"`
	// SpendFrom is set where an object of the same id was deleted before, or where
	// an operator has set the spend of a budget that never resets: no window of
	// its budgets begins earlier, Unix seconds. So nothing that was granted to or
	// spent by the one before is in a window of this one, whichever node still
	// holds or tells it.
	SpendFrom int64 `json:"spend_from,omitempty"`
	// SpendBase is what those before had spent in all. The ledgers count by id:
	// it is taken off the sum of all time.
	SpendBase unit.Money `json:"spend_base_nano,omitempty"`
}

// SpendingOf is what an entity may spend; nil for kinds that spend nothing.
func SpendingOf(e Entity) *Spending {
	switch e := e.(type) {
	case *Key:
		return &e.Spending
	case *User:
		return &e.Spending
	case *Team:
		return &e.Spending
	case *Organization:
		return &e.Spending
	case *EndUser:
		return &e.Spending
	case *Tag:
		return &e.Spending
	case *Member:
		return &e.Spending
	case *OrgMember:
		return &e.Spending
	}
	return nil
}

// ModelBudget is a budget for one model under one key.
type ModelBudget struct {
	Max      unit.Money `json:"budget_limit_nano"`
	Duration string     `json:"time_period,omitempty"`
}

// Key is a virtual key. The key itself is never stored, only its SHA-256.
type Key struct {
	Meta
	Limits
	Spending
	Hash           string                 `json:"token"` // lowercase hex sha256 of the whole key
	Name           string                 `json:"key_name,omitempty"`
	Alias          string                 `json:"key_alias,omitempty"`
	UserID         string                 `json:"user_id,omitempty"`
	TeamID         string                 `json:"team_id,omitempty"`
	OrganizationID string                 `json:"organization_id,omitempty"`
	ProjectID      string                 `json:"project_id,omitempty"`
	AgentID        string                 `json:"agent_id,omitempty"`
	BudgetID       string                 `json:"budget_id,omitempty"`
	Models         []string               `json:"models,omitempty"`
	Aliases        map[string]string      `json:"aliases,omitempty"`
	Config         json.RawMessage        `json:"config,omitempty"`
	Permissions    json.RawMessage        `json:"permissions,omitempty"`
	Metadata       json.RawMessage        `json:"metadata,omitempty"`
	Tags           []string               `json:"tags,omitempty"`
	ModelMaxBudget map[string]ModelBudget `json:"model_max_budget,omitempty"`
	BudgetWindows  []BudgetWindow         `json:"budget_windows,omitempty"`
	ModelRPM       map[string]int64       `json:"model_rpm_limit,omitempty"`
	ModelTPM       map[string]int64       `json:"model_tpm_limit,omitempty"`
	AllowedRoutes  []string               `json:"allowed_routes,omitempty"`
	DataRegions    []string               `json:"data_regions,omitempty"`
	HomeRegion     string                 `json:"home_region,omitempty"`
	HomeMoves      uint32                 `json:"home_moves,omitempty"` // how often it has been another before
	Expires        *time.Time             `json:"expires,omitempty"`
	Blocked        bool                   `json:"blocked,omitempty"`
	TempBudget     *TempBudget            `json:"temp_budget,omitempty"`
	// Extra keeps fields that LiteLLM's API accepts and Tollgate only returns.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
	// Replaces is the hash of a rotated key that keeps working until ReplacesUntil.
	Replaces      string     `json:"replaces,omitempty"`
	ReplacesUntil *time.Time `json:"replaces_until,omitempty"`
}

// TempBudget raises a key's budget until it expires.
type TempBudget struct {
	Increase unit.Money `json:"temp_budget_increase_nano"`
	Expires  time.Time  `json:"temp_budget_expiry"`
}

// EntityID is the key's hash.
func (k *Key) EntityID() string { return k.Hash }

// User is a person or service that owns keys.
type User struct {
	Meta
	Limits
	Spending
	ID             string                     `json:"user_id"`
	Alias          string                     `json:"user_alias,omitempty"`
	Email          string                     `json:"user_email,omitempty"`
	Role           string                     `json:"user_role,omitempty"`
	SSOUserID      string                     `json:"sso_user_id,omitempty"`
	PasswordHash   string                     `json:"password_hash,omitempty"`
	OrganizationID string                     `json:"organization_id,omitempty"`
	Teams          []string                   `json:"teams,omitempty"`
	Models         []string                   `json:"models,omitempty"`
	ModelMaxBudget map[string]ModelBudget     `json:"model_max_budget,omitempty"`
	Metadata       json.RawMessage            `json:"metadata,omitempty"`
	Blocked        bool                       `json:"blocked,omitempty"`
	Extra          map[string]json.RawMessage `json:"extra,omitempty"`
}

// EntityID is the user id.
func (u *User) EntityID() string { return u.ID }

// TeamRole is one member of a team as LiteLLM lists it in members_with_roles.
type TeamRole struct {
	UserID string `json:"user_id,omitempty"`
	Email  string `json:"user_email,omitempty"`
	Role   string `json:"role"`
}

// Team shares models, limits and a budget between its keys.
type Team struct {
	Meta
	Limits
	Spending
	ID             string                     `json:"team_id"`
	Alias          string                     `json:"team_alias,omitempty"`
	OrganizationID string                     `json:"organization_id,omitempty"`
	Members        []TeamRole                 `json:"members_with_roles,omitempty"`
	Models         []string                   `json:"models,omitempty"`
	ModelAliases   map[string]string          `json:"model_aliases,omitempty"`
	ModelMaxBudget map[string]ModelBudget     `json:"model_max_budget,omitempty"`
	BudgetWindows  []BudgetWindow             `json:"budget_windows,omitempty"`
	ModelRPM       map[string]int64           `json:"model_rpm_limit,omitempty"`
	ModelTPM       map[string]int64           `json:"model_tpm_limit,omitempty"`
	Tags           []string                   `json:"tags,omitempty"`
	Metadata       json.RawMessage            `json:"metadata,omitempty"`
	DataRegions    []string                   `json:"data_regions,omitempty"`
	Blocked        bool                       `json:"blocked,omitempty"`
	MemberBudgetID string                     `json:"team_member_budget_id,omitempty"`
	Extra          map[string]json.RawMessage `json:"extra,omitempty"`
}

// EntityID is the team id.
func (t *Team) EntityID() string { return t.ID }

// Member is one user's membership in one team, with limits of its own by way
// of a budget row. Of Spending it keeps what counts as spent beside the ledger.
type Member struct {
	Meta
	Spending
	TeamID   string `json:"team_id"`
	UserID   string `json:"user_id"`
	BudgetID string `json:"budget_id,omitempty"`
}

// EntityID joins team and user; MemberID builds it.
func (m *Member) EntityID() string { return MemberID(m.TeamID, m.UserID) }

// MemberID is the id of a membership. The unit separator cannot occur in ids
// that the management API accepts.
func MemberID(team, user string) string { return team + "\x1f" + user }

// Budget is a named set of limits (LiteLLM's BudgetTable) that keys, members
// and end users point at.
type Budget struct {
	Meta
	Limits
	Spending
	ID             string                 `json:"budget_id"`
	ModelMaxBudget map[string]ModelBudget `json:"model_max_budget,omitempty"`
	AllowedModels  []string               `json:"allowed_models,omitempty"`
}

// EntityID is the budget id.
func (b *Budget) EntityID() string { return b.ID }

// EndUser is a customer of the caller, named in requests (LiteLLM's customer).
type EndUser struct {
	Meta
	Spending
	ID            string `json:"user_id"`
	Alias         string `json:"alias,omitempty"`
	BudgetID      string `json:"budget_id,omitempty"`
	AllowedRegion string `json:"allowed_model_region,omitempty"`
	DefaultModel  string `json:"default_model,omitempty"`
	Blocked       bool   `json:"blocked,omitempty"`
}

// EntityID is the end user's id.
func (e *EndUser) EntityID() string { return e.ID }

// Deployments made over the API are DBModel entities; those of config.yaml
// travel inside Config.

// DBModel is a deployment added over the management API.
type DBModel struct {
	Meta
	Deployment
}

// EntityID is the deployment id.
func (d *DBModel) EntityID() string { return d.Deployment.ID }

// Guards: every table's type is an Entity.
var (
	_ Entity = (*Key)(nil)
	_ Entity = (*User)(nil)
	_ Entity = (*Team)(nil)
	_ Entity = (*Member)(nil)
	_ Entity = (*Budget)(nil)
	_ Entity = (*EndUser)(nil)
	_ Entity = (*DBModel)(nil)
	_ Entity = (*ConfigVersion)(nil)
)
