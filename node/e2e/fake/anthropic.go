package fake

import (
	"fmt"
	"strings"
)

// messages is Anthropic's Messages API.
type messages struct{}

func (messages) whole(c *call, id string) string {
	content, reason := fmt.Sprintf(`[{"type":"text","text":%s}]`, quote(c.answerText())), "end_turn"
	if n := c.calls(); n > 0 {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"type":"tool_use","id":"toolu_%s_%d","name":%s,"input":%s}`,
				id, i, quote(c.tools[i%len(c.tools)]), arguments))
		}
		content, reason = "["+strings.Join(list, ",")+"]", "tool_use"
	}
	return fmt.Sprintf(`{"id":"msg_fake%s","type":"message","role":"assistant","model":%s,"content":%s,"stop_reason":%q,"stop_sequence":null,"usage":%s}`,
		id, quote(c.model), content, reason, c.anthropicUsage(c.outTokens()))
}

func (c *call) anthropicUsage(out int) string {
	return fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":%d,"service_tier":"standard"}`,
		c.promptSize, out)
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

func (messages) frames(c *call, id string) ([]string, int) {
	out := []string{
		event("message_start", fmt.Sprintf(`{"type":"message_start","message":{"id":"msg_fake%s","type":"message","role":"assistant","model":%s,"content":[],"stop_reason":null,"stop_sequence":null,"usage":%s}}`,
			id, quote(c.model), c.anthropicUsage(1))),
		event("ping", `{"type":"ping"}`),
	}
	block := func(i int, start string, deltas []string) {
		out = append(out, event("content_block_start", fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, i, start)))
		for _, d := range deltas {
			out = append(out, event("content_block_delta", fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":%s}`, i, d)))
		}
		out = append(out, event("content_block_stop", fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, i)))
	}
	reason := "end_turn"
	if n := c.calls(); n > 0 {
		reason = "tool_use"
		for i := range n {
			deltas := []string{`{"type":"input_json_delta","partial_json":""}`}
			for _, p := range pieces(arguments, 5) {
				deltas = append(deltas, `{"type":"input_json_delta","partial_json":`+quote(p)+`}`)
			}
			block(i, fmt.Sprintf(`{"type":"tool_use","id":"toolu_%s_%d","name":%s,"input":{}}`, id, i, quote(c.tools[i%len(c.tools)])), deltas)
		}
	} else {
		var deltas []string
		for _, w := range c.words() {
			deltas = append(deltas, `{"type":"text_delta","text":`+quote(w)+`}`)
		}
		block(0, `{"type":"text","text":""}`, deltas)
	}
	out = append(out,
		event("message_delta", fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":%d}}`, reason, c.outTokens())),
		event("message_stop", `{"type":"message_stop"}`))
	return out, 2
}

func (messages) refusal(why string) string {
	if why == "long" {
		return `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`
	}
	return `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`
}

func (messages) fault(status int, message string) string {
	typ := "invalid_request_error"
	switch {
	case status == 401:
		typ = "authentication_error"
	case status == 403:
		typ = "permission_error"
	case status == 404:
		typ = "not_found_error"
	case status == 429:
		typ = "rate_limit_error"
	case status == 529:
		typ = "overloaded_error"
	case status >= 500:
		typ = "api_error"
	}
	return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%s},"request_id":"req_fake"}`, typ, quote(message))
}

func (d messages) faultFrame(message string) string {
	return event("error", d.fault(529, message))
}
