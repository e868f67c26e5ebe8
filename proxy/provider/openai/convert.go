package openai

import (
	"bytes"
	"io"
	"strconv"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// looksStreamed reports whether a body asked for as a whole came as events.
func looksStreamed(body []byte) bool {
	return len(body) > 0 && (body[0] == ':' || bytes.HasPrefix(body, []byte("data:")) || bytes.HasPrefix(body, []byte("event:")))
}

// assemble makes a whole answer of a stream that nobody asked for.
func (p *Provider) assemble(c *provider.Call, body []byte) ([]byte, error) {
	quiet := *c
	quiet.WantUsage = false
	s, ok := p.Stream(&quiet).(*chunks)
	if !ok || c.Op == provider.OpEmbedding {
		return nil, notAnAnswer(body)
	}
	a := assembler{text: c.Op == provider.OpCompletion}
	r := stream.NewReader(bytes.NewReader(body))
	for {
		name, data, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, notAnAnswer(body)
		}
		if fault := s.Event(name, data, &a); fault != nil {
			return nil, fault
		}
	}
	if fault := s.End(&a); fault != nil {
		return nil, fault
	}
	return a.whole(s), nil
}

// assembler collects chunks; it is the sink of its own stream translator.
type assembler struct {
	text    bool
	choices []collected
}

type collected struct {
	index                       int64
	content, reasoning, refusal []byte // inner parts of raw strings
	hasContent                  bool
	calls                       []collectedCall
	finish                      []byte
}

type collectedCall struct {
	index    int64
	id, name []byte // raw
	args     []byte // inner part of a raw string
}

// Emit takes one frame of the stream translator.
func (a *assembler) Emit(frame []byte) {
	data := bytes.TrimSuffix(bytes.TrimPrefix(frame, []byte("data: ")), []byte("\n\n"))
	for it := jsonscan.Walk(jsonscan.Find(data, "choices")); ; {
		choice, ok := it.Element()
		if !ok {
			return
		}
		index, _ := jsonscan.Int(jsonscan.Find(choice, "index"))
		c := a.choice(index)
		if f := jsonscan.Find(choice, "finish_reason"); !jsonscan.IsNull(f) {
			c.finish = bytes.Clone(f)
		}
		if a.text {
			c.content = appendInner(c.content, jsonscan.Find(choice, "text"))
			continue
		}
		delta := jsonscan.Find(choice, "delta")
		content := jsonscan.Find(delta, "content")
		c.hasContent = c.hasContent || jsonscan.IsString(content)
		c.content = appendInner(c.content, content)
		c.refusal = appendInner(c.refusal, jsonscan.Find(delta, "refusal"))
		reasoning := jsonscan.Find(delta, "reasoning_content")
		if !jsonscan.IsString(reasoning) {
			reasoning = jsonscan.Find(delta, "reasoning")
		}
		c.reasoning = appendInner(c.reasoning, reasoning)
		for calls := jsonscan.Walk(jsonscan.Find(delta, "tool_calls")); ; {
			call, more := calls.Element()
			if !more {
				break
			}
			c.addCall(call)
		}
	}
}

func (a *assembler) choice(index int64) *collected {
	for i := range a.choices {
		if a.choices[i].index == index {
			return &a.choices[i]
		}
	}
	a.choices = append(a.choices, collected{index: index})
	return &a.choices[len(a.choices)-1]
}

func (c *collected) addCall(raw []byte) {
	index, ok := jsonscan.Int(jsonscan.Find(raw, "index"))
	if !ok {
		index = int64(len(c.calls))
	}
	var call *collectedCall
	for i := range c.calls {
		if c.calls[i].index == index {
			call = &c.calls[i]
		}
	}
	if call == nil {
		c.calls = append(c.calls, collectedCall{index: index})
		call = &c.calls[len(c.calls)-1]
	}
	fn := jsonscan.Find(raw, "function")
	if id := jsonscan.Find(raw, "id"); jsonscan.IsString(id) && len(id) > 2 {
		call.id = bytes.Clone(id)
	}
	if name := jsonscan.Find(fn, "name"); jsonscan.IsString(name) && len(name) > 2 {
		call.name = bytes.Clone(name)
	}
	call.args = appendInner(call.args, jsonscan.Find(fn, "arguments"))
}

