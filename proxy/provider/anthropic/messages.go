package anthropic

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
)

// turn is one message of the API: all neighbouring messages of one role.
type turn struct {
	role    string
	blocks  [][]byte
	results int // tool_result blocks, which lead the turn
}

// history is the conversation as the API wants it.
type history struct {
	turns []turn
	// calls are the ids of the tool calls that the last assistant turn made.
	calls []string
	// unsigned: the running tool loop has an assistant turn without the
	// thinking that led to it.
	unsigned bool
	toolUse  []string // names called anywhere, for requests without tools
}

func (h *history) turn(role string) *turn {
	if n := len(h.turns); n > 0 && h.turns[n-1].role == role {
		return &h.turns[n-1]
	}
	h.turns = append(h.turns, turn{role: role})
	return &h.turns[len(h.turns)-1]
}

func (h *history) add(role string, blocks ...[]byte) {
	if len(blocks) > 0 {
		t := h.turn(role)
		t.blocks = append(t.blocks, blocks...)
	}
}

// addResult puts a tool result behind the results and before anything else of
// its turn, where the API looks for it.
func (h *history) addResult(block []byte) {
	t := h.turn("user")
	t.blocks = append(t.blocks, nil)
	copy(t.blocks[t.results+1:], t.blocks[t.results:])
	t.blocks[t.results] = block
	t.results++
}

func (h *history) append(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range h.turns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, '{'), "role", h.turns[i].role)
		dst = appendList(dst, "content", h.turns[i].blocks)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// finish mends what the API refuses about the two ends of a conversation.
