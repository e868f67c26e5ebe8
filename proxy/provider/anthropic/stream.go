package anthropic

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// Stream starts the translator of a streamed answer.
func (*Provider) Stream(c *provider.Call) provider.Stream {
	if c.Op == provider.OpMessages {
		return newNativeStream(c)
	}
	return &chatStream{
		created: c.Now.Unix(), public: c.PublicName, wantUsage: c.WantUsage,
		completion: c.Op == provider.OpCompletion, unwrap: unwraps(c),
	}
}

// blockKind is what a content block becomes.
type blockKind uint8

const (
	otherBlock blockKind = iota
	textKind
	thinkingKind
	toolKind
	jsonKind // the tool that stands for structured output
)

// block is an upstream content block that has started and not stopped.
type block struct {
	index   int64
	kind    blockKind
	ordinal int64  // of tool calls only, dense from 0
	sent    bool   // some of its arguments have gone out
	input   []byte // complete input given in the start, by servers that do that
	thought []byte // unescaped, to be repeated beside its signature
}

// chatStream turns Messages events into chat completion chunks.
type chatStream struct {
	created    int64
	public     string
	wantUsage  bool
	completion bool
	unwrap     bool

	info     provider.StreamInfo
	scan     jsonscan.Object
	head     []byte // of every chunk, up to the choice's own members
	buf      []byte
	open     []block
	calls    int64 // tool calls started
	started  bool  // the role has been sent
	sawJSON  bool
	sawText  bool
	held     []byte // text that waits until it is clear whether the tool answers instead
	refusal  string
	finished bool
}

// Info is what is known so far.
func (s *chatStream) Info() *provider.StreamInfo { return &s.info }

// Event takes one Messages event.
func (s *chatStream) Event(_ string, data []byte, out provider.Sink) error {
	if len(data) == 0 || s.info.Done || s.finished || stream.IsDone(data) {
		return nil
	}
	if err := s.scan.ParseTop(data); err != nil {
		return garbled(err)
	}
	kind, _ := s.scan.Get("type")
	switch string(kind) {
	case `"message_start"`:
		raw, _ := s.scan.Get("message")
		var m jsonscan.Object
		if m.ParseTop(raw) == nil && s.info.ID == "" {
			learnMessage(&s.info, &m)
		}
	case `"content_block_start"`:
		s.blockStart(out)
	case `"content_block_delta"`:
		s.blockDelta(out)
	case `"content_block_stop"`:
		s.blockStop(out)
	case `"message_delta"`:
		usage, _ := s.scan.Get("usage")
		learnUsage(&s.info, usage)
		delta, _ := s.scan.Get("delta")
		if reason := jsonscan.Text(delta, "stop_reason"); reason != "" {
			s.info.FinishReason = finishReason(reason)
			s.refusal = jsonscan.Text(jsonscan.Member(delta, "stop_details"), "explanation")
		}
	case `"message_stop"`:
		s.info.Done = true
	case `"error"`:
		return classify(0, data)
	}
	return nil // ping, and events of a later day
}

func (s *chatStream) blockStart(out provider.Sink) {
	rawIndex, _ := s.scan.Get("index")
	raw, _ := s.scan.Get("content_block")
	b := block{}
	b.index, _ = jsonscan.Int(rawIndex)
	switch jsonscan.Text(raw, "type") {
	case "text":
		b.kind = textKind
		s.text(jsonscan.Member(raw, "text"), out)
	case "thinking":
		b.kind = thinkingKind
		s.thinking(&b, jsonscan.Member(raw, "thinking"), out)
	case "redacted_thinking":
		s.redacted(raw, out)
	case "tool_use":
		if in := jsonscan.Member(raw, "input"); jsonscan.IsObject(in) {
			if it := jsonscan.Walk(in); isMember(&it) {
				b.input = jsonscan.Compact(nil, in)
			}
		}
		if s.unwrap && jsonscan.Text(raw, "name") == jsonTool {
			if !s.sawJSON { // one answer only
				b.kind = jsonKind
				s.sawJSON, s.held = true, nil
			}
			break
		}
		b.kind, b.ordinal = toolKind, s.calls
		s.calls++
		s.toolStart(&b, raw, out)
	case "web_search_tool_result", "web_fetch_tool_result":
		s.extra("web_search_results", append(jsonscan.Compact([]byte{'['}, raw), ']'), out)
	}
	s.open = append(s.open, b)
}

