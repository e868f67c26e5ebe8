curl -X POST "http://localhost:4000/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello, how are you?"}],
    "user": "john_doe_123",
    "metadata": {
      "session_id": "sess_abc123def456",
      "agent_name": "CustomerSupportBot",
      "conversation_name": "Support_Ticket_789"
    }
  }'

curl -X POST "http://localhost:4000/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "model": "gpt-4o-mini",
    "messages": [
      {"role": "system", "content": "You are a helpful customer service agent."},
      {"role": "user", "content": "I need help with my order"}
    ],
    "user": "customer_456",
    "metadata": {
      "session_id": "cs_session_20241203_001",
      "agent_name": "OrderAssistant",
      "conversation_name": "Order_Help_Chat",
      "department": "customer_service",
      "priority": "high",
      "source": "web_chat",
      "customer_tier": "premium"
    },
    "temperature": 0.7,
    "max_tokens": 500
  }'

curl -X POST "http://localhost:4000/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "Explain machine learning in simple terms"}],
    "user": "student_789",
    "stream": true,
    "metadata": {
      "session_id": "edu_session_ml_101",
      "agent_name": "EducationBot",
      "conversation_name": "ML_Tutorial_Session",
      "course_id": "cs101",
      "lesson": "intro_to_ml"
    },
    "extra_headers": {
      "X-Session-Type": "educational",
      "X-Content-Category": "tutorial"
    }
  }'

curl -X POST "http://localhost:4000/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "What is the weather like in New York?"}],
    "user": "weather_user_001",
    "metadata": {
      "session_id": "weather_session_nyc_001",
      "agent_name": "WeatherBot",
      "conversation_name": "NYC_Weather_Query",
      "location": "New_York_City"
    },
    "tools": [
      {
        "type": "function",
        "function": {
          "name": "get_weather",
          "description": "Get current weather",
          "parameters": {
            "type": "object",
            "properties": {
              "location": {"type": "string"}
            }
          }
        }
      }
    ]
  }'

curl -X POST "http://localhost:4000/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "model": "claude-3-5-haiku",
    "messages": [
      {"role": "user", "content": "Hi, I am working on a Python project"},
      {"role": "assistant", "content": "Great! I would be happy to help you with your Python project. What specific aspect are you working on?"},
      {"role": "user", "content": "I need help with async/await patterns"}
    ],
    "user": "developer_555",
    "metadata": {
      "session_id": "dev_session_python_async_001",
      "agent_name": "CodingAssistant",
      "conversation_name": "Python_Async_Help",
      "programming_language": "python",
      "topic": "async_programming",
      "experience_level": "intermediate"
    }
  }'
