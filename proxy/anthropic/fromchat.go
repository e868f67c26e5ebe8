package anthropic

import (
	"bytes"
	"strings"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// FromChat turns a chat completion into a message. Counts come from the
// answer's canonical record, never from its converted usage object.
func FromChat(a *provider.Answer) ([]byte, error) {
	var o jsonscan.Object
	if err := o.ParseTop(a.Body); err != nil {
		return nil, provider.NewError(provider.APIError, "the provider's answer is no chat completion: "+err.Error())
	}
	choices, _ := o.Get("choices")
	it := jsonscan.Walk(choices)
	choice, ok := it.Element()
	if !ok {
		return nil, provider.NewError(provider.APIError, "the provider's answer is no chat completion: it has no choices")
	}
	m := jsonscan.Member(choice, "message")
	blocks, calls, refused := messageBlocks(m, a.ID)
	finish := jsonscan.Text(choice, "finish_reason")
	model, _ := o.Get("model")
	if !jsonscan.IsString(model) {
		model = []byte(`""`)
	}
	b := append(make([]byte, 0, len(a.Body)+256), '{')
	b = jsonscan.AppendText(b, "id", messageID(a.ID))
	b = jsonscan.AppendText(b, "type", "message")
	b = jsonscan.AppendText(b, "role", "assistant")
	b = jsonscan.AppendRaw(b, "model", model)
	b = jsonscan.AppendList(b, "content", blocks)
	b = jsonscan.AppendText(b, "stop_reason", stopReason(finish, calls, refused))
	b = jsonscan.AppendRaw(b, "stop_sequence", []byte("null"))
	b = appendUsage(jsonscan.AppendKey(b, "usage"), &a.Usage)
	return append(b, '}'), nil
}

// messageBlocks are thoughts, text and calls, in the order Anthropic has them.
func messageBlocks(m []byte, id string) (blocks [][]byte, calls int, refused bool) {
	blocks = thoughts(m)
	switch c := jsonscan.Member(m, "content"); {
	case jsonscan.TextLen(c) > 0:
		blocks = append(blocks, textBlock(c))
	case jsonscan.IsArray(c):
		for it := jsonscan.Walk(c); ; {
			p, ok := it.Element()
			if !ok {
				break
			}
			if t := jsonscan.Member(p, "text"); jsonscan.TextLen(t) > 0 {
				blocks = append(blocks, textBlock(t))
			}
		}
	}
	if refusal := jsonscan.Member(m, "refusal"); jsonscan.TextLen(refusal) > 0 {
		blocks, refused = append(blocks, textBlock(refusal)), true
	}
	for it := jsonscan.Walk(jsonscan.Member(m, "tool_calls")); ; {
		c, ok := it.Element()
		if !ok {
			break
		}
		fn := jsonscan.Member(c, "function")
		if fn == nil {
			continue
		}
		arguments, ok := jsonscan.AppendString(nil, jsonscan.Member(fn, "arguments"))
		if !ok {
			arguments = jsonscan.Member(fn, "arguments")
		}
		b := jsonscan.AppendText([]byte{'{'}, "type", "tool_use")
		b = jsonscan.AppendText(b, "id", callID(jsonscan.Text(c, "id"), id, calls))
		b = jsonscan.AppendText(b, "name", jsonscan.Text(fn, "name"))
		blocks = append(blocks, append(jsonscan.AppendRaw(b, "input", inputObject(arguments)), '}'))
		calls++
	}
	return blocks, calls, refused
}

// thoughts prefers signed blocks, which survive a tool loop, over bare text.
func thoughts(m []byte) (blocks [][]byte) {
	for it := jsonscan.Walk(jsonscan.Member(m, "thinking_blocks")); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) > 0 {
		return blocks
	}
	thought := jsonscan.Member(m, "reasoning_content")
	if thought == nil {
		thought = jsonscan.Member(m, "reasoning")
	}
	if jsonscan.TextLen(thought) == 0 {
		return nil
	}
	b := jsonscan.AppendRaw(jsonscan.AppendText([]byte{'{'}, "type", "thinking"), "thinking", thought)
	return [][]byte{append(jsonscan.AppendText(b, "signature", ""), '}')}
}

func textBlock(raw []byte) []byte {
	return append(jsonscan.AppendRaw(jsonscan.AppendText([]byte{'{'}, "type", "text"), "text", raw), '}')
}

// inputObject is a call's input. What is no JSON object cannot be one, but
// must not be lost either.
func inputObject(arguments []byte) []byte {
	arguments = bytes.TrimSpace(arguments)
	if len(arguments) == 0 || string(arguments) == "null" {
		return []byte("{}")
	}
	var o jsonscan.Object
	if o.ParseTop(arguments) != nil {
		return append(jsonscan.AppendText([]byte{'{'}, "_raw", string(arguments)), '}')
	}
	return jsonscan.Compact(make([]byte, 0, len(arguments)), arguments)
}

// callID is the provider's id of a call, or one of ours where it gave none.
func callID(id, answer string, n int) string {
	if id != "" {
		return id
	}
	b := make([]byte, 0, len(answer)+16)
	b = append(b, "toolu_"...)
	for i := 0; i < len(answer); i++ {
		if c := answer[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			b = append(b, c)
		}
	}
	b = append(b, '_')
	if n > 9 {
		b = append(b, byte('0'+n/10%10))
	}
	return string(append(b, byte('0'+n%10)))
}

func messageID(id string) string {
	if strings.HasPrefix(id, "msg_") {
		return id
	}
	return "msg_" + strings.TrimPrefix(id, "chatcmpl-")
}

// stopReason is a finish reason in Anthropic's words. Some servers finish with
// "stop" although they have called a tool.
func stopReason(finish string, calls int, refused bool) string {
	switch {
	case finish == "length":
		return "max_tokens"
	case finish == "content_filter", refused:
		return "refusal"
	case finish == "tool_calls", finish == "function_call", calls > 0:
		return "tool_use"
	}
	return "end_turn"
}

// appendUsage writes the record as Anthropic's usage: cached tokens are not
// part of input_tokens.
func appendUsage(dst []byte, u *price.Usage) []byte {
	dst = append(dst, '{')
	dst = jsonscan.AppendInt(dst, "input_tokens", u.InUncached+u.InAudio+u.InImage)
	dst = jsonscan.AppendInt(dst, "cache_creation_input_tokens", u.CacheWrite5m+u.CacheWrite1h)
	dst = jsonscan.AppendInt(dst, "cache_read_input_tokens", u.CacheRead)
	return append(jsonscan.AppendInt(dst, "output_tokens", u.OutTotal), '}')
}
