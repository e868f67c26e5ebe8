// Checks the gateway at BASE_URL with both packages and exits 1 if a check fails.
import { finish } from './lib.mjs';
import { suite as anthropic } from './anthropic.mjs';
import { suite as openai } from './openai.mjs';

await openai();
await anthropic();
finish();
