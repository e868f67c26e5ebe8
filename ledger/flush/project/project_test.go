package project_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/flush/project"
)

var born = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)

func (w *world) sample() {
	m := model.Meta{CreatedAt: born, UpdatedAt: born, CreatedBy: "admin", UpdatedBy: "admin"}
	until := w.now.Add(time.Hour)
	w.put(
		model.Put(model.Budgets, &model.Budget{Meta: m, ID: "b1", Spending: model.Spending{MaxBudget: usd(100), BudgetDuration: "1mo"}, Limits: model.Limits{RPM: num(60)}}, nil),
		model.Put(model.Organizations, &model.Organization{Meta: m, ID: "o1", Alias: "acme", BudgetID: "b1"}, nil),
		model.Put(model.Organizations, &model.Organization{Meta: m, ID: "o2", Alias: "without a budget"}, nil),
		model.Put(model.Users, &model.User{Meta: m, ID: "u1", Email: "a@example.org", Role: "internal_user", Teams: []string{"t1"}, OrganizationID: "o1",
			Spending: model.Spending{MaxBudget: usd(5), BudgetDuration: "1d", SpendOffset: *usd(1.25), SpendOffsetWindow: time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC).Unix()}}, nil),
		model.Put(model.Teams, &model.Team{Meta: m, ID: "t1", Alias: "core", OrganizationID: "o1", Members: []model.TeamRole{{UserID: "u1", Role: "admin"}},
			ModelAliases: map[string]string{"fast": "gpt-mini"}, BudgetWindows: []model.BudgetWindow{{Duration: "1d", Max: *usd(2)}}}, nil),
		model.Put(model.Members, &model.Member{Meta: m, TeamID: "t1", UserID: "u1", BudgetID: "b1"}, nil),
		model.Put(model.OrgMembers, &model.OrgMember{Meta: m, OrganizationID: "o1", UserID: "u1", Role: "org_admin"}, nil),
		model.Put(model.Keys, &model.Key{Meta: m, Hash: hash("sk-1"), Name: "sk-...sk-1", Alias: "first", UserID: "u1", TeamID: "t1", Models: []string{"gpt"},
			Spending: model.Spending{MaxBudget: usd(10.5), SpendOffset: *usd(3)}, Limits: model.Limits{TPM: num(1000)}, Metadata: json.RawMessage(`{"note":"x\u0000y"}`),
			Tags: []string{"blue"}, ModelRPM: map[string]int64{"gpt": 3}, Replaces: hash("sk-0"), ReplacesUntil: &until,
			Extra: map[string]json.RawMessage{"guardrails": json.RawMessage(`["pii"]`), "policies": json.RawMessage(`["p"]`)}}, nil),
		model.Put(model.EndUsers, &model.EndUser{Meta: m, ID: "customer", Alias: "c", BudgetID: "b1"}, nil),
		model.Put(model.Tags, &model.Tag{Meta: m, Name: "blue", Description: "sky"}, nil),
	)
	d := &model.DBModel{Meta: m, Deployment: model.Deployment{ID: "m1", Group: "gpt", Params: model.Params{
		"model": json.RawMessage(`"openai/gpt-mini"`), "api_key": json.RawMessage(`"sk-provider"`), "rpm": json.RawMessage(`7`), "api_base": json.RawMessage(`""`)}}}
	w.must(w.box.SealDeployment(&d.Deployment, isSecret))
	w.put(model.Put(model.Models, d, nil))
}

