// The official Anthropic package against every kind of provider.
import Anthropic from '@anthropic-ai/sdk';
import { apiKey, assert, base, check, greeting, limitedKey, models, parameters, pixel, rejects, toolArguments } from './lib.mjs';

const client = new Anthropic({ apiKey, baseURL: base, maxRetries: 0 });
const user = (content) => [{ role: 'user', content }];
const tools = [{ name: 'get_weather', description: 'Weather', input_schema: parameters }];
const max_tokens = 100;

export async function suite() {
  for (const [model, kind] of Object.entries(models)) {
    const named = (claim) => `anthropic for Node, ${kind} provider: ${claim}`;
    const ask = (content, more) => ({ model, max_tokens, messages: user(content), ...more });

    await check(named('a message is answered with usage'), async () => {
      const r = await client.messages.create(ask('hi'));
      greeting(r.content[0].text);
      assert.equal(r.type, 'message');
      assert.equal(r.stop_reason, 'end_turn');
      assert.equal(r.usage.input_tokens, 10);
      assert.ok(r.usage.output_tokens > 1);
      assert.ok(r._request_id, 'no request id');
    });

    await check(named('a stream has its events in order, with usage'), async () => {
      const seen = [];
      let text = '';
      let usage;
      for await (const e of await client.messages.create(ask('hi', { stream: true }))) {
        if (seen.at(-1) !== e.type) seen.push(e.type);
        if (e.type === 'content_block_delta') text += e.delta.text;
        if (e.type === 'message_delta') usage = e.usage;
      }
      greeting(text);
      assert.deepEqual(seen.filter((t) => t !== 'ping'), [
        'message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop',
      ]);
      assert.ok(usage.output_tokens > 1);
    });

    await check(named('the stream helper reassembles a cruelly cut stream'), async () => {
      const r = await client.messages.stream(ask('fake:chunks=1byte fake:crlf hi')).finalMessage();
      greeting(r.content[0].text);
      assert.equal(r.usage.input_tokens, 10);
    });

    for (const streamed of [false, true]) {
      await check(named(`two tool calls make a round trip, ${streamed ? 'streamed' : 'whole'}`), async () => {
        const send = (messages) =>
          streamed
            ? client.messages.stream({ model, max_tokens, tools, messages }).finalMessage()
            : client.messages.create({ model, max_tokens, tools, messages });
        const messages = user('fake:tools=2 weather?');
        const first = await send(messages);
        assert.equal(first.stop_reason, 'tool_use');
        const uses = first.content.filter((b) => b.type === 'tool_use');
        assert.equal(uses.length, 2);
        assert.notEqual(uses[0].id, uses[1].id);
        const results = uses.map((b, i) => {
          assert.equal(b.name, 'get_weather');
          assert.deepEqual(b.input, toolArguments);
          return { type: 'tool_result', tool_use_id: b.id, content: `sunny${i}` };
        });
        const second = await send([...messages, { role: 'assistant', content: first.content }, { role: 'user', content: results }]);
        assert.equal(second.content[0].text, 'The tool said: sunny0 sunny1');
      });
    }

    await check(named('an image reaches the provider'), async () => {
      const r = await client.messages.create(
        ask([
          { type: 'text', text: 'what is this?' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
        ]),
      );
      assert.match(r.content[0].text, /I saw 1 image\.$/);
    });

    await check(named('a stream can be aborted'), async () => {
      const stream = await client.messages.create(ask('fake:gap=10ms fake:words=2000', { stream: true, max_tokens: 4000 }));
      let events = 0;
      for await (const _ of stream) {
        events += 1;
        if (events === 5) stream.controller.abort();
      }
      assert.ok(events < 100, `${events} events came after all`);
    });

    await check(named('an upstream 500 is an InternalServerError'), async () => {
      const err = await rejects(client.messages.create(ask('fake:status=500')), Anthropic.InternalServerError);
      assert.equal(err.error.type, 'error');
      assert.match(err.message, /the fake was told to fail/);
    });

    await check(named('an upstream 429 is a RateLimitError with its retry-after'), async () => {
      const err = await rejects(client.messages.create(ask('fake:status=429 fake:retry-after=7')), Anthropic.RateLimitError);
      assert.equal(err.headers.get('retry-after'), '7');
      assert.equal(err.error.error.type, 'rate_limit_error');
    });

    await check(named('an upstream 400 is a BadRequestError'), async () => {
      await rejects(client.messages.create(ask('fake:status=400')), Anthropic.BadRequestError);
    });

    await check(named('an error inside a stream is thrown'), async () => {
      const stream = await client.messages.create(ask('fake:error200', { stream: true }));
      await rejects((async () => { for await (const _ of stream); })(), Anthropic.APIError);
    });

    await check(named('64 calls at once are all answered'), async () => {
      const all = await Promise.all(
        Array.from({ length: 64 }, (_, i) =>
          i % 2 ? client.messages.create(ask(`call ${i}`)) : client.messages.stream(ask(`call ${i}`)).finalMessage(),
        ),
      );
      all.forEach((r) => greeting(r.content[0].text));
    });
  }

  await check('anthropic for Node: the models are listed', async () => {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids.sort(), ['claude', 'embed', 'gpt']);
  });

  await check('anthropic for Node: a bad key is an AuthenticationError', async () => {
    const stranger = new Anthropic({ apiKey: 'sk-nobody', baseURL: base, maxRetries: 0 });
    const err = await rejects(stranger.messages.create({ model: 'claude', max_tokens, messages: user('hi') }), Anthropic.AuthenticationError);
    assert.equal(err.error.error.type, 'authentication_error');
  });

  await check('anthropic for Node: an unknown model is a BadRequestError', async () => {
    const err = await rejects(client.messages.create({ model: 'nope', max_tokens, messages: user('hi') }), Anthropic.BadRequestError);
    assert.match(err.message, /Invalid model name passed in model=nope/);
  });

  await check('anthropic for Node: a bad body is a BadRequestError', async () => {
    await rejects(client.messages.create({ model: 'claude', messages: user('hi') }), Anthropic.BadRequestError);
    await rejects(client.messages.create({ model: 'claude', max_tokens, messages: 'hi' }), Anthropic.BadRequestError);
  });

  await check('anthropic for Node: a limit that is used up is a RateLimitError', async () => {
    const limited = new Anthropic({ apiKey: limitedKey, baseURL: base, maxRetries: 0 });
    const calls = [0, 1].map(() => limited.messages.create({ model: 'claude', max_tokens, messages: user('hi') }));
    await rejects(Promise.all(calls), Anthropic.RateLimitError);
    await Promise.allSettled(calls);
  });
}
