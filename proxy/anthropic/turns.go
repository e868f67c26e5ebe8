package anthropic

import (
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
)

// billingHeader marks a system block that some clients put in front and change
// with every request: outside Anthropic it only spoils prompt caches.
const billingHeader = "x-anthropic-billing-header:"

func (r *chatRequest) system(raw []byte) error {
	switch {
	case jsonscan.IsNull(raw):
		return nil
	case jsonscan.IsString(raw):
		if jsonscan.TextLen(raw) > 0 {
			r.add("system", raw)
		}
		return nil
	case !jsonscan.IsArray(raw):
		return bad("system", "system must be a string or an array of text blocks")
	}
	var parts content
	for it := jsonscan.Walk(raw); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		t := jsonscan.Member(b, "text")
		if !jsonscan.IsString(t) {
			return bad("system", "system blocks must be text")
		}
		if jsonscan.TextLen(t) > 0 && !strings.HasPrefix(string(t[1:]), billingHeader) {
			parts.text(t, r.cacheOf(b))
		}
	}
	if c := parts.encode(); c != nil {
		r.add("system", c)
	}
	return nil
}

func (r *chatRequest) add(role string, content []byte) {
	b := append(make([]byte, 0, len(content)+40), '{')
	b = jsonscan.AppendText(b, "role", role)
	r.messages = append(r.messages, append(jsonscan.AppendRaw(b, "content", content), '}'))
}

func (r *chatRequest) cacheOf(block []byte) []byte {
	if !r.keep.cache {
		return nil
	}
	return jsonscan.Member(block, "cache_control")
}

// content gathers the parts of one chat message. Text alone becomes a plain
// string, which every server takes.
type content struct {
	parts [][]byte
	texts [][]byte // raw strings; only meaningful while plain
	rich  bool
}

func (c *content) text(raw, cache []byte) {
	b := append(make([]byte, 0, len(raw)+32), '{')
	b = jsonscan.AppendRaw(jsonscan.AppendText(b, "type", "text"), "text", raw)
	if cache != nil {
		b = jsonscan.AppendRaw(b, "cache_control", cache)
		c.rich = true
	}
	c.parts, c.texts = append(c.parts, append(b, '}')), append(c.texts, raw)
}

func (c *content) part(raw []byte) {
	c.parts, c.rich = append(c.parts, raw), true
}

// encode is nil when there is nothing.
func (c *content) encode() []byte {
	switch {
	case len(c.parts) == 0:
		return nil
	case c.rich:
		b := []byte{'['}
		for i, p := range c.parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, p...)
		}
		return append(b, ']')
	case len(c.texts) == 1:
		return c.texts[0]
	}
	b := []byte{'"'}
	for i, t := range c.texts {
		if i > 0 {
			b = append(b, `\n`...)
		}
		b = append(b, t[1:len(t)-1]...)
	}
	return append(b, '"')
}

func (r *chatRequest) message(i int, raw []byte) error {
	where := "messages[" + strconv.Itoa(i) + "]"
	role, body := jsonscan.Text(raw, "role"), jsonscan.Member(raw, "content")
	if role != "user" && role != "assistant" && role != "system" {
		return bad(where+".role", "unknown role "+strconv.Quote(role))
	}
	switch {
	case jsonscan.IsString(body):
		r.add(role, body)
		return nil
	case !jsonscan.IsArray(body):
		return bad(where+".content", "content must be a string or an array of blocks")
	case role == "assistant":
		return r.assistant(where, body)
	}
	return r.user(where, role, body)
}

// user turns one user message into tool messages, one a result, and what
// follows them: chat APIs want the results directly behind the calls.
func (r *chatRequest) user(where, role string, body []byte) error {
	var rest content
	j := -1
	for it := jsonscan.Walk(body); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		j++
		at := where + ".content[" + strconv.Itoa(j) + "]"
		if jsonscan.Text(b, "type") == "tool_result" {
			if err := r.toolResult(at, b, &rest); err != nil {
				return err
			}
			continue
		}
		if err := r.part(at, b, &rest); err != nil {
			return err
		}
	}
	if c := rest.encode(); c != nil {
		r.add(role, c)
	}
	return nil
}

