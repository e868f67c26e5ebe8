package model

import (
	"time"

	"tollgate/config/unit"
)

// Dim is one level at which limits and budgets apply. Adding a level is adding
// a row here and where its limits are looked up, not a mechanism.
type Dim uint8

// The levels, as they appear in refusals and headers. Their numbers are on disk
// in ledgers and raft logs: a further level goes to the end.
const (
	DimKey Dim = iota + 1
	DimUser
	DimTeam
	DimMember
	DimOrganization
	DimEndUser
	DimTag
	DimModelPerKey
	DimModelPerTeam
	DimDeployment
	DimProvider
	DimProxy
	DimOrgMember
	DimKeyWindow
	DimTeamWindow
	DimModelPerOrg
	DimModelPerUser
	DimModelPerEndUser
	dimEnd
)

// DimLast is the last of the levels, for tables with a row for each.
const DimLast = dimEnd - 1

var dimNames = [...]string{"", "api_key", "user", "team", "team_member", "organization", "end_user", "tag",
	"model_per_key", "model_per_team", "deployment", "provider", "proxy", "organization_member", "key_window", "team_window", "model_per_organization",
	"model_per_user", "model_per_end_user"}

// String is LiteLLM's name of the level, as in x-ratelimit-{scope}-….
func (d Dim) String() string {
	if int(d) < len(dimNames) {
		return dimNames[d]
	}
	return "unknown"
}

// Scope names what a limit or a budget belongs to: a level and an id in it.
// The ids of levels that are two things at once have both, with "\x1f" between:
// the key's hash and the model group, the team and the duration.
type Scope struct {
	Dim Dim    `json:"dim"`
	ID  string `json:"id"`
}

// BudgetDef is a budget as the bank needs it.
type BudgetDef struct {
	Limit  unit.Money
	Window unit.Window
	Anchor time.Time // start of counting for windows that no calendar fixes
	Soft   bool      // LiteLLM's check-after way: spend is recorded, not reserved
	// Offset counts as spent in the window that starts at OffsetWindow (0 for
	// an endless one) beside what the ledger has; negative after a reset.
	Offset       unit.Money
	OffsetWindow int64
	// From is the earliest that a window may begin, see Spending.SpendFrom.
	From int64
}

// Span is the window of the budget that holds at now: its start, by which it is
// known, and its end, Unix seconds. An endless one begins at From, ends at 0.
func (d *BudgetDef) Span(now time.Time, loc *time.Location) (start, end int64) {
	if d.Window.Endless() {
		return max(0, d.From), 0
	}
	s, e := d.Window.Span(now, d.Anchor, loc)
	return max(s.Unix(), d.From), e.Unix()
}

// OffsetIn is what counts as spent beside the ledger's sum in one window.
func (d *BudgetDef) OffsetIn(window int64) unit.Money {
	if window != d.OffsetWindow {
		return 0
	}
	return d.Offset
}

// LimitIn is what the ledger's sum may come to in the window that starts then.
func (d *BudgetDef) LimitIn(window int64) unit.Money { return d.Limit.Add(-d.OffsetIn(window)) }

// ProxyScope is what everything counts for: the gateway as a whole.
func ProxyScope() Scope { return Scope{Dim: DimProxy, ID: proxyID} }

const proxyID = "proxy"
