-- A report in use: sessions by day.
SELECT
    DATE("startTime") as date,
    COUNT(DISTINCT metadata->>'session_id') as unique_sessions,
    COUNT(*) as total_requests,
    COUNT(DISTINCT "user") as unique_users,
    SUM(spend) as total_cost
FROM "LiteLLM_SpendLogs"
WHERE metadata->>'session_id' IS NOT NULL
    AND "startTime" >= NOW() - INTERVAL '7 days'
GROUP BY DATE("startTime")
ORDER BY date DESC;
