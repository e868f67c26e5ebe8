-- A report in use: how many rows there are.
SELECT
    'SpendLogs' as table_name,
    COUNT(*) as record_count
FROM "LiteLLM_SpendLogs"
UNION ALL
SELECT
    'VerificationToken',
    COUNT(*)
FROM "LiteLLM_VerificationToken"
UNION ALL
SELECT
    'UserTable',
    COUNT(*)
FROM "LiteLLM_UserTable";