func isMember(it *jsonscan.Iter) bool {
	_, _, ok := it.Member()
	return ok
}

func (s *chatStream) find() (i int, b *block) {
	raw, _ := s.scan.Get("index")
	index, _ := jsonscan.Int(raw)
	for i := range s.open {
		if s.open[i].index == index {
			return i, &s.open[i]
		}
	}
	return -1, nil
}

func (s *chatStream) blockDelta(out provider.Sink) {
	_, b := s.find()
	if b == nil {
		return
	}
	d, _ := s.scan.Get("delta")
	switch jsonscan.Text(d, "type") {
	case "text_delta":
		s.text(jsonscan.Member(d, "text"), out)
	case "thinking_delta":
		s.thinking(b, jsonscan.Member(d, "thinking"), out)
	case "signature_delta":
		s.signature(b, jsonscan.Member(d, "signature"), out)
	case "input_json_delta":
		s.arguments(b, jsonscan.Member(d, "partial_json"), out)
	case "citations_delta":
		if cite := jsonscan.Member(d, "citation"); cite != nil {
			s.extra("citation", cite, out)
		}
	}
}

func (s *chatStream) blockStop(out provider.Sink) {
	i, b := s.find()
	if b == nil {
		return
	}
	if (b.kind == toolKind || b.kind == jsonKind) && !b.sent {
		input := b.input
		if input == nil {
			input = []byte("{}") // an empty string would poison the next turn
		}
		s.arguments(b, jsonscan.Quoted(string(input)), out)
	}
	s.open = append(s.open[:i], s.open[i+1:]...)
}

// text sends a raw JSON string as content, its escapes untouched.
func (s *chatStream) text(raw []byte, out provider.Sink) {
	if jsonscan.TextLen(raw) == 0 || s.sawJSON {
		return
	}
	s.info.OutputBytes += int64(jsonscan.TextLen(raw))
	if s.unwrap {
		s.held, _ = jsonscan.AppendString(s.held, raw)
		return
	}
	s.content(raw, out)
}

func (s *chatStream) content(raw []byte, out provider.Sink) {
	s.info.SawContent, s.sawText = true, true
	s.begin(out)
	if s.completion {
		s.buf = jsonscan.AppendRaw(s.buf, "text", raw)
	} else {
		s.buf = jsonscan.AppendRaw(s.buf, "content", raw)
	}
	s.send(out, "")
}

func (s *chatStream) thinking(b *block, raw []byte, out provider.Sink) {
	n := jsonscan.TextLen(raw)
	if n == 0 {
		return
	}
	s.info.OutputBytes += int64(n)
	s.info.SawContent = true
	if s.completion {
		return
	}
	b.thought, _ = jsonscan.AppendString(b.thought, raw)
	s.begin(out)
	s.buf = jsonscan.AppendRaw(s.buf, "reasoning_content", raw)
	s.buf = append(jsonscan.AppendKey(s.buf, "thinking_blocks"), `[{"type":"thinking"`...)
	s.buf = jsonscan.AppendRaw(s.buf, "thinking", raw)
	s.buf = append(jsonscan.AppendRaw(s.buf, "signature", []byte(`""`)), "}]"...)
	s.send(out, "")
}

// signature ends a thinking block. reasoning_details come here, whole, for
// clients that cannot put pieces together again.
func (s *chatStream) signature(b *block, raw []byte, out provider.Sink) {
	if !jsonscan.IsString(raw) || s.completion {
		return
	}
	s.begin(out)
	s.buf = append(jsonscan.AppendKey(s.buf, "thinking_blocks"), `[{"type":"thinking","thinking":""`...)
	s.buf = append(jsonscan.AppendRaw(s.buf, "signature", raw), "}]"...)
	s.buf = append(jsonscan.AppendKey(s.buf, "reasoning_details"), '[')
	s.buf = append(append(s.buf, thinkingDetail(jsonscan.Quoted(string(b.thought)), raw)...), ']')
	s.send(out, "")
}

func (s *chatStream) redacted(raw []byte, out provider.Sink) {
	if s.completion {
		return
	}
	s.info.SawContent = true
	s.begin(out)
	s.buf = append(jsonscan.Compact(append(jsonscan.AppendKey(s.buf, "thinking_blocks"), '['), raw), ']')
	s.buf = append(jsonscan.AppendKey(s.buf, "reasoning_details"), '[')
	s.buf = append(append(s.buf, redactedDetail(jsonscan.Member(raw, "data"))...), ']')
	s.send(out, "")
}

