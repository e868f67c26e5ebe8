-- A report in use: requests of one session.
SELECT
    request_id,
    "startTime",
    "user",
    model,
    total_tokens,
    spend,
    metadata->>'agent_name' as agent,
    metadata->>'conversation_name' as conversation,
    metadata
FROM "LiteLLM_SpendLogs"
WHERE metadata->>'session_id' = 'your_session_id'
ORDER BY "startTime";
