package anthropic

import (
	"bytes"

	"tollgate/proxy/jsonscan"
)

// thoughtMark is what a history with thoughts cannot be without.
var thoughtMark = []byte(`"thinking"`)

// forgetUnsigned takes thoughts without a signature out of a Messages request:
// another maker's model had them (this gateway gives them out so), and the API
// refuses them. Where the turn under
// way called tools and has no thoughts left, thinking must be off.
func forgetUnsigned(fields *jsonscan.Object) []jsonscan.Edit {
	raw, _ := fields.Get("messages")
	if !bytes.Contains(raw, thoughtMark) {
		return nil
	}
	out := append(make([]byte, 0, len(raw)), '[')
	changed, mute := false, false
	for it := jsonscan.Walk(raw); ; {
		m, ok := it.Element()
		if !ok {
			break
		}
		kept, had := withoutUnsigned(m)
		changed = changed || had
		if jsonscan.Text(m, "role") == "assistant" {
			mute = kept != nil && callsWithoutThought(kept)
		}
		if kept == nil {
			continue // it held nothing else
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, kept...)
	}
	if !changed {
		return nil
	}
	edits := []jsonscan.Edit{{Key: "messages", Value: append(out, ']')}}
	if thinking, ok := fields.Get("thinking"); ok && mute && jsonscan.Text(thinking, "type") == "enabled" {
		edits = append(edits, jsonscan.Edit{Key: "thinking"})
	}
	return edits
}

func withoutUnsigned(m []byte) (kept []byte, had bool) {
	content := jsonscan.Member(m, "content")
	if len(content) == 0 || content[0] != '[' {
		return m, false
	}
	list := append(make([]byte, 0, len(content)), '[')
	for it := jsonscan.Walk(content); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		if jsonscan.Text(b, "type") == "thinking" && jsonscan.Text(b, "signature") == "" {
			had = true
			continue
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, b...)
	}
	switch {
	case !had:
		return m, false
	case len(list) == 1:
		return nil, true
	}
	return setMember(m, "content", append(list, ']')), true
}

// callsWithoutThought reports a turn that calls tools and begins with no thought.
func callsWithoutThought(m []byte) bool {
	thought, calls := false, false
	for it := jsonscan.Walk(jsonscan.Member(m, "content")); ; {
		b, ok := it.Element()
		if !ok {
			return calls && !thought
		}
		thought = thought || isThought(b)
		calls = calls || jsonscan.Text(b, "type") == "tool_use"
	}
}
