package openai

import (
	"hash/fnv"

	"tollgate/proxy/jsonscan"
)

// messages rewrites a message list for providers that are narrower than
// OpenAI. What needs no change keeps its bytes.
func (r *Row) messages(raw []byte) []byte { return mapObjects(raw, r.message) }

func (r *Row) message(out []byte, o *jsonscan.Object) []byte {
	var room [4]jsonscan.Edit
	edits := room[:0]
	if r.NoNames && o.Has("name") {
		edits = append(edits, jsonscan.Edit{Key: "name"})
	}
	if r.FlattenLists {
		if content, _ := o.Get("content"); len(content) > 0 && content[0] == '[' {
			if text, ok := joinText(content); ok {
				edits = append(edits, jsonscan.Edit{Key: "content", Value: text})
			}
		}
	}
	if r.ShortToolIDs {
		if id, ok := o.Get("tool_call_id"); ok {
			edits = append(edits, jsonscan.Edit{Key: "tool_call_id", Value: shortID(id)})
		}
		if calls, _ := o.Get("tool_calls"); len(calls) > 0 && calls[0] == '[' {
			edits = append(edits, jsonscan.Edit{Key: "tool_calls", Value: mapObjects(calls, shortenCall)})
		}
	}
	return o.Rewrite(out, edits, nil)
}

// joinText makes one raw string of a list of text parts; false when a part is
// something else.
func joinText(parts []byte) ([]byte, bool) {
	out := append(make([]byte, 0, len(parts)), '"')
	for it := jsonscan.Walk(parts); ; {
		part, ok := it.Element()
		if !ok {
			return append(out, '"'), true
		}
		text := jsonscan.Find(part, "text")
		if string(jsonscan.Find(part, "type")) != `"text"` || !jsonscan.IsString(text) {
			return nil, false
		}
		out = append(out, text[1:len(text)-1]...)
	}
}

func shortenCall(out []byte, call *jsonscan.Object) []byte {
	id, ok := call.Get("id")
	if !ok {
		return append(out, call.Src()...)
	}
	return call.Rewrite(out, []jsonscan.Edit{{Key: "id", Value: shortID(id)}}, nil)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// shortID turns any tool call id into nine letters and digits, the same for
// the call and its result in every later turn. Ids of that form stay.
func shortID(raw []byte) []byte {
	id, ok := jsonscan.String(raw)
	if !ok || isShortID(id) {
		return raw
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	sum := h.Sum64()
	out := append(make([]byte, 0, 11), '"')
	for range 9 {
		out = append(out, base62[sum%62])
		sum /= 62
	}
	return append(out, '"')
}

func isShortID(id string) bool {
	if len(id) != 9 {
		return false
	}
	for i := range len(id) {
		if c := id[i] | 0x20; (c < 'a' || c > 'z') && (id[i] < '0' || id[i] > '9') {
			return false
		}
	}
	return true
}
