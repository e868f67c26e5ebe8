package cache

import (
	"bytes"
	"strconv"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/stream"
)

// Replay emits a whole answer as the frames of a stream in OpenAI's dialect.
// Every part of it is one chunk: what is kept need not be waited for. model is the
// name that the caller used.
func Replay(doc []byte, model string, withUsage bool, emit func(frame []byte)) bool {
	var o jsonscan.Object
	if o.ParseTop(oneLine(doc)) != nil {
		return false
	}
	object := openai.ObjectChunk
	if raw, _ := o.Get("object"); string(raw) == jsonText(openai.ObjectText) {
		object = openai.ObjectText
	}
	r := replay{emit: emit, text: object == openai.ObjectText, usage: withUsage}
	r.head = []byte(`data: {`)
	if raw, ok := o.Get("id"); ok {
		r.head = jsonscan.AppendRaw(r.head, "id", raw)
	}
	r.head = jsonscan.AppendText(r.head, "object", object)
	for _, f := range o.Fields() {
		switch string(f.Key) {
		case "id", "object", "choices", "usage", "model":
		default:
			r.head = append(jsonscan.AppendQuoted(append(r.head, ','), string(f.Key)), ':')
			r.head = append(r.head, f.Value...)
		}
	}
	r.head = append(jsonscan.AppendText(r.head, "model", model), `,"choices":[`...)
	choices, _ := o.Get("choices")
	for it := jsonscan.Walk(choices); ; {
		c, ok := it.Element()
		if !ok {
			break
		}
		r.choice(c)
	}
	if usage, ok := o.Get("usage"); ok && withUsage && jsonscan.IsObject(usage) {
		b := append(append([]byte(nil), r.head...), ']')
		r.emit(append(jsonscan.AppendRaw(b, "usage", usage), "}\n\n"...))
	}
	r.emit([]byte(stream.Done))
	return true
}

// oneLine is a document that fits behind "data: ".
func oneLine(doc []byte) []byte {
	if bytes.IndexByte(doc, '\n') < 0 && bytes.IndexByte(doc, '\r') < 0 {
		return doc
	}
	return jsonscan.Compact(nil, doc)
}

func jsonText(s string) string { return `"` + s + `"` }

type replay struct {
	head  []byte
	emit  func([]byte)
	text  bool
	usage bool
	index int64
}

// chunk emits one choice with a raw delta, or text, and what else stands beside it.
func (r *replay) chunk(delta, logprobs, finish []byte) {
	b := append(append([]byte(nil), r.head...), `{"index":`...)
	b = strconv.AppendInt(b, r.index, 10)
	name := "delta"
	if r.text {
		name = "text"
	}
	b = jsonscan.AppendRaw(b, name, delta)
	if len(logprobs) == 0 {
		logprobs = []byte("null")
	}
	b = jsonscan.AppendRaw(b, "logprobs", logprobs)
	if len(finish) == 0 {
		finish = []byte("null")
	}
	b = append(jsonscan.AppendRaw(b, "finish_reason", finish), "}]"...)
	if r.usage {
		b = append(b, `,"usage":null`...)
	}
	r.emit(append(b, "}\n\n"...))
}

func (r *replay) choice(c []byte) {
	r.index, _ = jsonscan.Int(jsonscan.Find(c, "index"))
	logprobs, finish := jsonscan.Find(c, "logprobs"), jsonscan.Find(c, "finish_reason")
	if r.text {
		text := jsonscan.Find(c, "text")
		if !jsonscan.IsString(text) {
			text = []byte(`""`)
		}
		r.chunk(text, logprobs, nil)
		r.chunk([]byte(`""`), nil, finish)
		return
	}
	m := jsonscan.Find(c, "message")
	first := []byte(`{`)
	first = jsonscan.AppendRaw(first, "role", orElse(jsonscan.Member(m, "role"), `"assistant"`))
	first = jsonscan.AppendText(first, "content", "")
	var content, calls []byte
	for it := jsonscan.Walk(m); ; {
		k, v, ok := it.Member()
		if !ok {
			break
		}
		switch string(jsonscan.Name(k)) {
		case "role":
		case "content":
			content = v
		case "tool_calls":
			calls = v
		default:
			if !jsonscan.IsNull(v) {
				first = append(append(append(append(first, ','), k...), ':'), v...)
			}
		}
	}
	r.chunk(append(first, '}'), nil, nil)
	if len(content) > 0 && !jsonscan.IsNull(content) && string(content) != `""` || len(logprobs) > 0 && !jsonscan.IsNull(logprobs) {
		r.chunk(append(jsonscan.AppendRaw([]byte{'{'}, "content", orElse(content, "null")), '}'), logprobs, nil)
	}
	r.calls(calls)
	r.chunk([]byte("{}"), nil, finish)
}

func orElse(raw []byte, otherwise string) []byte {
	if len(raw) == 0 {
		return []byte(otherwise)
	}
	return raw
}

