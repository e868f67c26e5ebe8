-- A report in use: keys with their owners and spend.
SELECT
    user_id,
    key_alias,
    spend,
    max_budget,
    models,
    created_at
FROM "LiteLLM_VerificationToken"
WHERE user_id IS NOT NULL
ORDER BY spend DESC;
