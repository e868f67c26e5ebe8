package call_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
)

// put adds entities to a world's state.
func put(e ...model.Entity) option {
	return func(b *state.Builder, _ *model.Config) {
		for _, x := range e {
			switch x := x.(type) { // anchors of windows
			case *model.Organization:
				x.CreatedAt = time.Now()
			case *model.Tag:
				x.CreatedAt = time.Now()
			case *model.Team:
				x.CreatedAt = time.Now()
			}
		}
		b.Put(e...)
	}
}

func row(id string, change func(*model.Budget)) *model.Budget {
	b := &model.Budget{ID: id}
	change(b)
	return b
}

func cents(n int64) *unit.Money { m := unit.Money(n) * unit.Dollar / 100; return &m }

func dollarsADay(b *model.Budget) { b.MaxBudget, b.BudgetDuration = cents(100), "1d" }

func withModel(b *model.Budget) {
	dollarsADay(b)
	b.ModelMaxBudget = map[string]model.ModelBudget{"m": {Max: unit.Dollar}}
}

func nothingLeft(b *model.Budget) { b.MaxBudget = cents(0) }

func two(b *model.Budget) { n := int64(2); b.RPM = &n }

// levelsOf charges the one call with everything there is.
func everything() []option {
	return []option{
		put(row("org", dollarsADay), row("member", dollarsADay), row("tag", dollarsADay), row("customer", withModel), row("orgmember", dollarsADay),
			&model.Organization{ID: "acme", BudgetID: "org"},
			&model.OrgMember{OrganizationID: "acme", UserID: "u", BudgetID: "orgmember"},
			&model.User{ID: "u"},
			&model.Team{ID: "t", OrganizationID: "acme", Spending: model.Spending{MaxBudget: cents(100)},
				ModelMaxBudget: map[string]model.ModelBudget{"m": {Max: unit.Dollar}},
				BudgetWindows:  []model.BudgetWindow{{Duration: "1h", Max: unit.Dollar}}},
			&model.Member{TeamID: "t", UserID: "u", BudgetID: "member"},
			&model.Tag{Name: "blue", BudgetID: "tag"}, &model.Tag{Name: "green", BudgetID: "tag"},
			&model.EndUser{ID: "customer", BudgetID: "customer"}),
		withKey(func(k *model.Key) {
			k.UserID, k.TeamID, k.MaxBudget, k.Tags = "u", "t", cents(100), []string{"green"}
			k.ModelMaxBudget = map[string]model.ModelBudget{"m": {Max: unit.Dollar}}
			k.BudgetWindows = []model.BudgetWindow{{Duration: "1h", Max: unit.Dollar}, {Duration: "7d", Max: 5 * unit.Dollar}}
		}),
		withConfig(func(c *model.Config) {
			c.LiteLLM.ProxyBudget, c.LiteLLM.ProxyBudgetDuration = cents(100), "30d"
			c.Router.ProviderBudgets = map[string]model.ModelBudget{"openai": {Max: unit.Dollar, Duration: "1d"}}
			c.Deployments[0].Params["max_budget"] = json.RawMessage("1")
		}),
	}
}

func TestOneCallIsChargedAtEveryLevelOnceAndAlike(t *testing.T) {
	w := newWorld(t, everything()...)
	w.serve(answers)
	const calls = 3
	for range calls {
		got := w.post(body("m", `"max_tokens":60,"user":"customer","metadata":{"tags":["blue","blue","green"]}`))
		require.Equal(t, 200, got.status, got.body)
	}
	w.quiet()
	hash := auth.Hash([]byte(theKey))
	want := map[model.Scope]bool{
		{Dim: model.DimMember, ID: "t\x1fu"}: true, {Dim: model.DimKey, ID: hash}: true, {Dim: model.DimModelPerKey, ID: hash + "\x1fm"}: true,
		{Dim: model.DimTeam, ID: "t"}: true, {Dim: model.DimModelPerTeam, ID: "t\x1fm"}: true, {Dim: model.DimTeamWindow, ID: "t\x1f1h"}: true,
		{Dim: model.DimKeyWindow, ID: hash + "\x1f1h"}: true, {Dim: model.DimKeyWindow, ID: hash + "\x1f7d"}: true,
		{Dim: model.DimOrganization, ID: "acme"}: true, {Dim: model.DimOrgMember, ID: "acme\x1fu"}: true,
		{Dim: model.DimTag, ID: "blue"}: true, {Dim: model.DimTag, ID: "green"}: true,
		{Dim: model.DimEndUser, ID: "customer"}: true, {Dim: model.DimModelPerEndUser, ID: "customer\x1fm"}: true, model.ProxyScope(): true,
		{Dim: model.DimProvider, ID: "openai"}: true, {Dim: model.DimDeployment, ID: "first"}: true,
	}
	var cost unit.Money
	sums := map[model.Scope]unit.Money{}
	for _, e := range w.entries() {
		cost += e.Cost.Total
		seen := map[model.Scope]bool{}
		for _, c := range e.Charges {
			require.False(t, seen[c.Scope], "charged twice: %v", c.Scope)
			seen[c.Scope] = true
			sums[c.Scope] += e.Cost.Total
		}
		require.Equal(t, want, seen)
		require.Equal(t, "acme", e.Organization, "the team's organization is the key's")
	}
	require.Positive(t, cost)
	for sc := range want {
		require.Equal(t, cost, sums[sc], sc)
		spent, _, ok := w.account.Spent(sc)
		require.True(t, ok, sc)
		require.Equal(t, cost, spent, "what the budget says it used is the sum of its rows: %v", sc)
		require.Zero(t, w.account.Reserved(sc), sc)
	}
}

