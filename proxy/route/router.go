package route

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/unit"
	"tollgate/proxy/provider"
)

// Load is what other nodes tell of the deployments' work. It is asked on every
// choice of a strategy that looks at load, and waits for nobody.
type Load interface {
	// Others sums what the other nodes have sent to a deployment this minute, and
	// what they have in flight.
	Others(id string) (requests, tokens int64, inFlight int)
}

// Latencies is what Health may know besides: how fast deployments answer. It
// stands in for samples of this node's own.
type Latencies interface {
	// Latency is in seconds for each token of an answer, and to the first token of
	// a stream; 0 where that is unknown. ok is false when neither is known.
	Latency(id string) (perToken, firstToken float64, ok bool)
}

// Config is what a Router is made of.
type Config struct {
	Health Health // nil: every deployment is as good as another
	Load   Load   // nil: this node is the only one
	Region string // this node's; "" prefers none
	Clock  unit.Clock
	// Random is where chance comes from, at least 0 and below 1; nil: the
	// runtime's source.
	Random func() float64
}

// Router chooses among deployments. It remembers what this node has lately sent
// to them; one serves all calls of a node.
type Router struct {
	cfg      Config
	settings atomic.Pointer[settings] // of the routing last seen
	loads    sync.Map                 // deployment id to *load
	faster   sync.Map                 // group to *atomic.Int64: since when another region is faster, Unix nanoseconds
}

// Caller is who calls, as far as the choice depends on it.
type Caller interface {
	// MayReach reports whether a fallback's group may serve the caller.
	MayReach(group string) bool
	// NoRoom is the error of a call that found all deployments of a group without
	// room in their limits and budgets.
	NoRoom() *provider.Error
}

// Fallback is one model to try when another failed.
type Fallback struct {
	Name string
	// Fields is a JSON object whose fields overwrite the request's for this model;
	// nil: none do.
	Fields []byte
}

// Request is what the choice depends on beside the configuration.
type Request struct {
	Name   string // the model asked for, aliases of the caller resolved
	Caller Caller
	// Regions are those in which the call may be served; nil: all. A deployment
	// that states no region is in none.
	Regions []string
	Tags    []string
	Tokens  int64 // of the input, estimated
	Stream  bool
	// Schema reports a response_format that only some models can follow.
	Schema bool
	// DropParams reports that what a model does not support is left out.
	DropParams bool

	// What the request itself says of retries and fallbacks. A list that is not
	// nil stands in place of the configuration's.
	Retries          int // -1: nothing
	Fallbacks        []Fallback
	ContextFallbacks []Fallback
	ContentFallbacks []Fallback
	NoFallbacks      bool
}

// New makes a Router. Nothing of cfg is required but the clock.
func New(cfg Config) *Router {
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	return &Router{cfg: cfg}
}

// Usage is what this node has sent to a deployment, for Load of the others.
type Usage struct {
	ID       string
	Minute   time.Time // whose beginning it is that Requests and Tokens count since
	Requests int64
	Tokens   int64
	InFlight int
}

// chance is a number from 0 up to 1.
func (r *Router) chance() float64 {
	if r.cfg.Random != nil {
		return r.cfg.Random()
	}
	return rand.Float64()
}
