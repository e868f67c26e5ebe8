-- +goose Up
-- What the spend column of a key, user, team, … shows: the sum of its shown
-- window with that window's offset, rounded once. NULL where nothing is known.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION gateway_spent(of_level TEXT, of_id TEXT) RETURNS DOUBLE PRECISION
LANGUAGE sql STABLE AS $$
  SELECT (coalesce(w.spend_nanos, 0)::numeric + coalesce(w.offset_nanos, 0))::double precision / 1e9::double precision
  FROM gateway_spend t
  LEFT JOIN gateway_spend w ON w.level = t.level AND w.id = t.id AND w.window_start = t.shown_window
  WHERE t.level = of_level AND t.id = of_id AND t.window_start = 0
$$;
-- +goose StatementEnd

-- PostgreSQL rounds to places only what is numeric; reports in use round the
-- average of doubles.
-- +goose StatementBegin
DO $$
BEGIN
  IF to_regprocedure('round(double precision, integer)') IS NULL THEN
    CREATE FUNCTION round(DOUBLE PRECISION, INTEGER) RETURNS NUMERIC
      LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT pg_catalog.round($1::numeric, $2)';
  END IF;
END $$;
-- +goose StatementEnd

-- LiteLLM's views; one that is there stays as it is.
-- +goose StatementBegin
DO $$
BEGIN
  IF to_regclass('"LiteLLM_VerificationTokenView"') IS NULL THEN
    CREATE VIEW "LiteLLM_VerificationTokenView" AS
      SELECT v.*, t.spend AS team_spend, t.max_budget AS team_max_budget, t.tpm_limit AS team_tpm_limit,
        t.rpm_limit AS team_rpm_limit, p.project_alias AS project_alias
      FROM "LiteLLM_VerificationToken" v
      LEFT JOIN "LiteLLM_TeamTable" t ON v.team_id = t.team_id
      LEFT JOIN "LiteLLM_ProjectTable" p ON v.project_id = p.project_id;
  END IF;
  IF to_regclass('"MonthlyGlobalSpend"') IS NULL THEN
    CREATE VIEW "MonthlyGlobalSpend" AS
      SELECT date("startTime") AS date, sum(spend) AS spend
      FROM "LiteLLM_SpendLogs"
      WHERE "startTime" >= current_date - interval '30 days'
      GROUP BY date("startTime");
  END IF;
  IF to_regclass('"MonthlyGlobalSpendPerKey"') IS NULL THEN
    CREATE VIEW "MonthlyGlobalSpendPerKey" AS
      SELECT date("startTime") AS date, sum(spend) AS spend, api_key
      FROM "LiteLLM_SpendLogs"
      WHERE "startTime" >= current_date - interval '30 days'
      GROUP BY date("startTime"), api_key;
  END IF;
  IF to_regclass('"MonthlyGlobalSpendPerUserPerKey"') IS NULL THEN
    CREATE VIEW "MonthlyGlobalSpendPerUserPerKey" AS
      SELECT date("startTime") AS date, sum(spend) AS spend, api_key, "user"
      FROM "LiteLLM_SpendLogs"
      WHERE "startTime" >= current_date - interval '30 days'
      GROUP BY date("startTime"), "user", api_key;
  END IF;
  IF to_regclass('"Last30dKeysBySpend"') IS NULL THEN
    CREATE VIEW "Last30dKeysBySpend" AS
      SELECT l.api_key, v.key_alias, v.key_name, sum(l.spend) AS total_spend
      FROM "LiteLLM_SpendLogs" l
      LEFT JOIN "LiteLLM_VerificationToken" v ON l.api_key = v.token
      WHERE l."startTime" >= current_date - interval '30 days'
      GROUP BY l.api_key, v.key_alias, v.key_name
      ORDER BY total_spend DESC;
  END IF;
  IF to_regclass('"Last30dModelsBySpend"') IS NULL THEN
    CREATE VIEW "Last30dModelsBySpend" AS
      SELECT model, sum(spend) AS total_spend
      FROM "LiteLLM_SpendLogs"
      WHERE "startTime" >= current_date - interval '30 days' AND model <> ''
      GROUP BY model
      ORDER BY total_spend DESC;
  END IF;
  IF to_regclass('"Last30dTopEndUsersSpend"') IS NULL THEN
    CREATE VIEW "Last30dTopEndUsersSpend" AS
      SELECT end_user, count(*) AS total_events, sum(spend) AS total_spend
      FROM "LiteLLM_SpendLogs"
      WHERE end_user <> '' AND end_user <> 'default_user_id' AND "startTime" >= current_date - interval '30 days'
      GROUP BY end_user
      ORDER BY total_spend DESC
      LIMIT 100;
  END IF;
  IF to_regclass('"DailyTagSpend"') IS NULL THEN
    CREATE VIEW "DailyTagSpend" AS
      SELECT jsonb_array_elements_text(request_tags) AS individual_request_tag, date("startTime") AS spend_date,
        count(*) AS log_count, sum(spend) AS total_spend
      FROM "LiteLLM_SpendLogs" s
      WHERE jsonb_typeof(request_tags) = 'array'
      GROUP BY individual_request_tag, date("startTime");
  END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
