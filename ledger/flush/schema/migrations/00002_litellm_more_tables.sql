-- +goose Up
-- LiteLLM's tables of invitations, permissions, deleted objects, health and files.

CREATE TABLE IF NOT EXISTS "LiteLLM_InvitationLink" (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  is_accepted BOOLEAN NOT NULL DEFAULT false,
  accepted_at TIMESTAMP(3),
  expires_at TIMESTAMP(3) NOT NULL,
  created_at TIMESTAMP(3) NOT NULL,
  created_by TEXT NOT NULL,
  updated_at TIMESTAMP(3) NOT NULL,
  updated_by TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS "LiteLLM_UserNotifications" (
  request_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  models TEXT[],
  justification TEXT NOT NULL,
  status TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS "LiteLLM_ObjectPermissionTable" (
  object_permission_id TEXT PRIMARY KEY
);
ALTER TABLE "LiteLLM_ObjectPermissionTable"
  ADD COLUMN IF NOT EXISTS mcp_servers TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS mcp_access_groups TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS mcp_tool_permissions JSONB,
  ADD COLUMN IF NOT EXISTS vector_stores TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS agents TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS agent_access_groups TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS models TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS blocked_tools TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS mcp_toolsets TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS search_tools TEXT[] DEFAULT '{}';

CREATE TABLE IF NOT EXISTS "LiteLLM_AccessGroupTable" (
  access_group_id TEXT PRIMARY KEY,
  access_group_name TEXT NOT NULL
);
ALTER TABLE "LiteLLM_AccessGroupTable"
  ADD COLUMN IF NOT EXISTS description TEXT,
  ADD COLUMN IF NOT EXISTS access_model_names TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS access_mcp_server_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS access_agent_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS assigned_team_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS assigned_key_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ADD COLUMN IF NOT EXISTS created_by TEXT,
  ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ADD COLUMN IF NOT EXISTS updated_by TEXT;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_AccessGroupTable_access_group_name_key" ON "LiteLLM_AccessGroupTable" (access_group_name);

CREATE TABLE IF NOT EXISTS "LiteLLM_DeletedVerificationToken" (
  id TEXT PRIMARY KEY,
  token TEXT NOT NULL
);
ALTER TABLE "LiteLLM_DeletedVerificationToken"
  ADD COLUMN IF NOT EXISTS key_name TEXT,
  ADD COLUMN IF NOT EXISTS key_alias TEXT,
  ADD COLUMN IF NOT EXISTS soft_budget_cooldown BOOLEAN NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS expires TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS models TEXT[],
  ADD COLUMN IF NOT EXISTS aliases JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS config JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS router_settings JSONB DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS user_id TEXT,
  ADD COLUMN IF NOT EXISTS team_id TEXT,
  ADD COLUMN IF NOT EXISTS agent_id TEXT,
  ADD COLUMN IF NOT EXISTS project_id TEXT,
  ADD COLUMN IF NOT EXISTS permissions JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS max_parallel_requests INTEGER,
  ADD COLUMN IF NOT EXISTS metadata JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS blocked BOOLEAN,
  ADD COLUMN IF NOT EXISTS tpm_limit BIGINT,
  ADD COLUMN IF NOT EXISTS rpm_limit BIGINT,
  ADD COLUMN IF NOT EXISTS max_budget DOUBLE PRECISION,
  ADD COLUMN IF NOT EXISTS budget_duration TEXT,
  ADD COLUMN IF NOT EXISTS budget_reset_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS allowed_cache_controls TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS allowed_routes TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS policies TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS access_group_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS model_spend JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS model_max_budget JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS budget_id TEXT,
  ADD COLUMN IF NOT EXISTS organization_id TEXT,
  ADD COLUMN IF NOT EXISTS object_permission_id TEXT,
  ADD COLUMN IF NOT EXISTS created_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS created_by TEXT,
  ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS updated_by TEXT,
  ADD COLUMN IF NOT EXISTS last_active TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS rotation_count INTEGER DEFAULT 0,
  ADD COLUMN IF NOT EXISTS auto_rotate BOOLEAN DEFAULT false,
  ADD COLUMN IF NOT EXISTS rotation_interval TEXT,
  ADD COLUMN IF NOT EXISTS last_rotation_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS key_rotation_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS budget_limits JSONB,
  ADD COLUMN IF NOT EXISTS deleted_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ADD COLUMN IF NOT EXISTS deleted_by TEXT,
  ADD COLUMN IF NOT EXISTS deleted_by_api_key TEXT,
  ADD COLUMN IF NOT EXISTS litellm_changed_by TEXT;

CREATE TABLE IF NOT EXISTS "LiteLLM_DeletedTeamTable" (
  id TEXT PRIMARY KEY,
  team_id TEXT NOT NULL
);
ALTER TABLE "LiteLLM_DeletedTeamTable"
  ADD COLUMN IF NOT EXISTS team_alias TEXT,
  ADD COLUMN IF NOT EXISTS organization_id TEXT,
  ADD COLUMN IF NOT EXISTS object_permission_id TEXT,
  ADD COLUMN IF NOT EXISTS admins TEXT[],
  ADD COLUMN IF NOT EXISTS members TEXT[],
  ADD COLUMN IF NOT EXISTS members_with_roles JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS metadata JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS max_budget DOUBLE PRECISION,
  ADD COLUMN IF NOT EXISTS soft_budget DOUBLE PRECISION,
  ADD COLUMN IF NOT EXISTS spend DOUBLE PRECISION NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS models TEXT[],
  ADD COLUMN IF NOT EXISTS max_parallel_requests INTEGER,
  ADD COLUMN IF NOT EXISTS tpm_limit BIGINT,
  ADD COLUMN IF NOT EXISTS rpm_limit BIGINT,
  ADD COLUMN IF NOT EXISTS budget_duration TEXT,
  ADD COLUMN IF NOT EXISTS budget_reset_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS blocked BOOLEAN NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS model_spend JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS model_max_budget JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS router_settings JSONB DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS team_member_permissions TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS access_group_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS policies TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS default_team_member_models TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS budget_limits JSONB,
  ADD COLUMN IF NOT EXISTS model_id INTEGER,
  ADD COLUMN IF NOT EXISTS allow_team_guardrail_config BOOLEAN NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS created_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP(3),
  ADD COLUMN IF NOT EXISTS deleted_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ADD COLUMN IF NOT EXISTS deleted_by TEXT,
  ADD COLUMN IF NOT EXISTS deleted_by_api_key TEXT,
  ADD COLUMN IF NOT EXISTS litellm_changed_by TEXT;

CREATE TABLE IF NOT EXISTS "LiteLLM_DeprecatedVerificationToken" (
  id TEXT PRIMARY KEY,
  token TEXT NOT NULL,
  active_token_id TEXT NOT NULL,
  revoke_at TIMESTAMP(3) NOT NULL,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_DeprecatedVerificationToken_token_key" ON "LiteLLM_DeprecatedVerificationToken" (token);

CREATE TABLE IF NOT EXISTS "LiteLLM_HealthCheckTable" (
  health_check_id TEXT PRIMARY KEY,
  model_name TEXT NOT NULL,
  model_id TEXT,
  status TEXT NOT NULL,
  healthy_count INTEGER NOT NULL DEFAULT 0,
  unhealthy_count INTEGER NOT NULL DEFAULT 0,
  error_message TEXT,
  response_time_ms DOUBLE PRECISION,
  details JSONB,
  checked_by TEXT,
  checked_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
);

-- +goose StatementBegin
DO $$
BEGIN
  IF to_regtype('"JobStatus"') IS NULL THEN
    CREATE TYPE "JobStatus" AS ENUM ('ACTIVE', 'INACTIVE');
  END IF;
END $$;
-- +goose StatementEnd

CREATE TABLE IF NOT EXISTS "LiteLLM_CronJob" (
  cronjob_id TEXT PRIMARY KEY,
  pod_id TEXT NOT NULL,
  status "JobStatus" NOT NULL DEFAULT 'INACTIVE',
  last_updated TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  ttl TIMESTAMP(3) NOT NULL
);

CREATE TABLE IF NOT EXISTS "LiteLLM_ManagedFileTable" (
  id TEXT PRIMARY KEY,
  unified_file_id TEXT NOT NULL,
  file_object JSONB,
  model_mappings JSONB NOT NULL,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
);
ALTER TABLE "LiteLLM_ManagedFileTable"
  ADD COLUMN IF NOT EXISTS flat_model_file_ids TEXT[] DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS created_by TEXT,
  ADD COLUMN IF NOT EXISTS updated_by TEXT,
  ADD COLUMN IF NOT EXISTS team_id TEXT;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_ManagedFileTable_unified_file_id_key" ON "LiteLLM_ManagedFileTable" (unified_file_id);

CREATE TABLE IF NOT EXISTS "LiteLLM_ManagedObjectTable" (
  id TEXT PRIMARY KEY,
  unified_object_id TEXT NOT NULL,
  model_object_id TEXT NOT NULL,
  file_object JSONB NOT NULL,
  file_purpose TEXT NOT NULL,
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(3) NOT NULL
);
ALTER TABLE "LiteLLM_ManagedObjectTable"
  ADD COLUMN IF NOT EXISTS status TEXT,
  ADD COLUMN IF NOT EXISTS batch_processed BOOLEAN NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS created_by TEXT,
  ADD COLUMN IF NOT EXISTS updated_by TEXT,
  ADD COLUMN IF NOT EXISTS team_id TEXT;
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_ManagedObjectTable_unified_object_id_key" ON "LiteLLM_ManagedObjectTable" (unified_object_id);
CREATE UNIQUE INDEX IF NOT EXISTS "LiteLLM_ManagedObjectTable_model_object_id_key" ON "LiteLLM_ManagedObjectTable" (model_object_id);

-- +goose Down
-- The tables may hold what others wrote: nothing is taken away.
SELECT 1;
