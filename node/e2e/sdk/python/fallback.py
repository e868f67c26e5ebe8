"""A stream of the official OpenAI package when the model asked for has failed.

The model "alone" fails, and "other", of another provider, stands in: once by the
gateway's configuration and once by the request's own list.
"""

import openai

from lib import API_KEY, BASE, check, finish, same

client = openai.OpenAI(api_key=API_KEY, base_url=f"{BASE}/v1", max_retries=0, timeout=20)


def streams(**more):
    raw = client.chat.completions.with_raw_response.create(
        model="alone", messages=[{"role": "user", "content": "hi fake:words=5"}], stream=True,
        stream_options={"include_usage": True}, **more,
    )
    same(raw.headers["x-litellm-attempted-fallbacks"], "1")
    same(raw.headers["x-litellm-model-group"], "other")
    text, reasons, usage, ids, roles = "", [], [], set(), []
    for chunk in raw.parse():
        ids.add(chunk.id)
        if chunk.usage:
            usage.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            if choice.delta.role:
                roles.append(choice.delta.role)
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
    same(text.split(), [f"word{i}" for i in range(5)])
    same(reasons, ["stop"])
    same(roles[0], "assistant")
    same(len(ids), 1)
    same(len(usage), 1)
    assert usage[0].total_tokens > 0


check("a stream through the configured fallback", streams)
check("a stream through the request's own fallback", lambda: streams(extra_body={"fallbacks": [{"model": "other", "temperature": 0.5}]}))
finish()