func TestRowsShowWhatTheManagementAPIShows(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.sync()
	key := `SELECT %s FROM "LiteLLM_VerificationToken" WHERE token = '` + hash("sk-1") + `'`
	of := func(column string) string { return strings.Replace(key, "%s", column, 1) }
	w.wants("first", of("key_alias"))
	w.wants("{gpt}", of("models"))
	w.wants("10.5", of("max_budget"))
	w.wants("1000", of("tpm_limit"))
	w.wants("<null>", of("rpm_limit"))
	w.wants("false", of("blocked"))
	w.wants("3", of("spend"))
	w.wants("{p}", of("policies"))
	w.wants("2026-11-01 08:00:00", of("created_at"))
	w.wants(`["blue"]`, of("metadata->'tags'"))
	w.wants(`3`, of("metadata->'model_rpm_limit'->'gpt'"))
	w.wants(`["pii"]`, of("metadata->'guardrails'"))
	w.wants("x\ufffdy", of("metadata->>'note'"))
	w.wants(hash("sk-1"), `SELECT active_token_id FROM "LiteLLM_DeprecatedVerificationToken" WHERE token = $1`, hash("sk-0"))

	w.wants("b1", `SELECT budget_id FROM "LiteLLM_OrganizationTable" WHERE organization_id = 'o1'`)
	w.wants("tollgate_no_budget", `SELECT budget_id FROM "LiteLLM_OrganizationTable" WHERE organization_id = 'o2'`)
	w.wants("1.25", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.wants("2026-11-19 00:00:00", `SELECT budget_reset_at FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.wants("2026-12-01 00:00:00", `SELECT budget_reset_at FROM "LiteLLM_BudgetTable" WHERE budget_id = 'b1'`)
	w.wants("proxy_admin", `SELECT user_role FROM "LiteLLM_UserTable" WHERE user_id = 'default_user_id'`)
	w.wants("0", `SELECT count(*) FROM "LiteLLM_UserTable" WHERE user_id = 'litellm-proxy-budget'`)
	w.wants(`[{"role": "admin", "user_id": "u1", "user_email": null}]`, `SELECT members_with_roles FROM "LiteLLM_TeamTable"`)
	w.wants(`{"fast": "gpt-mini"}`, `SELECT m.aliases FROM "LiteLLM_TeamTable" t JOIN "LiteLLM_ModelTable" m ON m.id = t.model_id`)
	w.wants(`[{"reset_at": "2026-11-19T00:00:00.000", "max_budget": 2, "budget_duration": "1d"}]`, `SELECT budget_limits FROM "LiteLLM_TeamTable"`)
	w.wants("b1", `SELECT budget_id FROM "LiteLLM_TeamMembership" WHERE team_id = 't1' AND user_id = 'u1'`)
	w.wants("org_admin", `SELECT user_role FROM "LiteLLM_OrganizationMembership"`)
	w.wants("b1", `SELECT budget_id FROM "LiteLLM_EndUserTable" WHERE user_id = 'customer'`)
	w.wants("sky", `SELECT description FROM "LiteLLM_TagTable" WHERE tag_name = 'blue'`)
	w.wants("7", `SELECT litellm_params->'rpm' FROM "LiteLLM_ProxyModelTable"`)
	w.wants("", `SELECT litellm_params->>'api_base' FROM "LiteLLM_ProxyModelTable"`)
	for _, name := range []string{"model", "api_key"} {
		v := w.one(`SELECT litellm_params->>'` + name + `' FROM "LiteLLM_ProxyModelTable"`)
		if plain, err := project.Decrypt(v, saltKey); err != nil || plain != map[string]string{"model": "openai/gpt-mini", "api_key": "sk-provider"}[name] {
			t.Errorf("%s stands as %q, which opens to %q (%v)", name, v, plain, err)
		}
	}
}

func TestOnlyWhatChangedIsWrittenAlsoAfterAStart(t *testing.T) {
	w := newWorld(t)
	w.sample()
	p := w.sync()
	if n := p.Stats().Rows; n < 12 {
		t.Fatalf("first projection wrote %d rows", n)
	}
	if n := w.sync().Stats().Rows; n != 0 {
		t.Errorf("a second start wrote %d rows again", n)
	}
	k, _ := w.store.State().Keys.Get(hash("sk-1"))
	changed := *k
	changed.Alias, changed.Replaces, changed.ReplacesUntil = "other", "", nil
	w.put(model.Put(model.Keys, &changed, nil))
	if n := w.sync().Stats().Rows; n != 2 { // the key, and the row of the one it replaced
		t.Errorf("one change wrote %d rows", n)
	}
	w.wants("other", `SELECT key_alias FROM "LiteLLM_VerificationToken"`)
	w.wants("0", `SELECT count(*) FROM "LiteLLM_DeprecatedVerificationToken"`)
}

func TestDeletedKeysAndTeamsAreKeptAmongTheDeleted(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.sync()
	w.put(model.Delete(model.Keys, hash("sk-1"), nil), model.Delete(model.Teams, "t1", nil), model.Delete(model.Members, model.MemberID("t1", "u1"), nil))
	w.sync()
	w.wants("0", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
	w.wants("0", `SELECT count(*) FROM "LiteLLM_TeamMembership"`)
	w.wants("first", `SELECT key_alias FROM "LiteLLM_DeletedVerificationToken"`)
	w.wants("core", `SELECT team_alias FROM "LiteLLM_DeletedTeamTable"`)
}

func TestRowsOfOthersStay(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.sync()
	w.exec(`INSERT INTO "LiteLLM_VerificationToken" (token, key_alias) VALUES ('theirs', 'made by a script')`)
	w.exec(`INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('general_settings', '{"saved": "by the console"}')`)
	w.exec(`UPDATE "LiteLLM_UserTable" SET password = 'kept' WHERE user_id = 'u1'`)
	w.put(model.Put(model.Configs, &model.ConfigVersion{Number: 1}, nil))
	u, _ := w.store.State().Users.Get("u1")
	changed := *u
	changed.Alias = "new"
	w.put(model.Put(model.Users, &changed, nil), model.Delete(model.Keys, hash("sk-1"), nil))
	w.sync()
	w.sync()
	w.wants("made by a script", `SELECT key_alias FROM "LiteLLM_VerificationToken"`)
	w.wants(`{"saved": "by the console"}`, `SELECT param_value FROM "LiteLLM_Config" WHERE param_name = 'general_settings'`)
	w.wants("1", `SELECT count(*) FROM "LiteLLM_Config" WHERE param_name = 'router_settings'`)
	w.wants("kept", `SELECT password FROM "LiteLLM_UserTable" WHERE user_id = 'u1' AND user_alias = 'new'`)
}

func TestSettingsAreShownUnderTheirNamesAndWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	c := model.Config{}
	c.General.MasterKeyHash, c.General.DatabaseURL, c.General.StorePrompts = "abc", "sealed:v1:x", true
	c.General.Raw = model.Params{"alerting_args": json.RawMessage(`{"webhook_url":"sealed:v1:y"}`), "ui_access_mode": json.RawMessage(`"all"`)}
	c.LiteLLM.ProxyBudget, c.LiteLLM.ProxyBudgetDuration = usd(50), "30d"
	c.LiteLLM.Fallbacks = map[string][]string{"a": {"b"}, "*": {"z"}}
	w.put(model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: c}, nil))
	w.sync()
	w.wants(`{"ui_access_mode": "all", "store_prompts_in_spend_logs": true}`, `SELECT param_value FROM "LiteLLM_Config" WHERE param_name = 'general_settings'`)
	w.wants(`{"fallbacks": [{"a": ["b"]}], "max_budget": 50, "budget_duration": "30d", "default_fallbacks": ["z"]}`, `SELECT param_value FROM "LiteLLM_Config" WHERE param_name = 'litellm_settings'`)
	w.wants("50", `SELECT max_budget FROM "LiteLLM_UserTable" WHERE user_id = 'litellm-proxy-budget'`)
}

func TestSpendColumnsShowTheWindowThatIsOpen(t *testing.T) {
	w := newWorld(t)
	w.sample()
	day := time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC)
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES
		('user', 'u1', 0, 9000000000), ('user', 'u1', $1, 500000000), ('user', 'u1', $2, 70000000), ('api_key', $3, 0, 250000000)`,
		day.Unix(), day.AddDate(0, 0, 1).Unix(), hash("sk-1"))
	p := w.projector("c1")
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	defer func() { end(); <-done }()
	w.eventually("1.75", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`) // the window's 0.5 and the offset in it
	w.eventually("3.25", `SELECT spend FROM "LiteLLM_VerificationToken"`)              // all time's 0.25 and its offset

	// What an operator sets shows at once, and nothing of what stood before.
	u, _ := w.store.State().Users.Get("u1")
	changed := *u
	changed.SpendOffset = -*usd(0.5)
	w.put(model.Put(model.Users, &changed, nil))
	w.eventually("0", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
}

func TestSpendColumnsStartAnewWithTheWindow(t *testing.T) {
	w := newWorld(t)
	w.sample()
	day := time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC)
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES ('user', 'u1', $1, 70000000)`, day.AddDate(0, 0, 1).Unix())
	w.sync()
	w.wants("1.25", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.now = w.now.Add(24 * time.Hour)
	if n := w.sync().Stats().Rows; n != 2 { // the user and the team with a daily window
		t.Errorf("a new day wrote %d rows", n)
	}
	w.wants("0.07", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.wants("2026-11-20 00:00:00", `SELECT budget_reset_at FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.wants("2026-11-20T00:00:00.000", `SELECT budget_limits->0->>'reset_at' FROM "LiteLLM_TeamTable"`)
}

func TestOneRowThatIsRefusedHoldsNoOtherUp(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.put(model.Put(model.Keys, &model.Key{Hash: hash("sk-2"), Metadata: json.RawMessage(`{"n":1e999999}`)}, nil),
		model.Put(model.Keys, &model.Key{Hash: hash("sk-3")}, nil))
	p := w.sync()
	if s := p.Stats(); s.Refused != 1 || !s.Healthy {
		t.Errorf("stats %+v", s)
	}
	w.wants("2", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
}

func TestAnotherNodeTakesOverWhenThisOneLeads(t *testing.T) {
	w := newWorld(t)
	w.sample()
	conn, err := w.pool.Acquire(context.Background())
	w.must(err)
	_, err = conn.Exec(context.Background(), "SELECT pg_advisory_lock($1)", project.LockKey)
	w.must(err)
	if err := w.projector("c1").Sync(context.Background()); !errors.Is(err, project.ErrNotMine) {
		t.Errorf("projected beside another: %v", err)
	}
	_, err = conn.Exec(context.Background(), "SELECT pg_advisory_unlock($1)", project.LockKey)
	w.must(err)
	conn.Release()
	w.sync()
}

func TestAnEmptyStateNeverEmptiesADatabase(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES ('api_key', $1, 0, 250000000)`, hash("sk-1"))
	w.sync()
	before := w.rows("LiteLLM_VerificationToken", "token", "updated_at")
	old := w.store.State()

	w.newState() // the nodes' disks are lost; the database is not
	w.put(model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: model.Config{General: model.GeneralSettings{StoreModelInDB: true}}}, nil))
	p := w.projector("c2")
	w.must(p.Sync(context.Background()))
	w.sameRows("keys", before, w.rows("LiteLLM_VerificationToken", "token", "updated_at"))
	k, ok := w.store.State().Keys.Get(hash("sk-1"))
	if !ok || k.SpendOffset != *usd(3.25) || k.Alias != "first" || k.Replaces != hash("sk-0") {
		t.Errorf("key came back as %+v", k)
	}
	if d, ok := w.store.State().Models.Get("m1"); !ok {
		t.Error("model did not come back")
	} else if open, err := w.box.OpenDeployment(&d.Deployment); err != nil || string(open.Params["api_key"]) != `"sk-provider"` {
		t.Errorf("model came back with %s (%v)", open.Params, err)
	}
	if got, want := counts(w.store.State()), counts(old); got != want {
		t.Errorf("state came back with %v, was %v", got, want)
	}
}

func counts(s *state.Snapshot) [9]int {
	return [9]int{s.Keys.Len(), s.Teams.Len(), s.Members.Len(), s.Budgets.Len(), s.EndUsers.Len(), s.Models.Len(), s.Organizations.Len(), s.OrgMembers.Len(), s.Tags.Len()}
}

// eventually waits until a query gives a value.
func (w *world) eventually(want, sql string, args ...any) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for w.one(sql, args...) != want {
		if time.Now().After(deadline) {
			w.wants(want, sql, args...)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
