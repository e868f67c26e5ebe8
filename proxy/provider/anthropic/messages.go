package anthropic

import (
	"bytes"
	"strconv"

	"tollgate/proxy/jsonscan"
)

// message is one chat message, its members still raw.
type message struct {
	role, toolCallID, name string
	content, toolCalls     []byte
	functionCall           []byte
	thinkingBlocks         []byte
	reasoningDetails       []byte
	cache                  []byte
	refusal                []byte
}

func readMessage(raw []byte) message {
	var m message
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return m
		}
		if jsonscan.IsNull(v) {
			continue
		}
		switch string(jsonscan.Name(k)) {
		case "role":
			m.role, _ = jsonscan.String(v)
		case "content":
			m.content = v
		case "name":
			m.name, _ = jsonscan.String(v)
		case "tool_call_id":
			m.toolCallID, _ = jsonscan.String(v)
		case "tool_calls":
			m.toolCalls = v
		case "function_call":
			m.functionCall = v
		case "thinking_blocks":
			m.thinkingBlocks = v
		case "reasoning_details":
			m.reasoningDetails = v
		case "cache_control":
			m.cache = v
		case "refusal":
			m.refusal = v
		}
	}
}

// convertMessages builds system and history.
func (r *request) convertMessages() error {
	leading := true
	i := -1
	for it := jsonscan.Walk(r.messages); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		i++
		if !jsonscan.IsObject(raw) {
			return badParam(at(i, ""), "messages must hold objects")
		}
		m := readMessage(raw)
		var err error
		switch m.role {
		case "system", "developer":
			err = r.addSystem(i, &m, leading)
		case "user":
			leading = false
			err = r.addUser(i, &m)
		case "assistant":
			leading = false
			err = r.addAssistant(i, &m)
		case "tool", "function":
			leading = false
			err = r.addToolResult(i, &m)
		default:
			return badParam(at(i, "role"), "unknown role "+strconv.Quote(m.role))
		}
		if err != nil {
			return err
		}
	}
	r.history.finish()
	return nil
}

// addSystem hoists instructions that lead the conversation. A later one keeps
// its place: as a system message where the model knows those, else as a user's
// text that says what it is.
func (r *request) addSystem(i int, m *message, leading bool) error {
	blocks, err := r.blocks(i, m)
	if err != nil {
		return err
	}
	switch {
	case leading:
		r.system = append(r.system, blocks...)
	case r.can.midSystem:
		r.history.add("system", blocks...)
	default:
		for _, b := range blocks {
			note := "<system>\n" + jsonscan.Text(b, "text") + "\n</system>"
			r.history.add("user", setMember(b, "text", jsonscan.Quoted(note)))
		}
	}
	return nil
}

func (r *request) addUser(i int, m *message) error {
	blocks, err := r.blocks(i, m)
	if err != nil {
		return err
	}
	r.history.add("user", blocks...)
	if len(blocks) > 0 {
		r.history.unsigned = false // a new question ends the tool loop
	}
	return nil
}

func (r *request) addAssistant(i int, m *message) error {
	h := &r.history
	thinking := thinkingBlocks(m)
	blocks, err := r.blocks(i, m)
	if err != nil {
		return err
	}
	if r.call.NoThoughts {
		thinking, blocks = nil, withoutThoughts(blocks)
	}
	if len(blocks) == 0 && m.refusal != nil && !isBlank(m.refusal) {
		blocks = append(blocks, textBlock(m.refusal, nil))
	}
	for _, b := range blocks {
		switch jsonscan.Text(b, "type") {
		case "thinking", "redacted_thinking":
			thinking = nil // the content itself carries it
		}
	}
	var uses [][]byte
	h.calls = h.calls[:0]
	if m.functionCall != nil {
		use, err := r.toolUse(at(i, "function_call"), functionCallID(i), m.functionCall)
		if err != nil {
			return err
		}
		uses = append(uses, use)
	}
	n := -1
	for it := jsonscan.Walk(m.toolCalls); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		n++
		where := at(i, "tool_calls") + "[" + strconv.Itoa(n) + "]"
		fn := jsonscan.Member(raw, "function")
		if fn == nil {
			return badParam(where+".function", "only function calls can be translated")
		}
		id := jsonscan.Text(raw, "id")
		if id == "" {
			return badParam(where+".id", "a tool call needs an id")
		}
		use, err := r.toolUse(where+".function", id, fn)
		if err != nil {
			return err
		}
		if cc := jsonscan.Member(raw, "cache_control"); cc != nil {
			use = setMember(use, "cache_control", cc)
		}
		uses = append(uses, use)
	}
	if len(uses) > 0 && len(thinking) == 0 {
		h.unsigned = true
	}
	if t := h.turn("assistant"); len(t.blocks) > 0 {
		// Calls of an earlier message of the same turn are still waiting.
		for _, b := range t.blocks {
			if id := jsonscan.Text(b, "id"); id != "" && jsonscan.Text(b, "type") == "tool_use" {
				h.calls = append(h.calls, id)
			}
		}
	}
	h.add("assistant", thinking...)
	h.add("assistant", blocks...)
	h.add("assistant", uses...)
	h.dropEmpty()
	return nil
}

