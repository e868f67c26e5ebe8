package anthropic

import (
	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// nativeBody passes a Messages request on with the model replaced, the output
// held to what is reserved and the deployment's extra body laid over. All
// other bytes are the client's, so that the provider's prompt cache hits.
func nativeBody(c *provider.Call, fields *jsonscan.Object) ([]byte, []string, error) {
	d := deployment(c)
	if !fields.Has("messages") {
		return nil, nil, badParam("messages", "messages: field required")
	}
	edits := []jsonscan.Edit{{Key: "model", Value: jsonscan.Quoted(c.Model)}}
	if stream, _ := fields.Get("stream"); c.Stream && string(stream) != "true" {
		edits = append(edits, jsonscan.Edit{Key: "stream", Value: []byte("true")})
	}
	if raw, ok := fields.Get("max_tokens"); ok && c.MaxOutput > 0 {
		if n, ok := jsonscan.Int(raw); ok && n > c.MaxOutput {
			edits = append(edits, jsonscan.Edit{Key: "max_tokens", Value: appendNumber(c.MaxOutput)})
			if thinking, ok := fields.Get("thinking"); ok {
				// nil takes it away: the budget must fit within max_tokens
				edits = append(edits, jsonscan.Edit{Key: "thinking", Value: fitThinking(thinking, c.MaxOutput)})
			}
		}
	}
	if c.NoThoughts {
		edits = append(edits, forgetThoughts(fields)...)
	} else {
		edits = append(edits, forgetUnsigned(fields)...)
	}
	var dropped []string
	for _, name := range d.DropAlso {
		if fields.Has(name) && name != "model" && name != "messages" {
			edits = append(edits, jsonscan.Edit{Key: name})
			dropped = append(dropped, name)
		}
	}
	for _, p := range d.ExtraBody {
		edits = append(edits, jsonscan.Edit{Key: p.Name, Value: p.Value})
	}
	return fields.Rewrite(make([]byte, 0, len(c.Body)+128), edits, nil), dropped, nil
}

// nativeStream passes events on and learns from them what bills are made of.
type nativeStream struct {
	public   string
	info     provider.StreamInfo
	scan     jsonscan.Object
	buf      []byte
	held     []byte // frames before the first block, see pass
	flowing  bool
	open     int64 // index of the open block, -1 for none
	stop     []byte
	started  bool
	finished bool
}

func newNativeStream(c *provider.Call) *nativeStream {
	return &nativeStream{public: c.PublicName, open: -1}
}

// Info is what is known so far.
func (s *nativeStream) Info() *provider.StreamInfo { return &s.info }

// Event passes one event on. The end marker waits for End, so that nobody
// counts the answer as complete before it is booked.
func (s *nativeStream) Event(name string, data []byte, out provider.Sink) error {
	if len(data) == 0 || s.info.Done || s.finished || stream.IsDone(data) {
		return nil
	}
	if err := s.scan.ParseTop(data); err != nil {
		return garbled(err)
	}
	kind, _ := s.scan.Get("type")
	switch string(kind) {
	case `"message_start"`:
		if s.started {
			return nil // a second one makes SDKs throw
		}
		s.started = true
		data = s.start(data)
	case `"content_block_start"`:
		index, _ := s.scan.Get("index")
		s.open, _ = jsonscan.Int(index)
		block, _ := s.scan.Get("content_block")
		s.count(jsonscan.TextLen(jsonscan.Find(block, "text")) + jsonscan.TextLen(jsonscan.Find(block, "thinking")))
		s.info.SawContent = s.info.SawContent || string(jsonscan.Find(block, "type")) == `"tool_use"`
	case `"content_block_delta"`:
		delta, _ := s.scan.Get("delta")
		s.count(jsonscan.TextLen(jsonscan.Find(delta, "text")) + jsonscan.TextLen(jsonscan.Find(delta, "thinking")) +
			jsonscan.TextLen(jsonscan.Find(delta, "partial_json")))
	case `"content_block_stop"`:
		s.open = -1
	case `"message_delta"`:
		usage, _ := s.scan.Get("usage")
		learnUsage(&s.info, usage)
		delta, _ := s.scan.Get("delta")
		if reason := jsonscan.Text(delta, "stop_reason"); reason != "" {
			s.info.FinishReason = finishReason(reason)
		}
	case `"message_stop"`:
		s.info.Done = true
		s.stop = append(s.stop[:0], data...)
		return nil
	case `"error"`:
		return classify(0, data)
	}
	if name == "" {
		name, _ = jsonscan.String(kind) // SDKs ignore events without a name
	}
	s.pass(string(kind), name, data, out)
	return nil
}

// pass sends a frame on. What comes before the first block waits for it: as
// long as the client has got nothing, a provider that fails at once can be
// replaced by another.
func (s *nativeStream) pass(kind, name string, data []byte, out provider.Sink) {
	if !s.flowing && (kind == `"message_start"` || kind == `"ping"`) {
		s.held = stream.AppendEvent(s.held, name, data)
		return
	}
	s.flow(out)
	s.emit(out, name, data)
}

func (s *nativeStream) flow(out provider.Sink) {
	if s.flowing {
		return
	}
	s.flowing = true
	if len(s.held) > 0 {
		out.Emit(s.held)
		s.held = nil
	}
}

func (s *nativeStream) emit(out provider.Sink, name string, data []byte) {
	s.buf = stream.AppendEvent(s.buf[:0], name, data)
	out.Emit(s.buf)
}

func (s *nativeStream) count(bytes int) {
	if bytes > 0 {
		s.info.OutputBytes += int64(bytes)
		s.info.SawContent = true
	}
}

// start learns from message_start and puts the public name into it.
func (s *nativeStream) start(data []byte) []byte {
	raw, _ := s.scan.Get("message")
	var m jsonscan.Object
	if m.ParseTop(raw) != nil {
		return data
	}
	learnMessage(&s.info, &m)
	renamed := m.Rewrite(nil, []jsonscan.Edit{{Key: "model", Value: jsonscan.Quoted(s.public)}}, nil)
	return s.scan.Rewrite(nil, []jsonscan.Edit{{Key: "message", Value: renamed}}, nil)
}

// learnMessage keeps id, model and the first usage of a message_start.
func learnMessage(info *provider.StreamInfo, m *jsonscan.Object) {
	id, _ := m.Get("id")
	info.ID, _ = jsonscan.String(id)
	model, _ := m.Get("model")
	info.Model, _ = jsonscan.String(model)
	usage, _ := m.Get("usage")
	learnUsage(info, usage)
}

func learnUsage(info *provider.StreamInfo, usage []byte) {
	if jsonscan.IsObject(usage) {
		info.RawUsage = mergeUsage(info.RawUsage, usage)
		info.Usage = price.FromAnthropic(info.RawUsage)
	}
}

// End sends the end marker; a stream without one was cut.
func (s *nativeStream) End(out provider.Sink) error {
	if s.finished {
		return nil
	}
	if !s.info.Done {
		return truncated()
	}
	s.finished = true
	s.flow(out)
	s.emit(out, "message_stop", s.stop)
	return nil
}

// Cut closes the open block and ends the message.
func (s *nativeStream) Cut(reason string, out provider.Sink) {
	if s.finished {
		return
	}
	s.finished = true
	s.flow(out)
	s.info.FinishReason = reason
	estimateOutput(&s.info.Usage, s.info.OutputBytes)
	if s.open >= 0 {
		b := jsonscan.AppendText([]byte{'{'}, "type", "content_block_stop")
		s.emit(out, "content_block_stop", append(jsonscan.AppendInt(b, "index", s.open), '}'))
		s.open = -1
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "message_delta")
	b = jsonscan.AppendText(append(jsonscan.AppendKey(b, "delta"), '{'), "stop_reason", stopReason(reason))
	b = append(jsonscan.AppendRaw(b, "stop_sequence", []byte("null")), '}')
	b = appendNativeUsage(jsonscan.AppendKey(b, "usage"), &s.info.Usage)
	s.emit(out, "message_delta", append(b, '}'))
	s.emit(out, "message_stop", []byte(`{"type":"message_stop"}`))
}

// stopReason is a finish reason in Anthropic's words.
func stopReason(finish string) string {
	switch finish {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	case "content_filter":
		return "refusal"
	}
	return "end_turn"
}

func truncated() *provider.Error {
	return provider.NewError(provider.APIConnection, "the provider's stream ended before its end marker")
}

func garbled(err error) *provider.Error {
	return provider.NewError(provider.APIError, "the provider sent an event that is no JSON object: "+err.Error())
}

// Guards.
var (
	_ provider.Stream = (*nativeStream)(nil)
	_ provider.Stream = (*chatStream)(nil)
)
