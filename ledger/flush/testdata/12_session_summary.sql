-- A report in use: one session added up.
SELECT
    metadata->>'session_id' as session_id,
    metadata->>'agent_name' as agent_name,
    metadata->>'conversation_name' as conversation_name,
    "user",
    COUNT(*) as total_requests,
    SUM(total_tokens) as total_tokens,
    SUM(spend) as total_cost,
    MIN("startTime") as session_start,
    MAX("startTime") as session_end,
    ROUND(AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))), 2) as avg_response_time_seconds
FROM "LiteLLM_SpendLogs"
WHERE metadata->>'session_id' = 'your_session_id'
GROUP BY metadata->>'session_id', metadata->>'agent_name', metadata->>'conversation_name', "user";