// toolUse makes the block of one call and remembers its id.
func (r *request) toolUse(where, id string, fn []byte) ([]byte, error) {
	name := jsonscan.Text(fn, "name")
	if name == "" {
		return nil, badParam(where+".name", "a tool call needs a function name")
	}
	input, err := toolInput(jsonscan.Member(fn, "arguments"))
	if err != "" {
		return nil, badParam(where+".arguments", err)
	}
	id = cleanID(id)
	r.history.calls = append(r.history.calls, id)
	if !contains(r.history.toolUse, name) {
		r.history.toolUse = append(r.history.toolUse, name)
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "tool_use")
	b = jsonscan.AppendText(b, "id", id)
	b = jsonscan.AppendText(b, "name", name)
	return append(jsonscan.AppendRaw(b, "input", input), '}'), nil
}

// toolInput is the object inside an arguments string. Nothing at all is the
// empty object: an empty string here would poison every later turn.
func toolInput(raw []byte) (input []byte, problem string) {
	if raw == nil {
		return []byte("{}"), ""
	}
	if jsonscan.IsObject(raw) {
		return raw, ""
	}
	inner, ok := jsonscan.AppendString(nil, raw)
	if !ok {
		return nil, "arguments must be a string of JSON"
	}
	inner = bytes.TrimSpace(inner)
	if len(inner) == 0 || string(inner) == "null" {
		return []byte("{}"), ""
	}
	var o jsonscan.Object
	if err := o.Parse(inner); err != nil {
		return nil, "arguments must be a JSON object: " + err.Error()
	}
	return inner, ""
}

func (r *request) addToolResult(i int, m *message) error {
	id := cleanID(m.toolCallID)
	if m.role == "function" && id == "" && len(r.history.calls) > 0 {
		id = r.history.calls[0]
	}
	if !contains(r.history.calls, id) {
		e := badParam(at(i, "tool_call_id"), "tool_call_id "+strconv.Quote(m.toolCallID)+" answers no call of the preceding assistant message")
		return e
	}
	// A cache mark on a part is lifted to the result: inside it would not count.
	cache := m.cache
	m.cache = nil
	blocks, err := r.blocks(i, m)
	if err != nil {
		return err
	}
	for j, b := range blocks {
		if cc := jsonscan.Member(b, "cache_control"); cc != nil {
			cache = cc
			blocks[j] = setMember(b, "cache_control", nil)
		}
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "tool_result")
	b = jsonscan.AppendText(b, "tool_use_id", id)
	if jsonscan.IsString(m.content) {
		if len(blocks) > 0 {
			b = jsonscan.AppendRaw(b, "content", m.content)
		}
	} else if len(blocks) > 0 {
		b = jsonscan.AppendList(b, "content", blocks)
	}
	if cache != nil {
		b = jsonscan.AppendRaw(b, "cache_control", cache)
	}
	r.history.addResult(append(b, '}'))
	return nil
}

// blocks turns a message's content into content blocks. The message's own
// cache mark belongs to its last block.
func (r *request) blocks(i int, m *message) ([][]byte, error) {
	switch {
	case m.content == nil:
		return nil, nil
	case jsonscan.IsString(m.content):
		if isBlank(m.content) {
			return nil, nil
		}
		return [][]byte{textBlock(m.content, m.cache)}, nil
	case !jsonscan.IsArray(m.content):
		return nil, badParam(at(i, "content"), "content must be a string or an array of parts")
	}
	var blocks [][]byte
	j := -1
	for it := jsonscan.Walk(m.content); ; {
		part, ok := it.Element()
		if !ok {
			break
		}
		j++
		b, problem := r.block(part)
		if problem != "" {
			return nil, badParam(at(i, "content")+"["+strconv.Itoa(j)+"]", problem)
		}
		if b != nil {
			blocks = append(blocks, b)
		}
	}
	if m.cache != nil && len(blocks) > 0 {
		blocks[len(blocks)-1] = setMember(blocks[len(blocks)-1], "cache_control", m.cache)
	}
	return blocks, nil
}

// cleanID keeps what the API allows in ids; other makers' ids hold more. Calls
// and results pass here alike, so they still match.
func cleanID(id string) string {
	ok := true
	for i := 0; i < len(id); i++ {
		ok = ok && idByte(id[i])
	}
	if ok {
		return id
	}
	b := []byte(id)
	for i, c := range b {
		if !idByte(c) {
			b[i] = '_'
		}
	}
	return string(b)
}

func idByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// functionCallID names a call of the old function API, which has no ids.
func functionCallID(i int) string { return "call_message_" + strconv.Itoa(i) }

// at is the path of a message's member.
func at(i int, member string) string {
	p := "messages[" + strconv.Itoa(i) + "]"
	if member != "" {
		p += "." + member
	}
	return p
}
