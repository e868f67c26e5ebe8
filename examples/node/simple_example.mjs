// A first application: models, a chat, a stream and a tool call.
//
//   npm install
//   API_KEY=sk-… npm start
//
// BASE_URL is the gateway, API_KEY a key that it made, or its admin key.
import OpenAI from "openai";

const base = process.env.BASE_URL ?? "http://localhost:4000";
const key = process.env.API_KEY ?? process.env.LITELLM_MASTER_KEY;
if (!key) {
  console.error("Set API_KEY to a key of the gateway.");
  process.exit(1);
}
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key });

const models = [];
for await (const model of client.models.list()) models.push(model.id);
console.log("Models:", models.join(", "));

const { data: answer, response } = await client.chat.completions
  .create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Say hello." }], user: "user_123" })
  .withResponse();
console.log("Chat:", answer.choices[0].message.content);
console.log("  cost:", response.headers.get("x-litellm-response-cost"), "USD");

process.stdout.write("Stream: ");
const stream = await client.chat.completions.create({
  model: "claude-3-5-sonnet",
  messages: [{ role: "user", content: "Count to five." }],
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
console.log();

const withTool = await client.chat.completions.create({
  model: "gpt-4o",
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ],
});
const message = withTool.choices[0].message;
console.log("Tool:", message.tool_calls?.[0]?.function.arguments ?? message.content);
