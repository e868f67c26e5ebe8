package project_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tollgate/config/unit"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/project"

	"tollgate/config/model"
)

// newLiteLLM makes a world on a database that LiteLLM's migrations made.
func newLiteLLM(t *testing.T) *world {
	url := pgtest.Start(t).NewDatabase(t)
	pgtest.LiteLLM(t, url)
	return emptyWorld(t, url)
}

func gcmWith(key []byte, plain string) string {
	b, _ := aes.NewCipher(key)
	g, _ := cipher.NewGCM(b)
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return base64.URLEncoding.EncodeToString(g.Seal(nonce, nonce, []byte(plain), nil))
}

func v2(plain, key string) string {
	sum := sha256.Sum256([]byte(key))
	return "v2:gcm:" + gcmWith(sum[:], plain)
}

func v3(plain, key string) string {
	k, _ := hkdf.Key(sha256.New, []byte(key), nil, "litellm-at-rest-v3", 32)
	return "v3:gcm:" + gcmWith(k, plain)
}

func old(t testing.TB, plain, key string, std bool) string {
	v, err := project.Encrypt(plain, key)
	if err != nil {
		t.Fatal(err)
	}
	if std {
		raw, _ := base64.URLEncoding.DecodeString(v)
		v = base64.StdEncoding.EncodeToString(raw)
	}
	return v
}