func TestEachLevelsBudgetRefusesInItsOwnWords(t *testing.T) {
	hash := auth.Hash([]byte(theKey))
	inTeam := withKey(func(k *model.Key) { k.TeamID, k.UserID = "t", "u" })
	for name, c := range map[string]struct {
		options []option
		more    string
		says    string
	}{
		"organization of the key": {[]option{put(row("b", nothingLeft), &model.Organization{ID: "acme", BudgetID: "b"}), withKey(func(k *model.Key) { k.OrganizationID = "acme" })}, "",
			"Budget has been exceeded! Organization=acme Current cost: 0.0, Max budget: 0.0"},
		"organization of the team": {[]option{put(row("b", nothingLeft), &model.Organization{ID: "acme", BudgetID: "b"}, &model.Team{ID: "t", OrganizationID: "acme"}), inTeam}, "",
			"Budget has been exceeded! Organization=acme Current cost: 0.0, Max budget: 0.0"},
		"member of the organization": {[]option{put(row("b", nothingLeft), &model.Organization{ID: "acme"}, &model.OrgMember{OrganizationID: "acme", UserID: "u", BudgetID: "b"}),
			withKey(func(k *model.Key) { k.OrganizationID, k.UserID = "acme", "u" })}, "",
			"Budget has been exceeded! User=u in Organization=acme Current cost: 0.0, Max budget: 0.0"},
		"member of the team": {[]option{put(row("b", nothingLeft), &model.Team{ID: "t"}, &model.Member{TeamID: "t", UserID: "u", BudgetID: "b"}), inTeam}, "",
			"Budget has been exceeded! User=u in Team=t Current cost: 0.0, Max budget: 0.0"},
		"tag": {[]option{put(row("b", nothingLeft), &model.Tag{Name: "blue", BudgetID: "b"})}, `"metadata":{"tags":["blue"]}`,
			"Budget has been exceeded! Tag=blue Current cost: 0.0, Max budget: 0.0"},
		"tag of the settings, on the key": {[]option{withKey(func(k *model.Key) { k.Tags = []string{"blue"} }),
			withConfig(func(c *model.Config) { c.LiteLLM.TagBudgets = map[string]model.ModelBudget{"blue": {}} })}, "",
			"Budget has been exceeded! Tag=blue Current cost: 0.0, Max budget: 0.0"},
		"window of the key": {[]option{withKey(func(k *model.Key) { k.BudgetWindows = []model.BudgetWindow{{Duration: "1d"}} })}, "",
			"Budget has been exceeded! Key=" + hash + " over 1d Current cost: 0.0, Max budget: 0.0"},
		"window of the team": {[]option{put(&model.Team{ID: "t", BudgetWindows: []model.BudgetWindow{{Duration: "1h"}}}), inTeam}, "",
			"Budget has been exceeded! Team=t over 1h Current cost: 0.0, Max budget: 0.0"},
		"model of the team": {[]option{put(&model.Team{ID: "t", ModelMaxBudget: map[string]model.ModelBudget{"m": {}}}), inTeam}, "",
			"Budget has been exceeded! Team=t for model=m Current cost: 0.0, Max budget: 0.0"},
		"model of the user": {[]option{put(&model.User{ID: "u", ModelMaxBudget: map[string]model.ModelBudget{"m": {}}}), withKey(func(k *model.Key) { k.UserID = "u" })}, "",
			"Budget has been exceeded! User=u for model=m Current cost: 0.0, Max budget: 0.0"},
		"model of the end user": {[]option{put(&model.Budget{ID: "b", ModelMaxBudget: map[string]model.ModelBudget{"m": {}}}, &model.EndUser{ID: "c", BudgetID: "b"})}, `"user":"c"`,
			"Budget has been exceeded! End User=c for model=m Current cost: 0.0, Max budget: 0.0"},
		"model of an end user by a default row, whatever its name": {[]option{put(&model.Budget{ID: "b", ModelMaxBudget: map[string]model.ModelBudget{"m": {}}}),
			withConfig(func(c *model.Config) { c.LiteLLM.EndUserBudgetID = "b" })}, `"user":"some\u001fbody"`,
			"for model=m Current cost: 0.0, Max budget: 0.0"},
		"end user by default": {[]option{withConfig(func(c *model.Config) { c.LiteLLM.EndUserBudget = cents(0) })}, `"user":"somebody"`,
			"ExceededBudget: End User=somebody over budget. Spend=0.0, Budget=0.0"},
		"end user by a default row": {[]option{put(row("b", nothingLeft)), withConfig(func(c *model.Config) { c.LiteLLM.EndUserBudgetID = "b" })}, `"user":"somebody"`,
			"ExceededBudget: End User=somebody over budget. Spend=0.0, Budget=0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.options...)
			w.serve(answers)
			got := w.post(body("m", c.more))
			require.Equal(t, 429, got.status, got.body)
			require.Contains(t, got.body, c.says)
			require.Contains(t, got.body, `"budget_exceeded"`)
			require.NotEmpty(t, got.header.Get("x-litellm-call-id"))
			require.Zero(t, w.asked.Load())
		})
	}
}

