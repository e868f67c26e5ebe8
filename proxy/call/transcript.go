package call

import (
	"bytes"
	"slices"
	"strconv"

	"tollgate/proxy/jsonscan"
)

// transcript is the answer that the frames of a stream add up to, as the one
// JSON document that the caller would have had without streaming. It is what
// spend logs keep: a reader of them should not see how an answer travelled.
func transcript(frames []byte) []byte {
	t := transcriber{}
	for line := range bytes.Lines(frames) {
		data, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte("data: "))
		if !ok || len(data) == 0 || data[0] != '{' {
			continue
		}
		if jsonscan.Find(data, "type") != nil {
			t.event(data)
		} else {
			t.chunk(data)
		}
	}
	return t.document()
}

// part is one choice of an OpenAI answer, or one block of an Anthropic one.
type part struct {
	index  int64
	head   []byte // of a block: its start, raw
	role   []byte
	text   []byte // joined, not quoted
	hasOwn bool   // the text is a legacy completion's
	input  []byte // joined tool arguments
	calls  []part // tool calls of a choice
	finish []byte
}

type transcriber struct {
	first   []byte // the chunk or message that names id and model
	parts   []part
	usage   []byte
	stop    []byte
	message bool // Anthropic's dialect
}

func at(parts *[]part, raw []byte) *part {
	n, _ := jsonscan.Int(raw)
	i := slices.IndexFunc(*parts, func(p part) bool { return p.index == n })
	if i < 0 {
		*parts = append(*parts, part{index: n})
		i = len(*parts) - 1
	}
	return &(*parts)[i]
}

func join(to *[]byte, raw []byte) {
	if jsonscan.IsString(raw) {
		*to, _ = jsonscan.AppendString(*to, raw)
	}
}

func keepIf(to *[]byte, raw []byte) {
	if len(raw) > 0 && !jsonscan.IsNull(raw) {
		*to = raw
	}
}

// chunk takes one of OpenAI's chunks.
func (t *transcriber) chunk(data []byte) {
	if t.first == nil {
		t.first = data
	}
	keepIf(&t.usage, jsonscan.Find(data, "usage"))
	choices := jsonscan.Walk(jsonscan.Find(data, "choices"))
	for c, ok := choices.Element(); ok; c, ok = choices.Element() {
		p := at(&t.parts, jsonscan.Find(c, "index"))
		keepIf(&p.finish, jsonscan.Find(c, "finish_reason"))
		if own := jsonscan.Find(c, "text"); own != nil {
			p.hasOwn = true
			join(&p.text, own)
		}
		delta := jsonscan.Find(c, "delta")
		keepIf(&p.role, jsonscan.Find(delta, "role"))
		join(&p.text, jsonscan.Find(delta, "content"))
		calls := jsonscan.Walk(jsonscan.Find(delta, "tool_calls"))
		for call, ok := calls.Element(); ok; call, ok = calls.Element() {
			one := at(&p.calls, jsonscan.Find(call, "index"))
			fn := jsonscan.Find(call, "function")
			keepIf(&one.head, jsonscan.Find(call, "id"))
			keepIf(&one.role, jsonscan.Find(fn, "name"))
			join(&one.input, jsonscan.Find(fn, "arguments"))
		}
	}
}

// event takes one of Anthropic's events.
func (t *transcriber) event(data []byte) {
	t.message = true
	kind, _ := jsonscan.String(jsonscan.Find(data, "type"))
	switch kind {
	case "message_start":
		t.first = jsonscan.Find(data, "message")
		keepIf(&t.usage, jsonscan.Find(t.first, "usage"))
	case "content_block_start":
		at(&t.parts, jsonscan.Find(data, "index")).head = jsonscan.Find(data, "content_block")
	case "content_block_delta":
		p, d := at(&t.parts, jsonscan.Find(data, "index")), jsonscan.Find(data, "delta")
		join(&p.text, jsonscan.Find(d, "text"))
		join(&p.text, jsonscan.Find(d, "thinking"))
		join(&p.input, jsonscan.Find(d, "partial_json"))
	case "message_delta":
		keepIf(&t.stop, jsonscan.Find(jsonscan.Find(data, "delta"), "stop_reason"))
		keepIf(&t.usage, jsonscan.Find(data, "usage"))
	}
}

func (t *transcriber) document() []byte {
	if t.first == nil {
		return nil
	}
	dst := []byte(`{"id":`)
	dst = appendRaw(dst, jsonscan.Find(t.first, "id"))
	dst = appendRaw(append(dst, `,"model":`...), jsonscan.Find(t.first, "model"))
	if t.message {
		dst = t.blocks(append(dst, `,"type":"message","role":"assistant","content":[`...))
		dst = appendRaw(append(dst, `],"stop_reason":`...), t.stop)
	} else {
		dst = t.choices(append(dst, `,"choices":[`...))
		dst = append(dst, ']')
	}
	return append(appendRaw(append(dst, `,"usage":`...), t.usage), '}')
}

func appendRaw(dst, raw []byte) []byte {
	if len(raw) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, raw...)
}

func (t *transcriber) choices(dst []byte) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"index":`...), p.index, 10)
		if p.hasOwn {
			dst = jsonscan.AppendQuoted(append(dst, `,"text":`...), string(p.text))
		} else {
			dst = appendRaw(append(dst, `,"message":{"role":`...), p.role)
			dst = append(dst, `,"content":`...)
			if len(p.text) == 0 && len(p.calls) > 0 {
				dst = append(dst, "null"...)
			} else {
				dst = jsonscan.AppendQuoted(dst, string(p.text))
			}
			dst = append(p.toolCalls(dst), '}')
		}
		dst = append(appendRaw(append(dst, `,"finish_reason":`...), p.finish), '}')
	}
	return dst
}

func (p *part) toolCalls(dst []byte) []byte {
	for i := range p.calls {
		one := &p.calls[i]
		if i == 0 {
			dst = append(dst, `,"tool_calls":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendRaw(append(dst, `{"id":`...), one.head)
		dst = appendRaw(append(dst, `,"type":"function","function":{"name":`...), one.role)
		dst = jsonscan.AppendQuoted(append(dst, `,"arguments":`...), string(one.input))
		dst = append(dst, "}}"...)
	}
	if len(p.calls) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// blocks puts what has been joined into the blocks as they were started.
func (t *transcriber) blocks(dst []byte) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		name, value := "", []byte(nil)
		kind, _ := jsonscan.String(jsonscan.Find(p.head, "type"))
		switch {
		case kind == "text" || kind == "thinking":
			name, value = kind, jsonscan.AppendQuoted(nil, string(p.text))
		case len(p.input) > 0:
			// A stream that was cut leaves half an object: it is kept as text.
			name, value = "input", p.input
			var whole jsonscan.Object
			if whole.Parse(p.input) != nil {
				value = jsonscan.AppendQuoted(nil, string(p.input))
			}
		}
		var block jsonscan.Object
		if name == "" || block.ParseTop(p.head) != nil {
			dst = appendRaw(dst, p.head)
			continue
		}
		dst = block.Rewrite(dst, []jsonscan.Edit{{Key: name, Value: value}}, nil)
	}
	return dst
}
