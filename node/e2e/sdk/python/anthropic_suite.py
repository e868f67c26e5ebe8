"""The official Anthropic package against every kind of provider."""

import asyncio

import anthropic

from lib import API_KEY, BASE, LIMITED_KEY, MODELS, PARAMETERS, PIXEL, TOOL_ARGUMENTS, check, greeting, rejects, same

client = anthropic.Anthropic(api_key=API_KEY, base_url=BASE, max_retries=0, timeout=20)
TOOLS = [{"name": "get_weather", "description": "Weather", "input_schema": PARAMETERS}]


def user(content):
    return [{"role": "user", "content": content}]


def ask(model, text, **more):
    more.setdefault("max_tokens", 100)
    return client.messages.create(model=model, messages=user(text), **more)


def whole(model):
    r = ask(model, "hi")
    greeting(r.content[0].text)
    same((r.type, r.stop_reason, r.usage.input_tokens), ("message", "end_turn", 10))
    assert r.usage.output_tokens > 1
    assert r._request_id


def events(model):
    seen, text = [], ""
    for e in ask(model, "fake:chunks=1byte fake:crlf", stream=True):
        if e.type != "ping" and (not seen or seen[-1] != e.type):
            seen.append(e.type)
        if e.type == "content_block_delta":
            text += e.delta.text
    greeting(text)
    same(seen, ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"])


def helper(model):
    with client.messages.stream(model=model, max_tokens=100, messages=user("hi")) as stream:
        r = stream.get_final_message()
    greeting(r.content[0].text)
    same(r.usage.input_tokens, 10)
    assert r.usage.output_tokens > 1


def tools(model):
    messages = user("fake:tools=2 weather?")
    r = client.messages.create(model=model, max_tokens=100, tools=TOOLS, messages=messages)
    same(r.stop_reason, "tool_use")
    tools_answer(model, messages, r)


def tools_streamed(model):
    messages = user("fake:tools=2 weather?")
    with client.messages.stream(model=model, max_tokens=100, tools=TOOLS, messages=messages) as stream:
        tools_answer(model, messages, stream.get_final_message())


def tools_answer(model, messages, r):
    uses = [b for b in r.content if b.type == "tool_use"]
    same(len(uses), 2)
    results = []
    for i, b in enumerate(uses):
        same((b.name, b.input), ("get_weather", TOOL_ARGUMENTS))
        results.append({"type": "tool_result", "tool_use_id": b.id, "content": f"sunny{i}"})
    said = [{"type": "tool_use", "id": b.id, "name": b.name, "input": b.input} for b in uses]
    r = client.messages.create(
        model=model, max_tokens=100, tools=TOOLS,
        messages=[*messages, {"role": "assistant", "content": said}, {"role": "user", "content": results}],
    )
    same(r.content[0].text, "The tool said: sunny0 sunny1")


def image(model):
    r = ask(model, [
        {"type": "text", "text": "what is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    ])
    assert r.content[0].text.endswith("I saw 1 image."), r


def abort(model):
    stream = ask(model, "fake:gap=10ms fake:words=2000", stream=True, max_tokens=4000)
    for i, _ in enumerate(stream):
        if i == 5:
            break
    stream.close()


def upstream_errors(model):
    err = rejects(anthropic.InternalServerError, lambda: ask(model, "fake:status=500"))
    assert "the fake was told to fail" in str(err)
    err = rejects(anthropic.RateLimitError, lambda: ask(model, "fake:status=429 fake:retry-after=7"))
    same(err.response.headers["retry-after"], "7")
    rejects(anthropic.BadRequestError, lambda: ask(model, "fake:status=400"))
    stream = ask(model, "fake:error200", stream=True)
    rejects(anthropic.APIError, lambda: list(stream))


def many(model):
    async def one(c, i):
        if i % 2:
            return await c.messages.create(model=model, max_tokens=100, messages=user(f"call {i}"))
        async with c.messages.stream(model=model, max_tokens=100, messages=user(f"call {i}")) as stream:
            return await stream.get_final_message()

    async def all_of_them():
        async with anthropic.AsyncAnthropic(api_key=API_KEY, base_url=BASE, max_retries=0, timeout=20) as c:
            return await asyncio.gather(*(one(c, i) for i in range(64)))

    for r in asyncio.run(all_of_them()):
        greeting(r.content[0].text)


def listed():
    same(sorted(m.id for m in client.models.list()), ["claude", "embed", "gpt"])


def bad_key():
    stranger = anthropic.Anthropic(api_key="sk-nobody", base_url=BASE, max_retries=0)
    rejects(anthropic.AuthenticationError,
            lambda: stranger.messages.create(model="claude", max_tokens=9, messages=user("hi")))


def bad_calls():
    err = rejects(anthropic.BadRequestError, lambda: ask("nope", "hi"))
    assert "Invalid model name passed in model=nope" in str(err)
    rejects(anthropic.BadRequestError, lambda: client.messages.create(model="claude", max_tokens=9, messages="hi"))


def limited():
    c = anthropic.Anthropic(api_key=LIMITED_KEY, base_url=BASE, max_retries=0)

    def twice():
        for _ in range(2):
            c.messages.create(model="claude", max_tokens=9, messages=user("hi"))

    rejects(anthropic.RateLimitError, twice)


def suite():
    claims = {
        "a message is answered with usage": whole,
        "a cruelly cut stream has its events in order": events,
        "the stream helper ends with the whole message": helper,
        "two tool calls make a round trip, whole": tools,
        "two tool calls make a round trip, streamed": tools_streamed,
        "an image reaches the provider": image,
        "a stream can be aborted": abort,
        "a provider's errors have their classes": upstream_errors,
        "64 calls at once are all answered": many,
    }
    for model, kind in MODELS.items():
        for claim, body in claims.items():
            check(f"anthropic for Python, {kind} provider: {claim}", lambda: body(model))
    check("anthropic for Python: the models are listed", listed)
    check("anthropic for Python: a bad key is an AuthenticationError", bad_key)
    check("anthropic for Python: an unknown model and a bad body are BadRequestErrors", bad_calls)
    check("anthropic for Python: a limit that is used up is a RateLimitError", limited)
