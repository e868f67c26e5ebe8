// What the suites share: where the gateway is, how a check is named and counted.
import assert from 'node:assert/strict';

export { assert };

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}`);
  return value;
};

export const base = need('BASE_URL');
export const apiKey = need('API_KEY');
export const limitedKey = need('LIMITED_KEY'); // may call once a minute
export const models = { gpt: 'openai', claude: 'anthropic' };

// The fake's tools always get these arguments.
export const toolArguments = { location: 'Zürich', days: 3 };
export const pixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';
export const parameters = {
  type: 'object',
  properties: { location: { type: 'string' }, days: { type: 'integer' } },
  required: ['location'],
};

let failed = 0;

// check runs one claim within a time and says how it went.
export async function check(name, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('not done within 20 s')), 20_000);
  });
  try {
    await Promise.race([body(), late]);
    console.log(`ok   ${name}`);
  } catch (err) {
    failed += 1;
    console.log(`FAIL ${name}: ${err.stack ?? err}`);
  } finally {
    clearTimeout(timer);
  }
}

// rejects returns the error that a call must end with, an instance of kind.
export async function rejects(promise, kind) {
  let err;
  try {
    await promise;
  } catch (caught) {
    err = caught;
  }
  assert.ok(err, `no error, want ${kind.name}`);
  assert.ok(err instanceof kind, `${err.constructor.name} (${err.message}), want ${kind.name}`);
  return err;
}

export function greeting(text) {
  assert.match(text, /^Héllo 世界 🙂 from [\w.-]+\.$/);
}

export function finish() {
  console.log(failed === 0 ? 'all checks passed' : `${failed} checks failed`);
  process.exit(failed === 0 ? 0 : 1);
}
