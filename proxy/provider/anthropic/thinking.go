package anthropic

import (
	"slices"

	"tollgate/proxy/jsonscan"
)

const (
	minBudget = 1024 // the API's least
)

// budgetOf is how many thinking tokens an effort stands for on models that
// take a budget: LiteLLM's figures, and twice as much for each step above.
func budgetOf(effort string) int64 {
	switch effort {
	case "medium":
		return 2048
	case "high":
		return 4096
	case "xhigh":
		return 8192
	case "max":
		return 16384
	}
	return minBudget
}

// thinkingOn reports whether the request as it stands makes the model think.
func (r *request) thinkingOn() bool {
	switch jsonscan.Text(r.thinking, "type") {
	case "enabled", "adaptive":
		return true
	}
	return false
}

// planThinking decides thinking, effort and max_tokens, which hang together:
// the budget counts within max_tokens.
func (r *request) planThinking() {
	fromEffort := r.effort != "" && r.thinking == nil
	if fromEffort {
		r.thinkByEffort()
	}
	limit := r.call.MaxOutput
	if r.dep.MaxOutput > 0 && (limit == 0 || r.dep.MaxOutput < limit) {
		limit = r.dep.MaxOutput
	}
	budget, _ := jsonscan.Int(jsonscan.Member(r.thinking, "budget_tokens"))
	if !r.hasMax {
		r.maxTokens = r.dep.MaxOutput
		if r.maxTokens == 0 {
			r.maxTokens = budget + defaultMaxTokens
		}
	}
	if limit > 0 && r.maxTokens > limit {
		r.maxTokens = limit
	}
	if budget > 0 && r.history.unsigned || fromEffort && r.thinkingOn() && r.forcedChoice() {
		// A tool loop whose thinking the client has not kept, or a call that
		// must happen: with thinking on, the API refuses both.
		r.dropThinking(fromEffort)
		return
	}
	if budget == 0 {
		return
	}
	r.thinking = fitThinking(r.thinking, r.maxTokens)
	if r.thinking == nil {
		r.dropThinking(fromEffort)
	}
}

func (r *request) dropThinking(fromEffort bool) {
	r.thinking = nil
	if fromEffort {
		r.drop("reasoning_effort")
		return
	}
	r.drop("thinking")
}

// fitThinking lowers a budget that does not leave room within maxTokens; nil
// when too little is left to think at all.
func fitThinking(thinking []byte, maxTokens int64) []byte {
	budget, ok := jsonscan.Int(jsonscan.Member(thinking, "budget_tokens"))
	if !ok || budget < maxTokens {
		return thinking
	}
	if budget = maxTokens - 1; budget < minBudget {
		return nil
	}
	return setMember(thinking, "budget_tokens", appendNumber(budget))
}

func (r *request) thinkByEffort() {
	switch {
	case r.effort == "none":
		switch {
		case r.can.off == offDisabled:
			r.thinking = []byte(`{"type":"disabled"}`)
		case r.can.off == offBetween:
			r.thinking = []byte(`{"type":"between_tools"}`)
		case r.can.off == offNever:
			r.setEffort("low")
		}
	case r.can.adaptive:
		r.thinking = []byte(`{"type":"adaptive"}`)
		if r.can.summary {
			r.thinking = []byte(`{"type":"adaptive","display":"summarized"}`)
		}
		r.setEffort(r.effort)
	case r.can.budget:
		b := jsonscan.AppendText([]byte{'{'}, "type", "enabled")
		r.thinking = append(jsonscan.AppendInt(b, "budget_tokens", budgetOf(r.effort)), '}')
	default: // the model does not think: the effort is a wish
		r.drop("reasoning_effort")
	}
}

// setEffort asks for the nearest effort that the model knows. One that the
// client gave in the API's own field stays.
func (r *request) setEffort(effort string) {
	if jsonscan.Member(r.outputConfig, "effort") != nil {
		return
	}
	if effort == "minimal" {
		effort = "low"
	}
	if effort == "xhigh" && !hasWord(r.can.efforts, effort) {
		effort = "high"
	}
	if effort == "max" && !hasWord(r.can.efforts, effort) {
		effort = "high"
	}
	r.outputConfig = setMember(r.outputConfig, "effort", jsonscan.Quoted(effort))
}

