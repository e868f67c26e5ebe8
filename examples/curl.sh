#!/bin/sh
# Calls with sessions, tags, tools and several turns, and what was booked for
# them. BASE_URL and API_KEY say where and with which key.
set -eu
: "${BASE_URL:=http://localhost:4000}" "${API_KEY:=$LITELLM_MASTER_KEY}"

call() { # call PATH JSON
  curl -fsS "$BASE_URL$1" -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" -d "$2"
  echo
}
get() { curl -fsS "$BASE_URL$1" -H "Authorization: Bearer $API_KEY"; echo; }

echo "# Health and models"
curl -fsS "$BASE_URL/health"; echo
get /v1/models

echo "# A session: user and metadata are kept with the call"
call /chat/completions '{
  "model": "gpt-4o-mini",
  "messages": [{"role": "user", "content": "Hello, how are you?"}],
  "user": "john_doe_123",
  "metadata": {"session_id": "sess_abc123def456", "agent_name": "CustomerSupportBot", "conversation_name": "Support_Ticket_789"}
}'

echo "# More metadata and sampling"
call /chat/completions '{
  "model": "gpt-4o-mini",
  "messages": [
    {"role": "system", "content": "You are a helpful customer service agent."},
    {"role": "user", "content": "I need help with my order"}
  ],
  "user": "customer_456",
  "metadata": {"session_id": "cs_session_20241203_001", "agent_name": "OrderAssistant", "department": "customer_service", "priority": "high"},
  "temperature": 0.7, "max_tokens": 500
}'

echo "# A stream with tags and headers of its own"
call /chat/completions '{
  "model": "gpt-4o", "stream": true,
  "messages": [{"role": "user", "content": "Explain machine learning in simple terms"}],
  "user": "student_789",
  "metadata": {"session_id": "edu_session_ml_101", "agent_name": "EducationBot", "tags": ["course:cs101"]},
  "extra_headers": {"X-Session-Type": "educational"}
}'

echo "# Tools"
call /chat/completions '{
  "model": "gpt-4o",
  "messages": [{"role": "user", "content": "What is the weather like in New York?"}],
  "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Get current weather",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}}}}]
}'

echo "# Several turns with a Claude model"
call /chat/completions '{
  "model": "claude-3-5-haiku",
  "messages": [
    {"role": "user", "content": "Hi, I am working on a Python project"},
    {"role": "assistant", "content": "Great! What are you working on?"},
    {"role": "user", "content": "I need help with async/await patterns"}
  ],
  "user": "developer_555"
}'

echo "# Anthropic's own API, and embeddings"
call /v1/messages '{"model": "claude-3-5-sonnet", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}'
call /v1/embeddings '{"model": "text-embedding-3-small", "input": "Hello"}'

echo "# What was spent, in all and by model"
get /global/spend
get /global/spend/models