func TestEachLevelsRateLimitHolds(t *testing.T) {
	hash := auth.Hash([]byte(theKey))
	for name, c := range map[string]struct {
		options []option
		more    string
		scope   string
		id      string
	}{
		"organization": {[]option{put(row("b", two), &model.Organization{ID: "acme", BudgetID: "b"}), withKey(func(k *model.Key) { k.OrganizationID = "acme" })}, "", "organization", "acme"},
		"model of the organization": {[]option{put(&model.Organization{ID: "acme", ModelRPM: map[string]int64{"m": 2}}), withKey(func(k *model.Key) { k.OrganizationID = "acme" })}, "",
			"model_per_organization", "acme:m"},
		"tag":         {[]option{put(row("b", two), &model.Tag{Name: "blue", BudgetID: "b"})}, `"metadata":{"tags":["blue"]}`, "tag", "blue"},
		"end user":    {[]option{put(row("b", two), &model.EndUser{ID: "c", BudgetID: "b"})}, `"user":"c"`, "end_user", "c"},
		"team member": {[]option{put(row("b", two), &model.Team{ID: "t"}, &model.Member{TeamID: "t", UserID: "u", BudgetID: "b"}), withKey(func(k *model.Key) { k.TeamID, k.UserID = "t", "u" })}, "", "team_member", "t:u"},
		"caller's default, which a limited tag does not lift": {[]option{put(row("b", func(b *model.Budget) { n := int64(100); b.RPM = &n }), &model.Tag{Name: "blue", BudgetID: "b"}),
			withConfig(func(cfg *model.Config) { n := int64(2); cfg.LiteLLM.CallerRPM = &n })}, `"metadata":{"tags":["blue"]}`, "api_key", hash},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.options...)
			w.serve(answers)
			for range 2 {
				got := w.post(body("m", c.more))
				require.Equal(t, 200, got.status, got.body)
				require.NotEmpty(t, got.header.Get("x-ratelimit-"+c.scope+"-remaining-requests"))
			}
			got := w.post(body("m", c.more))
			require.Equal(t, 429, got.status, got.body)
			require.Contains(t, got.body, "Rate limit exceeded for "+c.scope+": "+c.id+". Limit type: requests. Current limit: 2, Remaining: 0. Limit resets at: ")
			require.NotEmpty(t, got.header.Get("x-litellm-call-id"))
			require.NotEmpty(t, got.header.Get("retry-after"))
		})
	}
}

func TestOrganizationsModelsBindItsKeysAndTeams(t *testing.T) {
	for name, o := range map[string][]option{
		"key's organization":  {put(&model.Organization{ID: "acme", Models: []string{"spare"}}), withKey(func(k *model.Key) { k.OrganizationID = "acme" })},
		"team's organization": {put(&model.Organization{ID: "acme", Models: []string{"spare"}}, &model.Team{ID: "t", OrganizationID: "acme"}), withKey(func(k *model.Key) { k.TeamID = "t" })},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o...)
			w.serve(answers)
			require.Equal(t, http.StatusOK, w.post(body("spare", "")).status)
			got := w.post(body("m", ""))
			require.Equal(t, 403, got.status)
			require.Contains(t, got.body, "org not allowed to access model. This org can only access models=['spare']. Tried to access m")
			require.Contains(t, got.body, "org_model_access_denied")
		})
	}
}

func TestSoftBudgetAloneRefusesNothingAndIsCounted(t *testing.T) {
	soft := unit.Dollar / 1_000_000
	w := newWorld(t, withKey(func(k *model.Key) { k.SoftBudget = &soft }))
	w.serve(answers)
	for range 3 {
		require.Equal(t, 200, w.post(body("m", "")).status)
	}
	w.quiet()
	spent, _, ok := w.account.Spent(keyScope())
	require.True(t, ok)
	require.Greater(t, spent, soft)
	require.False(t, strings.Contains(w.post(body("m", "")).body, "budget"))
}
