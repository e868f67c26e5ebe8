package anthropic

import "tollgate/proxy/jsonscan"

import "strings"

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
		dst = jsonscan.AppendText(append(dst, '{'), "role", h.turns[i].role)
		dst = jsonscan.AppendList(dst, "content", h.turns[i].blocks)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// finish mends what the API refuses about the two ends of a conversation.
func (h *history) finish() {
	if n := len(h.turns); n > 0 && h.turns[n-1].role == "assistant" {
		t := &h.turns[n-1]
		if b := len(t.blocks) - 1; jsonscan.Text(t.blocks[b], "type") == "text" {
			s := jsonscan.Text(t.blocks[b], "text")
			if trimmed := strings.TrimRight(s, " \t\r\n"); trimmed != s {
				t.blocks[b] = setMember(t.blocks[b], "text", jsonscan.Quoted(trimmed))
			}
		}
	}
	if len(h.turns) == 0 || h.turns[0].role == "assistant" {
		first := turn{role: "user", blocks: [][]byte{textBlock([]byte(`"Please continue."`), nil)}}
		h.turns = append([]turn{first}, h.turns...)
	}
}

// dropEmpty takes back a turn that got no blocks: the API refuses those.
func (h *history) dropEmpty() {
	if n := len(h.turns); n > 0 && len(h.turns[n-1].blocks) == 0 {
		h.turns = h.turns[:n-1]
	}
}
