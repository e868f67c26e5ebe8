-- A report in use: the last days.
SELECT
    DATE("startTime") as request_date,
    COUNT(*) as requests,
    SUM(spend) as daily_cost,
    COUNT(DISTINCT "user") as unique_users,
    AVG(total_tokens) as avg_tokens_per_request
FROM "LiteLLM_SpendLogs"
GROUP BY DATE("startTime")
ORDER BY request_date DESC
LIMIT 7;
