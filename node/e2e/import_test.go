package e2e

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
	"tollgate/node/e2e/fake"
)

// sealedByLiteLLM is a value as LiteLLM keeps it in its database.
func sealedByLiteLLM(t testing.TB, plain, key string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	return "v2:gcm:" + base64.URLEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte(plain), nil))
}

func hashed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// databaseOfLiteLLM has LiteLLM's tables, with a team, its keys and a model.
func databaseOfLiteLLM(t testing.TB, f *fake.Server) (pg *pgtest.Server, url string) {
	t.Helper()
	pg = pgtest.Start(t)
	url = pg.NewDatabase(t)
	addr, err := flush.ParseAddress(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Migrate(context.Background(), addr.ConnConfig, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	pg.Exec(t, url, `INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, admins, members, members_with_roles, metadata, max_budget, spend, models) VALUES
		('team-1', 'Core', '{}', '{}', '[{"role": "user", "user_id": "ada"}]', '{}', 50, 2.5, '{}')`)
	pg.Exec(t, url, `INSERT INTO "LiteLLM_UserTable" (user_id, user_role, user_email, teams, models, spend) VALUES ('ada', 'internal_user', 'ada@example.org', '{team-1}', '{}', 0)`)
	pg.Exec(t, url, `INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, spend, models, user_id, team_id, max_budget) VALUES
		($1, 'sk-...rich', 'rich', 1.25, '{}', 'ada', 'team-1', 5), ($2, 'sk-...poor', 'poor', 5, '{}', 'ada', NULL, 5), ('sk-plain', NULL, 'never hashed', 0, '{}', NULL, NULL, NULL)`,
		hashed("sk-of-litellm-rich"), hashed("sk-of-litellm-poor"))
	pg.Exec(t, url, `INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by) VALUES ('m-1', 'from-the-database', $1, '{}', 'admin', 'admin')`,
		fmt.Sprintf(`{"model": %q, "api_key": %q, "api_base": %q}`, sealedByLiteLLM(t, "openai/gpt-4o-mini", masterKey),
			sealedByLiteLLM(t, "sk-upstream-sealed", masterKey), sealedByLiteLLM(t, f.OpenAI(), masterKey)))
	pg.Exec(t, url, `INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('general_settings', '{"store_model_in_db": true}')`)
	return pg, url
}

// An import is asked of a node that leads nothing, and every node has the keys.
func TestKeysOfLiteLLMsDatabaseWorkAfterAnImport(t *testing.T) {
	f := fake.Start(t)
	pg, url := databaseOfLiteLLM(t, f)
	const password = "canary-password"
	from := strings.Replace(url, "postgres@", "postgres:"+password+"@", 1) + "&connection_limit=5&schema=public"
	c := startCluster(t, 2, clusterOptions{config: configFor(f, "")})
	asked := c.followers()[0]
	tollgate := func() (int, string) {
		t.Helper()
		status, said := run(t, options{}, "import", "litellm", "--from", from, "--addr", asked.url)
		if strings.Contains(said, password) {
			t.Errorf("the command tells the password:\n%s", said)
		}
		return status, said
	}
	status, said := tollgate()
	if status != 1 || !strings.Contains(said, "1 object was not taken over") || !strings.Contains(said, "not the SHA-256") {
		t.Fatalf("a key that cannot be taken over: status %d\n%s", status, said)
	}
	if a := c.nodes[0].get(t, "/cluster/import/litellm", masterKey); strings.Contains(a.body, password) {
		t.Errorf("the password is told: %s", a.body)
	}
	for _, n := range c.nodes {
		for _, model := range []string{"gpt", "from-the-database"} {
			eventually(t, soon, "a key of LiteLLM's calls "+model, func() error {
				a, err := n.call("POST", "/v1/chat/completions", "sk-of-litellm-rich", chatBody(model, "hi", ""))
				if err == nil && a.status != 200 {
					err = fmt.Errorf("%d %s", a.status, a.body)
				}
				return err
			})
		}
		eventually(t, soon, "a key without a rest is refused", func() error {
			a, err := n.call("POST", "/v1/chat/completions", "sk-of-litellm-poor", chatBody("gpt", "hi", ""))
			if err == nil && !strings.Contains(a.body, "budget_exceeded") {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
	asked.chat(t, "sk-of-litellm-rich", "from-the-database", "which key", "")
	if r := f.Last("which key"); r == nil || r.Header.Get("Authorization") != "Bearer sk-upstream-sealed" {
		t.Errorf("the provider has not got the key of LiteLLM's database: %+v", r)
	}
	if spent := asked.spendOf(t, hashed("sk-of-litellm-rich")); spent < 1.25 || spent > 1.26 {
		t.Errorf("the key has spent %v, of which 1.25 with LiteLLM", spent)
	}

	// What stands is left as it is, and what was in the way is away.
	pg.Exec(t, url, `DELETE FROM "LiteLLM_VerificationToken" WHERE token = 'sk-plain'`)
	pg.Exec(t, url, `UPDATE "LiteLLM_VerificationToken" SET max_budget = 0`)
	if status, said = tollgate(); status != 0 {
		t.Errorf("the second import: status %d\n%s", status, said)
	}
	if a := asked.chat(t, "sk-of-litellm-rich", "gpt", "hi", ""); a.status != 200 {
		t.Errorf("an import has changed a key that was there: %d %s", a.status, a.body)
	}
	for _, n := range c.nodes {
		if strings.Contains(n.log.String(), password) {
			t.Error("the password stands in the log")
		}
	}
}

func TestAnImportThatCannotBeIsASentence(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for from, want := range map[string]string{
		"mysql://u:secret-one@h/db":                                      "begins with postgres://",
		"postgres://u:secret-one@" + freePort(t) + "/db?sslmode=disable": "the import ended early",
	} {
		status, said := run(t, options{}, "import", "litellm", "--from", from, "--addr", n.url)
		if status != 1 || !strings.Contains(said, want) || strings.Contains(said, "secret-one") {
			t.Errorf("%s: status %d\n%s", want, status, said)
		}
	}
	if strings.Contains(n.log.String(), "secret-one") {
		t.Error("the password stands in the log")
	}
	key := n.newKey(t, "")
	if a := n.do(t, "POST", "/cluster/import/litellm", key, `{"from":"postgres://h/db"}`); a.status != 403 {
		t.Errorf("a key that is no admin's: %d %s", a.status, a.body)
	}
}
