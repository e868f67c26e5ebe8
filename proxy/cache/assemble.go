package cache

import (
	"bytes"
	"slices"
	"strconv"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
)

// Assemble is the answer that the frames of a whole stream add up to, as the one
// document that the caller would have had without streaming. It is false when the
// stream is not whole or says something that cannot be put together with
// certainty: then nothing is kept. usage stands in where the stream has none.
func Assemble(frames []byte, messages bool, usage *price.Usage) ([]byte, bool) {
	if messages {
		return assembleMessage(frames)
	}
	a := assembly{}
	for line := range bytes.Lines(frames) {
		data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
		if !ok {
			continue
		}
		switch data = bytes.TrimSpace(data); {
		case string(data) == "[DONE]":
			a.done = true
		case !a.chunk(data):
			return nil, false
		}
	}
	return a.document(usage)
}

// assembly joins OpenAI's chunks.
type assembly struct {
	head    node // of the document: id, created, model, what else stands there
	choices []choice
	usage   []byte
	text    bool // of a text completion
	done    bool
}

type choice struct {
	index  int64
	node   // logprobs, finish_reason, text
	delta  node
	finish []byte
}

func (a *assembly) chunk(data []byte) bool {
	var o jsonscan.Object
	if o.ParseTop(data) != nil || o.Has("error") {
		return false
	}
	for _, f := range o.Fields() {
		switch string(f.Key) {
		case "choices":
			for it := jsonscan.Walk(f.Value); ; {
				c, ok := it.Element()
				if !ok {
					break
				}
				if !a.choice(c) {
					return false
				}
			}
		case "usage":
			if jsonscan.IsObject(f.Value) {
				a.usage = f.Value
			}
		case "obfuscation": // pads a chunk against those who measure it
		case "object":
			a.text = string(f.Value) == `"text_completion"`
		default:
			if m := a.head.member(string(f.Key)); m.raw == nil && !jsonscan.IsNull(f.Value) {
				m.raw = f.Value
			}
		}
	}
	return true
}

func (a *assembly) choice(raw []byte) bool {
	n, ok := jsonscan.Int(jsonscan.Find(raw, "index"))
	if !ok {
		n = 0
	}
	i := slices.IndexFunc(a.choices, func(c choice) bool { return c.index == n })
	if i < 0 {
		a.choices = append(a.choices, choice{index: n})
		i = len(a.choices) - 1
	}
	c := &a.choices[i]
	for it := jsonscan.Walk(raw); ; {
		k, v, more := it.Member()
		if !more {
			return true
		}
		switch key := string(jsonscan.Name(k)); {
		case key == "index" || jsonscan.IsNull(v):
		case key == "delta":
			if !jsonscan.IsObject(v) || !c.delta.merge(v) {
				return false
			}
		case key == "finish_reason":
			c.finish = v
		case !c.node.mergeMember(key, v):
			return false
		}
	}
}

func (a *assembly) document(usage *price.Usage) ([]byte, bool) {
	if !a.done || len(a.choices) == 0 {
		return nil, false
	}
	dst := []byte{'{'}
	dst = appendMember(dst, a.head, "id")
	if a.text {
		dst = jsonscan.AppendText(dst, "object", openai.ObjectText)
	} else {
		dst = jsonscan.AppendText(dst, "object", openai.ObjectChat)
	}
	for _, m := range a.head.members {
		if m.name != "id" {
			dst = m.appendNamed(append(dst, ','))
		}
	}
	dst = append(jsonscan.AppendKey(dst, "choices"), '[')
	slices.SortFunc(a.choices, func(x, y choice) int { return int(x.index - y.index) })
	for i := range a.choices {
		c := &a.choices[i]
		if c.finish == nil {
			return nil, false // the stream was cut
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"index":`...), c.index, 10)
		if !a.text {
			dst = append(jsonscan.AppendKey(dst, "message"), c.delta.message()...)
		}
		for _, m := range c.members {
			dst = m.appendNamed(append(dst, ','))
		}
		dst = append(jsonscan.AppendRaw(dst, "finish_reason", c.finish), '}')
	}
	dst = append(dst, ']')
	switch {
	case a.usage != nil:
		dst = jsonscan.AppendRaw(dst, "usage", a.usage)
	case usage != nil && usage.Known:
		dst = openai.AppendUsage(jsonscan.AppendKey(dst, "usage"), usage)
	}
	return append(dst, '}'), true
}

func appendMember(dst []byte, n node, name string) []byte {
	for _, m := range n.members {
		if m.name == name {
			return jsonscan.AppendRaw(dst, name, m.append(nil))
		}
	}
	return dst
}

// message is the delta as a message: role and content are always there, and list
// items lose the numbers that told them apart.
func (n *node) message() []byte {
	dst := []byte{'{'}
	role := n.member("role")
	if role.raw == nil {
		role.raw = []byte(`"assistant"`)
	}
	dst = jsonscan.AppendRaw(dst, "role", role.raw)
	content := n.member("content")
	if text := content.append(nil); content.empty() || string(text) == `""` && n.has("tool_calls") {
		dst = append(jsonscan.AppendKey(dst, "content"), "null"...)
	} else {
		dst = jsonscan.AppendRaw(dst, "content", text)
	}
	for _, m := range n.members {
		if m.name != "role" && m.name != "content" {
			dst = m.appendNamed(append(dst, ','))
		}
	}
	return append(dst, '}')
}
