-- A report in use: cost by hour of the last day.
SELECT
    EXTRACT(HOUR FROM "startTime") as hour_of_day,
    COUNT(*) as requests,
    SUM(spend) as hourly_cost,
    AVG(total_tokens) as avg_tokens
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= NOW() - INTERVAL '24 hours'
GROUP BY EXTRACT(HOUR FROM "startTime")
ORDER BY hour_of_day;
