// Package fixed makes the upstream bytes of LiteLLM's mock_response: a fixed
// answer in OpenAI's wire form, whole or as a stream, which then takes the same
// way through translators and accounts as a provider's answer would.
package fixed

import (
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// failures are the texts with which LiteLLM's mock_response raises an error.
var failures = []struct {
	text  string
	class provider.Class
}{
	{"litellm.RateLimitError", provider.RateLimit},
	{"litellm.ContextWindowExceededError", provider.ContextWindow},
	{"litellm.InternalServerError", provider.InternalServer},
	{"litellm.ContentPolicyViolationError", provider.ContentPolicy},
	{"litellm.Timeout", provider.Timeout},
	{"Exception: ", provider.APIError},
}

// Failure is the error that a mocked text stands for; nil for an answer.
func Failure(text string) *provider.Error {
	for _, f := range failures {
		if strings.HasPrefix(text, f.text) {
			return provider.NewError(f.class, "this is a mocked error: "+text)
		}
	}
	return nil
}

// tokens counts as the gateway does where no provider counts: four bytes each.
func tokens(s string) int64 { return int64(len(s)+3) / 4 }

func head(dst []byte, c *provider.Call, object string) []byte {
	dst = append(dst, `{"id":"chatcmpl-`...)
	dst = append(dst, c.CallID...)
	dst = append(dst, `","object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, c.Now.Unix(), 10)
	dst = append(dst, `,"model":`...)
	return jsonscan.AppendQuoted(dst, c.Model)
}

func usage(dst []byte, c *provider.Call, text string) []byte {
	in, out := c.InputEstimate, tokens(text)
	dst = append(dst, `,"usage":{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, in, 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, out, 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, in+out, 10)
	return append(dst, '}')
}

// Body is the whole answer.
func Body(c *provider.Call, text string) []byte {
	switch c.Op {
	case provider.OpEmbedding:
		return embedding(c)
	case provider.OpCompletion:
		dst := append(head(nil, c, "text_completion"), `,"choices":[{"index":0,"text":`...)
		dst = jsonscan.AppendQuoted(dst, text)
		dst = append(dst, `,"logprobs":null,"finish_reason":"stop"}]`...)
		return append(usage(dst, c, text), '}')
	}
	dst := append(head(nil, c, "chat.completion"), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	dst = jsonscan.AppendQuoted(dst, text)
	dst = append(dst, `},"logprobs":null,"finish_reason":"stop"}]`...)
	return append(usage(dst, c, text), '}')
}

// embeddingSize is the length of the fixed vector.
const embeddingSize = 8

// embedding answers each input with the same unit vector.
func embedding(c *provider.Call) []byte {
	n := 1
	if raw, ok := c.Fields.Get("input"); ok && len(raw) > 0 && raw[0] == '[' {
		it := jsonscan.Walk(raw)
		n = 0
		for v, more := it.Element(); more; v, more = it.Element() {
			if len(v) > 0 && v[0] != '"' && v[0] != '[' { // one input as token ids
				n = 1
				break
			}
			n++
		}
	}
	dst := append([]byte(nil), `{"object":"list","model":`...)
	dst = jsonscan.AppendQuoted(dst, c.Model)
	dst = append(dst, `,"data":[`...)
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"object":"embedding","index":`...)
		dst = strconv.AppendInt(dst, int64(i), 10)
		dst = append(dst, `,"embedding":[1`+strings.Repeat(",0", embeddingSize-1)+`]}`...)
	}
	dst = append(dst, `],"usage":{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, c.InputEstimate, 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, c.InputEstimate, 10)
	return append(dst, "}}"...)
}

// Stream is the answer as server-sent events, a word an event.
func Stream(c *provider.Call, text string) []byte {
	object, open, end := "chat.completion.chunk", `{"content":`, `"delta":{}`
	if c.Op == provider.OpCompletion {
		object = "text_completion"
	}
	var dst []byte
	event := func(fill func([]byte) []byte) {
		dst = head(append(dst, "data: "...), c, object)
		dst = append(fill(dst), "\n\n"...)
	}
	if c.Op != provider.OpCompletion {
		event(func(d []byte) []byte {
			return append(d, `,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`...)
		})
	}
	for _, word := range strings.SplitAfter(text, " ") {
		event(func(d []byte) []byte {
			if c.Op == provider.OpCompletion {
				d = jsonscan.AppendQuoted(append(d, `,"choices":[{"index":0,"text":`...), word)
				return append(d, `,"finish_reason":null}]}`...)
			}
			d = jsonscan.AppendQuoted(append(d, `,"choices":[{"index":0,"delta":`+open...), word)
			return append(d, `},"finish_reason":null}]}`...)
		})
	}
	event(func(d []byte) []byte {
		if c.Op == provider.OpCompletion {
			end = `"text":""`
		}
		return append(d, `,"choices":[{"index":0,`+end+`,"finish_reason":"stop"}]}`...)
	})
	event(func(d []byte) []byte { return append(usage(append(d, `,"choices":[]`...), c, text), '}') })
	return append(dst, "data: [DONE]\n\n"...)
}
