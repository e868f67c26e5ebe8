package alert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"tollgate/config/model"
	"tollgate/config/state"
)

// message is an alert in the form of LiteLLM's webhook.
type message struct {
	Event          Kind     `json:"event"`
	EventGroup     string   `json:"event_group"`
	EventMessage   string   `json:"event_message"`
	Spend          float64  `json:"spend"`
	MaxBudget      *float64 `json:"max_budget"`
	SoftBudget     *float64 `json:"soft_budget"`
	Token          *string  `json:"token"`
	KeyAlias       *string  `json:"key_alias"`
	UserID         *string  `json:"user_id"`
	UserEmail      *string  `json:"user_email"`
	TeamID         *string  `json:"team_id"`
	TeamAlias      *string  `json:"team_alias"`
	OrganizationID *string  `json:"organization_id"`
	CustomerID     *string  `json:"customer_id"`
	ScopeID        string   `json:"scope_id"`
	ResetsAt       *string  `json:"resets_at"`
}

// groups are LiteLLM's names of the levels in events.
var groups = map[model.Dim]string{model.DimKey: "key", model.DimKeyWindow: "key", model.DimModelPerKey: "key", model.DimUser: "internal_user",
	model.DimEndUser: "customer", model.DimTeamWindow: "team", model.DimModelPerTeam: "team", model.DimModelPerUser: "internal_user",
	model.DimModelPerEndUser: "customer"}

func (a *Alert) message(s *state.Snapshot) *message {
	m := &message{Event: a.Kind, EventGroup: groups[a.Scope.Dim], EventMessage: a.Text(s), Spend: a.Spent.USD(), ScopeID: strings.ReplaceAll(a.Scope.ID, "\x1f", ":")}
	if m.EventGroup == "" {
		m.EventGroup = a.Scope.Dim.String()
	}
	if a.Max != 0 || a.Kind == BudgetCrossed {
		v := a.Max.USD()
		m.MaxBudget = &v
	}
	if a.Soft != 0 || a.Kind == SoftBudgetCrossed {
		v := a.Soft.USD()
		m.SoftBudget = &v
	}
	if !a.Resets.IsZero() {
		at := a.Resets.UTC().Format("2006-01-02T15:04:05Z")
		m.ResetsAt = &at
	}
	m.owner(s, a.Scope)
	return m
}

// owner fills in who the budget belongs to.
func (m *message) owner(s *state.Snapshot, sc model.Scope) {
	id, part, _ := strings.Cut(sc.ID, "\x1f")
	switch sc.Dim {
	case model.DimKey, model.DimKeyWindow, model.DimModelPerKey:
		m.Token = &id
		if k, ok := s.Keys.Get(id); ok {
			m.KeyAlias, m.OrganizationID = given(k.Alias), given(k.OrganizationID)
			m.user(s, k.UserID)
			m.team(s, k.TeamID)
		}
	case model.DimUser, model.DimModelPerUser:
		m.user(s, id)
	case model.DimTeam, model.DimTeamWindow, model.DimModelPerTeam:
		m.team(s, id)
	case model.DimMember:
		m.team(s, id)
		m.user(s, part)
	case model.DimOrganization:
		m.OrganizationID = &id
	case model.DimOrgMember:
		m.OrganizationID = &id
		m.user(s, part)
	case model.DimEndUser, model.DimModelPerEndUser:
		m.CustomerID = &id
	}
}

func (m *message) user(s *state.Snapshot, id string) {
	m.UserID = given(id)
	if u, ok := s.Users.Get(id); ok {
		m.UserEmail = given(u.Email)
	}
}

func (m *message) team(s *state.Snapshot, id string) {
	m.TeamID = given(id)
	if t, ok := s.Teams.Get(id); ok {
		m.TeamAlias = given(t.Alias)
		if m.OrganizationID == nil {
			m.OrganizationID = given(t.OrganizationID)
		}
	}
}

func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Text is the alert as a sentence.
func (a *Alert) Text(s *state.Snapshot) string {
	who := strings.ReplaceAll(a.Scope.Dim.String(), "_", " ") + " " + strings.ReplaceAll(a.Scope.ID, "\x1f", ":")
	if a.Scope.Dim == model.DimProxy {
		who = "the gateway"
	}
	if k, ok := s.Keys.Get(a.Scope.ID); ok && a.Scope.Dim == model.DimKey && k.Alias != "" {
		who += " (" + k.Alias + ")"
	}
	switch a.Kind {
	case SoftBudgetCrossed:
		return fmt.Sprintf("Soft budget crossed: %s has spent %s, its soft budget is %s.", who, a.Spent, a.Soft)
	case ThresholdCrossed:
		return fmt.Sprintf("Budget nearly used up: %s has spent %s of %s.", who, a.Spent, a.Max)
	}
	return fmt.Sprintf("Budget crossed: %s has spent %s of %s.", who, a.Spent, a.Max)
}

// BudgetAlerts is LiteLLM's name for all alerts that there are here, in the
// settings that choose by kind.
const BudgetAlerts = "budget_alerts"

// Addresses reads from LiteLLM's alert_to_webhook_url where alerts of budgets go:
// an address or a list of them. None means the default address.
func Addresses(byKind json.RawMessage) []string {
	var kinds map[string]json.RawMessage
	if json.Unmarshal(byKind, &kinds) != nil {
		return nil
	}
	var one string
	var list []string
	if json.Unmarshal(kinds[BudgetAlerts], &one) == nil {
		list = strings.Split(one, ",")
	} else if json.Unmarshal(kinds[BudgetAlerts], &list) != nil {
		return nil
	}
	var out []string
	for _, u := range list {
		if u = strings.TrimSpace(u); u != "" {
			out = append(out, u)
		}
	}
	return out
}

// Wanted reports whether LiteLLM's alert_types, where it is set, names the
// alerts of budgets.
func Wanted(types json.RawMessage) bool {
	var list []string
	if len(types) == 0 || json.Unmarshal(types, &list) != nil || len(list) == 0 {
		return true
	}
	return slices.Contains(list, BudgetAlerts)
}

// Webhook is the body of LiteLLM's webhook for an alert.
func (a *Alert) Webhook(s *state.Snapshot) []byte {
	b, err := json.Marshal(a.message(s))
	if err != nil { // plain data
		panic(err)
	}
	return b
}

// Slack is the body of a message to Slack.
func (a *Alert) Slack(s *state.Snapshot) []byte {
	b, err := json.Marshal(map[string]string{"text": a.Text(s)})
	if err != nil { // plain data
		panic(err)
	}
	return b
}
