-- A report in use: how long calls took by model.
SELECT
    model,
    AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) as avg_response_time_seconds,
    MIN(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) as min_response_time,
    MAX(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) as max_response_time,
    COUNT(*) as total_requests
FROM "LiteLLM_SpendLogs"
WHERE "endTime" IS NOT NULL AND "startTime" IS NOT NULL
GROUP BY model
ORDER BY avg_response_time_seconds ASC;
