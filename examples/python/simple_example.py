"""A first application: models, a chat, a stream, a session and an embedding.

    python -m venv venv && . venv/bin/activate
    pip install -r requirements.txt
    API_KEY=sk-… python simple_example.py

BASE_URL is the gateway, API_KEY a key that it made, or its admin key.
"""

import os
import uuid

from openai import OpenAI

base = os.environ.get("BASE_URL", "http://localhost:4000")
key = os.environ.get("API_KEY") or os.environ.get("LITELLM_MASTER_KEY")
if not key:
    raise SystemExit("Set API_KEY to a key of the gateway.")

client = OpenAI(base_url=base + "/v1", api_key=key)


def show_models():
    print("Models:", ", ".join(m.id for m in client.models.list()))


def chat():
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
        max_tokens=100,
    )
    print("Chat:", answer.choices[0].message.content)
    print("  tokens:", answer.usage.total_tokens)


def stream():
    print("Stream: ", end="")
    for chunk in client.chat.completions.create(
        model="smart-model",  # an alias: gpt-4o and claude-3-5-sonnet share its load
        messages=[{"role": "user", "content": "Count to five."}],
        stream=True,
        stream_options={"include_usage": True},
    ):
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)
        if chunk.usage:
            print("\n  tokens:", chunk.usage.total_tokens)


def session():
    session_id = str(uuid.uuid4())
    history = []
    for question in ["My name is Ada.", "What is my name?"]:
        history.append({"role": "user", "content": question})
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini",
            messages=history,
            user="user_123",
            extra_body={
                "metadata": {
                    "session_id": session_id,
                    "agent_name": "MyAssistant",
                    "conversation_name": "General_Chat",
                }
            },
        )
        answer = raw.parse()
        history.append({"role": "assistant", "content": answer.choices[0].message.content})
        print("Session", session_id, "cost", raw.headers.get("x-litellm-response-cost"), "USD")


def embedding():
    answer = client.embeddings.create(model="text-embedding-3-small", input="Hello")
    print("Embedding:", len(answer.data[0].embedding), "numbers")


if __name__ == "__main__":
    show_models()
    chat()
    stream()
    session()
    embedding()
