// Package openai speaks to every provider whose API has OpenAI's shape: one
// translator and a table, a row each. Bodies pass through byte for byte: only
// the model name changes, what the gateway must add is added, and what a row
// says its provider refuses is taken out. It knows no keys of ours and opens
// no connection.
package openai
