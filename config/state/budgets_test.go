package state_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

func usd(n int64) *unit.Money { m := unit.Money(n) * unit.Dollar; return &m }

// Every level finds its budget in the replicated state, with the mode, window
// and correction that are in force for it.
func TestEveryLevelFindsItsBudget(t *testing.T) {
	made := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	meta := model.Meta{CreatedAt: made}
	cfg := &model.ConfigVersion{Number: 1, Config: model.Config{
		Deployments: []model.Deployment{
			{ID: "d1", Group: "a", Params: model.Params{"max_budget": json.RawMessage(`7.5`), "budget_duration": json.RawMessage(`"1d"`)}},
			{ID: "d2", Group: "a", Params: model.Params{}},
		},
		LiteLLM:  model.LiteLLMSettings{TagBudgets: map[string]model.ModelBudget{"cfg": {Max: 3 * unit.Dollar, Duration: "30d"}}, EndUserBudget: usd(4)},
		Router:   model.RouterSettings{ProviderBudgets: map[string]model.ModelBudget{"openai": {Max: 100 * unit.Dollar, Duration: "1d"}}},
		Tollgate: model.TollgateSettings{BudgetMode: ""},
	}}
	s := state.NewBuilder(nil).Put(
		cfg,
		&model.Budget{ID: "row", Spending: model.Spending{MaxBudget: usd(10), SoftBudget: usd(8), BudgetDuration: "7d"}},
		&model.Budget{ID: "watch", Spending: model.Spending{SoftBudget: usd(2), BudgetDuration: "1d"}},
		&model.Organization{Meta: meta, ID: "org", BudgetID: "row", Spending: model.Spending{SpendOffset: unit.Dollar, SpendOffsetWindow: 5}},
		&model.Organization{Meta: meta, ID: "lenient", BudgetID: "row", Spending: model.Spending{BudgetMode: "soft"}},
		&model.Organization{Meta: meta, ID: "free"},
		&model.OrgMember{Meta: meta, OrganizationID: "org", UserID: "u", BudgetID: "row"},
		&model.Tag{Meta: meta, Name: "own", BudgetID: "row"},
		&model.Tag{Meta: meta, Name: "cfg", Spending: model.Spending{SpendOffset: 2}},
		&model.Tag{Meta: meta, Name: "watched", BudgetID: "watch"},
		&model.Key{Meta: meta, Hash: "k", Spending: model.Spending{SoftBudget: usd(1)}, BudgetID: "row", UserID: "u",
			ModelMaxBudget: map[string]model.ModelBudget{"a": {Max: unit.Dollar, Duration: "1d"}},
			BudgetWindows:  []model.BudgetWindow{{Duration: "1h", Max: unit.Dollar}, {Duration: "1d", Max: 5 * unit.Dollar}}},
		&model.Key{Meta: meta, Hash: "s", Spending: model.Spending{SoftBudget: usd(1)}, UserID: "u"},
		&model.Team{Meta: meta, ID: "t", ModelMaxBudget: map[string]model.ModelBudget{"a": {Max: 2 * unit.Dollar}},
			BudgetWindows: []model.BudgetWindow{{Duration: "7d", Max: 9 * unit.Dollar}}},
		&model.User{Meta: meta, ID: "u", ModelMaxBudget: map[string]model.ModelBudget{"a": {Max: 2 * unit.Dollar, Duration: "1d"}}},
		&model.Budget{ID: "models", ModelMaxBudget: map[string]model.ModelBudget{"a": {Max: 6 * unit.Dollar, Duration: "1w"}}},
		&model.EndUser{Meta: meta, ID: "per", BudgetID: "models"},
		&model.EndUser{Meta: meta, ID: "per2", BudgetID: "models", Spending: model.Spending{BudgetMode: "soft"}},
		&model.DBModel{Meta: meta, Deployment: model.Deployment{ID: "db", Params: model.Params{"max_budget": json.RawMessage(`"2"`)}}},
	).Snapshot()
	for _, c := range []struct {
		name   string
		dim    model.Dim
		id     string
		limit  unit.Money // 0: none
		window string
		soft   bool
		offset unit.Money
	}{
		{"organization by its row", model.DimOrganization, "org", 10 * unit.Dollar, "7d", false, unit.Dollar},
		{"organization's own mode", model.DimOrganization, "lenient", 10 * unit.Dollar, "7d", true, 0},
		{"organization without a row", model.DimOrganization, "free", 0, "", false, 0},
		{"nobody's organization", model.DimOrganization, "none", 0, "", false, 0},
		{"organization's member", model.DimOrgMember, "org\x1fu", 10 * unit.Dollar, "7d", false, 0},
		{"tag by its row", model.DimTag, "own", 10 * unit.Dollar, "7d", false, 0},
		{"tag by the settings, its correction kept", model.DimTag, "cfg", 3 * unit.Dollar, "30d", false, 2},
		{"tag that is only watched", model.DimTag, "watched", unit.MaxMoney, "1d", true, 0},
		{"unknown tag", model.DimTag, "none", 0, "", false, 0},
		{"end user by default", model.DimEndUser, "anybody", 4 * unit.Dollar, "", false, 0},
		{"key: a row's limit before its own soft budget", model.DimKey, "k", 10 * unit.Dollar, "7d", false, 0},
		{"key that is only watched", model.DimKey, "s", unit.MaxMoney, "", true, 0},
		{"key per model", model.DimModelPerKey, "k\x1fa", unit.Dollar, "1d", false, 0},
		{"key's hour", model.DimKeyWindow, "k\x1f1h", unit.Dollar, "1h", false, 0},
		{"key's day", model.DimKeyWindow, "k\x1f1d", 5 * unit.Dollar, "1d", false, 0},
		{"key's missing window", model.DimKeyWindow, "k\x1f2d", 0, "", false, 0},
		{"team per model", model.DimModelPerTeam, "t\x1fa", 2 * unit.Dollar, "", false, 0},
		{"user per model", model.DimModelPerUser, "u\x1fa", 2 * unit.Dollar, "1d", false, 0},
		{"user's other model", model.DimModelPerUser, "u\x1fb", 0, "", false, 0},
		{"end user per model, by its row", model.DimModelPerEndUser, "per\x1fa", 6 * unit.Dollar, "1w", false, 0},
		{"another end user, by the same row", model.DimModelPerEndUser, "per2\x1fa", 6 * unit.Dollar, "1w", true, 0},
		{"end user without a row", model.DimModelPerEndUser, "anybody\x1fa", 0, "", false, 0},
		{"team's week", model.DimTeamWindow, "t\x1f7d", 9 * unit.Dollar, "7d", false, 0},
		{"deployment of the config", model.DimDeployment, "d1", 7500 * unit.Dollar / 1000, "1d", false, 0},
		{"deployment without", model.DimDeployment, "d2", 0, "", false, 0},
		{"deployment made over the API", model.DimDeployment, "db", 2 * unit.Dollar, "", false, 0},
		{"provider", model.DimProvider, "openai", 100 * unit.Dollar, "1d", false, 0},
		{"another provider", model.DimProvider, "azure", 0, "", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, ok := s.BudgetOf(model.Scope{Dim: c.dim, ID: c.id})
			require.Equal(t, c.limit != 0, ok)
			if !ok {
				return
			}
			require.Equal(t, c.limit, d.Limit)
			require.Equal(t, c.window, d.Window.String())
			require.Equal(t, c.soft, d.Soft)
			require.Equal(t, c.offset, d.Offset)
		})
	}
}