func (h *history) finish() {
	if n := len(h.turns); n > 0 && h.turns[n-1].role == "assistant" {
		t := &h.turns[n-1]
		if b := len(t.blocks) - 1; text(t.blocks[b], "type") == "text" {
			s := text(t.blocks[b], "text")
			if trimmed := strings.TrimRight(s, " \t\r\n"); trimmed != s {
				t.blocks[b] = setMember(t.blocks[b], "text", quoted(trimmed))
			}
		}
	}
	if len(h.turns) == 0 || h.turns[0].role == "assistant" {
		first := turn{role: "user", blocks: [][]byte{textBlock([]byte(`"Please continue."`), nil)}}
		h.turns = append([]turn{first}, h.turns...)
	}
}

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
		switch string(nameOf(k)) {
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
		if !isObject(raw) {
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
			note := "<system>\n" + text(b, "text") + "\n</system>"
			r.history.add("user", setMember(b, "text", quoted(note)))
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
	if len(blocks) == 0 && m.refusal != nil && !isBlank(m.refusal) {
		blocks = append(blocks, textBlock(m.refusal, nil))
	}
	for _, b := range blocks {
		switch text(b, "type") {
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
		fn := member(raw, "function")
		if fn == nil {
			return badParam(where+".function", "only function calls can be translated")
		}
		id := text(raw, "id")
		if id == "" {
			return badParam(where+".id", "a tool call needs an id")
		}
		use, err := r.toolUse(where+".function", id, fn)
		if err != nil {
			return err
		}
		if cc := member(raw, "cache_control"); cc != nil {
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
			if id := text(b, "id"); id != "" && text(b, "type") == "tool_use" {
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

// dropEmpty takes back a turn that got no blocks: the API refuses those.
func (h *history) dropEmpty() {
	if n := len(h.turns); n > 0 && len(h.turns[n-1].blocks) == 0 {
		h.turns = h.turns[:n-1]
	}
}

// toolUse makes the block of one call and remembers its id.
func (r *request) toolUse(where, id string, fn []byte) ([]byte, error) {
	name := text(fn, "name")
	if name == "" {
		return nil, badParam(where+".name", "a tool call needs a function name")
	}
	input, err := toolInput(member(fn, "arguments"))
	if err != "" {
		return nil, badParam(where+".arguments", err)
	}
	id = cleanID(id)
	r.history.calls = append(r.history.calls, id)
	if !contains(r.history.toolUse, name) {
		r.history.toolUse = append(r.history.toolUse, name)
	}
	b := appendText([]byte{'{'}, "type", "tool_use")
	b = appendText(b, "id", id)
	b = appendText(b, "name", name)
	return append(appendRaw(b, "input", input), '}'), nil
}

// toolInput is the object inside an arguments string. Nothing at all is the
// empty object: an empty string here would poison every later turn.
func toolInput(raw []byte) (input []byte, problem string) {
	if raw == nil {
		return []byte("{}"), ""
	}
	if isObject(raw) {
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
		if cc := member(b, "cache_control"); cc != nil {
			cache = cc
			blocks[j] = setMember(b, "cache_control", nil)
		}
	}
	b := appendText([]byte{'{'}, "type", "tool_result")
	b = appendText(b, "tool_use_id", id)
	if jsonscan.IsString(m.content) {
		if len(blocks) > 0 {
			b = appendRaw(b, "content", m.content)
		}
	} else if len(blocks) > 0 {
		b = appendList(b, "content", blocks)
	}
	if cache != nil {
		b = appendRaw(b, "cache_control", cache)
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
	case !isArray(m.content):
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

// block turns one part into a block; nil without a problem leaves it out. A
// type that is not OpenAI's is the API's own and passes as it is.
func (r *request) block(part []byte) (block []byte, problem string) {
	if jsonscan.IsString(part) {
		if isBlank(part) {
			return nil, ""
		}
		return textBlock(part, nil), ""
	}
	if !isObject(part) {
		return nil, "a content part must be an object"
	}
	cache := cacheMark(part)
	switch kind := text(part, "type"); kind {
	case "text", "input_text", "output_text":
		t := member(part, "text")
		if !jsonscan.IsString(t) {
			return nil, "a text part needs a text"
		}
		if isBlank(t) {
			return nil, ""
		}
		block = textBlock(t, cache)
		if c := member(part, "citations"); c != nil {
			block = setMember(block, "citations", c)
		}
		return block, ""
	case "refusal":
		t := member(part, "refusal")
		if !jsonscan.IsString(t) || isBlank(t) {
			return nil, ""
		}
		return textBlock(t, cache), ""
	case "image_url":
		return imageBlock(part, cache)
	case "file":
		return fileBlock(member(part, "file"), cache)
	case "input_audio", "video_url":
		return nil, "anthropic does not take parts of type " + kind
	case "":
		return nil, "a content part needs a type"
	}
	return part, ""
}

// cacheMark is the part's cache breakpoint in either maker's spelling.
func cacheMark(part []byte) []byte {
	if cc := member(part, "cache_control"); cc != nil {
		return cc
	}
	if member(part, "prompt_cache_breakpoint") != nil {
		return []byte(`{"type":"ephemeral"}`)
	}
	return nil
}

func textBlock(raw, cache []byte) []byte {
	b := append(make([]byte, 0, len(raw)+len(cache)+64), '{')
	b = appendText(b, "type", "text")
	return closeBlock(appendRaw(b, "text", raw), cache)
}

func closeBlock(b, cache []byte) []byte {
	if cache != nil {
		b = appendRaw(b, "cache_control", cache)
	}
	return append(b, '}')
}

func imageBlock(part, cache []byte) ([]byte, string) {
	image := member(part, "image_url")
	url, format := "", ""
	if isObject(image) {
		url, format = text(image, "url"), text(image, "format")
	} else {
		url, _ = jsonscan.String(image)
	}
	if url == "" {
		return nil, "an image part needs image_url.url"
	}
	return mediaBlock(url, format, "", cache)
}

func fileBlock(file, cache []byte) ([]byte, string) {
	title := text(file, "filename")
	if data := text(file, "file_data"); data != "" {
		if !strings.HasPrefix(data, "data:") && !isURL(data) {
			data = "data:application/pdf;base64," + data
		}
		return mediaBlock(data, text(file, "format"), title, cache)
	}
	id := text(file, "file_id")
	switch {
	case id == "":
		return nil, "a file part needs file_data or file_id"
	case isURL(id) || strings.HasPrefix(id, "data:"):
		return mediaBlock(id, orElse(text(file, "format"), "application/pdf"), title, cache)
	}
	b := appendText([]byte{'{'}, "type", "document")
	b = append(appendKey(b, "source"), '{')
	b = append(appendText(appendText(b, "type", "file"), "file_id", id), '}')
	return closeBlock(b, cache), ""
}

// mediaBlock turns a data URL or an address into an image or a document.
func mediaBlock(url, format, title string, cache []byte) ([]byte, string) {
	media, data := format, ""
	inline := strings.HasPrefix(url, "data:")
	if inline {
		head, payload, ok := strings.Cut(url[len("data:"):], ",")
		if !ok || !strings.HasSuffix(head, ";base64") {
			return nil, "a data URL must be base64-encoded"
		}
		data = payload
		if head, _, _ = strings.Cut(strings.TrimSuffix(head, ";base64"), ";"); head != "" {
			media = head
		}
	} else if !isURL(url) {
		return nil, "an image must be a data URL or an http address"
	}
	media = strings.ToLower(media)
	if media == "image/jpg" {
		media = "image/jpeg"
	}
	kind := "image"
	if media == "application/pdf" || media == "text/plain" || !inline && strings.HasSuffix(strings.ToLower(url), ".pdf") {
		kind = "document"
	}
	b := append(make([]byte, 0, len(url)+160), '{')
	b = append(appendKey(appendText(b, "type", kind), "source"), '{')
	switch {
	case inline && media == "text/plain":
		plain, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, "a data URL must be base64-encoded"
		}
		b = appendText(appendText(b, "type", "text"), "media_type", media)
		b = appendText(b, "data", string(plain))
	case inline:
		b = appendText(appendText(b, "type", "base64"), "media_type", media)
		b = appendText(b, "data", data)
	default:
		b = appendText(appendText(b, "type", "url"), "url", url)
	}
	b = append(b, '}')
	if title != "" && kind == "document" {
		b = appendText(b, "title", title)
	}
	return closeBlock(b, cache), ""
}

func isURL(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
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