// calls emits each tool call with its number, by which clients join them.
func (r *replay) calls(list []byte) {
	n := int64(0)
	for it := jsonscan.Walk(list); ; n++ {
		c, ok := it.Element()
		if !ok {
			return
		}
		b := strconv.AppendInt([]byte(`{"tool_calls":[{"index":`), n, 10)
		for in := jsonscan.Walk(c); ; {
			k, v, more := in.Member()
			if !more {
				break
			}
			if string(jsonscan.Name(k)) != "index" {
				b = append(append(append(append(b, ','), k...), ':'), v...)
			}
		}
		r.chunk(append(b, "}]}"...), nil, nil)
	}
}

// ReplayMessage emits a whole message as Anthropic's events.
func ReplayMessage(doc []byte, model string, emit func(frame []byte)) bool {
	var o jsonscan.Object
	if o.ParseTop(oneLine(doc)) != nil {
		return false
	}
	event := func(name string, data []byte) { emit(stream.AppendEvent(nil, name, data)) }
	usage, _ := o.Get("usage")
	start := o.Rewrite(nil, []jsonscan.Edit{{Key: "model", Value: jsonscan.Quoted(model)}, {Key: "content", Value: []byte("[]")},
		{Key: "stop_reason", Value: []byte("null")}, {Key: "stop_sequence", Value: []byte("null")}, {Key: "usage", Value: begun(usage)}}, nil)
	event("message_start", append(append([]byte(`{"type":"message_start","message":`), start...), '}'))
	content, _ := o.Get("content")
	index := int64(0)
	for it := jsonscan.Walk(content); ; index++ {
		b, ok := it.Element()
		if !ok {
			break
		}
		replayBlock(b, index, event)
	}
	reason, _ := o.Get("stop_reason")
	sequence, _ := o.Get("stop_sequence")
	end := append([]byte(`{"type":"message_delta","delta":{"stop_reason":`), orElse(reason, "null")...)
	end = append(jsonscan.AppendRaw(end, "stop_sequence", orElse(sequence, "null")), '}')
	if jsonscan.IsObject(usage) {
		end = jsonscan.AppendRaw(end, "usage", usage)
	}
	event("message_delta", append(end, '}'))
	event("message_stop", []byte(`{"type":"message_stop"}`))
	return true
}

// begun is the usage at the start of a message: its output is yet to come.
func begun(usage []byte) []byte {
	var o jsonscan.Object
	if o.ParseTop(usage) != nil {
		return []byte(`{"input_tokens":0,"output_tokens":0}`)
	}
	return o.Rewrite(nil, []jsonscan.Edit{{Key: "output_tokens", Value: []byte("0")}}, nil)
}

func replayBlock(b []byte, index int64, event func(string, []byte)) {
	at := func(kind string) []byte {
		return jsonscan.AppendInt(jsonscan.AppendText([]byte{'{'}, "type", kind), "index", index)
	}
	delta := func(kind, field string, raw []byte) {
		d := append(jsonscan.AppendKey(at("content_block_delta"), "delta"), '{')
		d = jsonscan.AppendRaw(jsonscan.AppendText(d, "type", kind), field, raw)
		event("content_block_delta", append(d, "}}"...))
	}
	var o jsonscan.Object
	if o.ParseTop(b) != nil {
		return
	}
	kind := jsonscan.Text(b, "type")
	start, said := b, ""
	switch kind {
	case "text":
		start, said = o.Rewrite(nil, []jsonscan.Edit{{Key: "text", Value: []byte(`""`)}, {Key: "citations"}}, nil), "text_delta"
	case "thinking":
		start, said = o.Rewrite(nil, []jsonscan.Edit{{Key: "thinking", Value: []byte(`""`)}, {Key: "signature", Value: []byte(`""`)}}, nil), "thinking_delta"
	case "tool_use", "server_tool_use", "mcp_tool_use":
		start = o.Rewrite(nil, []jsonscan.Edit{{Key: "input", Value: []byte("{}")}}, nil)
	}
	event("content_block_start", append(append(jsonscan.AppendKey(at("content_block_start"), "content_block"), start...), '}'))
	if said != "" {
		for it := jsonscan.Walk(jsonscan.Member(b, "citations")); kind == "text"; {
			c, ok := it.Element()
			if !ok {
				break
			}
			delta("citations_delta", "citation", c)
		}
		delta(said, kind, orElse(jsonscan.Member(b, kind), `""`))
		if sig := jsonscan.Member(b, "signature"); kind == "thinking" && sig != nil {
			delta("signature_delta", "signature", sig)
		}
	} else if input := jsonscan.Member(b, "input"); input != nil {
		delta("input_json_delta", "partial_json", jsonscan.Quoted(string(input)))
	}
	event("content_block_stop", append(at("content_block_stop"), '}'))
}
