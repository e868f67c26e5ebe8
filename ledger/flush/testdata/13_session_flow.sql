-- A report in use: what was said in a session.
SELECT
    "startTime",
    messages,
    response
FROM "LiteLLM_SpendLogs"
WHERE metadata->>'session_id' = 'your_session_id'
ORDER BY "startTime" ASC;