func (s *chatStream) toolStart(b *block, raw []byte, out provider.Sink) {
	s.info.SawContent = true
	if s.completion {
		return
	}
	s.begin(out)
	s.buf = append(jsonscan.AppendKey(s.buf, "tool_calls"), "[{"...)
	s.buf = jsonscan.AppendInt(s.buf, "index", b.ordinal)
	s.buf = jsonscan.AppendRaw(s.buf, "id", orQuotes(jsonscan.Member(raw, "id")))
	s.buf = jsonscan.AppendText(s.buf, "type", "function")
	s.buf = append(jsonscan.AppendKey(s.buf, "function"), '{')
	s.buf = jsonscan.AppendRaw(s.buf, "name", orQuotes(jsonscan.Member(raw, "name")))
	s.buf = append(jsonscan.AppendText(s.buf, "arguments", ""), "}}]"...)
	s.send(out, "")
}

// arguments sends a fragment, a raw JSON string of JSON text.
func (s *chatStream) arguments(b *block, raw []byte, out provider.Sink) {
	n := jsonscan.TextLen(raw)
	if n == 0 {
		return
	}
	switch b.kind {
	case jsonKind:
		b.sent = true
		s.info.OutputBytes += int64(n)
		s.content(raw, out)
	case toolKind:
		b.sent = true
		s.info.OutputBytes += int64(n)
		if s.completion {
			return
		}
		s.begin(out)
		s.buf = append(jsonscan.AppendKey(s.buf, "tool_calls"), "[{"...)
		s.buf = jsonscan.AppendInt(s.buf, "index", b.ordinal)
		s.buf = append(jsonscan.AppendKey(s.buf, "function"), '{')
		s.buf = append(jsonscan.AppendRaw(s.buf, "arguments", raw), "}}]"...)
		s.send(out, "")
	}
}

// extra sends something that OpenAI has no field for, where LiteLLM puts it.
func (s *chatStream) extra(name string, raw []byte, out provider.Sink) {
	if s.completion {
		return
	}
	s.begin(out)
	s.buf = append(jsonscan.AppendKey(s.buf, "provider_specific_fields"), '{')
	s.buf = append(jsonscan.Compact(jsonscan.AppendKey(s.buf, name), raw), '}')
	s.send(out, "")
}

// End sends finish, usage and [DONE]; a stream without its end marker was cut.
func (s *chatStream) End(out provider.Sink) error {
	if s.finished {
		return nil
	}
	if !s.info.Done {
		return truncated()
	}
	if s.info.FinishReason == "" {
		s.info.FinishReason = "stop"
		if s.calls > 0 {
			s.info.FinishReason = "tool_calls"
		}
	}
	if s.info.FinishReason == "tool_calls" && s.sawJSON && s.calls == 0 {
		s.info.FinishReason = "stop"
	}
	s.close(s.info.FinishReason, out)
	return nil
}

// Cut ends the stream early.
func (s *chatStream) Cut(reason string, out provider.Sink) {
	if s.finished {
		return
	}
	s.info.FinishReason = reason
	estimateOutput(&s.info.Usage, s.info.OutputBytes)
	s.close(reason, out)
}

func (s *chatStream) close(finish string, out provider.Sink) {
	s.finished = true
	if len(s.held) > 0 {
		s.content(jsonscan.Quoted(string(s.held)), out)
		s.held = nil
	}
	if finish == "content_filter" && s.refusal != "" && !s.sawText && !s.completion {
		s.begin(out)
		s.buf = jsonscan.AppendText(s.buf, "refusal", s.refusal)
		s.send(out, "")
	}
	s.begin(out)
	if s.completion {
		s.buf = jsonscan.AppendText(s.buf, "text", "")
	}
	s.send(out, finish)
	if s.wantUsage {
		s.buf = append(jsonscan.AppendKey(s.openChunk(s.buf[:0]), "choices"), "[]"...)
		s.buf = appendChatUsage(jsonscan.AppendKey(s.buf, "usage"), &s.info.Usage)
		if tier := tierName(s.info.Usage.ServiceTier); tier != "" {
			s.buf = jsonscan.AppendText(s.buf, "service_tier", tier)
		}
		s.buf = append(s.buf, "}\n\n"...)
		out.Emit(s.buf)
	}
	out.Emit([]byte("data: [DONE]\n\n"))
}