// part adds one block that is no tool result.
func (r *chatRequest) part(where string, b []byte, to *content) error {
	switch kind := jsonscan.Text(b, "type"); kind {
	case "text":
		t := jsonscan.Member(b, "text")
		if !jsonscan.IsString(t) {
			return bad(where+".text", "a text block needs a text")
		}
		if jsonscan.TextLen(t) > 0 {
			to.text(t, r.cacheOf(b))
		}
	case "image":
		url := sourceURL(jsonscan.Member(b, "source"))
		if url == "" {
			return bad(where+".source", "only base64 and url images can be passed to this model")
		}
		to.part(imagePart(url, r.cacheOf(b)))
	case "document":
		return r.document(where, b, to)
	case "search_result":
		to.text(jsonscan.Quoted(searchText(b)), r.cacheOf(b))
	case "":
		return bad(where+".type", "a content block needs a type")
	default:
		r.drop("messages." + kind)
	}
	return nil
}

func imagePart(url string, cache []byte) []byte {
	b := append([]byte(`{"type":"image_url","image_url":`), '{')
	b = append(jsonscan.AppendText(b, "url", url), '}')
	if cache != nil {
		b = jsonscan.AppendRaw(b, "cache_control", cache)
	}
	return append(b, '}')
}

// sourceURL is a data URL or the address of a source, "" for other kinds.
func sourceURL(source []byte) string {
	switch jsonscan.Text(source, "type") {
	case "base64":
		return "data:" + jsonscan.Text(source, "media_type") + ";base64," + jsonscan.Text(source, "data")
	case "url":
		return jsonscan.Text(source, "url")
	}
	return ""
}

func (r *chatRequest) document(where string, b []byte, to *content) error {
	source := jsonscan.Member(b, "source")
	title := jsonscan.Text(b, "title")
	switch jsonscan.Text(source, "type") {
	case "base64":
		if title == "" {
			title = "document.pdf"
		}
		f := append([]byte(`{"type":"file","file":`), '{')
		f = jsonscan.AppendText(f, "filename", title)
		f = append(jsonscan.AppendText(f, "file_data", sourceURL(source)), '}')
		if cache := r.cacheOf(b); cache != nil {
			f = jsonscan.AppendRaw(f, "cache_control", cache)
		}
		to.part(append(f, '}'))
	case "text":
		s := jsonscan.Text(source, "data")
		if title != "" {
			s = title + "\n\n" + s
		}
		to.text(jsonscan.Quoted(s), r.cacheOf(b))
	case "content":
		inner := jsonscan.Member(source, "content")
		if jsonscan.IsString(inner) {
			to.text(inner, r.cacheOf(b))
			return nil
		}
		for it := jsonscan.Walk(inner); ; {
			p, ok := it.Element()
			if !ok {
				return nil
			}
			if err := r.part(where+".source.content", p, to); err != nil {
				return err
			}
		}
	default:
		return bad(where+".source", "only base64, text and content documents can be passed to this model")
	}
	return nil
}

func searchText(b []byte) string {
	var s strings.Builder
	s.WriteString(jsonscan.Text(b, "title") + "\n" + jsonscan.Text(b, "source"))
	for it := jsonscan.Walk(jsonscan.Member(b, "content")); ; {
		p, ok := it.Element()
		if !ok {
			return s.String()
		}
		s.WriteString("\n" + jsonscan.Text(p, "text"))
	}
}

