"""The official OpenAI package against every kind of provider."""

import asyncio

import openai

from lib import (
    API_KEY, BASE, LIMITED_KEY, MODELS, PARAMETERS, PIXEL, arguments, check, greeting, rejects, same,
)

client = openai.OpenAI(api_key=API_KEY, base_url=f"{BASE}/v1", max_retries=0, timeout=20)
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": PARAMETERS}}]


def user(content):
    return [{"role": "user", "content": content}]


def chat(model, text, **more):
    return client.chat.completions.create(model=model, messages=user(text), **more)


def collect(stream):
    text, usage, reasons, empty = "", [], [], 0
    for chunk in stream:
        if chunk.usage:
            usage.append(chunk)
        if not chunk.choices:
            empty += 1
            continue
        text += chunk.choices[0].delta.content or ""
        if chunk.choices[0].finish_reason:
            reasons.append(chunk.choices[0].finish_reason)
    return text, usage, reasons, empty


def whole(model):
    r = chat(model, "hi")
    greeting(r.choices[0].message.content)
    same(r.choices[0].finish_reason, "stop")
    same(r.usage.prompt_tokens, 10)
    same(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens)
    assert r._request_id


def stream_plain(model):
    text, usage, reasons, empty = collect(chat(model, "fake:chunks=1byte fake:crlf", stream=True))
    greeting(text)
    same((usage, reasons, empty), ([], ["stop"], 0))


def stream_usage(model):
    text, usage, _, _ = collect(chat(model, "hi", stream=True, stream_options={"include_usage": True}))
    greeting(text)
    same(len(usage), 1)
    same(usage[0].choices, [])
    same(usage[0].usage.prompt_tokens, 10)


def tools_whole(model):
    messages = user("fake:tools=2 weather?")
    message = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message
    tools_answer(model, messages, message)


def tools_streamed(model):
    messages = user("fake:tools=2 weather?")
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    tools_answer(model, messages, message)


def tools_answer(model, messages, message):
    same(len(message.tool_calls), 2)
    results = []
    for i, call in enumerate(message.tool_calls):
        same(call.function.name, "get_weather")
        arguments(call.function.arguments)
        results.append({"role": "tool", "tool_call_id": call.id, "content": f"sunny{i}"})
    sent = {"role": "assistant", "tool_calls": [
        {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
        for c in message.tool_calls]}
    r = client.chat.completions.create(model=model, messages=[*messages, sent, *results], tools=TOOLS)
    same(r.choices[0].message.content, "The tool said: sunny0 sunny1")


def image(model):
    r = chat(model, [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ])
    assert r.choices[0].message.content.endswith("I saw 1 image."), r


def abort(model):
    stream = chat(model, "fake:gap=10ms fake:words=2000", stream=True)
    for i, _ in enumerate(stream):
        if i == 4:
            break
    stream.close()


def upstream_errors(model):
    err = rejects(openai.InternalServerError, lambda: chat(model, "fake:status=500"))
    assert "the fake was told to fail" in str(err)
    err = rejects(openai.RateLimitError, lambda: chat(model, "fake:status=429 fake:retry-after=7"))
    same(err.response.headers["retry-after"], "7")
    rejects(openai.BadRequestError, lambda: chat(model, "fake:status=400"))
    stream = chat(model, "fake:error200", stream=True)
    rejects(openai.APIError, lambda: collect(stream))


def many(model):
    async def one(c, i):
        if i % 2:
            r = await c.chat.completions.create(model=model, messages=user(f"call {i}"))
            return r.choices[0].message.content
        text = ""
        async for chunk in await c.chat.completions.create(model=model, messages=user(f"call {i}"), stream=True):
            text += chunk.choices[0].delta.content or ""
        return text

    async def all_of_them():
        async with openai.AsyncOpenAI(api_key=API_KEY, base_url=f"{BASE}/v1", max_retries=0, timeout=20) as c:
            return await asyncio.gather(*(one(c, i) for i in range(64)))

    for text in asyncio.run(all_of_them()):
        greeting(text)


def embeddings():
    want = [[3, 0.5, -0.25, 0.125], [5, 0.5, -0.25, 0.125]]
    for more in ({}, {"encoding_format": "float"}):
        r = client.embeddings.create(model="embed", input=["one", "three"], **more)
        same([d.embedding for d in r.data], want)
    r = client.embeddings.create(model="embed", input="x", encoding_format="base64")
    assert isinstance(r.data[0].embedding, str)


def listed():
    same(sorted(m.id for m in client.models.list()), ["claude", "embed", "gpt"])
    same(client.models.retrieve("gpt").object, "model")
    rejects(openai.NotFoundError, lambda: client.models.retrieve("nothing-like-this"))


def bad_key():
    stranger = openai.OpenAI(api_key="sk-nobody", base_url=f"{BASE}/v1", max_retries=0)
    err = rejects(openai.AuthenticationError, lambda: stranger.chat.completions.create(model="gpt", messages=user("hi")))
    same(err.type, "token_not_found_in_db")


def bad_calls():
    err = rejects(openai.BadRequestError, lambda: chat("nope", "hi"))
    assert "Invalid model name passed in model=nope" in str(err)
    err = rejects(openai.BadRequestError, lambda: client.chat.completions.create(model="gpt", messages="hi"))
    same(err.param, "messages")


def limited():
    c = openai.OpenAI(api_key=LIMITED_KEY, base_url=f"{BASE}/v1", max_retries=0)

    def twice():
        for _ in range(2):
            c.chat.completions.create(model="gpt", messages=user("hi"))

    err = rejects(openai.RateLimitError, twice)
    assert int(err.response.headers["retry-after"]) > 0


def suite():
    claims = {
        "a chat is answered with usage": whole,
        "a cruelly cut stream without usage has none": stream_plain,
        "a stream with usage has it once, at its end, without choices": stream_usage,
        "two tool calls make a round trip, whole": tools_whole,
        "two tool calls make a round trip, streamed": tools_streamed,
        "an image reaches the provider": image,
        "a stream can be aborted": abort,
        "a provider's errors have their classes": upstream_errors,
        "64 calls at once are all answered": many,
    }
    for model, kind in MODELS.items():
        for claim, body in claims.items():
            check(f"openai for Python, {kind} provider: {claim}", lambda: body(model))
    check("openai for Python: embeddings come as base64 by default and as numbers on demand", embeddings)
    check("openai for Python: the models are listed and shown", listed)
    check("openai for Python: a bad key is an AuthenticationError", bad_key)
    check("openai for Python: an unknown model and a bad body are BadRequestErrors", bad_calls)
    check("openai for Python: a limit that is used up is a RateLimitError", limited)
