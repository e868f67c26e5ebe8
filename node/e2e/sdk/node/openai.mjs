// The official OpenAI package against every kind of provider.
import OpenAI from 'openai';
import { apiKey, assert, base, check, greeting, limitedKey, models, parameters, pixel, rejects, toolArguments } from './lib.mjs';

const client = new OpenAI({ apiKey, baseURL: `${base}/v1`, maxRetries: 0 });
const user = (content) => [{ role: 'user', content }];
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Weather', parameters } }];

async function collect(stream) {
  const out = { text: '', usage: [], finish: [], chunks: 0, empty: 0 };
  for await (const chunk of stream) {
    out.chunks += 1;
    if (chunk.usage) out.usage.push(chunk);
    if (chunk.choices.length === 0) out.empty += 1;
    out.text += chunk.choices[0]?.delta?.content ?? '';
    if (chunk.choices[0]?.finish_reason) out.finish.push(chunk.choices[0].finish_reason);
  }
  return out;
}

export async function suite() {
  for (const [model, kind] of Object.entries(models)) {
    const named = (claim) => `openai for Node, ${kind} provider: ${claim}`;

    await check(named('a chat is answered with usage'), async () => {
      const r = await client.chat.completions.create({ model, messages: user('hi') });
      greeting(r.choices[0].message.content);
      assert.equal(r.object, 'chat.completion');
      assert.equal(r.choices[0].finish_reason, 'stop');
      assert.equal(r.usage.prompt_tokens, 10);
      assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
      assert.ok(r._request_id, 'no request id');
    });

    await check(named('a stream without usage has none'), async () => {
      const got = await collect(await client.chat.completions.create({ model, messages: user('hi'), stream: true }));
      greeting(got.text);
      assert.deepEqual(got.finish, ['stop']);
      assert.equal(got.usage.length, 0);
      assert.equal(got.empty, 0);
    });

    await check(named('a stream with usage has it once, at its end, without choices'), async () => {
      const got = await collect(
        await client.chat.completions.create({
          model, messages: user('hi'), stream: true, stream_options: { include_usage: true },
        }),
      );
      greeting(got.text);
      assert.equal(got.usage.length, 1);
      assert.deepEqual(got.usage[0].choices, []);
      assert.equal(got.usage[0].usage.prompt_tokens, 10);
      assert.ok(got.usage[0].usage.completion_tokens > 1);
    });

    await check(named('the stream helper reassembles a cruelly cut stream'), async () => {
      const stream = client.chat.completions.stream({ model, messages: user('fake:chunks=1byte fake:crlf hi') });
      const r = await stream.finalChatCompletion();
      greeting(r.choices[0].message.content);
    });

    for (const streamed of [false, true]) {
      await check(named(`two tool calls make a round trip, ${streamed ? 'streamed' : 'whole'}`), async () => {
        const messages = user('fake:tools=2 weather?');
        const ask = { model, messages, tools };
        const first = streamed
          ? await client.chat.completions.stream(ask).finalChatCompletion()
          : await client.chat.completions.create(ask);
        const message = first.choices[0].message;
        assert.equal(first.choices[0].finish_reason, 'tool_calls');
        assert.equal(message.tool_calls.length, 2);
        assert.notEqual(message.tool_calls[0].id, message.tool_calls[1].id);
        const results = message.tool_calls.map((call, i) => {
          assert.equal(call.type, 'function');
          assert.equal(call.function.name, 'get_weather');
          assert.deepEqual(JSON.parse(call.function.arguments), toolArguments);
          return { role: 'tool', tool_call_id: call.id, content: `sunny${i}` };
        });
        const next = { model, messages: [...messages, message, ...results], tools };
        const second = streamed
          ? await client.chat.completions.stream(next).finalChatCompletion()
          : await client.chat.completions.create(next);
        assert.equal(second.choices[0].message.content, 'The tool said: sunny0 sunny1');
      });
    }

    await check(named('an image reaches the provider'), async () => {
      const r = await client.chat.completions.create({
        model,
        messages: user([
          { type: 'text', text: 'what is this?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
        ]),
      });
      assert.match(r.choices[0].message.content, /I saw 1 image\.$/);
    });

    await check(named('a stream can be aborted'), async () => {
      const stream = await client.chat.completions.create({ model, messages: user('fake:gap=10ms fake:words=2000'), stream: true });
      let chunks = 0;
      for await (const _ of stream) {
        chunks += 1;
        if (chunks === 4) stream.controller.abort();
      }
      assert.ok(chunks < 100, `${chunks} chunks came after all`);
    });

    await check(named('an upstream 500 is an InternalServerError'), async () => {
      const err = await rejects(client.chat.completions.create({ model, messages: user('fake:status=500') }), OpenAI.InternalServerError);
      assert.equal(err.status, 500);
      assert.match(err.message, /the fake was told to fail/);
    });

    await check(named('an upstream 429 is a RateLimitError with its retry-after'), async () => {
      const err = await rejects(client.chat.completions.create({ model, messages: user('fake:status=429 fake:retry-after=7') }), OpenAI.RateLimitError);
      assert.equal(err.headers.get('retry-after'), '7');
    });

    await check(named('an upstream 400 is a BadRequestError'), async () => {
      await rejects(client.chat.completions.create({ model, messages: user('fake:status=400') }), OpenAI.BadRequestError);
    });

    await check(named('an error inside a stream is thrown'), async () => {
      const stream = await client.chat.completions.create({ model, messages: user('fake:error200'), stream: true });
      await rejects(collect(stream), OpenAI.APIError);
    });

    await check(named('64 calls at once are all answered'), async () => {
      const all = await Promise.all(
        Array.from({ length: 64 }, async (_, i) =>
          i % 2
            ? (await client.chat.completions.create({ model, messages: user(`call ${i}`) })).choices[0].message.content
            : (await collect(await client.chat.completions.create({ model, messages: user(`call ${i}`), stream: true }))).text,
        ),
      );
      all.forEach(greeting);
    });
  }

  await check('openai for Node: embeddings come as base64 by default and as numbers on demand', async () => {
    const input = ['one', 'three'];
    for (const format of [undefined, 'float']) {
      const r = await client.embeddings.create({ model: 'embed', input, encoding_format: format });
      assert.deepEqual(r.data.map((d) => d.embedding), [[3, 0.5, -0.25, 0.125], [5, 0.5, -0.25, 0.125]]);
      assert.equal(r.usage.prompt_tokens, 10);
    }
    const r = await client.embeddings.create({ model: 'embed', input: 'x', encoding_format: 'base64' });
    assert.equal(typeof r.data[0].embedding, 'string');
  });

  await check('openai for Node: the models are listed and shown', async () => {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids.sort(), ['claude', 'embed', 'gpt']);
    assert.equal((await client.models.retrieve('gpt')).object, 'model');
    await rejects(client.models.retrieve('nothing-like-this'), OpenAI.NotFoundError);
  });

  await check('openai for Node: a bad key is an AuthenticationError', async () => {
    const stranger = new OpenAI({ apiKey: 'sk-nobody', baseURL: `${base}/v1`, maxRetries: 0 });
    const err = await rejects(stranger.chat.completions.create({ model: 'gpt', messages: user('hi') }), OpenAI.AuthenticationError);
    assert.equal(err.type, 'token_not_found_in_db');
  });

  await check('openai for Node: an unknown model is a BadRequestError', async () => {
    const err = await rejects(client.chat.completions.create({ model: 'nope', messages: user('hi') }), OpenAI.BadRequestError);
    assert.match(err.message, /Invalid model name passed in model=nope/);
  });

  await check('openai for Node: a bad body is a BadRequestError that names the field', async () => {
    const err = await rejects(client.chat.completions.create({ model: 'gpt', messages: 'hi' }), OpenAI.BadRequestError);
    assert.equal(err.param, 'messages');
  });

  await check('openai for Node: a limit that is used up is a RateLimitError', async () => {
    const limited = new OpenAI({ apiKey: limitedKey, baseURL: `${base}/v1`, maxRetries: 0 });
    const calls = [0, 1].map(() => limited.chat.completions.create({ model: 'gpt', messages: user('hi') }));
    const err = await rejects(Promise.all(calls), OpenAI.RateLimitError);
    assert.ok(Number(err.headers.get('retry-after')) > 0);
    await Promise.allSettled(calls);
  });
}