func TestSettingsModeHoldsForEveryLevelWithoutItsOwn(t *testing.T) {
	s := state.NewBuilder(nil).Put(
		&model.ConfigVersion{Number: 1, Config: model.Config{
			Tollgate: model.TollgateSettings{BudgetMode: "soft"},
			Router:   model.RouterSettings{ProviderBudgets: map[string]model.ModelBudget{"openai": {Max: 1}}},
		}},
		&model.Budget{ID: "row", Spending: model.Spending{MaxBudget: usd(10)}},
		&model.Budget{ID: "strict", Spending: model.Spending{MaxBudget: usd(10), BudgetMode: "strict"}},
		&model.Organization{ID: "org", BudgetID: "row"},
		&model.Organization{ID: "hard", BudgetID: "strict"},
		&model.Tag{Name: "tag", BudgetID: "row"},
		&model.Key{Hash: "k", BudgetWindows: []model.BudgetWindow{{Duration: "1d", Max: 1}}},
	).Snapshot()
	for sc, soft := range map[model.Scope]bool{
		{Dim: model.DimOrganization, ID: "org"}:  true,
		{Dim: model.DimOrganization, ID: "hard"}: false,
		{Dim: model.DimTag, ID: "tag"}:           true,
		{Dim: model.DimProvider, ID: "openai"}:   true,
		{Dim: model.DimKeyWindow, ID: "k\x1f1d"}: true,
	} {
		d, ok := s.BudgetOf(sc)
		require.True(t, ok, sc)
		require.Equal(t, soft, d.Soft, sc)
	}
}

func TestSoftBudgetIsTheOwnersOrItsRows(t *testing.T) {
	s := state.NewBuilder(nil).Put(
		&model.ConfigVersion{Number: 1, Config: model.Config{LiteLLM: model.LiteLLMSettings{EndUserBudgetID: "row"}}},
		&model.Budget{ID: "row", Spending: model.Spending{MaxBudget: usd(10), SoftBudget: usd(8)}},
		&model.Key{Hash: "own", Spending: model.Spending{SoftBudget: usd(1)}, BudgetID: "row"},
		&model.Key{Hash: "row", BudgetID: "row"},
		&model.Key{Hash: "none"},
		&model.Team{ID: "t", MemberBudgetID: "row"},
		&model.Member{TeamID: "t", UserID: "u"},
	).Snapshot()
	for sc, want := range map[model.Scope]unit.Money{
		{Dim: model.DimKey, ID: "own"}:                       unit.Dollar,
		{Dim: model.DimKey, ID: "row"}:                       8 * unit.Dollar,
		{Dim: model.DimKey, ID: "none"}:                      0,
		{Dim: model.DimMember, ID: model.MemberID("t", "u")}: 8 * unit.Dollar,
		{Dim: model.DimEndUser, ID: "anybody"}:               8 * unit.Dollar,
		{Dim: model.DimProvider, ID: "openai"}:               0,
	} {
		got, ok := s.SoftBudgetOf(sc)
		require.Equal(t, want != 0, ok, sc)
		require.Equal(t, want, got, sc)
	}
}