// fill writes what LiteLLM would have.
func (w *world) fill() {
	w.exec(`INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, soft_budget, rpm_limit, budget_duration, budget_reset_at, model_max_budget, created_by, updated_by) VALUES
		('tier', 25.5, 20, 100, '30d', '2026-12-01', '{"gpt": {"budget_limit": 3, "time_period": "1d"}}', 'admin', 'admin'),
		('past', 10, NULL, NULL, '1d', '2026-11-10', NULL, 'admin', 'admin')`)
	w.exec(`INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, spend, metadata, created_by, updated_by)
		VALUES ('org-1', 'Acme', 'tier', '{gpt}', 7.25, '{"model_rpm_limit": {"gpt": 9}, "own": 1}', 'admin', 'admin')`)
	w.exec(`INSERT INTO "LiteLLM_ModelTable" (aliases, created_by, updated_by) VALUES ('{"fast": "gpt-mini"}', 'admin', 'admin')`)
	w.exec(`INSERT INTO "LiteLLM_UserTable" (user_id, user_role, user_email, teams, models, max_budget, spend, budget_duration, budget_reset_at, password, metadata, sso_user_id) VALUES
		('alice', 'internal_user', 'Alice@example.org', '{team-1}', '{}', 12, 3.5, '7d', '2026-11-20', 'scrypt:secret', '{"a": "b"}', 'sso-1'),
		('bob', 'proxy_admin', NULL, '{}', '{gpt}', NULL, 0.125, NULL, NULL, NULL, '{}', NULL),
		('default_user_id', 'proxy_admin', NULL, '{}', '{}', NULL, 1, NULL, NULL, NULL, '{}', NULL),
		('litellm-proxy-budget', 'proxy_admin', NULL, '{}', '{}', 1000, 99, '30d', '2026-12-01', NULL, '{}', NULL)`)
	w.exec(`INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, admins, members, members_with_roles, metadata, max_budget, spend, models, model_id, budget_limits, team_member_permissions) VALUES
		('team-1', 'Core', 'org-1', '{}', '{}', '[{"role": "admin", "user_id": "alice", "user_email": null}, {"role": "user", "user_id": "bob"}]',
		 '{"tags": ["core"], "model_tpm_limit": {"gpt": 5000}, "team_member_budget_id": "tier", "guardrails": ["g"]}', 50, 4.75, '{gpt,gpt-mini}', 1,
		 '[{"budget_duration": "1d", "max_budget": 2.5, "reset_at": "2026-11-19T00:00:00"}]', '{/key/generate}')`)
	w.exec(`INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id) VALUES ('alice', 'team-1', 1.5, 'tier')`)
	w.exec(`INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, spend) VALUES ('alice', 'org-1', 'org_admin', 0.5)`)
	w.exec(`INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, spend, expires, models, aliases, user_id, team_id, organization_id, permissions, max_parallel_requests,
		metadata, blocked, tpm_limit, rpm_limit, max_budget, budget_duration, budget_reset_at, allowed_cache_controls, allowed_routes, model_max_budget, created_by, rotation_count) VALUES
		($1, 'sk-...aaaa', 'laptop', 2.123456789, '2027-01-01', '{gpt}', '{"g": "gpt"}', 'alice', 'team-1', 'org-1', '{"get_spend_routes": true}', 4,
		 '{"tags": ["blue"], "model_rpm_limit": {"gpt": 3}, "temp_budget_increase": 5, "temp_budget_expiry": "2027-01-01T00:00:00", "service": {"x": 1}, "policies": ["p"]}',
		 NULL, 90000, 30, 20, '1mo', '2026-12-01', '{no-cache}', '{llm_api_routes}', '{"gpt": {"max_budget": 1.5, "budget_duration": "1d"}}', 'alice', 2)`, hash("sk-aaaa"))
	w.exec(`INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, spend, models, user_id, max_budget, budget_duration, budget_reset_at, budget_id, blocked, team_id) VALUES
		($1, 'reset by now', 9, '{}', 'bob', 10, '1d', '2026-11-17', NULL, true, NULL),
		($2, 'of a tier', 6, '{}', 'bob', NULL, NULL, NULL, 'tier', false, NULL),
		($3, 'console session', 0, '{}', 'bob', NULL, NULL, NULL, NULL, false, 'litellm-dashboard'),
		('sk-plain', 'never hashed', 0, '{}', NULL, NULL, NULL, NULL, NULL, false, NULL),
		($4, 'odd window', 0, '{}', NULL, 3, 'fortnight', NULL, NULL, false, NULL)`, hash("sk-bbbb"), hash("sk-cccc"), hash("sk-dddd"), hash("sk-eeee"))
	w.exec(`INSERT INTO "LiteLLM_DeprecatedVerificationToken" (id, token, active_token_id, revoke_at) VALUES ('d1', $1, $2, '2026-11-19')`, hash("sk-older"), hash("sk-aaaa"))
	w.exec(`INSERT INTO "LiteLLM_EndUserTable" (user_id, alias, spend, budget_id, blocked) VALUES ('customer-1', 'C', 1.75, 'past', false), ('passer-by', NULL, 0.25, NULL, false), ('banned', NULL, 0, NULL, true)`)
	w.exec(`INSERT INTO "LiteLLM_TagTable" (tag_name, description, models, spend, budget_id) VALUES ('blue', 'sky', '{}', 8, 'tier')`)
	params := func(model, key string) string {
		return fmt.Sprintf(`{"model": %q, "api_key": %q, "rpm": 60, "tags": ["x"], "use_in_pass_through": false, "aws_region_name": ""}`, model, key)
	}
	w.exec(`INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by, blocked) VALUES
		('m-old', 'gpt', $1, '{"id": "m-old", "db_model": true, "mode": "chat"}', 'admin', 'admin', false),
		('m-std', 'gpt', $2, '{}', 'admin', 'admin', false), ('m-v2', 'gpt', $3, NULL, 'admin', 'admin', false), ('m-v3', 'gpt-mini', $4, NULL, 'admin', 'admin', false),
		('m-plain', 'gpt', $5, NULL, 'admin', 'admin', false), ('m-lost', 'gpt', $6, NULL, 'admin', 'admin', false), ('m-blocked', 'gpt', $5, NULL, 'admin', 'admin', true),
		('m-master', 'gpt', $7, NULL, 'admin', 'admin', false), ('m-cred', 'gpt', $8, NULL, 'admin', 'admin', false)`,
		params(old(w.t, "openai/gpt-4o", saltKey, false), old(w.t, "sk-provider-old", saltKey, false)),
		params(old(w.t, "openai/gpt-4o", saltKey, true), old(w.t, "sk-provider-std", saltKey, true)),
		params(v2("openai/gpt-4o", saltKey), v2("sk-provider-v2", saltKey)),
		params(v3("openai/gpt-4o-mini", saltKey), v3("sk-provider-v3", saltKey)),
		params("openai/gpt-4o", "sk-provider-plain"),
		params(v3("openai/gpt-4o", "another"), v3("x", "another")),
		params(old(w.t, "openai/gpt-4o", "sk-master", false), v3("sk-provider-master", "sk-master")),
		fmt.Sprintf(`{"model": %q, "litellm_credential_name": %q}`, v3("azure/gpt", saltKey), v3("azure", saltKey)))
	w.exec(`INSERT INTO "LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, created_by, updated_by) VALUES ('c1', 'azure', $1, 'admin', 'admin')`,
		fmt.Sprintf(`{"api_key": %q, "api_base": %q}`, v2("azure-secret", saltKey), old(w.t, "https://a.example", saltKey, false)))
	w.exec(`INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('general_settings', '{"store_model_in_db": true}')`)
	w.exec(`INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, "startTime", "endTime", api_key, spend) VALUES ('r1', 'acompletion', now(), now(), $1, 0.5)`, hash("sk-aaaa"))
	w.exec(`INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, spend, updated_at) VALUES ('x', 'alice', '2026-11-18', $1, 0.5, now())`, hash("sk-aaaa"))
}

