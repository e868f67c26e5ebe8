-- +goose Up
-- LiteLLM's daily sums. Rows are upserted by the unique keys, whose names are
-- LiteLLM's, so that a database of its making keeps its own, of whatever columns
-- they are: who writes looks them up. '' stands for "none": a NULL would never
-- meet its like in a unique key. The pages of a new table keep room, because each
-- row is updated many times on its day.

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyUserSpend" (
  id TEXT PRIMARY KEY,
  user_id TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyUserSpend"
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyUserSpend_user_id_date_api_key_model_custom_ll_key"
  ON "LiteLLM_DailyUserSpend" (user_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyTeamSpend" (
  id TEXT PRIMARY KEY,
  team_id TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyTeamSpend"
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyTeamSpend_team_id_date_api_key_model_custom_ll_key"
  ON "LiteLLM_DailyTeamSpend" (team_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyOrganizationSpend" (
  id TEXT PRIMARY KEY,
  organization_id TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyOrganizationSpend"
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyOrganizationSpend_organization_id_date_api_key_key"
  ON "LiteLLM_DailyOrganizationSpend" (organization_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyEndUserSpend" (
  id TEXT PRIMARY KEY,
  end_user_id TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyEndUserSpend"
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyEndUserSpend_end_user_id_date_api_key_model_cu_key"
  ON "LiteLLM_DailyEndUserSpend" (end_user_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyAgentSpend" (
  id TEXT PRIMARY KEY,
  agent_id TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyAgentSpend"
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyAgentSpend_agent_id_date_api_key_model_custom__key"
  ON "LiteLLM_DailyAgentSpend" (agent_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

CREATE TABLE IF NOT EXISTS "LiteLLM_DailyTagSpend" (
  id TEXT PRIMARY KEY,
  tag TEXT,
  date TEXT NOT NULL,
  api_key TEXT NOT NULL,
  spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE "LiteLLM_DailyTagSpend"
  ADD COLUMN IF NOT EXISTS request_id TEXT,
  ADD COLUMN IF NOT EXISTS model TEXT,
  ADD COLUMN IF NOT EXISTS model_group TEXT,
  ADD COLUMN IF NOT EXISTS custom_llm_provider TEXT,
  ADD COLUMN IF NOT EXISTS mcp_namespaced_tool_name TEXT,
  ADD COLUMN IF NOT EXISTS endpoint TEXT,
  ADD COLUMN IF NOT EXISTS prompt_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS completion_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_read_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS cache_creation_input_tokens BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS api_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS successful_requests BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS failed_requests BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DailyTagSpend_tag_date_api_key_model_custom_llm_pro_key"
  ON "LiteLLM_DailyTagSpend" (tag, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint);

-- +goose Down
-- The tables may hold what others wrote: nothing is taken away.
SELECT 1;
