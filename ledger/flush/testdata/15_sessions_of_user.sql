-- A report in use: sessions of one user.
SELECT
    metadata->>'session_id' as session_id,
    metadata->>'agent_name' as agent_name,
    metadata->>'conversation_name' as conversation_name,
    COUNT(*) as requests_in_session,
    SUM(spend) as session_cost,
    MIN("startTime") as session_start,
    MAX("startTime") as session_end
FROM "LiteLLM_SpendLogs"
WHERE "user" = 'your_user_id'
    AND metadata->>'session_id' IS NOT NULL
GROUP BY metadata->>'session_id', metadata->>'agent_name', metadata->>'conversation_name'
ORDER BY session_start DESC;
