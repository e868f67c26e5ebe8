-- A report in use: who called how much.
SELECT
    "user",
    COUNT(*) as total_requests,
    SUM(spend) as total_spent,
    AVG(total_tokens) as avg_tokens,
    MIN("startTime") as first_request,
    MAX("startTime") as last_request
FROM "LiteLLM_SpendLogs"
WHERE "user" IS NOT NULL AND "user" != ''
GROUP BY "user"
ORDER BY total_requests DESC;
