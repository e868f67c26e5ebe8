package anthropic

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/stream"
)

func (s *messageStream) emit(name string, doc []byte) {
	s.buf = stream.AppendEvent(s.buf[:0], name, doc)
	s.out.Emit(s.buf)
}

func (s *messageStream) start() {
	if s.started {
		return
	}
	s.started = true
	info := s.inner.Info()
	id := s.id
	if id == "" {
		id = info.ID
	}
	if id == "" {
		id = s.callID
	}
	input := s.estimate
	b := jsonscan.AppendText([]byte{'{'}, "type", "message_start")
	b = append(jsonscan.AppendKey(b, "message"), '{')
	b = jsonscan.AppendText(b, "id", messageID(id))
	b = jsonscan.AppendText(b, "type", "message")
	b = jsonscan.AppendText(b, "role", "assistant")
	b = jsonscan.AppendText(b, "model", s.public)
	b = append(b, `,"content":[],"stop_reason":null,"stop_sequence":null`...)
	if u := info.Usage; u.Known && u.Prompt() > 0 {
		u.OutTotal = max(u.OutTotal, 1)
		b = appendUsage(jsonscan.AppendKey(b, "usage"), &u)
	} else {
		b = append(jsonscan.AppendKey(b, "usage"), '{')
		b = jsonscan.AppendInt(b, "input_tokens", input)
		b = append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}`...)
	}
	s.emit("message_start", append(b, "}}"...))
	s.emit("ping", []byte(`{"type":"ping"}`))
}

// begin opens a block.
func (s *messageStream) begin(seg *segment) {
	s.start()
	s.open = seg
	b := jsonscan.AppendInt(jsonscan.AppendText([]byte{'{'}, "type", "content_block_start"), "index", s.index)
	b = append(jsonscan.AppendKey(b, "content_block"), '{')
	switch seg.kind {
	case textSeg:
		b = append(b, `"type":"text","text":""`...)
	case thinkingSeg:
		b = append(b, `"type":"thinking","thinking":"","signature":""`...)
	case redactedSeg:
		b = jsonscan.AppendRaw(append(b, `"type":"redacted_thinking"`...), "data", seg.pending)
		seg.pending = nil
	case toolSeg:
		b = jsonscan.AppendText(b, "type", "tool_use")
		b = jsonscan.AppendText(b, "id", callID(seg.id, s.callID, s.ordinal(seg)))
		b = jsonscan.AppendText(b, "name", seg.name)
		b = append(b, `,"input":{}`...)
	}
	s.emit("content_block_start", append(b, "}}"...))
}

func (s *messageStream) ordinal(seg *segment) int {
	for i, have := range s.calls {
		if have == seg {
			return i
		}
	}
	return 0
}

// flush sends the open block's waiting text as one delta.
func (s *messageStream) flush() {
	seg := s.open
	if len(seg.pending) > 0 {
		kind, field := "text_delta", "text"
		switch seg.kind {
		case thinkingSeg:
			kind, field = "thinking_delta", "thinking"
		case toolSeg:
			kind, field = "input_json_delta", "partial_json"
		}
		b := jsonscan.AppendText(nil, "type", kind)
		b = append(append(jsonscan.AppendKey(b, field), '"'), seg.pending...)
		s.deltaEvent(append(b, '"'))
		seg.pending, seg.sent = seg.pending[:0], true
	}
	if len(seg.signature) > 0 {
		s.deltaEvent(jsonscan.AppendRaw(jsonscan.AppendText(nil, "type", "signature_delta"), "signature", seg.signature))
		seg.signature = seg.signature[:0]
	}
}

func (s *messageStream) deltaEvent(members []byte) {
	b := jsonscan.AppendInt(jsonscan.AppendText([]byte{'{'}, "type", "content_block_delta"), "index", s.index)
	b = append(append(jsonscan.AppendKey(b, "delta"), '{'), members...)
	s.emit("content_block_delta", append(b, "}}"...))
}

// stop closes the open block. A call that never got arguments has the empty
// object for them.
func (s *messageStream) stop() {
	seg := s.open
	if seg.kind == toolSeg && !seg.sent {
		seg.pending = append(seg.pending, "{}"...)
	}
	s.flush()
	seg.closed = true
	s.emit("content_block_stop", append(jsonscan.AppendInt(jsonscan.AppendText([]byte{'{'}, "type", "content_block_stop"), "index", s.index), '}'))
	s.open = nil
	s.index++
}

// close ends the message.
func (s *messageStream) close() {
	if s.over {
		return
	}
	s.over = true
	s.start()
	for s.open != nil || len(s.waiting) > 0 {
		if s.open != nil {
			s.stop()
			continue
		}
		s.begin(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
	info := s.inner.Info()
	finish := s.finish
	if finish == "" {
		finish = info.FinishReason
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "message_delta")
	b = jsonscan.AppendText(append(jsonscan.AppendKey(b, "delta"), '{'), "stop_reason", stopReason(finish, len(s.calls), s.refused))
	b = append(b, `,"stop_sequence":null}`...)
	u := info.Usage
	if !u.Known {
		u.InUncached = s.estimate
	}
	if u.OutTotal == 0 && !u.Known {
		u.OutTotal = (info.OutputBytes + bytesPerToken - 1) / bytesPerToken
	}
	b = appendUsage(jsonscan.AppendKey(b, "usage"), &u)
	s.emit("message_delta", append(b, '}'))
	s.emit("message_stop", []byte(`{"type":"message_stop"}`))
}

// bytesPerToken turns output that nobody has counted into an estimate.
const bytesPerToken = 4
