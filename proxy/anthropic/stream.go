package anthropic

import (
	"bytes"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// NewStream turns the chunks of a chat stream into Messages events. The input
// count of message_start is the call's estimate, as agents show their context
// from it and chat APIs count only at the end.
func NewStream(inner provider.Stream, c *provider.Call) provider.Stream {
	return &messageStream{inner: inner, public: c.PublicName, callID: c.CallID, estimate: max(c.InputEstimate, 1)}
}

// messageStream writes blocks one after another: Messages blocks may not
// overlap, chunks of parallel calls may. What belongs to a later block waits.
type messageStream struct {
	inner    provider.Stream
	public   string
	callID   string
	estimate int64

	out     provider.Sink // of the running call
	scan    jsonscan.Object
	buf     []byte
	err     error
	id      string
	started bool
	over    bool
	index   int64 // of the open block, or of the next one
	open    *segment
	waiting []*segment // later blocks, in order of their first byte
	calls   []*segment // by first appearance
	refused bool
	finish  string
}

// segKind is what a block holds.
type segKind uint8

const (
	textSeg segKind = iota
	thinkingSeg
	redactedSeg
	toolSeg
)

// segment is one block: open, waiting or closed.
type segment struct {
	kind      segKind
	call      int64 // index of the tool call in the chunks
	id, name  string
	pending   []byte // JSON-escaped text not sent yet, without quotes
	args      []byte // all arguments so far, to see whether they are whole
	signature []byte // raw
	closed    bool
	sent      bool
}

var _ provider.Stream = (*messageStream)(nil)

// Info is what the provider's translator knows.
func (s *messageStream) Info() *provider.StreamInfo { return s.inner.Info() }

// Event hands an upstream event to the provider's translator and turns what it
// emits into events.
func (s *messageStream) Event(name string, data []byte, out provider.Sink) error {
	s.out = out
	if err := s.inner.Event(name, data, s); err != nil {
		return err
	}
	return s.err
}

// End closes what is open, after the provider's last chunks, usage included.
func (s *messageStream) End(out provider.Sink) error {
	s.out = out
	if err := s.inner.End(s); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	s.close()
	return nil
}

// Cut ends the message early; calls that are not whole are closed as they are.
func (s *messageStream) Cut(reason string, out provider.Sink) {
	s.out = out
	s.inner.Cut(reason, s)
	s.finish = reason
	s.close()
}

// Emit takes one chunk of the provider's translator.
func (s *messageStream) Emit(frame []byte) {
	for line := range bytes.SplitSeq(frame, []byte{'\n'}) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		if data = bytes.TrimSpace(data); len(data) > 0 && !stream.IsDone(data) {
			s.chunk(data)
		}
	}
}

func (s *messageStream) chunk(data []byte) {
	if s.over || s.err != nil {
		return
	}
	if err := s.scan.ParseTop(data); err != nil {
		s.err = provider.NewError(provider.APIError, "the provider sent an event that is no JSON object: "+err.Error())
		return
	}
	if raw, ok := s.scan.Get("error"); ok && !jsonscan.IsNull(raw) && !s.scan.Has("choices") {
		e := provider.NewError(provider.APIError, jsonscan.Text(raw, "message"))
		e.Type = jsonscan.Text(raw, "type")
		s.err = e
		return
	}
	if s.id == "" {
		raw, _ := s.scan.Get("id")
		s.id, _ = jsonscan.String(raw)
	}
	choices, _ := s.scan.Get("choices")
	it := jsonscan.Walk(choices)
	choice, ok := it.Element()
	if !ok {
		return // usage: it is read from Info at the end
	}
	if f := jsonscan.Text(choice, "finish_reason"); f != "" {
		s.finish = f
	}
	if d := jsonscan.Member(choice, "delta"); d != nil {
		s.delta(d)
	}
}