// litellmTables are those with rows of fill, with their order.
var litellmTables = map[string]string{
	"LiteLLM_BudgetTable": "budget_id", "LiteLLM_OrganizationTable": "organization_id", "LiteLLM_ModelTable": "id", "LiteLLM_UserTable": "user_id",
	"LiteLLM_TeamTable": "team_id", "LiteLLM_TeamMembership": "user_id", "LiteLLM_OrganizationMembership": "user_id", "LiteLLM_VerificationToken": "token",
	"LiteLLM_DeprecatedVerificationToken": "id", "LiteLLM_EndUserTable": "user_id", "LiteLLM_TagTable": "tag_name", "LiteLLM_ProxyModelTable": "model_id",
	"LiteLLM_CredentialsTable": "credential_id", "LiteLLM_Config": "param_name", "LiteLLM_SpendLogs": "request_id", "LiteLLM_DailyUserSpend": "id",
}

func TestDatabaseOfLiteLLMIsTakenOver(t *testing.T) {
	w := newLiteLLM(t)
	w.fill()
	columns := w.one(`SELECT string_agg(table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable, E'\n' ORDER BY table_name, column_name)
		FROM information_schema.columns WHERE table_schema = 'public'`)
	before := map[string][]string{}
	for table, key := range litellmTables {
		before[table] = w.rows(table, key, "spend", "total_spend", "budget_reset_at")
	}
	w.migrate()
	added := w.one(`SELECT string_agg(table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable, E'\n' ORDER BY table_name, column_name)
		FROM information_schema.columns WHERE table_schema = 'public'`)
	for line := range strings.Lines(columns) {
		if !strings.Contains(added, strings.TrimSpace(line)) {
			t.Errorf("a column of LiteLLM's is gone or of another type: %s", line)
		}
	}
	w.put(model.Put(model.Configs, &model.ConfigVersion{Number: 1}, nil))
	p := w.projector("c1")
	w.must(p.Sync(context.Background()))
	for table, key := range litellmTables {
		after := w.rows(table, key, "spend", "total_spend", "budget_reset_at")
		after = slices.DeleteFunc(after, func(r string) bool { // settings of ours stand beside
			return table == "LiteLLM_Config" && !slices.Contains(before[table], r) && !strings.Contains(r, `"general_settings"`)
		})
		w.sameRows(table, before[table], after)
	}
	w.checkState()
	w.checkSpends()
	w.checkReport(p.Stats().Adopted)
	w.checkQueries()

	// A second start reads nothing again and writes nothing.
	again := w.projector("c1")
	w.must(again.Sync(context.Background()))
	if s := again.Stats(); s.Rows != 0 || s.Adopted.Total() != 0 {
		t.Errorf("a second start: %+v", s)
	}
	// What changes is written, and only that.
	k, _ := w.store.State().Keys.Get(hash("sk-aaaa"))
	changed := *k
	changed.RPM = num(31)
	w.put(model.Put(model.Keys, &changed, nil), model.Delete(model.Keys, hash("sk-bbbb"), nil))
	w.sync()
	w.wants("31", `SELECT rpm_limit FROM "LiteLLM_VerificationToken" WHERE token = $1`, hash("sk-aaaa"))
	w.wants(`{"x": 1}`, `SELECT metadata->'service' FROM "LiteLLM_VerificationToken" WHERE token = $1`, hash("sk-aaaa"))
	w.wants("1", `SELECT count(*) FROM "LiteLLM_DeletedVerificationToken" WHERE token = $1`, hash("sk-bbbb"))
	w.wants("3", `SELECT count(*) FROM "LiteLLM_VerificationToken" WHERE token NOT IN ($1, $2)`, hash("sk-aaaa"), hash("sk-cccc"))
}

