package cache

import (
	"bytes"
	"slices"

	"tollgate/proxy/jsonscan"
)

// message joins Anthropic's events.
type message struct {
	start  []byte // message_start's message
	blocks []*block
	ends   []byte // message_delta's delta
	usage  []byte // its usage
	done   bool
}

// block is one content block: its start, and what its deltas add up to.
type block struct {
	index     int64
	start     []byte
	text      []byte
	hasText   bool
	input     []byte
	signature []byte
	citations [][]byte
}

func assembleMessage(frames []byte) ([]byte, bool) {
	m := message{}
	for line := range bytes.Lines(frames) {
		data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
		if ok && !m.event(bytes.TrimSpace(data)) {
			return nil, false
		}
	}
	return m.document()
}

func (m *message) event(data []byte) bool {
	var o jsonscan.Object
	if o.ParseTop(data) != nil {
		return false
	}
	get := func(key string) []byte {
		raw, _ := o.Get(key)
		return raw
	}
	kind, _ := jsonscan.String(get("type"))
	switch kind {
	case "message_start":
		m.start = get("message")
	case "content_block_start":
		index, _ := jsonscan.Int(get("index"))
		m.blocks = append(m.blocks, &block{index: index, start: get("content_block")})
	case "content_block_delta":
		index, _ := jsonscan.Int(get("index"))
		i := slices.IndexFunc(m.blocks, func(b *block) bool { return b.index == index })
		return i >= 0 && m.blocks[i].delta(get("delta"))
	case "message_delta":
		m.ends, m.usage = get("delta"), get("usage")
	case "message_stop":
		m.done = true
	case "content_block_stop", "ping":
	default:
		return false // an error, or what nobody here knows how to join
	}
	return true
}

func (b *block) delta(d []byte) bool {
	join := func(to *[]byte, name string) bool {
		raw := jsonscan.Member(d, name)
		if !jsonscan.IsString(raw) {
			return false
		}
		*to, _ = jsonscan.AppendString(*to, raw)
		return true
	}
	switch jsonscan.Text(d, "type") {
	case "text_delta":
		b.hasText = true
		return join(&b.text, "text")
	case "thinking_delta":
		b.hasText = true
		return join(&b.text, "thinking")
	case "input_json_delta":
		return join(&b.input, "partial_json")
	case "signature_delta":
		return join(&b.signature, "signature")
	case "citations_delta":
		c := jsonscan.Member(d, "citation")
		b.citations = append(b.citations, c)
		return c != nil
	}
	return false
}

func (m *message) document() ([]byte, bool) {
	var o jsonscan.Object
	if !m.done || o.ParseTop(m.start) != nil || len(m.blocks) == 0 && m.ends == nil {
		return nil, false
	}
	var content [][]byte
	for _, b := range m.blocks {
		whole, ok := b.document()
		if !ok {
			return nil, false
		}
		content = append(content, whole)
	}
	list := []byte{'['}
	for i, c := range content {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, c...)
	}
	edits := []jsonscan.Edit{{Key: "content", Value: append(list, ']')}}
	for it := jsonscan.Walk(m.ends); ; {
		k, v, ok := it.Member()
		if !ok {
			break
		}
		edits = append(edits, jsonscan.Edit{Key: string(jsonscan.Name(k)), Value: v})
	}
	if jsonscan.IsObject(m.usage) {
		edits = append(edits, jsonscan.Edit{Key: "usage", Value: overlaid(jsonscan.Member(m.start, "usage"), m.usage)})
	}
	return o.Rewrite(nil, edits, nil), true
}

// overlaid is the usage of the start with what the end says instead.
func overlaid(start, end []byte) []byte {
	var o jsonscan.Object
	if o.ParseTop(start) != nil {
		return end
	}
	var edits []jsonscan.Edit
	for it := jsonscan.Walk(end); ; {
		k, v, ok := it.Member()
		if !ok {
			return o.Rewrite(nil, edits, nil)
		}
		if !jsonscan.IsNull(v) {
			edits = append(edits, jsonscan.Edit{Key: string(jsonscan.Name(k)), Value: v})
		}
	}
}

func (b *block) document() ([]byte, bool) {
	var o jsonscan.Object
	if o.ParseTop(b.start) != nil {
		return nil, false
	}
	kind := jsonscan.Text(b.start, "type")
	var edits []jsonscan.Edit
	edit := func(key string, value []byte) { edits = append(edits, jsonscan.Edit{Key: key, Value: value}) }
	if b.hasText {
		if kind != "text" && kind != "thinking" {
			return nil, false
		}
		first, _ := jsonscan.AppendString(nil, jsonscan.Member(b.start, kind))
		edit(kind, jsonscan.AppendQuoted(nil, string(append(first, b.text...))))
	}
	if len(b.input) > 0 {
		var whole jsonscan.Object
		if whole.ParseTop(b.input) != nil {
			return nil, false
		}
		edit("input", b.input)
	}
	if len(b.signature) > 0 {
		edit("signature", jsonscan.AppendQuoted(nil, string(b.signature)))
	}
	if len(b.citations) > 0 {
		edit("citations", jsonscan.AppendList([]byte{'{'}, "c", b.citations)[len(`{"c":`):])
	}
	return o.Rewrite(nil, edits, nil), true
}