// delta takes the pieces of one chunk in the order that Anthropic has them.
func (s *messageStream) delta(d []byte) {
	signed := false
	for it := jsonscan.Walk(jsonscan.Member(d, "thinking_blocks")); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		switch jsonscan.Text(b, "type") {
		case "thinking":
			signed = true
			s.add(thinkingSeg, jsonscan.Member(b, "thinking"))
			if sig := jsonscan.Member(b, "signature"); jsonscan.TextLen(sig) > 0 {
				s.sign(sig)
			}
		case "redacted_thinking":
			s.redacted(jsonscan.Member(b, "data"))
		}
	}
	if !signed {
		thought := jsonscan.Member(d, "reasoning_content")
		if thought == nil {
			thought = jsonscan.Member(d, "reasoning")
		}
		s.add(thinkingSeg, thought)
	}
	s.add(textSeg, jsonscan.Member(d, "content"))
	if refusal := jsonscan.Member(d, "refusal"); jsonscan.TextLen(refusal) > 0 {
		s.refused = true
		s.add(textSeg, refusal)
	}
	n := int64(0)
	for it := jsonscan.Walk(jsonscan.Member(d, "tool_calls")); ; n++ {
		c, ok := it.Element()
		if !ok {
			return
		}
		index, ok := jsonscan.Int(jsonscan.Member(c, "index"))
		if !ok {
			index = n // some servers leave it out
		}
		s.call(index, c)
	}
}

// add appends text or thought, given as a raw JSON string.
func (s *messageStream) add(kind segKind, raw []byte) {
	if jsonscan.TextLen(raw) == 0 {
		return
	}
	inner := raw[1 : len(raw)-1]
	seg := s.tail()
	if seg == nil || seg.kind != kind || seg.signature != nil {
		seg = &segment{kind: kind}
		s.enqueue(seg)
	}
	seg.pending = append(seg.pending, inner...)
	s.advance()
}

// sign ends the running thought.
func (s *messageStream) sign(raw []byte) {
	seg := s.tail()
	if seg == nil || seg.kind != thinkingSeg {
		seg = &segment{kind: thinkingSeg}
		s.enqueue(seg)
	}
	seg.signature = append([]byte(nil), raw...)
	s.advance()
}

func (s *messageStream) redacted(data []byte) {
	if jsonscan.IsString(data) {
		s.enqueue(&segment{kind: redactedSeg, pending: append([]byte(nil), data...)})
		s.advance()
	}
}

// call takes a fragment of one tool call.
func (s *messageStream) call(index int64, c []byte) {
	var seg *segment
	for _, have := range s.calls {
		if have.call == index {
			seg = have
		}
	}
	id := jsonscan.Text(c, "id")
	fn := jsonscan.Member(c, "function")
	if seg != nil && id != "" && seg.id != "" && id != seg.id {
		seg = nil // a server that numbers every call 0
	}
	if seg == nil {
		seg = &segment{kind: toolSeg, call: index}
		// The latest of equal numbers is the one that fragments belong to.
		s.calls = append(s.calls, seg)
		s.enqueue(seg)
	}
	if seg.id == "" {
		seg.id = id
	}
	if seg.name == "" {
		seg.name = jsonscan.Text(fn, "name")
	}
	if args := jsonscan.Member(fn, "arguments"); jsonscan.TextLen(args) > 0 && !seg.closed {
		seg.pending = append(seg.pending, args[1:len(args)-1]...)
		seg.args, _ = jsonscan.AppendString(seg.args, args)
	}
	s.advance()
}

// tail is the block that text would go on in: the last one waiting, else the
// open one.
func (s *messageStream) tail() *segment {
	if n := len(s.waiting); n > 0 {
		return s.waiting[n-1]
	}
	return s.open
}

func (s *messageStream) enqueue(seg *segment) { s.waiting = append(s.waiting, seg) }

// advance sends what may be sent now: the open block's text, and, once that
// block is known to be whole, the next one.
func (s *messageStream) advance() {
	for {
		if s.open != nil {
			s.flush()
			if len(s.waiting) == 0 || !s.whole(s.open) {
				return
			}
			s.stop()
		}
		if len(s.waiting) == 0 {
			return
		}
		next := s.waiting[0]
		if next.kind == toolSeg && next.name == "" {
			return // its start cannot be written yet
		}
		s.waiting = s.waiting[1:]
		s.begin(next)
	}
}

// whole reports whether nothing more is to come for the open block now that
// another has begun. A call's arguments tell by themselves.
func (s *messageStream) whole(seg *segment) bool {
	if seg.kind != toolSeg {
		return true
	}
	if n := len(seg.args); n == 0 || seg.args[n-1] != '}' {
		return false
	}
	var o jsonscan.Object
	return o.ParseTop(seg.args) == nil
}
