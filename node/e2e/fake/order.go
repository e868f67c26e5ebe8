package fake

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Orders stand in the prompt as words: fake:NAME or fake:NAME=VALUE.
//
//	status=500      answer with this status and an error in the dialect
//	too=long        refuse a prompt as too long for the model, in the API's words
//	too=rude        refuse it by content policy
//	telltale        tell in the error which key was sent, as careless providers do
//	retry-after=7   with this header
//	html            200 with a page; with status= that status with a page
//	garbage         200 with bytes that are no JSON
//	empty           200 without a body
//	nothing         close the connection without a word
//	half            stop in the middle of the body
//	cut             end a stream in order, but without its end marker
//	reset           reset the connection in the middle of the body
//	error200        200 with an error inside
//	hang            say nothing until the caller leaves
//	stall           a stream that falls silent after its first words
//	slow=300ms      wait before the answer
//	gap=20ms        wait between the frames of a stream
//	words=20        length of the answer
//	chunks=1byte    write single bytes
//	crlf            end lines with CR LF
//	comments        keep-alive comments between frames
//	tools=2         call tools, this many at once
//	nousage         leave usage out
//	gzip            compress the body, asked for or not
//	wide=200000     one word of this many bytes
//	close           close the connection after the answer, in order
//	json            ignore stream: true and answer with one JSON body
type orders map[string]string

func readOrders(text string) orders {
	o := orders{}
	for _, word := range strings.Fields(text) {
		rest, found := strings.CutPrefix(word, "fake:")
		if !found {
			continue
		}
		name, value, _ := strings.Cut(rest, "=")
		o[name] = value
	}
	return o
}

func (o orders) has(name string) bool { _, ok := o[name]; return ok }

func (o orders) number(name string, otherwise int) int {
	if n, err := strconv.Atoi(o[name]); err == nil {
		return n
	}
	return otherwise
}

func (o orders) duration(name string) time.Duration {
	d, err := time.ParseDuration(o[name])
	if err != nil {
		return 0
	}
	return d
}

// call is what the fake understands of a request.
type call struct {
	valid      bool
	model      string
	text       string // of the last user message
	orders     orders
	stream     bool
	wantUsage  bool
	tools      []string
	toolResult string // text of tool results in the last turn
	images     int
	maxTokens  int
	inputs     []string // of an embedding
	floats     bool     // the embedding is wanted as numbers
	promptSize int
}

func readCall(path string, body []byte) call {
	c := call{valid: json.Valid(body), promptSize: 10}
	b := gjson.ParseBytes(body)
	c.model, c.stream = b.Get("model").String(), b.Get("stream").Bool()
	c.wantUsage = b.Get("stream_options.include_usage").Bool()
	c.maxTokens = int(b.Get("max_tokens").Int())
	if n := b.Get("max_completion_tokens"); n.Exists() {
		c.maxTokens = int(n.Int())
	}
	c.floats = b.Get("encoding_format").String() != "base64"
	b.Get("tools").ForEach(func(_, t gjson.Result) bool {
		name := t.Get("function.name").String()
		if name == "" {
			name = t.Get("name").String()
		}
		c.tools = append(c.tools, name)
		return true
	})
	switch path {
	case "/v1/embeddings":
		c.readInputs(b.Get("input"))
	case "/v1/completions":
		c.text = b.Get("prompt").String()
		if first := b.Get("prompt.0"); first.Exists() {
			c.text = first.String()
		}
	default:
		c.readMessages(b.Get("messages"))
	}
	c.orders = readOrders(c.text)
	return c
}

func (c *call) readInputs(in gjson.Result) {
	if in.Type == gjson.String {
		c.inputs = []string{in.String()}
	} else {
		in.ForEach(func(_, v gjson.Result) bool {
			c.inputs = append(c.inputs, v.String())
			return true
		})
	}
	c.text = strings.Join(c.inputs, " ")
}

func (c *call) readMessages(list gjson.Result) {
	list.ForEach(func(_, m gjson.Result) bool {
		role, content := m.Get("role").String(), m.Get("content")
		c.toolResult = turnResult(role, content, c.toolResult)
		var text []string
		if content.Type == gjson.String {
			text = append(text, content.String())
		}
		if content.IsArray() {
			content.ForEach(func(_, part gjson.Result) bool {
				switch part.Get("type").String() {
				case "text":
					text = append(text, part.Get("text").String())
				case "image_url", "image":
					c.images++
				}
				return true
			})
		}
		if role == "user" && len(text) > 0 {
			c.text = strings.Join(text, " ")
		}
		return true
	})
}

// turnResult collects the tool results of the last turn: OpenAI sends one
// message each, Anthropic blocks in one user message.
func turnResult(role string, content gjson.Result, before string) string {
	switch role {
	case "tool":
		out := content.String()
		if content.IsArray() {
			out = content.Get("0.text").String()
		}
		return strings.TrimSpace(before + " " + out)
	case "user":
		if !content.IsArray() {
			return ""
		}
		out := ""
		content.ForEach(func(_, part gjson.Result) bool {
			if part.Get("type").String() == "tool_result" {
				r := part.Get("content")
				text := r.String()
				if r.IsArray() {
					text = r.Get("0.text").String()
				}
				out = strings.TrimSpace(out + " " + text)
			}
			return true
		})
		return out
	}
	return before
}

// calls is the number of tool calls that the answer makes.
func (c *call) calls() int {
	if !c.orders.has("tools") || len(c.tools) == 0 || c.toolResult != "" {
		return 0
	}
	return max(c.orders.number("tools", 1), 1)
}

// words is the answer's text, cut into the pieces that a stream sends.
func (c *call) words() []string {
	if c.orders.has("words") {
		out := make([]string, c.orders.number("words", 1))
		for i := range out {
			out[i] = "word" + strconv.Itoa(i) + " "
		}
		if c.maxTokens > 0 && len(out) > c.maxTokens {
			out = out[:c.maxTokens]
		}
		return out
	}
	if n := c.orders.number("wide", 0); n > 0 {
		return []string{strings.Repeat("w", n)}
	}
	text := "Héllo 世界 🙂 from " + c.model + "."
	if c.toolResult != "" {
		text = "The tool said: " + c.toolResult
	}
	if c.images > 0 {
		text += " I saw " + strconv.Itoa(c.images) + " image."
	}
	return strings.SplitAfter(text, " ")
}

func (c *call) answerText() string { return strings.Join(c.words(), "") }

// outTokens is the completion's size as the fake bills it.
func (c *call) outTokens() int {
	if n := c.calls(); n > 0 {
		return 7 * n
	}
	return len(c.words())
}
