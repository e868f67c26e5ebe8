package mock

import (
	"strconv"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// fixed streams a reply: there is no upstream, so End emits all of it.
type fixed struct {
	reply
	op   provider.Op
	want bool
	info provider.StreamInfo
	buf  []byte
}

// NewStream starts the streamed answer to a call; its End emits every event.
// Text in one of LiteLLM's error forms is that error.
func NewStream(c *provider.Call, text string) (provider.Stream, error) {
	if fault := raised(text); fault != nil {
		return nil, fault
	}
	if c.Op == provider.OpEmbedding {
		return nil, provider.NewError(provider.BadRequest, "embeddings cannot be streamed")
	}
	s := &fixed{reply: newReply(c, text), op: c.Op, want: c.WantUsage}
	if c.Op == provider.OpChat {
		s.head.Object = openai.ObjectChunk
	}
	s.info = provider.StreamInfo{ID: s.head.ID, Model: c.Model, Usage: s.usage, FinishReason: s.finish}
	return s, nil
}

// Event does nothing: a mocked stream has no upstream.
func (s *fixed) Event(string, []byte, provider.Sink) error { return nil }

// Info is what the stream will have been.
func (s *fixed) Info() *provider.StreamInfo { return &s.info }

// End emits the whole stream.
func (s *fixed) End(out provider.Sink) error {
	s.info.OutputBytes = int64(len(s.text) * s.n)
	s.info.SawContent = s.text != ""
	s.info.Done = true
	if s.op == provider.OpMessages {
		s.events(out)
		return nil
	}
	for i := range s.n {
		s.choice(i, out)
	}
	s.close(out)
	return nil
}

// Cut emits the end of a stream of which nothing else is sent.
func (s *fixed) Cut(reason string, out provider.Sink) {
	s.text, s.finish = "", reason
	s.info.FinishReason = reason
	s.info.Usage.OutTotal = 0
	s.usage.OutTotal = 0
	_ = s.End(out)
}

func (s *fixed) choice(i int, out provider.Sink) {
	chat := s.op == provider.OpChat
	if chat {
		s.emit(s.head.AppendDelta(s.buf[:0], i, []byte(`{"role":"assistant","content":""}`), ""), out)
	}
	var delta []byte
	for rest := s.text; rest != ""; {
		piece := nextPiece(rest)
		rest = rest[len(piece):]
		delta = delta[:0]
		if chat {
			delta = append(jsonscan.AppendQuoted(append(delta, `{"content":`...), piece), '}')
		} else {
			delta = jsonscan.AppendQuoted(delta, piece)
		}
		s.emit(s.head.AppendDelta(s.buf[:0], i, delta, ""), out)
	}
	empty := []byte("{}")
	if !chat {
		empty = []byte(`""`)
	}
	s.emit(s.head.AppendDelta(s.buf[:0], i, empty, s.finish), out)
}

func (s *fixed) close(out provider.Sink) {
	if s.want {
		s.emit(s.head.AppendUsageFrame(s.buf[:0], &s.usage, nil), out)
	}
	out.Emit([]byte(stream.Done))
}

func (s *fixed) emit(frame []byte, out provider.Sink) {
	s.buf = frame
	out.Emit(frame)
}

// nextPiece is the next chunk of text: some whole characters of it.
func nextPiece(text string) string {
	piece := cut(text, pieceBytes)
	if piece == "" {
		return text
	}
	return piece
}

// stopReason is Anthropic's word for the finish reason.
func (r *reply) stopReason() string {
	if r.finish == "length" {
		return "max_tokens"
	}
	return "end_turn"
}

// message is the whole answer as an Anthropic message.
func (r *reply) message() []byte {
	out := r.appendMessage(nil, r.text, r.stopReason())
	out = strconv.AppendInt(out, r.usage.OutTotal, 10)
	return append(out, "}}"...)
}

// appendMessage leaves off where the number of output tokens stands.
func (r *reply) appendMessage(dst []byte, text, stop string) []byte {
	dst = jsonscan.AppendQuoted(append(dst, `{"id":`...), r.head.ID)
	dst = jsonscan.AppendQuoted(append(dst, `,"type":"message","role":"assistant","model":`...), r.head.Model)
	dst = append(dst, `,"content":[`...)
	if stop != "" {
		dst = jsonscan.AppendQuoted(append(dst, `{"type":"text","text":`...), text)
		dst = append(dst, `}],"stop_reason":"`...)
		dst = append(append(dst, stop...), '"')
	} else {
		dst = append(dst, `],"stop_reason":null`...)
	}
	dst = append(dst, `,"stop_sequence":null,"usage":{"input_tokens":`...)
	dst = strconv.AppendInt(dst, r.usage.InUncached, 10)
	return append(dst, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":`...)
}

// events emits the reply as Anthropic's events.
func (s *fixed) events(out provider.Sink) {
	event := func(name string, data []byte) { s.emit(stream.AppendEvent(s.buf[:0], name, data), out) }
	start := s.appendMessage([]byte(`{"type":"message_start","message":`), "", "")
	event("message_start", append(start, `0}}}`...))
	event("content_block_start", []byte(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`))
	var data []byte
	for rest := s.text; rest != ""; {
		piece := nextPiece(rest)
		rest = rest[len(piece):]
		data = append(data[:0], `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":`...)
		event("content_block_delta", append(jsonscan.AppendQuoted(data, piece), "}}"...))
	}
	event("content_block_stop", []byte(`{"type":"content_block_stop","index":0}`))
	data = append(data[:0], `{"type":"message_delta","delta":{"stop_reason":"`...)
	data = append(append(data, s.stopReason()...), `","stop_sequence":null},"usage":{"output_tokens":`...)
	data = strconv.AppendInt(data, s.usage.OutTotal, 10)
	event("message_delta", append(data, "}}"...))
	event("message_stop", []byte(`{"type":"message_stop"}`))
}