// thinkingBlocks are the signed thoughts that a client hands back, in either
// form that we gave them out. Thoughts without a signature are another
// maker's and would be refused.
func thinkingBlocks(m *message) [][]byte {
	var blocks [][]byte
	for it := jsonscan.Walk(m.thinkingBlocks); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		switch jsonscan.Text(raw, "type") {
		case "thinking":
			if b := thinkingBlock(jsonscan.Member(raw, "thinking"), jsonscan.Member(raw, "signature")); b != nil {
				blocks = append(blocks, b)
			}
		case "redacted_thinking":
			if d := jsonscan.Member(raw, "data"); d != nil {
				blocks = append(blocks, redactedBlock(d))
			}
		}
	}
	if len(blocks) > 0 {
		return blocks
	}
	for it := jsonscan.Walk(m.reasoningDetails); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		switch jsonscan.Text(raw, "type") {
		case "thinking", "reasoning.text":
			if b := thinkingBlock(jsonscan.Member(raw, "text"), jsonscan.Member(raw, "signature")); b != nil {
				blocks = append(blocks, b)
			}
		case "redacted", "reasoning.encrypted":
			if d := jsonscan.Member(raw, "data"); d != nil {
				blocks = append(blocks, redactedBlock(d))
			}
		}
	}
	return blocks
}

func thinkingBlock(thought, signature []byte) []byte {
	if !jsonscan.IsString(signature) || isBlank(signature) {
		return nil
	}
	if !jsonscan.IsString(thought) {
		thought = []byte(`""`)
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "thinking")
	b = jsonscan.AppendRaw(b, "thinking", thought)
	return append(jsonscan.AppendRaw(b, "signature", signature), '}')
}

func redactedBlock(data []byte) []byte {
	b := jsonscan.AppendText([]byte{'{'}, "type", "redacted_thinking")
	return append(jsonscan.AppendRaw(b, "data", data), '}')
}

// isThought reports a content block that holds what a model has thought.
func isThought(block []byte) bool {
	t := jsonscan.Text(block, "type")
	return t == "thinking" || t == "redacted_thinking"
}

func withoutThoughts(blocks [][]byte) [][]byte {
	return slices.DeleteFunc(slices.Clone(blocks), isThought)
}

// forgetThoughts takes the thoughts of earlier turns out of a Messages request.
// Thinking itself must then be off: in a tool loop the API wants it to go on from
// the thoughts that are gone.
func forgetThoughts(fields *jsonscan.Object) []jsonscan.Edit {
	raw, _ := fields.Get("messages")
	out := []byte{'['}
	changed := false
	for it := jsonscan.Walk(raw); ; {
		m, ok := it.Element()
		if !ok {
			break
		}
		kept, had := withoutThoughtsIn(m)
		changed = changed || had
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
	if thinking, ok := fields.Get("thinking"); ok && jsonscan.Text(thinking, "type") == "enabled" {
		edits = append(edits, jsonscan.Edit{Key: "thinking"})
	}
	return edits
}

// withoutThoughtsIn is one message without its thoughts, nil when nothing is left.
func withoutThoughtsIn(m []byte) (kept []byte, had bool) {
	content := jsonscan.Member(m, "content")
	if len(content) == 0 || content[0] != '[' {
		return m, false
	}
	var blocks [][]byte
	for it := jsonscan.Walk(content); ; {
		b, ok := it.Element()
		if !ok {
			break
		}
		if isThought(b) {
			had = true
			continue
		}
		blocks = append(blocks, b)
	}
	switch {
	case !had:
		return m, false
	case len(blocks) == 0:
		return nil, true
	}
	list := []byte{'['}
	for i, b := range blocks {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, b...)
	}
	return setMember(m, "content", append(list, ']')), true
}
