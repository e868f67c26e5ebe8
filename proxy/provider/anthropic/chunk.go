package anthropic

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// begin opens a chunk, and sends the role before the first one.
func (s *chatStream) begin(out provider.Sink) {
	if s.head == nil {
		s.makeHead()
	}
	if !s.started {
		s.started = true
		if !s.completion {
			s.buf = append(s.buf[:0], s.head...)
			s.buf = append(s.buf, `"role":"assistant","content":""`...)
			s.send(out, "")
		}
	}
	s.buf = append(s.buf[:0], s.head...)
}

func (s *chatStream) makeHead() {
	b := s.openChunk(nil)
	b = append(jsonscan.AppendKey(b, "choices"), `[{"index":0,`...)
	if !s.completion {
		b = append(b, `"delta":{`...)
	} else {
		b = b[:len(b)-len(`"index":0,`)]
	}
	s.head = b
}

func (s *chatStream) openChunk(b []byte) []byte {
	object := "chat.completion.chunk"
	if s.completion {
		object = "text_completion"
	}
	b = jsonscan.AppendText(append(b, "data: {"...), "id", s.info.ID)
	b = jsonscan.AppendText(b, "object", object)
	b = jsonscan.AppendInt(b, "created", s.created)
	return jsonscan.AppendText(b, "model", s.public)
}

// send closes the chunk and hands it out; finish "" is no finish yet.
func (s *chatStream) send(out provider.Sink, finish string) {
	if s.completion {
		s.buf = append(s.buf, `,"index":0,"logprobs":null,"finish_reason":`...)
	} else {
		s.buf = append(s.buf, `},"finish_reason":`...)
	}
	if finish == "" {
		s.buf = append(s.buf, "null}]"...)
	} else {
		s.buf = append(jsonscan.AppendQuoted(s.buf, finish), "}]"...)
	}
	if s.wantUsage {
		s.buf = append(s.buf, `,"usage":null`...)
	}
	s.buf = append(s.buf, "}\n\n"...)
	out.Emit(s.buf)
}
