// Package mock answers calls with a fixed text, as LiteLLM's mock_response
// does: for tests of clients, and for a gateway that has no provider key yet.
// It opens no connection; its usage is counted from the text and marked as
// estimated.
package mock

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
)

// pieceBytes is about how much text one streamed chunk holds.
const pieceBytes = 20

// Answer is the whole answer to a call. Text in one of LiteLLM's error forms
// is that error.
func Answer(c *provider.Call, text string) (*provider.Answer, error) {
	if fault := raised(text); fault != nil {
		return nil, fault
	}
	if c.Op == provider.OpEmbedding {
		return embedding(c, text), nil
	}
	r := newReply(c, text)
	a := &provider.Answer{ID: r.head.ID, Model: c.Model, Usage: r.usage, FinishReason: r.finish}
	if c.Op == provider.OpMessages {
		a.Body = r.message()
		return a, nil
	}
	out := append(r.head.AppendHead(nil), `,"choices":[`...)
	for i := range r.n {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"index":`...)
		out = strconv.AppendInt(out, int64(i), 10)
		if c.Op == provider.OpCompletion {
			out = append(out, `,"text":`...)
			out = jsonscan.AppendQuoted(out, r.text)
			out = append(out, `,"logprobs":null`...)
		} else {
			out = append(out, `,"message":{"role":"assistant","content":`...)
			out = jsonscan.AppendQuoted(out, r.text)
			out = append(out, '}')
		}
		out = append(out, `,"finish_reason":"`...)
		out = append(append(out, r.finish...), `"}`...)
	}
	out = openai.AppendUsage(append(out, `],"usage":`...), &r.usage)
	a.Body = append(out, '}')
	return a, nil
}

// reply is a fixed text shaped to one call.
type reply struct {
	head   openai.Head
	text   string
	n      int // choices
	finish string
	usage  price.Usage
}

func newReply(c *provider.Call, text string) reply {
	r := reply{text: text, n: 1, finish: "stop", head: openai.Head{ID: "chatcmpl-" + c.CallID, Object: openai.ObjectChat, Created: c.Now.Unix(), Model: c.PublicName}}
	switch c.Op {
	case provider.OpCompletion:
		r.head.ID, r.head.Object = "cmpl-"+c.CallID, openai.ObjectText
	case provider.OpMessages:
		r.head.ID = "msg_" + c.CallID
	}
	if n, ok := number(c, "n"); ok && c.Op != provider.OpMessages {
		r.n = int(min(n, 128))
	}
	if most := outputLimit(c, r.n); most > 0 && tokens(text) > most {
		r.text, r.finish = cut(text, int(most)*4), "length"
	}
	r.usage = price.Usage{InUncached: c.InputEstimate, OutTotal: tokens(r.text) * int64(r.n), Known: true, Estimated: true}
	return r
}

// outputLimit is the most tokens one choice may have: a mocked answer must not
// cost more than was reserved for it either.
func outputLimit(c *provider.Call, choices int) int64 {
	most := int64(0)
	for _, name := range [...]string{"max_completion_tokens", "max_tokens"} {
		if n, ok := number(c, name); ok && (most == 0 || n < most) {
			most = n
		}
	}
	if c.MaxOutput > 0 {
		share := max(c.MaxOutput/int64(choices), 1)
		if most == 0 || share < most {
			most = share
		}
	}
	return most
}

func number(c *provider.Call, name string) (int64, bool) {
	raw, _ := c.Fields.Get(name)
	n, ok := jsonscan.Int(raw)
	return n, ok && n > 0
}

func tokens(text string) int64 { return int64(len(text)+3) / 4 }

// cut shortens text to at most n bytes without splitting a character.
func cut(text string, n int) string {
	if n >= len(text) {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// raised is the error that a text asks for, nil when it is plain text: a class
// name after "litellm." with or without a message, or "Exception: …".
func raised(text string) *provider.Error {
	if rest, ok := strings.CutPrefix(text, "litellm."); ok {
		name, message, _ := strings.Cut(rest, ":")
		for _, class := range classes {
			if string(class) == strings.TrimSpace(name) {
				if message = strings.TrimSpace(message); message == "" {
					message = "this is a mock " + string(class)
				}
				return provider.NewError(class, message)
			}
		}
		return nil
	}
	message, ok := strings.CutPrefix(text, "Exception: ")
	switch {
	case !ok:
		return nil
	case strings.HasPrefix(message, "content_filter"):
		return provider.NewError(provider.ContentPolicy, message)
	case strings.HasPrefix(message, "mock_timeout"):
		return provider.NewError(provider.Timeout, message)
	}
	return provider.NewError(provider.APIError, message)
}

var classes = [...]provider.Class{provider.BadRequest, provider.ContextWindow, provider.ContentPolicy, provider.UnsupportedParams,
	provider.Authentication, provider.PermissionDenied, provider.NotFound, provider.Timeout, provider.Conflict, provider.UnprocessableEntity,
	provider.RateLimit, provider.InternalServer, provider.BadGateway, provider.ServiceUnavailable, provider.APIConnection, provider.APIError}
