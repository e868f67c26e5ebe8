package project

import (
	"bytes"
	"encoding/json"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
)

// Marker names the row of gateway_state_cursor that says that a cluster writes
// this database. Who writes beside the projection holds it while it does.
func Marker(cluster string) string { return "adopted/" + cluster }

// StorableJSON is JSON that PostgreSQL takes.
func StorableJSON(data []byte) []byte { return storable(data) }

// StorableText is text that PostgreSQL takes.
func StorableText(s string) string { return storableText(s) }

// Show is an object as a row of its table has it, at a moment: by the names of
// the columns, without what it has spent. What has no column stands beside them
// under the management API's name, and so do a password's hash and a model's
// parameters: sealed as the state has them. Whoever shows the row masks them.
// It is nil for what no table shows.
func Show(e model.Entity, now time.Time, loc *time.Location) (table string, row map[string]any) {
	v := &view{s: &state.Snapshot{}, now: now, loc: loc, p: &Projector{}, faults: func(string, error) {}}
	more := map[string]any{}
	beside := func(name string, value any, there bool) {
		if there {
			more[name] = value
		}
	}
	if s := model.SpendingOf(e); s != nil {
		beside("budget_mode", s.BudgetMode, s.BudgetMode != "")
		beside("spend_offset", s.SpendOffset.USD(), s.SpendOffset != 0)
	}
	var of any
	switch e := e.(type) {
	case *model.Key:
		table, of = "LiteLLM_VerificationToken", keyRowOf(v, e)
		beside("data_regions", e.DataRegions, len(e.DataRegions) > 0)
		beside("home_region", e.HomeRegion, e.HomeRegion != "")
		beside("replaced_until", momentOf(e.ReplacesUntil), e.ReplacesUntil != nil)
	case *model.User:
		table, of = "LiteLLM_UserTable", userRowOf(v, e)
		beside("password", e.PasswordHash, e.PasswordHash != "")
		beside("blocked", e.Blocked, e.Blocked)
	case *model.Team:
		table, of = "LiteLLM_TeamTable", teamRowOf(v, e)
		beside("data_regions", e.DataRegions, len(e.DataRegions) > 0)
		beside("model_aliases", e.ModelAliases, len(e.ModelAliases) > 0)
	case *model.Member:
		table, of = "LiteLLM_TeamMembership", &memberRow{e.TeamID, e.UserID, text(e.BudgetID)}
	case *model.Organization:
		r := organizationRowOf(v, e)
		if e.BudgetID != "" {
			r.Budget = e.BudgetID
		}
		table, of = "LiteLLM_OrganizationTable", r
		beside("data_regions", e.DataRegions, len(e.DataRegions) > 0)
	case *model.OrgMember:
		table, of = "LiteLLM_OrganizationMembership", &orgMemberRow{e.OrganizationID, e.UserID, text(e.Role), text(e.BudgetID), moment(e.CreatedAt), moment(e.UpdatedAt)}
	case *model.Budget:
		table, of = "LiteLLM_BudgetTable", budgetRowOf(v, e)
	case *model.EndUser:
		table, of = "LiteLLM_EndUserTable", &endUserRow{e.ID, text(e.Alias), text(e.AllowedRegion), text(e.DefaultModel), text(e.BudgetID), e.Blocked}
	case *model.Tag:
		table, of = "LiteLLM_TagTable", &tagRow{e.Name, text(e.Description), list(e.Models), rawJSONOrNull(e.ModelInfo), text(e.BudgetID),
			made(e.CreatedAt), text(e.CreatedBy), made(e.UpdatedAt)}
	case *model.DBModel:
		table, of = "LiteLLM_ProxyModelTable", &modelRow{e.Deployment.ID, e.Group, orEmpty(e.Params), orEmpty(e.Info),
			made(e.CreatedAt), who(e.CreatedBy), made(e.UpdatedAt), who(e.UpdatedBy)}
	case *model.ConfigVersion:
		table, of = "LiteLLM_Config", &configRow{"config", map[string]any{"version": e.Number, "hash": e.Hash}}
	default:
		return "", nil
	}
	data, err := json.Marshal(of)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err != nil || dec.Decode(&row) != nil { // raw JSON of clients was checked when it came in
		row = map[string]any{}
	}
	for name, value := range more {
		row[name] = value
	}
	return table, row
}

func orEmpty(p model.Params) map[string]json.RawMessage {
	if p == nil {
		return map[string]json.RawMessage{}
	}
	return p
}
