package schema_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/schema"
)

func config(t *testing.T, url string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	return cfg
}

func migrate(t *testing.T, url string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	require.NoError(t, schema.Migrate(t.Context(), config(t, url), log))
	require.NoError(t, schema.BuildIndexes(t.Context(), config(t, url), log))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.ConnectConfig(t.Context(), config(t, url))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func list(t *testing.T, c *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := c.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return out
}

// shape is everything that a migration can change.
func shape(t *testing.T, c *pgx.Conn) []string {
	t.Helper()
	return list(t, c, `
		SELECT table_name || '.' || column_name || ' ' || udt_name || ' ' || is_nullable || ' ' || coalesce(column_default, '')
		FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT proname || pg_get_function_arguments(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		ORDER BY 1`)
}

func TestFreshDatabaseHasLiteLLMsTablesAndViews(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	migrate(t, url)
	c := connect(t, url)
	for _, name := range []string{"SpendLogs", "VerificationToken", "UserTable", "TeamTable", "BudgetTable", "DailyUserSpend", "ErrorLogs", "AuditLog",
		"TeamMembership", "OrganizationTable", "OrganizationMembership", "EndUserTable", "TagTable", "ProjectTable", "ProxyModelTable", "ModelTable",
		"CredentialsTable", "Config", "InvitationLink", "UserNotifications", "ObjectPermissionTable", "AccessGroupTable", "DeletedVerificationToken",
		"DeletedTeamTable", "DeprecatedVerificationToken", "HealthCheckTable", "CronJob", "ManagedFileTable", "ManagedObjectTable",
		"DailyTeamSpend", "DailyOrganizationSpend", "DailyEndUserSpend", "DailyAgentSpend", "DailyTagSpend"} {
		var n int
		require.NoError(t, c.QueryRow(t.Context(), `SELECT count(*) FROM "LiteLLM_`+name+`"`).Scan(&n), name)
	}
	for _, name := range []string{"LiteLLM_VerificationTokenView", "MonthlyGlobalSpend", "MonthlyGlobalSpendPerKey", "MonthlyGlobalSpendPerUserPerKey",
		"Last30dKeysBySpend", "Last30dModelsBySpend", "Last30dTopEndUsersSpend", "DailyTagSpend"} {
		var n int
		require.NoError(t, c.QueryRow(t.Context(), `SELECT count(*) FROM "`+name+`"`).Scan(&n), name)
	}
	var r string
	require.NoError(t, c.QueryRow(t.Context(), "SELECT round(avg(x), 2)::text FROM (VALUES (1.234::float8), (1.238::float8)) v(x)").Scan(&r))
	require.Equal(t, "1.24", r)
}

func TestMigratingAgainChangesNothing(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	migrate(t, url)
	before := shape(t, connect(t, url))
	migrate(t, url)
	require.Equal(t, before, shape(t, connect(t, url)))
}

func TestNodesThatStartTogetherMigrateOnce(t *testing.T) {
	url := pgtest.Start(t).NewDatabase(t)
	var wg sync.WaitGroup
	faults := make([]error, 5)
	for i := range faults {
		cfg := config(t, url)
		wg.Go(func() { faults[i] = schema.Migrate(t.Context(), cfg, slog.New(slog.DiscardHandler)) })
	}
	wg.Wait()
	for _, err := range faults {
		require.NoError(t, err)
	}
	versions := list(t, connect(t, url), "SELECT version_id::text FROM gateway_schema_version ORDER BY 1")
	require.Equal(t, slices.Compact(slices.Clone(versions)), versions)
}

// An early LiteLLM: few columns, a narrower unique key, columns and a view of
// its own.
const early = `
CREATE TABLE _prisma_migrations (id TEXT PRIMARY KEY);
CREATE TABLE "LiteLLM_SpendLogs" (request_id TEXT PRIMARY KEY, call_type TEXT NOT NULL, api_key TEXT NOT NULL DEFAULT '',
  spend DOUBLE PRECISION NOT NULL DEFAULT 0, total_tokens INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0, "startTime" TIMESTAMP(3) NOT NULL, "endTime" TIMESTAMP(3) NOT NULL, extra TEXT);
CREATE INDEX their_own_name ON "LiteLLM_SpendLogs" ("startTime");
CREATE TABLE "LiteLLM_VerificationToken" (token TEXT PRIMARY KEY, spend DOUBLE PRECISION NOT NULL DEFAULT 0, tpm_limit INTEGER);
CREATE TABLE "LiteLLM_DailyUserSpend" (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, date TEXT NOT NULL, api_key TEXT NOT NULL, model TEXT NOT NULL,
  custom_llm_provider TEXT, spend DOUBLE PRECISION NOT NULL DEFAULT 0, created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL);
CREATE UNIQUE INDEX "LiteLLM_DailyUserSpend_user_id_date_api_key_model_custom_ll_key"
  ON "LiteLLM_DailyUserSpend" (user_id, date, api_key, model, custom_llm_provider);
CREATE VIEW "MonthlyGlobalSpend" AS SELECT 1 AS theirs;
INSERT INTO "LiteLLM_SpendLogs" VALUES ('r1', 'acompletion', 'k', 1.5, 1, 1, 0, now(), now(), 'kept');
INSERT INTO "LiteLLM_VerificationToken" VALUES ('k', 1.5, 10);
`

func TestDatabaseOfAnEarlierLiteLLMIsOnlyAddedTo(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	s.Exec(t, url, early)
	c := connect(t, url)
	before := shape(t, c)
	migrate(t, url)
	require.Subset(t, shape(t, c), before)
	var extra, metadata string
	require.NoError(t, c.QueryRow(t.Context(), `SELECT extra, metadata::text FROM "LiteLLM_SpendLogs"`).Scan(&extra, &metadata))
	require.Equal(t, "kept {}", extra+" "+metadata)
	require.Empty(t, list(t, c, "SELECT id FROM _prisma_migrations"))
	require.NotContains(t, strings.Join(shape(t, c), "\n"), "LiteLLM_SpendLogs_startTime_idx ", "an index under another name is one")
	require.Equal(t, []string{"theirs"}, list(t, c, "SELECT column_name FROM information_schema.columns WHERE table_name = 'MonthlyGlobalSpend'"))
}

func TestIndexThatWasBrokenOffIsBuiltAnew(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	migrate(t, url)
	s.Exec(t, url, `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'gateway_spend_logs_user'::regclass`)
	migrate(t, url)
	require.Equal(t, []string{"true"}, list(t, connect(t, url), `SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'gateway_spend_logs_user'::regclass`))
}

func TestDatabaseOfAnotherTimeZoneBecomesUTC(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	s.Exec(t, url, `ALTER DATABASE `+config(t, url).Database+` SET timezone TO 'Asia/Tokyo'`)
	migrate(t, url)
	require.Equal(t, []string{"UTC"}, list(t, connect(t, url), "SELECT current_setting('TimeZone')"))
}

func TestMissingRightsSayWhatToGrant(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	name := "poor_" + config(t, url).Database
	s.Exec(t, url, `REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE `+name+` LOGIN`)
	t.Cleanup(func() { s.Exec(t, s.URL("postgres"), "DROP ROLE IF EXISTS "+name) })
	poor := config(t, url)
	poor.User = name
	err := schema.Migrate(t.Context(), poor, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, `GRANT USAGE, CREATE ON SCHEMA public TO "`+name+`"`)
}

func TestReadOnlyServerIsNamedAsSuch(t *testing.T) {
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	s.Exec(t, url, `ALTER DATABASE `+config(t, url).Database+` SET default_transaction_read_only TO on`)
	require.ErrorContains(t, schema.Migrate(t.Context(), config(t, url), slog.New(slog.DiscardHandler)), "takes no writes")
}