func (w *world) checkState() {
	s, t := w.store.State(), w.t
	k, ok := s.Keys.Get(hash("sk-aaaa"))
	switch {
	case !ok:
		t.Fatal("the key was not taken over")
	case k.Alias != "laptop" || k.UserID != "alice" || k.TeamID != "team-1" || *k.MaxBudget != *usd(20) || *k.RPM != 30 || *k.TPM != 90000 || *k.Parallel != 4 ||
		!slices.Equal(k.Models, []string{"gpt"}) || !slices.Equal(k.Tags, []string{"blue"}) || k.ModelRPM["gpt"] != 3 || k.TempBudget == nil || k.Blocked ||
		string(k.Metadata) != `{"service":{"x":1}}` || string(k.Extra["policies"]) != `["p"]` || k.ModelMaxBudget["gpt"].Max != *usd(1.5) || k.Replaces != hash("sk-older"):
		t.Errorf("key %+v", k)
	}
	if b, ok := s.Keys.Get(hash("sk-bbbb")); !ok || !b.Blocked || b.SpendOffset != 0 {
		t.Errorf("key whose window has ended: %+v", b)
	}
	for id, want := range map[string]string{"m-old": "sk-provider-old", "m-std": "sk-provider-std", "m-v2": "sk-provider-v2", "m-v3": "sk-provider-v3",
		"m-plain": "sk-provider-plain", "m-master": "sk-provider-master", "m-cred": "azure-secret"} {
		d, ok := s.Models.Get(id)
		if !ok {
			t.Errorf("model %s was not taken over", id)
			continue
		}
		if strings.Contains(string(d.Params["api_key"]), want) {
			t.Errorf("the key of model %s stands open", id)
		}
		if open, err := w.box.OpenDeployment(&d.Deployment); err != nil || string(open.Params["api_key"]) != `"`+want+`"` || !strings.Contains(string(open.Params["model"]), "/gpt") {
			t.Errorf("model %s: %s (%v)", id, open.Params, err)
		}
	}
	if d, _ := s.Models.Get("m-old"); d == nil || string(d.Params["rpm"]) != "60" || string(d.Info["mode"]) != `"chat"` {
		t.Errorf("model %+v", d)
	}
	if tm, ok := s.Teams.Get("team-1"); !ok || len(tm.Members) != 2 || tm.ModelAliases["fast"] != "gpt-mini" || tm.MemberBudgetID != "tier" || tm.ModelTPM["gpt"] != 5000 || len(tm.BudgetWindows) != 1 {
		t.Errorf("team %+v", tm)
	}
	if u, ok := s.UserByEmail("alice@example.org"); !ok || !slices.Equal(u.Teams, []string{"team-1"}) || *u.MaxBudget != *usd(12) {
		t.Errorf("user %+v", u)
	}
	if u, ok := s.Users.Get("bob"); !ok || !slices.Equal(u.Teams, []string{"team-1"}) || u.Role != "proxy_admin" {
		t.Errorf("user %+v", u)
	}
	if _, ok := s.Member("team-1", "bob"); !ok {
		t.Error("a member without a row of its own was lost")
	}
	if b, ok := s.Budgets.Get("tier"); !ok || *b.MaxBudget != *usd(25.5) || b.ModelMaxBudget["gpt"].Duration != "1d" {
		t.Errorf("budget %+v", b)
	}
	if e, ok := s.EndUsers.Get("customer-1"); !ok || e.BudgetID != "past" || e.SpendOffset != 0 {
		t.Errorf("end user %+v", e)
	}
	if _, ok := s.EndUsers.Get("passer-by"); ok {
		t.Error("a name that a request once carried was taken over")
	}
	if e, ok := s.EndUsers.Get("banned"); !ok || !e.Blocked {
		t.Error("a blocked customer was not taken over")
	}
}