// toolResult adds one tool message. Chat APIs take text there only, so images
// go on in the user message that follows, and the text says so.
func (r *chatRequest) toolResult(where string, b []byte, rest *content) error {
	id := jsonscan.Member(b, "tool_use_id")
	if !jsonscan.IsString(id) {
		return bad(where+".tool_use_id", "a tool result needs the id of its call")
	}
	var out strings.Builder
	line := func(s string) {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(s)
	}
	if string(jsonscan.Member(b, "is_error")) == "true" {
		out.WriteString("Error: ")
	}
	body := jsonscan.Member(b, "content")
	if s, ok := jsonscan.String(body); ok {
		out.WriteString(s)
	}
	prefix := out.Len()
	if jsonscan.IsArray(body) {
		for it := jsonscan.Walk(body); ; {
			p, ok := it.Element()
			if !ok {
				break
			}
			switch jsonscan.Text(p, "type") {
			case "text":
				if out.Len() == prefix {
					out.WriteString(jsonscan.Text(p, "text"))
				} else {
					line(jsonscan.Text(p, "text"))
				}
			case "image", "document":
				line("[" + jsonscan.Text(p, "type") + ": in the next user message]")
				if err := r.part(where+".content", p, rest); err != nil {
					return err
				}
			case "search_result":
				line(searchText(p))
			default:
				line(string(jsonscan.Compact(nil, p)))
			}
		}
	}
	m := append(make([]byte, 0, out.Len()+80), '{')
	m = jsonscan.AppendRaw(jsonscan.AppendText(m, "role", "tool"), "tool_call_id", id)
	if cache := r.cacheOf(b); cache != nil {
		m = append(jsonscan.AppendKey(m, "content"), `[{"type":"text"`...)
		m = append(jsonscan.AppendRaw(jsonscan.AppendText(m, "text", out.String()), "cache_control", cache), "}]"...)
	} else {
		m = jsonscan.AppendText(m, "content", out.String())
	}
	r.messages = append(r.messages, append(m, '}'))
	return nil
}

// assistant turns one assistant message into text and calls. Thoughts are
// bound to their maker and stay behind, but for targets that check them.
func (r *chatRequest) assistant(where string, body []byte) error {
	var said content
	var calls, thoughts [][]byte
	var reasoning []byte
	j := -1
	for it := jsonscan.Walk(body); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		j++
		at := where + ".content[" + strconv.Itoa(j) + "]"
		switch jsonscan.Text(b, "type") {
		case "text":
			if err := r.part(at, b, &said); err != nil {
				return err
			}
		case "tool_use":
			call, problem := chatCall(b)
			if problem != "" {
				return bad(at, problem)
			}
			calls = append(calls, call)
		case "thinking":
			reasoning, _ = jsonscan.AppendString(reasoning, jsonscan.Member(b, "thinking"))
			if jsonscan.Text(b, "signature") != "" {
				thoughts = append(thoughts, b)
			}
		case "redacted_thinking":
			thoughts = append(thoughts, b)
		case "":
			return bad(at+".type", "a content block needs a type")
		}
	}
	c := said.encode()
	if c == nil && len(calls) == 0 {
		return nil // nothing that the target could use
	}
	if c == nil {
		c = []byte("null")
	}
	m := append(make([]byte, 0, len(c)+64), '{')
	m = jsonscan.AppendRaw(jsonscan.AppendText(m, "role", "assistant"), "content", c)
	if len(calls) > 0 {
		m = jsonscan.AppendList(m, "tool_calls", calls)
		if r.keep.reasons && len(reasoning) > 0 {
			m = jsonscan.AppendText(m, "reasoning_content", string(reasoning))
		}
	}
	if r.keep.thinking && len(thoughts) > 0 {
		m = jsonscan.AppendList(m, "thinking_blocks", thoughts)
	}
	r.messages = append(r.messages, append(m, '}'))
	return nil
}

func chatCall(b []byte) (call []byte, problem string) {
	id, name := jsonscan.Member(b, "id"), jsonscan.Member(b, "name")
	if !jsonscan.IsString(id) || !jsonscan.IsString(name) {
		return nil, "a tool call needs an id and a name"
	}
	input := jsonscan.Member(b, "input")
	if input == nil {
		input = []byte("{}")
	}
	c := jsonscan.AppendText(jsonscan.AppendRaw([]byte{'{'}, "id", id), "type", "function")
	c = append(jsonscan.AppendKey(c, "function"), '{')
	c = jsonscan.AppendRaw(c, "name", name)
	return append(jsonscan.AppendText(c, "arguments", string(jsonscan.Compact(nil, input))), "}}"...), ""
}
