-- A report in use: agents over their sessions.
SELECT
    metadata->>'agent_name' as agent_name,
    COUNT(DISTINCT metadata->>'session_id') as unique_sessions,
    COUNT(*) as total_requests,
    SUM(total_tokens) as total_tokens,
    SUM(spend) as total_cost,
    AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) as avg_response_time_seconds
FROM "LiteLLM_SpendLogs"
WHERE metadata->>'agent_name' IS NOT NULL
GROUP BY metadata->>'agent_name'
ORDER BY total_requests DESC;
