package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// A node that begins on a database of LiteLLM's has its keys before it says that
// it is ready.
func TestAFirstStartOnLiteLLMsDatabaseServesItsKeysFromTheFirstCallAndLeavesItsRows(t *testing.T) {
	t.Parallel()
	const salt, rich, poor, slow = "sk-salt-of-old", "sk-of-old-rich", "sk-of-old-poor", "sk-of-old-slow"
	f := fake.Start(t)
	pg := pgtest.Start(t)
	url := pg.NewDatabase(t)
	pgtest.LiteLLM(t, url)
	sealed := func(plain string) string { return sealedByLiteLLM(t, plain, salt) }
	pg.Exec(t, url, `INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by) VALUES ('tier', 25, 'admin', 'admin')`)
	pg.Exec(t, url, `INSERT INTO "LiteLLM_UserTable" (user_id, user_role, teams, models, spend) VALUES ('ada', 'internal_user', '{crew}', '{}', 1.5)`)
	pg.Exec(t, url, `INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, admins, members, members_with_roles, metadata, max_budget, spend, models) VALUES
		('crew', 'Crew', '{}', '{}', '[{"role": "user", "user_id": "ada"}]', '{}', 50, 2.5, '{}')`)
	pg.Exec(t, url, `INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, spend, models, user_id, team_id, budget_id, max_budget, rpm_limit) VALUES
		($1, 'sk-...rich', 'rich', 1.25, '{}', 'ada', 'crew', 'tier', NULL, NULL), ($2, 'sk-...poor', 'poor', 5, '{}', NULL, NULL, NULL, 5, NULL),
		($3, 'sk-...slow', 'slow', 0, '{}', NULL, NULL, NULL, NULL, 2)`, hashOf(rich), hashOf(poor), hashOf(slow))
	pg.Exec(t, url, `INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by) VALUES ('m-1', 'of-the-database', $1, '{"id": "m-1", "db_model": true}', 'admin', 'admin')`,
		fmt.Sprintf(`{"model": %q, "api_key": %q, "api_base": %q}`, sealed("openai/gpt-4o-mini"), sealed("sk-upstream-sealed"), sealed(f.OpenAI())))
	pg.Exec(t, url, `INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, "startTime", "endTime", api_key, spend) VALUES ('of-old', 'acompletion', now(), now(), $1, 1.25)`, hashOf(rich))
	kept := []string{"BudgetTable", "UserTable", "TeamTable", "VerificationToken", "ProxyModelTable", "SpendLogs"}
	before := map[string][][]string{}
	columns := func(table string) string {
		all := sqlRows(t, url, `SELECT quote_ident(column_name) FROM information_schema.columns WHERE table_name = 'LiteLLM_%s' AND table_schema = 'public' ORDER BY 1`, table)
		names := make([]string, len(all))
		for i, c := range all {
			names[i] = c[0]
		}
		return strings.Join(names, ", ")
	}
	was := map[string]string{}
	for _, table := range kept {
		was[table] = columns(table)
		before[table] = sqlRows(t, url, `SELECT %s FROM "LiteLLM_%s"`, was[table], table)
	}

	n := start(t, options{config: configFor(f, "  store_model_in_db: true\n"), env: []string{booksIn(url), "LITELLM_SALT_KEY=" + salt}})
	if a := n.chat(t, rich, "of-the-database", "of-the-old-key", ""); a.status != 200 {
		t.Errorf("the first call after readiness with an existing key: %d %s", a.status, a.body)
	}
	if got := f.Last("of-the-old-key"); got == nil || got.Header.Get("Authorization") != "Bearer sk-upstream-sealed" {
		t.Errorf("the sealed model's call came as %+v", got)
	}
	if a := n.chat(t, poor, "gpt", "hi", ""); a.status != 429 || a.get("error.type").String() != "budget_exceeded" {
		t.Errorf("a key whose money is spent: %d %s", a.status, a.body)
	}
	refused := 0
	for range 4 {
		if a := n.chat(t, slow, "gpt", "hi", ""); a.status == 429 {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d of 4 calls over a limit of 2 were refused", refused)
	}
	if a := n.get(t, "/key/info?key="+rich, masterKey); a.get("info.spend").Float() < 1.25 || a.get("info.user_id").String() != "ada" || a.get("info.team_id").String() != "crew" {
		t.Errorf("the key's figures: %s", a.body)
	}
	sqlBecomes(t, url, "t", `SELECT spend > 1.25 FROM "LiteLLM_VerificationToken" WHERE key_alias = 'rich'`)
	// What was used has moved; the rest of each row stands as it was.
	for _, table := range []string{"BudgetTable", "ProxyModelTable"} {
		if after := sqlRows(t, url, `SELECT %s FROM "LiteLLM_%s"`, was[table], table); fmt.Sprint(after) != fmt.Sprint(before[table]) {
			t.Errorf("%s was\n%q\nand is\n%q", table, before[table], after)
		}
	}
	for table, id := range map[string]string{"SpendLogs": "request_id", "UserTable": "user_id", "TeamTable": "team_id", "VerificationToken": "token"} {
		names := strings.Split(was[table], ", ")
		at := slices.Index(names, id)
		for _, row := range before[table] {
			after := sqlRows(t, url, `SELECT %s FROM "LiteLLM_%s" WHERE %s = %s`, was[table], table, id, sqlText(row[at]))
			if len(after) != 1 {
				t.Errorf("%s %s has %d rows", table, row[at], len(after))
				continue
			}
			for i, name := range names {
				switch name {
				case "spend", "total_spend", "updated_at", "last_active":
				default:
					if after[0][i] != row[i] {
						t.Errorf("%s %s: %s was %q and is %q", table, row[at], name, row[i], after[0][i])
					}
				}
			}
		}
	}
}
