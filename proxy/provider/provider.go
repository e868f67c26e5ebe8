// Package provider is the boundary between the gateway and the companies that
// serve models. A translator is pure: one call in, one upstream request out;
// the upstream's bytes in, our answer or events out. It knows no keys of ours,
// no budgets, no cluster and no sockets.
package provider

import (
	"time"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
)

// Op is what the caller asks for.
type Op uint8

// The operations of the proxy path.
const (
	OpChat       Op = iota + 1 // OpenAI chat completions
	OpCompletion               // OpenAI text completions
	OpEmbedding
	OpMessages // Anthropic messages
)

// Call is one client call, as a translator sees it. Body is a JSON object whose
// gateway-only fields (metadata, tags, fallbacks, …) are already gone and whose
// deployment defaults are already merged; Fields indexes it. The translator
// owns neither and must not keep them.
type Call struct {
	Op         Op
	Stream     bool
	Body       []byte
	Fields     *jsonscan.Object
	Deployment *state.Deployment
	Model      string // upstream model name (wildcards already filled in)
	PublicName string // the name the client used; answers carry it
	// WantUsage: the client asked for a usage chunk. Translators always ask the
	// provider for usage and emit the chunk only when this is set.
	WantUsage bool
	// DropParams: leave out what the provider does not support instead of 400.
	DropParams bool
	// MaxOutput, when > 0, is the most output tokens the reservation allows;
	// the translator sends min(client's, this) in the provider's own field.
	MaxOutput int64
	// InputEstimate is our count of the prompt, for dialects that must state
	// one before the provider has.
	InputEstimate int64
	// Header holds client headers that a provider may need (anthropic-beta,
	// anthropic-version, …), already filtered: never credentials.
	Header func(name string) string
	Now    time.Time
	CallID string
	// NoThoughts: leave out what models thought in earlier turns.
	NoThoughts bool
	// Space is memory for the one body that a translator builds, request or
	// answer. The caller reuses it only when that body has been copied on.
	Space []byte
}

// Request is the upstream HTTP request to send. Header values may hold
// credentials: they are never logged.
type Request struct {
	Method string
	URL    string
	Header [][2]string
	Body   []byte
	// Dropped lists parameters left out under DropParams.
	Dropped []string
}

// Answer is a whole answer in the dialect of the call's Op.
type Answer struct {
	Body         []byte // JSON for the client, model name already the public one
	ID           string // the provider's response id
	Model        string // the model the provider says it used
	Usage        price.Usage
	RawUsage     []byte // the provider's own usage object, for audits; may alias its answer
	FinishReason string // OpenAI's words
}

// Sink receives what a stream translator makes of upstream events.
type Sink interface {
	// Emit sends one complete event to the client, framing included
	// ("data: {…}\n\n" or "event: x\ndata: {…}\n\n"). The sink copies.
	Emit(frame []byte)
}

// StreamInfo is what is known of a stream so far. Text counts output for cut
// and estimate: bytes of content, reasoning and tool arguments emitted.
type StreamInfo struct {
	ID           string
	Model        string
	Usage        price.Usage
	RawUsage     []byte
	FinishReason string
	OutputBytes  int64 // of text, reasoning and arguments so far
	SawContent   bool  // something that the client pays for has been emitted
	Done         bool  // the provider's end marker has been seen
}

// Stream turns one upstream stream into the client's events. It is used by one
// goroutine.
type Stream interface {
	// Event takes one upstream event (name may be empty; data is the joined
	// data lines, valid only during the call). An *Error means that the
	// provider reported a failure inside the stream.
	Event(name string, data []byte, out Sink) error
	// End is called when the upstream body has ended. It emits what is still
	// owed to the client (finish chunk, usage chunk, [DONE], message_stop) or
	// returns an *Error when the stream was cut before its end marker.
	End(out Sink) error
	// Cut ends the client's stream early in an orderly way: open blocks are
	// closed, the finish reason is the given one (OpenAI's words), and usage
	// emitted if asked for.
	Cut(reason string, out Sink)
	// Info is what is known so far.
	Info() *StreamInfo
}

// Provider is one translator.
type Provider interface {
	// Name is the provider's canonical name.
	Name() string
	// Supports reports whether the operation can be served at all.
	Supports(op Op) bool
	// Request builds the upstream request. A client's mistake is an *Error of
	// class BadRequest (or UnsupportedParams).
	Request(c *Call) (*Request, error)
	// Answer translates a whole 2xx answer. A body that is no answer (HTML,
	// nothing, an error object inside 200) is an *Error.
	Answer(c *Call, header func(string) string, body []byte) (*Answer, error)
	// Stream starts a translator for a streamed answer.
	Stream(c *Call) Stream
	// Error classifies a failed answer (status >= 300).
	Error(c *Call, status int, header func(string) string, body []byte) *Error
}
