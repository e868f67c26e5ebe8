package openai

import (
	"bytes"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// Stream starts the translator of a streamed answer.
func (p *Provider) Stream(c *provider.Call) provider.Stream {
	s := &chunks{row: &p.row, want: c.WantUsage, estimate: c.InputEstimate,
		model: jsonscan.AppendQuoted(make([]byte, 0, 64), c.PublicName),
		head:  openai.Head{ID: "chatcmpl-" + c.CallID, Object: openai.ObjectChunk, Created: c.Now.Unix(), Model: c.PublicName}}
	if c.Op == provider.OpCompletion {
		s.head.ID, s.head.Object = "cmpl-"+c.CallID, openai.ObjectText
	}
	return s
}

// chunks passes one stream on: each event keeps its bytes but for the model's
// name and the usage, which leaves once, last, and only when asked for.
type chunks struct {
	row      *Row
	want     bool
	estimate int64
	model    []byte      // the public name, quoted
	head     openai.Head // for the chunks that are ours
	info     provider.StreamInfo

	o          jsonscan.Object
	pattern    template
	buf        []byte
	tier       []byte // service_tier as told last, raw
	usageFrame []byte // the provider's usage chunk, ready to be sent
	begun      bool
	open, shut [2]uint64 // choices begun and finished, by index
	mend       bool      // the event at hand needs mending
	counted    int64     // bytes of output in the event at hand
}

// Info is what is known so far.
func (s *chunks) Info() *provider.StreamInfo { return &s.info }

// Event takes one upstream event.
func (s *chunks) Event(name string, data []byte, out provider.Sink) error {
	if s.quick(name, data, out) {
		return nil
	}
	if stream.IsDone(data) {
		s.info.Done = true
		return nil
	}
	if len(bytes.TrimSpace(data)) == 0 || s.info.Done {
		return nil
	}
	if err := s.o.ParseTop(data); err != nil {
		e := provider.NewError(provider.APIError, "the provider's stream holds an event that is not a JSON object")
		e.Upstream = 200
		return e
	}
	var choices, usage, model []byte
	for _, f := range s.o.Fields() {
		switch string(f.Key) {
		case "id":
			if s.info.ID == "" {
				s.setID(f.Value)
			}
		case "model":
			model = f.Value
		case "created":
			if !s.begun {
				if n, ok := jsonscan.Int(f.Value); ok {
					s.head.Created = n
				}
			}
		case "choices":
			choices = f.Value
		case "usage":
			usage = f.Value
		case "service_tier":
			if !bytes.Equal(s.tier, f.Value) {
				s.tier = append(s.tier[:0], f.Value...)
			}
		case "error":
			if !jsonscan.IsNull(f.Value) {
				return inside(data)
			}
		case "x_groq":
			if fault := groqError(f.Value); fault != nil {
				return fault
			}
			s.takeUsage(jsonscan.Find(f.Value, "usage"))
		}
	}
	if s.info.Model == "" && model != nil {
		s.info.Model, _ = jsonscan.String(model)
	}
	if jsonscan.IsNull(choices) && (name == "error" || string(jsonscan.Find(data, "object")) == `"error"`) {
		return inside(data)
	}
	return s.pass(data, choices, usage, model, out)
}

func (s *chunks) setID(raw []byte) {
	if id, ok := jsonscan.String(raw); ok && id != "" {
		s.info.ID, s.head.ID = id, id
	}
}

// pass sends the event at hand on.
func (s *chunks) pass(data, choices, usage, model []byte, out provider.Sink) error {
	n, fault := s.readChoices(choices)
	if fault != nil {
		return fault
	}
	told := len(usage) > 0 && usage[0] == '{'
	if told {
		s.takeUsage(usage)
	}
	var room [3]jsonscan.Edit
	edits := room[:0]
	if !bytes.Equal(model, s.model) {
		edits = append(edits, jsonscan.Edit{Key: "model", Value: s.model})
	}
	switch {
	case n == 0 && told:
		if s.want {
			if choices == nil || choices[0] != '[' {
				edits = append(edits, jsonscan.Edit{Key: "choices", Value: []byte("[]")})
			}
			s.usageFrame = s.frame(s.usageFrame[:0], data, edits)
		}
		return nil
	case len(choices) == 0 || choices[0] != '[':
		return nil // clients cannot read a chunk without choices
	case told && s.want:
		edits = append(edits, jsonscan.Edit{Key: "usage", Value: []byte("null")})
	case usage != nil && !s.want:
		edits = append(edits, jsonscan.Edit{Key: "usage"})
	}
	if s.mend {
		inner := "delta"
		if s.head.Object == openai.ObjectText {
			inner = "text"
		}
		edits = append(edits, jsonscan.Edit{Key: "choices", Value: mendChoices(choices, inner)})
	}
	s.begun = true
	s.info.OutputBytes += s.counted
	s.info.SawContent = s.info.SawContent || s.counted > 0
	s.buf = s.frame(s.buf[:0], data, edits)
	out.Emit(s.buf)
	if !told && !s.mend && bytes.IndexByte(data, '\n') < 0 {
		s.pattern.learn(data, s.buf)
	}
	return nil
}

// frame appends the event with its edits.
func (s *chunks) frame(dst, data []byte, edits []jsonscan.Edit) []byte {
	dst = append(dst, "data: "...)
	start := len(dst)
	if len(edits) == 0 {
		dst = append(dst, data...)
	} else {
		dst = s.o.Rewrite(dst, edits, nil)
	}
	if bytes.IndexByte(data, '\n') >= 0 { // came in several data lines
		for i := start; i < len(dst); i++ {
			if dst[i] == '\n' {
				dst[i] = ' '
			}
		}
	}
	return append(dst, "\n\n"...)
}

// readChoices looks through the choices of one event: output bytes, finish
// reasons, what needs mending. It returns how many there are.
func (s *chunks) readChoices(choices []byte) (n int, fault error) {
	s.counted, s.mend = 0, false
	c := jsonscan.CursorAt(choices)
	if !c.Enter('[') {
		return 0, nil
	}
	for ; c.More(); n++ {
		if !c.Enter('{') {
			continue
		}
		index, reason := int64(0), []byte(nil)
		for k, ok := c.Key(); ok; k, ok = c.Key() {
			switch string(k) {
			case "index":
				index, _ = jsonscan.Int(c.Value())
			case "delta":
				s.countDelta(&c)
			case "text":
				s.counted += int64(jsonscan.TextLen(c.Value()))
			case "finish_reason":
				reason = c.Value()
			default:
				c.Value()
			}
		}
		if fault := s.finish(index&127, reason); fault != nil {
			return n, fault
		}
	}
	return n, nil
}

// finish notes that a choice was there and whether it has ended.
func (s *chunks) finish(index int64, reason []byte) error {
	s.open[index>>6] |= 1 << (index & 63)
	if jsonscan.IsNull(reason) {
		return nil
	}
	if fault := finishFault(reason); fault != nil {
		return fault
	}
	name, same := finishName(reason)
	if name != "" {
		s.info.FinishReason = name
		s.shut[index>>6] |= 1 << (index & 63)
	}
	s.mend = s.mend || !same
	return nil
}

func (s *chunks) countDelta(c *jsonscan.Cursor) {
	if !c.Enter('{') {
		return
	}
	reasoning := 0
	for k, ok := c.Key(); ok; k, ok = c.Key() {
		v := c.Value()
		switch string(k) {
		case "content":
			if v[0] == '[' {
				s.mend = s.mend || s.row.PartLists
				s.counted += int64(len(v))
				continue
			}
			s.counted += int64(jsonscan.TextLen(v))
		case "reasoning_content", "reasoning":
			reasoning = max(reasoning, jsonscan.TextLen(v)) // some send the same under both names
		case "refusal":
			s.counted += int64(jsonscan.TextLen(v))
		case "function_call":
			s.countFunction(v)
		case "tool_calls":
			for it := jsonscan.Walk(v); ; {
				call, more := it.Element()
				if !more {
					break
				}
				s.countFunction(jsonscan.Find(call, "function"))
			}
		}
	}
	s.counted += int64(reasoning)
}

func (s *chunks) countFunction(fn []byte) {
	args := jsonscan.Find(fn, "arguments")
	if len(args) > 0 && args[0] == '{' {
		s.mend = s.mend || s.row.PartLists
		s.counted += int64(len(args))
	}
	s.counted += int64(jsonscan.TextLen(args) + jsonscan.TextLen(jsonscan.Find(fn, "name")))
}

// takeUsage keeps the last usage told: with running counts it is the total.
func (s *chunks) takeUsage(raw []byte) {
	if len(raw) == 0 || raw[0] != '{' {
		return
	}
	s.info.RawUsage = append(s.info.RawUsage[:0], raw...)
	s.info.Usage = price.FromOpenAI(s.info.RawUsage)
	if s.info.Usage.ServiceTier == "" {
		s.info.Usage.ServiceTier, _ = jsonscan.String(s.tier)
	}
}

// End is called when the upstream body has ended.
func (s *chunks) End(out provider.Sink) error {
	complete := s.info.Done || s.info.FinishReason != "" && s.info.Usage.Known
	switch {
	case !complete:
		e := provider.NewError(provider.APIConnection, "the provider's stream broke off before its end")
		e.Upstream = 200
		return e
	case !s.begun:
		e := provider.NewError(provider.APIError, "the provider's stream held no answer")
		e.Upstream = 200
		return e
	}
	s.close(out)
	return nil
}

// Cut ends the client's stream early: what is open is finished with reason.
func (s *chunks) Cut(reason string, out provider.Sink) {
	if s.open == [2]uint64{} {
		s.open[0] = 1
	}
	empty := []byte("{}")
	if s.head.Object == openai.ObjectText {
		empty = []byte(`""`)
	}
	for i := range 128 {
		bit := uint64(1) << (i & 63)
		if s.open[i>>6]&bit != 0 && s.shut[i>>6]&bit == 0 {
			s.buf = s.head.AppendDelta(s.buf[:0], i, empty, reason)
			out.Emit(s.buf)
		}
	}
	s.info.FinishReason = reason
	s.close(out)
}

// close sends the usage, once, and the end marker. A provider that told no
// usage gets ours, marked as estimated.
func (s *chunks) close(out provider.Sink) {
	if !s.info.Usage.Known {
		s.info.Usage = price.Usage{InUncached: s.estimate, OutTotal: (s.info.OutputBytes + 3) / 4, Known: true, Estimated: true}
	}
	if s.want {
		if len(s.usageFrame) == 0 {
			s.usageFrame = s.head.AppendUsageFrame(s.usageFrame[:0], &s.info.Usage, s.info.RawUsage)
		}
		out.Emit(s.usageFrame)
	}
	out.Emit([]byte(stream.Done))
}
