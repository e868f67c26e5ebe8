package openai

import "tollgate/proxy/jsonscan"

// needsMending reports whether a message or delta holds what only some
// providers send: content as a list of parts, or tool arguments as an object.
func needsMending(m []byte) bool {
	if content := jsonscan.Find(m, "content"); len(content) > 0 && content[0] == '[' {
		return true
	}
	for it := jsonscan.Walk(jsonscan.Find(m, "tool_calls")); ; {
		call, ok := it.Element()
		if !ok {
			return false
		}
		if args := jsonscan.Find(jsonscan.Find(call, "function"), "arguments"); len(args) > 0 && args[0] == '{' {
			return true
		}
	}
}

// mendChoices rewrites choices into OpenAI's form; inner is "message" or "delta".
func mendChoices(choices []byte, inner string) []byte {
	return mapObjects(choices, func(out []byte, o *jsonscan.Object) []byte {
		var room [2]jsonscan.Edit
		edits := room[:0]
		if reason, ok := o.Get("finish_reason"); ok {
			if name, same := finishName(reason); !same {
				edits = append(edits, jsonscan.Edit{Key: "finish_reason", Value: jsonscan.AppendQuoted(nil, name)})
			}
		}
		if m, _ := o.Get(inner); needsMending(m) {
			edits = append(edits, jsonscan.Edit{Key: inner, Value: mendMessage(m)})
		}
		return o.Rewrite(out, edits, nil)
	})
}

func mendMessage(m []byte) []byte {
	var o jsonscan.Object
	if o.ParseTop(m) != nil {
		return m
	}
	var edits []jsonscan.Edit
	if content, _ := o.Get("content"); len(content) > 0 && content[0] == '[' {
		text, thinking := splitParts(content)
		edits = append(edits, jsonscan.Edit{Key: "content", Value: text})
		if len(thinking) > len(`""`) && !o.Has("reasoning_content") {
			edits = append(edits, jsonscan.Edit{Key: "reasoning_content", Value: thinking})
		}
	}
	if calls, _ := o.Get("tool_calls"); len(calls) > 0 && calls[0] == '[' {
		edits = append(edits, jsonscan.Edit{Key: "tool_calls", Value: mapObjects(calls, mendCall)})
	}
	return o.Rewrite(nil, edits, nil)
}

// mendCall makes the text of arguments that came as an object.
func mendCall(out []byte, call *jsonscan.Object) []byte {
	fn, _ := call.Get("function")
	args := jsonscan.Find(fn, "arguments")
	var o jsonscan.Object
	if len(args) == 0 || args[0] != '{' || o.ParseTop(fn) != nil {
		return append(out, call.Src()...)
	}
	quoted := jsonscan.AppendQuoted(nil, string(args))
	fn = o.Rewrite(nil, []jsonscan.Edit{{Key: "arguments", Value: quoted}}, nil)
	return call.Rewrite(out, []jsonscan.Edit{{Key: "function", Value: fn}}, nil)
}

// splitParts joins the text and the thinking of a list of parts into two raw
// strings. Other parts (references) have no place in OpenAI's form.
func splitParts(parts []byte) (text, thinking []byte) {
	text, thinking = append(text, '"'), append(thinking, '"')
	for it := jsonscan.Walk(parts); ; {
		part, ok := it.Element()
		if !ok {
			return append(text, '"'), append(thinking, '"')
		}
		switch string(jsonscan.Find(part, "type")) {
		case `"text"`:
			text = appendInner(text, jsonscan.Find(part, "text"))
		case `"thinking"`, `"reasoning"`:
			t := jsonscan.Find(part, "thinking")
			if len(t) > 0 && t[0] == '[' {
				t, _ = splitParts(t)
			}
			thinking = appendInner(thinking, t)
			for sum := jsonscan.Walk(jsonscan.Find(part, "summary")); ; {
				s, more := sum.Element()
				if !more {
					break
				}
				thinking = appendInner(thinking, jsonscan.Find(s, "text"))
			}
		}
	}
}

func appendInner(dst, raw []byte) []byte {
	if !jsonscan.IsString(raw) {
		return dst
	}
	return append(dst, raw[1:len(raw)-1]...)
}

// mapObjects rewrites each object of a raw list; other elements stay.
func mapObjects(list []byte, f func(out []byte, o *jsonscan.Object) []byte) []byte {
	out := append(make([]byte, 0, len(list)+32), '[')
	var o jsonscan.Object
	first := true
	for it := jsonscan.Walk(list); ; {
		v, ok := it.Element()
		if !ok {
			return append(out, ']')
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		if o.ParseTop(v) != nil {
			out = append(out, v...)
			continue
		}
		out = f(out, &o)
	}
}