// checkSpends sees that budgets go on where they stood, and that the columns
// show it.
func (w *world) checkSpends() {
	s, t := w.store.State(), w.t
	k, _ := s.Keys.Get(hash("sk-aaaa"))
	if def, ok := s.BudgetOf(model.Scope{Dim: model.DimKey, ID: k.Hash}); !ok || def.OffsetIn(k.SpendOffsetWindow) != unit.Money(2_123_456_789) || k.SpendOffsetWindow != 1793491200 {
		t.Errorf("key's budget %+v, window %d", def, k.SpendOffsetWindow)
	}
	c, _ := s.Keys.Get(hash("sk-cccc"))
	if def, ok := s.BudgetOf(model.Scope{Dim: model.DimKey, ID: c.Hash}); !ok || def.OffsetIn(1793491200) != *usd(6) {
		t.Errorf("budget of a key of a tier %+v", def)
	}
	if def, ok := s.BudgetOf(model.Scope{Dim: model.DimMember, ID: model.MemberID("team-1", "alice")}); !ok || def.OffsetIn(1793491200) != *usd(1.5) {
		t.Errorf("budget of a member %+v", def)
	}
	for sql, want := range map[string]string{
		`SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '` + hash("sk-aaaa") + `'`: "2.123456789",
		`SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '` + hash("sk-bbbb") + `'`: "0",
		`SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '` + hash("sk-cccc") + `'`: "6",
		`SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'alice'`:                         "3.5",
		`SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'bob'`:                           "0.125",
		`SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'litellm-proxy-budget'`:          "99",
		`SELECT spend FROM "LiteLLM_TeamTable"`:                                                 "4.75",
		`SELECT spend FROM "LiteLLM_OrganizationTable"`:                                         "7.25",
		`SELECT spend FROM "LiteLLM_EndUserTable" WHERE user_id = 'passer-by'`:                  "0.25",
		`SELECT spend FROM "LiteLLM_TeamMembership" WHERE user_id = 'alice'`:                    "1.5",
		`SELECT spend FROM "LiteLLM_OrganizationMembership"`:                                    "0.5",
		`SELECT spend FROM "LiteLLM_TagTable"`:                                                  "8",
	} {
		w.wants(want, sql)
	}
	// A name that stays out of the state keeps its sum when more is spent.
	w.wants("0.25", `SELECT gateway_spent('end_user', 'passer-by')`)
}

func (w *world) checkReport(r project.Report) {
	if r.Taken["key"] != 3 || r.Left["key"] != 2 || r.Taken["model"] != 7 || r.Left["model"] != 2 || r.Taken["user"] != 3 || r.Taken["team_member"] != 2 {
		w.t.Errorf("report %+v", r)
	}
	all := strings.Join(r.Reasons, "\n")
	for _, want := range []string{"not the SHA-256", "fortnight", "do not open", "it is blocked"} {
		if !strings.Contains(all, want) {
			w.t.Errorf("no reason says %q:\n%s", want, all)
		}
	}
}

// checkQueries runs what LiteLLM itself asks.
func (w *world) checkQueries() {
	w.wants("laptop", `SELECT v.key_alias FROM "LiteLLM_VerificationTokenView" v WHERE v.token = $1`, hash("sk-aaaa"))
	w.wants("4.75", `SELECT v.team_spend FROM "LiteLLM_VerificationTokenView" v WHERE v.token = $1`, hash("sk-aaaa"))
	w.wants("0.5", `SELECT sum(spend) FROM "LiteLLM_DailyUserSpend" WHERE user_id = 'alice' AND date >= '2026-11-01'`)
	w.wants("0.5", `SELECT total_spend FROM "Last30dKeysBySpend" WHERE key_alias = 'laptop'`)
	w.wants("6", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
	w.wants("1", `SELECT count(*) FROM "LiteLLM_VerificationToken" t JOIN "LiteLLM_BudgetTable" b USING (budget_id) WHERE t.team_id IS NULL`)
	// LiteLLM goes on writing beside, in the way its client does.
	w.exec(`INSERT INTO "LiteLLM_EndUserTable" (user_id, spend) VALUES ('passer-by', 1) ON CONFLICT (user_id) DO UPDATE SET spend = "LiteLLM_EndUserTable".spend + 1`)
	w.exec(`UPDATE "LiteLLM_EndUserTable" SET spend = 0.25 WHERE user_id = 'passer-by'`)
}
