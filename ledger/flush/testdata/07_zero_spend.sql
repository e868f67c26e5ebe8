-- A report in use: calls that cost nothing.
SELECT
    model,
    "user",
    "startTime",
    metadata,
    total_tokens
FROM "LiteLLM_SpendLogs"
WHERE spend = 0
ORDER BY "startTime" DESC
LIMIT 10;
