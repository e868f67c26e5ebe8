-- A report in use: output against input tokens by model.
SELECT
    model,
    SUM(prompt_tokens) as total_input_tokens,
    SUM(completion_tokens) as total_output_tokens,
    SUM(total_tokens) as total_tokens,
    ROUND(AVG(completion_tokens::float / prompt_tokens::float), 2) as avg_output_input_ratio
FROM "LiteLLM_SpendLogs"
WHERE prompt_tokens > 0
GROUP BY model
ORDER BY total_tokens DESC;
