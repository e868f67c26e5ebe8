-- +goose Up
-- Which rows of LiteLLM's tables the gateway has written or taken over, and in
-- which version of the object; 0 for one that was taken over and stands as it
-- was. window_start is the budget window that its spend column shows.
CREATE TABLE IF NOT EXISTS gateway_projected (
  kind TEXT NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  window_start BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, id)
);

-- What stood in the spend columns before the gateway counts beside its sums.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION gateway_carry_spend() RETURNS void LANGUAGE sql AS $$
  INSERT INTO gateway_spend (level, id, window_start, offset_nanos)
  SELECT level, id, 0, round(spend::numeric * 1000000000)::bigint FROM (
    SELECT 'api_key' AS level, token AS id, spend FROM "LiteLLM_VerificationToken"
    UNION ALL SELECT CASE user_id WHEN 'litellm-proxy-budget' THEN 'proxy' ELSE 'user' END,
      CASE user_id WHEN 'litellm-proxy-budget' THEN 'proxy' ELSE user_id END, spend FROM "LiteLLM_UserTable"
    UNION ALL SELECT 'team', team_id, spend FROM "LiteLLM_TeamTable"
    UNION ALL SELECT 'team_member', team_id || E'\x1f' || user_id, spend FROM "LiteLLM_TeamMembership"
    UNION ALL SELECT 'organization', organization_id, spend FROM "LiteLLM_OrganizationTable"
    UNION ALL SELECT 'organization_member', organization_id || E'\x1f' || user_id, spend FROM "LiteLLM_OrganizationMembership"
    UNION ALL SELECT 'end_user', user_id, spend FROM "LiteLLM_EndUserTable"
    UNION ALL SELECT 'tag', tag_name, spend FROM "LiteLLM_TagTable"
  ) rows WHERE spend <> 0 AND abs(spend) < 9e9
  ON CONFLICT DO NOTHING
$$;
-- +goose StatementEnd
SELECT gateway_carry_spend();

-- +goose Down
SELECT 1;
