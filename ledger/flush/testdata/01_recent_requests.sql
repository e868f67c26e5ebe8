-- A report in use: the newest requests.
SELECT "startTime", "endTime", model, "user", spend, total_tokens, prompt_tokens, completion_tokens
FROM "LiteLLM_SpendLogs"
ORDER BY "startTime" DESC LIMIT 10;