func (a *assembler) whole(s *chunks) []byte {
	h := s.head
	h.Model = s.info.Model
	if !a.text {
		h.Object = openai.ObjectChat
	}
	out := append(h.AppendHead(nil), `,"choices":[`...)
	for i := range a.choices {
		c := &a.choices[i]
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"index":`...)
		out = strconv.AppendInt(out, c.index, 10)
		if a.text {
			out = appendRaw(append(out, `,"text":`...), c.content)
			out = append(out, `,"logprobs":null`...)
		} else {
			out = c.appendMessage(out)
		}
		out = append(out, `,"finish_reason":`...)
		if c.finish == nil {
			out = append(out, "null"...)
		}
		out = append(append(out, c.finish...), '}')
	}
	out = append(out, ']')
	if s.info.RawUsage != nil {
		out = append(append(out, `,"usage":`...), s.info.RawUsage...)
	}
	return append(out, '}')
}

func (c *collected) appendMessage(out []byte) []byte {
	out = append(out, `,"message":{"role":"assistant","content":`...)
	if c.hasContent {
		out = appendRaw(out, c.content)
	} else {
		out = append(out, "null"...)
	}
	if len(c.reasoning) > 0 {
		out = appendRaw(append(out, `,"reasoning_content":`...), c.reasoning)
	}
	if len(c.refusal) > 0 {
		out = appendRaw(append(out, `,"refusal":`...), c.refusal)
	}
	for i := range c.calls {
		if i == 0 {
			out = append(out, `,"tool_calls":[`...)
		} else {
			out = append(out, ',')
		}
		out = append(out, `{"id":`...)
		out = append(out, orEmpty(c.calls[i].id)...)
		out = append(out, `,"type":"function","function":{"name":`...)
		out = append(out, orEmpty(c.calls[i].name)...)
		out = appendRaw(append(out, `,"arguments":`...), c.calls[i].args)
		out = append(out, "}}"...)
	}
	if len(c.calls) > 0 {
		out = append(out, ']')
	}
	return append(out, '}')
}

func appendRaw(dst, inner []byte) []byte {
	return append(append(append(dst, '"'), inner...), '"')
}

func orEmpty(raw []byte) []byte {
	if raw == nil {
		return []byte(`""`)
	}
	return raw
}

// StreamWhole serves a client that asked for a stream from a provider that
// answered with one JSON document all the same: the answer leaves as events.
func (p *Provider) StreamWhole(c *provider.Call, header func(string) string, body []byte, out provider.Sink) (*provider.StreamInfo, error) {
	a, err := p.Answer(c, header, body)
	if err != nil {
		return nil, err
	}
	s, ok := p.Stream(c).(*chunks)
	if !ok || c.Op == provider.OpEmbedding {
		return nil, notAnAnswer(body)
	}
	var frame []byte
	choices := jsonscan.Find(a.Body, "choices")
	if raw := jsonscan.Find(a.Body, "created"); raw != nil {
		s.head.Created, _ = jsonscan.Int(raw)
	}
	if a.ID != "" {
		s.head.ID = a.ID
	}
	for it := jsonscan.Walk(choices); ; {
		choice, more := it.Element()
		if !more {
			break
		}
		frame = s.wholeChoice(frame[:0], choice)
		if err := s.Event("", bytes.TrimSuffix(bytes.TrimPrefix(frame, []byte("data: ")), []byte("\n\n")), out); err != nil {
			return nil, err
		}
	}
	s.takeUsage(a.RawUsage)
	s.info.Done, s.info.ID, s.info.Model, s.info.FinishReason = true, a.ID, a.Model, a.FinishReason
	if err := s.End(out); err != nil {
		return nil, err
	}
	return &s.info, nil
}

// wholeChoice makes one chunk of a finished choice.
func (s *chunks) wholeChoice(dst, choice []byte) []byte {
	index, _ := jsonscan.Int(jsonscan.Find(choice, "index"))
	finish, _ := jsonscan.String(jsonscan.Find(choice, "finish_reason"))
	if s.head.Object == openai.ObjectText {
		text := jsonscan.Find(choice, "text")
		return s.head.AppendDelta(dst, int(index), orEmpty(text), finish)
	}
	delta := []byte("{}")
	var o jsonscan.Object
	if o.ParseTop(jsonscan.Find(choice, "message")) == nil {
		var edits []jsonscan.Edit
		if calls, _ := o.Get("tool_calls"); len(calls) > 0 && calls[0] == '[' {
			n := 0
			edits = append(edits, jsonscan.Edit{Key: "tool_calls", Value: mapObjects(calls, func(out []byte, call *jsonscan.Object) []byte {
				n++
				return call.Rewrite(out, []jsonscan.Edit{{Key: "index", Value: strconv.AppendInt(nil, int64(n-1), 10)}}, nil)
			})})
		}
		delta = o.Rewrite(nil, edits, nil)
	}
	return s.head.AppendDelta(dst, int(index), delta, finish)
}
