// Package openai writes the public API's own JSON: errors, usage, model lists,
// answers and chunks in OpenAI's shapes, as LiteLLM's clients expect them. It
// reads nothing and decides nothing; what a refusal or a cost is, other rooms
// know.
package openai
