package anthropic

import (
	"strconv"
	"unicode/utf8"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// Answer translates a whole Messages answer into the dialect of the call.
func (*Provider) Answer(c *provider.Call, _ func(string) string, body []byte) (*provider.Answer, error) {
	var o jsonscan.Object
	if err := o.ParseTop(body); err != nil {
		e := provider.NewError(provider.APIError, "the provider's answer is no message: "+err.Error())
		e.Upstream = 200
		return nil, e
	}
	if kind, _ := o.Get("type"); string(kind) == `"error"` || !o.Has("content") && o.Has("error") {
		return nil, classify(0, body)
	}
	content, _ := o.Get("content")
	if !jsonscan.IsArray(content) {
		e := provider.NewError(provider.APIError, "the provider's answer is no message: it has no content")
		e.Upstream = 200
		return nil, e
	}
	get := func(key string) string {
		raw, _ := o.Get(key)
		s, _ := jsonscan.String(raw)
		return s
	}
	raw, _ := o.Get("usage")
	a := &provider.Answer{ID: get("id"), Model: get("model"), Usage: price.FromAnthropic(raw), RawUsage: append([]byte(nil), raw...)}
	stop := get("stop_reason")
	a.FinishReason = finishReason(stop)
	switch c.Op {
	case provider.OpMessages:
		a.Body = o.Rewrite(make([]byte, 0, len(body)+len(c.PublicName)), []jsonscan.Edit{{Key: "model", Value: jsonscan.Quoted(c.PublicName)}}, nil)
	case provider.OpCompletion:
		a.Body = completionAnswer(c, a, content)
	default:
		details, _ := o.Get("stop_details")
		a.Body = chatAnswer(c, a, content, details)
	}
	return a, nil
}

// finishReason is a stop reason in OpenAI's words.
func finishReason(stop string) string {
	switch stop {
	case "tool_use":
		return "tool_calls"
	case "max_tokens", "model_context_window_exceeded":
		return "length"
	case "refusal":
		return "content_filter"
	}
	return "stop" // end_turn, stop_sequence, pause_turn and what is to come
}

// parts are the pieces of a chat message, gathered from content blocks.
type parts struct {
	text        []byte // unescaped
	thought     []byte // unescaped
	thinking    [][]byte
	details     [][]byte
	calls       [][]byte
	citations   [][]byte
	annotations [][]byte
	search      [][]byte
	jsonAnswer  bool
}

func (p *parts) gather(content []byte, unwrap bool) {
	for it := jsonscan.Walk(content); ; {
		b, ok := it.Element()
		if !ok {
			return
		}
		switch jsonscan.Text(b, "type") {
		case "text":
			if !p.jsonAnswer {
				p.addText(b)
			}
		case "thinking":
			p.thought, _ = jsonscan.AppendString(p.thought, jsonscan.Member(b, "thinking"))
			p.thinking = append(p.thinking, b)
			p.details = append(p.details, thinkingDetail(jsonscan.Member(b, "thinking"), jsonscan.Member(b, "signature")))
		case "redacted_thinking":
			p.thinking = append(p.thinking, b)
			p.details = append(p.details, redactedDetail(jsonscan.Member(b, "data")))
		case "tool_use":
			if unwrap && jsonscan.Text(b, "name") == jsonTool {
				if !p.jsonAnswer { // what was said around it is no part of the answer
					p.jsonAnswer = true
					p.text = jsonscan.Compact(p.text[:0], orEmpty(jsonscan.Member(b, "input")))
				}
				continue
			}
			p.calls = append(p.calls, toolCall(b))
		case "web_search_tool_result", "web_fetch_tool_result":
			p.search = append(p.search, b)
		}
	}
}

func (p *parts) addText(b []byte) {
	start := utf8.RuneCount(p.text)
	p.text, _ = jsonscan.AppendString(p.text, jsonscan.Member(b, "text"))
	list := jsonscan.Member(b, "citations")
	if !jsonscan.IsArray(list) {
		return
	}
	p.citations = append(p.citations, list)
	for it := jsonscan.Walk(list); ; {
		cite, ok := it.Element()
		if !ok {
			return
		}
		if url := jsonscan.Member(cite, "url"); jsonscan.IsString(url) {
			p.annotations = append(p.annotations, annotation(start, utf8.RuneCount(p.text), url, jsonscan.Member(cite, "title")))
		}
	}
}

func annotation(start, end int, url, title []byte) []byte {
	b := jsonscan.AppendText([]byte{'{'}, "type", "url_citation")
	b = append(jsonscan.AppendKey(b, "url_citation"), '{')
	b = jsonscan.AppendInt(b, "start_index", int64(start))
	b = jsonscan.AppendInt(b, "end_index", int64(end))
	b = jsonscan.AppendRaw(b, "url", url)
	if !jsonscan.IsString(title) {
		title = []byte(`""`)
	}
	return append(jsonscan.AppendRaw(b, "title", title), "}}"...)
}

func orEmpty(raw []byte) []byte {
	if raw == nil {
		return []byte("{}")
	}
	return raw
}

func toolCall(b []byte) []byte {
	out := append(make([]byte, 0, len(b)+64), '{')
	out = jsonscan.AppendRaw(out, "id", orQuotes(jsonscan.Member(b, "id")))
	out = jsonscan.AppendText(out, "type", "function")
	out = append(jsonscan.AppendKey(out, "function"), '{')
	out = jsonscan.AppendRaw(out, "name", orQuotes(jsonscan.Member(b, "name")))
	out = jsonscan.AppendText(out, "arguments", string(jsonscan.Compact(nil, orEmpty(jsonscan.Member(b, "input")))))
	return append(out, "}}"...)
}

func orQuotes(raw []byte) []byte {
	if !jsonscan.IsString(raw) {
		return []byte(`""`)
	}
	return raw
}

func thinkingDetail(thought, signature []byte) []byte {
	b := jsonscan.AppendText([]byte{'{'}, "type", "thinking")
	b = jsonscan.AppendRaw(b, "text", orQuotes(thought))
	return append(jsonscan.AppendRaw(b, "signature", orQuotes(signature)), '}')
}

func redactedDetail(data []byte) []byte {
	b := jsonscan.AppendText([]byte{'{'}, "type", "redacted")
	return append(jsonscan.AppendRaw(b, "data", orQuotes(data)), '}')
}

// unwraps reports whether the call's answer comes as input of the tool that
// stands for structured output. It asks the request again instead of keeping
// state, so that a translator stays pure.
func unwraps(c *provider.Call) bool {
	fields, err := fieldsOf(c)
	if err != nil {
		return false
	}
	format, ok := fields.Get("response_format")
	return ok && formatSchema(format) != nil && !capabilityOf(c.Model, deployment(c)).schema
}

func chatAnswer(c *provider.Call, a *provider.Answer, content, details []byte) []byte {
	var p parts
	p.gather(content, unwraps(c))
	if p.jsonAnswer && len(p.calls) == 0 && a.FinishReason == "tool_calls" {
		a.FinishReason = "stop"
	}
	b := append(make([]byte, 0, len(content)+512), '{')
	b = jsonscan.AppendText(b, "id", a.ID)
	b = jsonscan.AppendText(b, "object", "chat.completion")
	b = jsonscan.AppendInt(b, "created", c.Now.Unix())
	b = jsonscan.AppendText(b, "model", c.PublicName)
	b = append(jsonscan.AppendKey(b, "choices"), `[{"index":0`...)
	b = jsonscan.AppendText(b, "finish_reason", a.FinishReason)
	b = jsonscan.AppendRaw(b, "logprobs", []byte("null"))
	b = append(jsonscan.AppendKey(b, "message"), '{')
	b = jsonscan.AppendText(b, "role", "assistant")
	refusal := ""
	if a.FinishReason == "content_filter" && len(p.text) == 0 {
		refusal = jsonscan.Text(details, "explanation")
	}
	if len(p.text) == 0 && (len(p.calls) > 0 || refusal != "") {
		b = jsonscan.AppendRaw(b, "content", []byte("null"))
	} else {
		b = jsonscan.AppendText(b, "content", string(p.text))
	}
	if refusal != "" {
		b = jsonscan.AppendText(b, "refusal", refusal)
	}
	b = p.appendExtras(b)
	b = append(b, "}}]"...)
	b = jsonscan.AppendRaw(b, "usage", appendChatUsage(nil, &a.Usage))
	if tier := tierName(a.Usage.ServiceTier); tier != "" {
		b = jsonscan.AppendText(b, "service_tier", tier)
	}
	return append(b, '}')
}

func (p *parts) appendExtras(b []byte) []byte {
	if len(p.calls) > 0 {
		b = jsonscan.AppendList(b, "tool_calls", p.calls)
	}
	if len(p.annotations) > 0 {
		b = jsonscan.AppendList(b, "annotations", p.annotations)
	}
	if len(p.thought) > 0 {
		b = jsonscan.AppendText(b, "reasoning_content", string(p.thought))
	}
	if len(p.thinking) > 0 {
		b = jsonscan.AppendList(b, "thinking_blocks", p.thinking)
		b = jsonscan.AppendList(b, "reasoning_details", p.details)
	}
	if len(p.citations)+len(p.search) > 0 {
		b = append(jsonscan.AppendKey(b, "provider_specific_fields"), '{')
		if len(p.citations) > 0 {
			b = jsonscan.AppendList(b, "citations", p.citations)
		}
		if len(p.search) > 0 {
			b = jsonscan.AppendList(b, "web_search_results", p.search)
		}
		b = append(b, '}')
	}
	return b
}

// completionBody makes one user turn of a prompt.
func completionBody(c *provider.Call, fields *jsonscan.Object) ([]byte, []string, error) {
	prompt, _ := fields.Get("prompt")
	if jsonscan.IsArray(prompt) {
		it := jsonscan.Walk(prompt)
		first, _ := it.Element()
		if _, more := it.Element(); more || !jsonscan.IsString(first) {
			return nil, nil, badParam("prompt", "anthropic takes one prompt of text a call")
		}
		prompt = first
	}
	if !jsonscan.IsString(prompt) || isBlank(prompt) {
		return nil, nil, badParam("prompt", "prompt must be a text that is not empty")
	}
	messages := append([]byte(`[{"role":"user","content":`), prompt...)
	messages = append(messages, "}]"...)
	edits := []jsonscan.Edit{{Key: "prompt"}, {Key: "messages", Value: messages}}
	var chat jsonscan.Object
	if err := chat.Parse(fields.Rewrite(make([]byte, 0, len(c.Body)+64), edits, nil)); err != nil {
		return nil, nil, badParam("prompt", "Invalid JSON payload: "+err.Error())
	}
	return chatBody(c, &chat)
}

func completionAnswer(c *provider.Call, a *provider.Answer, content []byte) []byte {
	var p parts
	p.gather(content, unwraps(c))
	b := appendCompletionHead(nil, a.ID, c)
	b = jsonscan.AppendText(append(jsonscan.AppendKey(b, "choices"), "[{"...), "text", string(p.text))
	b = append(b, `,"index":0,"logprobs":null,"finish_reason":`...)
	b = append(append(b, jsonscan.Quoted(a.FinishReason)...), "}]"...)
	return append(jsonscan.AppendRaw(b, "usage", appendChatUsage(nil, &a.Usage)), '}')
}

func appendCompletionHead(b []byte, id string, c *provider.Call) []byte {
	b = jsonscan.AppendText(append(b, '{'), "id", id)
	b = jsonscan.AppendText(b, "object", "text_completion")
	b = append(jsonscan.AppendKey(b, "created"), strconv.FormatInt(c.Now.Unix(), 10)...)
	return jsonscan.AppendText(b, "model", c.PublicName)
}
