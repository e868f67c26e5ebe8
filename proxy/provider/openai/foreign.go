package openai

import (
	"bytes"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// A client hands earlier turns back as it got them, also when the model that
// gave them was another provider's: of a fallback, or of an alias for several.
// Signatures and sealed thoughts mean nothing to anybody but their maker, and
// many refuse fields that they do not know.

// marks are how the names of such parts end. Every request is searched for them,
// so they begin with a byte that is rare in text: thinking is sought by its end.
var (
	marks    = [...][]byte{[]byte(`_specific_fields`), []byte(`_content`), []byte(`_details`)}
	thinking = []byte(`thinking`)
	king     = thinking[len(`thin`):]
)

// foreign reports whether messages may hold such parts; most hold none.
func foreign(messages []byte) bool {
	for _, m := range marks {
		if bytes.Contains(messages, m) {
			return true
		}
	}
	for rest := messages; ; {
		i := bytes.Index(rest, king)
		if i < 0 {
			return false
		}
		rest = rest[i+len(king):]
		if bytes.HasSuffix(messages[:len(messages)-len(rest)], thinking) {
			return true
		}
	}
}

// understands reports the fields of other makers' thoughts that a provider takes:
// gateways that lead to them, and the makers themselves.
func (r *Row) understands(field string) bool {
	switch r.Name {
	case "litellm_proxy":
		return true
	case "bedrock", "vertex_ai", "databricks":
		return field != "reasoning_details"
	case "gemini":
		return field == "extra_content"
	case "openrouter":
		return field == "reasoning_details"
	}
	return false
}

// ownThoughts takes out of a chat's history what only another provider can read.
func (e *editor) ownThoughts() {
	if e.call.Op != provider.OpChat || e.row.Name == "litellm_proxy" {
		return
	}
	if m := e.get("messages"); len(m) > 0 && m[0] == '[' && foreign(m) {
		e.set("messages", mapObjects(m, e.row.ownMessage))
	}
}

func (r *Row) ownMessage(out []byte, o *jsonscan.Object) []byte {
	var room [6]jsonscan.Edit
	edits := r.without(room[:0], o, "thinking_blocks", "reasoning_details", "provider_specific_fields", "extra_content")
	if content, _ := o.Get("content"); len(content) > 0 && content[0] == '[' && !r.understands("thinking_blocks") {
		if kept, changed := r.ownParts(content); changed {
			edits = append(edits, jsonscan.Edit{Key: "content", Value: kept})
		}
	}
	if calls, _ := o.Get("tool_calls"); len(calls) > 0 && calls[0] == '[' && foreign(calls) {
		edits = append(edits, jsonscan.Edit{Key: "tool_calls", Value: mapObjects(calls, r.ownCall)})
	}
	return o.Rewrite(out, edits, nil)
}

func (r *Row) without(edits []jsonscan.Edit, o *jsonscan.Object, names ...string) []jsonscan.Edit {
	for _, name := range names {
		if o.Has(name) && !r.understands(name) {
			edits = append(edits, jsonscan.Edit{Key: name})
		}
	}
	return edits
}

// ownCall is a tool call without what its maker wrote beside it.
func (r *Row) ownCall(out []byte, call *jsonscan.Object) []byte {
	edits := r.without(nil, call, "provider_specific_fields", "extra_content")
	var fn jsonscan.Object
	if raw, _ := call.Get("function"); fn.ParseTop(raw) == nil {
		if inner := r.without(nil, &fn, "provider_specific_fields", "extra_content"); len(inner) > 0 {
			edits = append(edits, jsonscan.Edit{Key: "function", Value: fn.Rewrite(nil, inner, nil)})
		}
	}
	return call.Rewrite(out, edits, nil)
}

// ownParts are the parts of a content that are no thoughts of another maker. A
// provider whose own thoughts are such parts keeps those that are not signed.
func (r *Row) ownParts(parts []byte) (kept []byte, changed bool) {
	kept = append(make([]byte, 0, len(parts)), '[')
	for it := jsonscan.Walk(parts); ; {
		p, ok := it.Element()
		if !ok {
			break
		}
		switch jsonscan.Text(p, "type") {
		case "redacted_thinking":
			changed = true
			continue
		case "thinking":
			if !r.PartLists || jsonscan.Member(p, "signature") != nil {
				changed = true
				continue
			}
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(kept, p...)
	}
	if len(kept) == 1 {
		return []byte(`""`), changed // a turn must have some content
	}
	return append(kept, ']'), changed
}
