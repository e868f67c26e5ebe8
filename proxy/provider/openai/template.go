package openai

import (
	"bytes"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// template is what the chunks of a stream have in common: most differ from the
// one before only in the text of their content. A chunk that begins and ends
// as the last one did, with one well-formed string in between, is valid JSON of
// the same shape, and what was decided for the last one holds for it: its bytes
// are joined without being parsed again.
type template struct {
	inHead, inTail   []byte // of the provider's event, up to and from the content's quotes
	outHead, outTail []byte // of our frame
	misses           int    // chunks in a row that did not fit
}

// patience is how many misfits in a row it takes to give learning up for a
// while: some providers pad every chunk at random, and learning costs as much
// as reading.
const patience = 4

// learn takes the event that has just been passed on as the pattern for the
// next, when its one choice held plain content and nothing else of interest.
func (t *template) learn(data, frame []byte) {
	t.inHead = t.inHead[:0]
	if t.misses++; t.misses > patience && t.misses%16 != 0 {
		return
	}
	const lead, trail = len("data: "), len("\n\n")
	if len(frame) < lead+trail {
		return
	}
	from, to, ok := contentOf(data)
	if !ok {
		return
	}
	event := frame[lead : len(frame)-trail]
	outFrom, outTo, ok := contentOf(event)
	if !ok {
		return
	}
	t.inHead = append(t.inHead[:0], data[:from]...)
	t.inTail = append(t.inTail[:0], data[to:]...)
	t.outHead = append(t.outHead[:0], frame[:lead+outFrom]...)
	t.outTail = append(t.outTail[:0], frame[lead+outTo:]...)
}

// fits gives the text of a chunk that follows the pattern, with its quotes.
func (t *template) fits(data []byte) ([]byte, bool) {
	if len(t.inHead) == 0 || len(data) < len(t.inHead)+len(t.inTail) ||
		!bytes.HasPrefix(data, t.inHead) || !bytes.HasSuffix(data, t.inTail) {
		return nil, false
	}
	text := data[len(t.inHead) : len(data)-len(t.inTail)]
	if !wellFormed(text) {
		return nil, false
	}
	return data[len(t.inHead)-1 : len(data)-len(t.inTail)+1], true
}

// contentOf finds the content of the only choice of a chunk: the bytes between
// its quotes. It is false for chunks with more than one choice, with a finish
// reason, or whose delta holds anything but role and content.
func contentOf(data []byte) (from, to int, ok bool) {
	choices, at, ok := member(data, `"choices"`)
	if !ok {
		return 0, 0, false
	}
	list := jsonscan.Walk(choices)
	choice, more := list.Element()
	if !more {
		return 0, 0, false
	}
	at += list.Offset()
	if _, second := list.Element(); second || !jsonscan.IsNull(jsonscan.Find(choice, "finish_reason")) {
		return 0, 0, false
	}
	delta, off, ok := member(choice, `"delta"`)
	if !ok {
		return 0, 0, false
	}
	at += off
	var content []byte
	members := jsonscan.Walk(delta)
	for k, v, more := members.Member(); more; k, v, more = members.Member() {
		switch string(k) {
		case `"content"`:
			content, off = v, members.Offset()
		case `"role"`:
		default:
			if !jsonscan.IsNull(v) {
				return 0, 0, false
			}
		}
	}
	if !jsonscan.IsString(content) {
		return 0, 0, false
	}
	at += off
	return at + 1, at + len(content) - 1, true
}

// member finds a member by its quoted key: its value and where that begins.
func member(raw []byte, key string) (value []byte, at int, ok bool) {
	it := jsonscan.Walk(raw)
	for k, v, more := it.Member(); more; k, v, more = it.Member() {
		if string(k) == key {
			return v, it.Offset(), true
		}
	}
	return nil, 0, false
}

// wellFormed reports whether bytes are the inside of a well-formed JSON string.
func wellFormed(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"' || c < ' ':
			return false
		case c == '\\':
			i++
			if i == len(b) {
				return false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) || !hex4(b[i+1:i+5]) {
					return false
				}
				i += 4
			default:
				return false
			}
		}
	}
	return true
}

func hex4(b []byte) bool {
	for _, c := range b {
		if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// quick passes a chunk on by the pattern; it is false when the chunk has to be
// read.
func (s *chunks) quick(name string, data []byte, out provider.Sink) bool {
	if name != "" || s.info.Done {
		return false
	}
	text, ok := s.pattern.fits(data)
	if !ok {
		return false
	}
	s.pattern.misses = 0
	n := int64(jsonscan.TextLen(text))
	s.info.OutputBytes += n
	s.info.SawContent = s.info.SawContent || n > 0
	s.buf = append(s.buf[:0], s.pattern.outHead...)
	s.buf = append(s.buf, text[1:len(text)-1]...)
	s.buf = append(s.buf, s.pattern.outTail...)
	out.Emit(s.buf)
	return true
}
