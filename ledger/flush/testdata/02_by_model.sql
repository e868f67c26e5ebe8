-- A report in use: what each model was used for and cost.
SELECT
    model,
    COUNT(*) as total_requests,
    SUM(spend) as total_cost,
    AVG(total_tokens) as avg_tokens,
    SUM(prompt_tokens) as total_prompt_tokens,
    SUM(completion_tokens) as total_completion_tokens
FROM "LiteLLM_SpendLogs"
GROUP BY model
ORDER BY total_cost DESC;
