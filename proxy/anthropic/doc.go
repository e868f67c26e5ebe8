// Package anthropic is the Messages API as clients speak it to us: it makes
// any provider that answers chat completions serve it. Requests become chat
// requests, answers and streams become messages. It calls nobody and counts
// nothing; a provider that speaks Messages itself does not pass through here.
package anthropic
