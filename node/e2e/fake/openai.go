package fake

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// chat is OpenAI's chat completions API.
type chat struct{}

func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `"?"`
	}
	return string(b)
}

func usage(c *call) string {
	in, out := c.promptSize, c.outTokens()
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`, in, out, in+out)
}

// arguments are what every tool call passes.
const arguments = `{"location":"Zürich","days":3}`

func (chat) whole(c *call, id string) string {
	message, reason := fmt.Sprintf(`"content":%s`, quote(c.answerText())), "stop"
	if n := c.calls(); n > 0 {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"id":"call_%s_%d","type":"function","function":{"name":%s,"arguments":%s}}`,
				id, i, quote(c.tools[i%len(c.tools)]), quote(arguments)))
		}
		message, reason = `"content":null,"tool_calls":[`+strings.Join(list, ",")+`]`, "tool_calls"
	}
	out := fmt.Sprintf(`{"id":"chatcmpl-fake%s","object":"chat.completion","created":1793000000,"model":%s,"choices":[{"index":0,"message":{"role":"assistant",%s,"refusal":null},"logprobs":null,"finish_reason":%q}]`,
		id, quote(c.model), message, reason)
	if !c.orders.has("nousage") {
		out += `,"usage":` + usage(c)
	}
	return out + `,"system_fingerprint":"fp_fake"}`
}

func (chat) frames(c *call, id string) ([]string, int) {
	head := fmt.Sprintf(`data: {"id":"chatcmpl-fake%s","object":"chat.completion.chunk","created":1793000000,"model":%s,"system_fingerprint":"fp_fake","choices":`, id, quote(c.model))
	tail := "}\n\n"
	if c.wantUsage {
		tail = `,"usage":null}` + "\n\n"
	}
	frame := func(delta, reason string) string {
		return head + `[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + reason + `}]` + tail
	}
	out := []string{frame(`{"role":"assistant","content":""}`, "null")}
	reason := `"stop"`
	if n := c.calls(); n > 0 {
		reason = `"tool_calls"`
		for i := range n {
			out = append(out, frame(fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"call_%s_%d","type":"function","function":{"name":%s,"arguments":""}}]}`,
				i, id, i, quote(c.tools[i%len(c.tools)])), "null"))
			for _, part := range pieces(arguments, 5) {
				out = append(out, frame(fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}`, i, quote(part)), "null"))
			}
		}
	} else {
		for _, w := range c.words() {
			out = append(out, frame(`{"content":`+quote(w)+`}`, "null"))
		}
	}
	out = append(out, frame(`{}`, reason))
	end := 2
	if c.wantUsage && !c.orders.has("nousage") {
		out = append(out, head+`[],"usage":`+usage(c)+"}\n\n")
		end = 3
	}
	return append(out, "data: [DONE]\n\n"), end
}

// pieces cuts text after every n runes.
func pieces(text string, n int) []string {
	var out []string
	r := []rune(text)
	for len(r) > 0 {
		k := min(n, len(r))
		out = append(out, string(r[:k]))
		r = r[k:]
	}
	return out
}

func openAIType(status int) (typ, code string) {
	switch {
	case status == 401:
		return "invalid_request_error", `"invalid_api_key"`
	case status == 404:
		return "invalid_request_error", `"model_not_found"`
	case status == 429:
		return "requests", `"rate_limit_exceeded"`
	case status >= 500:
		return "server_error", "null"
	}
	return "invalid_request_error", "null"
}

func (chat) fault(status int, message string) string {
	typ, code := openAIType(status)
	return fmt.Sprintf(`{"error":{"message":%s,"type":%q,"param":null,"code":%s}}`, quote(message), typ, code)
}

func (chat) refusal(why string) string {
	if why == "long" {
		return `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 200123 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	}
	return `{"error":{"message":"Your request was rejected as a result of our safety system.","type":"invalid_request_error","param":null,"code":"content_policy_violation"}}`
}

func (d chat) faultFrame(message string) string { return "data: " + d.fault(500, message) + "\n\n" }

// completion is OpenAI's older text API.
type completion struct{ chat }

func (completion) whole(c *call, id string) string {
	return fmt.Sprintf(`{"id":"cmpl-fake%s","object":"text_completion","created":1793000000,"model":%s,"choices":[{"text":%s,"index":0,"logprobs":null,"finish_reason":"stop"}],"usage":%s}`,
		id, quote(c.model), quote(c.answerText()), usage(c))
}

func (completion) frames(c *call, id string) ([]string, int) {
	head := fmt.Sprintf(`data: {"id":"cmpl-fake%s","object":"text_completion","created":1793000000,"model":%s,"choices":`, id, quote(c.model))
	var out []string
	for _, w := range c.words() {
		out = append(out, head+`[{"text":`+quote(w)+`,"index":0,"logprobs":null,"finish_reason":null}]}`+"\n\n")
	}
	out = append(out, head+`[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}`+"\n\n")
	end := 2
	if c.wantUsage {
		out = append(out, head+`[],"usage":`+usage(c)+"}\n\n")
		end = 3
	}
	return append(out, "data: [DONE]\n\n"), end
}

// embedding is OpenAI's embeddings API.
type embedding struct{ chat }

// vector is the embedding of a text: small numbers that base64 keeps exactly.
func vector(text string) []float32 {
	return []float32{float32(len(text)), 0.5, -0.25, 0.125}
}

func (embedding) whole(c *call, _ string) string {
	var data []string
	for i, in := range c.inputs {
		v := vector(in)
		text := quote(v)
		if !c.floats {
			var raw []byte
			for _, f := range v {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
			}
			text = quote(base64.StdEncoding.EncodeToString(raw))
		}
		data = append(data, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":%s}`, i, text))
	}
	return fmt.Sprintf(`{"object":"list","data":[%s],"model":%s,"usage":{"prompt_tokens":%d,"total_tokens":%d}}`,
		strings.Join(data, ","), quote(c.model), c.promptSize, c.promptSize)
}
