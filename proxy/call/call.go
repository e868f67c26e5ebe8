// Package call is one model call's walk, from a parsed HTTP request to the last
// byte of its answer: principal, plan, reservation, intent, attempts, answer,
// cost, settlement. It is the only place that knows the order of these steps.
// What each step means is decided in the rooms it calls.
package call

import (
	"hash/maphash"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
	"tollgate/proxy/cache"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
	"tollgate/proxy/upstream"
)

// Connection is a client connection that can tell that the client has gone.
type Connection interface {
	Arm() uint64
	Watch(epoch uint64, gone func())
	Unwatch()
	Remote() string
}

// Deps are the rooms that a call walks through.
type Deps struct {
	State     state.Getter
	Admit     *admit.Admitter
	Ledger    *store.Ledger
	Upstream  *upstream.Client
	Providers func(name string, op provider.Op) (provider.Provider, bool)
	Health    route.Health // nil: every deployment is as good as another
	// Router chooses among deployments; nil: one of the handler's own.
	Router  *route.Router
	Metrics *Metrics
	Cache   *cache.Cache // nil: no answers are kept
	Clock   unit.Clock
	Logger  *slog.Logger
	// Copied returns when another node has a booked call too, where that is asked
	// for; nil: nobody is waited for.
	Copied  func(seq uint64)
	Answers Answers // nil: an Idempotency-Key of a call means nothing
	Region  string
	Node    string // this one's name, for the books
	Version string
}

// Handler serves the model routes.
type Handler struct {
	Deps
	inFlight atomic.Int64
	pool     sync.Pool // of *call: what a call needs is made once and used again
	refusals refusalLog
}

// New makes the handler of the model routes.
func New(d Deps) *Handler {
	if d.Router == nil {
		d.Router = route.New(route.Config{Health: d.Health, Region: d.Region, Clock: d.Clock})
	}
	h := &Handler{Deps: d, refusals: refusalLog{seed: maphash.MakeSeed()}}
	h.pool.New = func() any { return &call{gone: make(chan struct{}, 1)} }
	return h
}

// take gives a call whose fields are as new but for the memory it keeps.
func (h *Handler) take(ctx *fasthttp.RequestCtx, in *Incoming) *call {
	c := h.pool.Get().(*call)
	c.h, c.ctx, c.op, c.start, c.snap, c.principal, c.conn, c.counting = h, ctx, in.Op, in.Start, in.Snapshot, in.Principal, in.Conn, in.Count
	return c
}

// release gives a finished call back. Nothing may refer to it any more.
func (c *call) release() {
	h := c.h
	c.endClaim()
	if c.reservation != nil {
		c.reservation.Release()
	}
	if c.lane.res != nil {
		c.lane.res.Release()
	}
	c.thisCall = thisCall{}
	c.forget()
	if cap(c.merged) > keepMerged {
		c.merged = nil // one large body must not pin its memory
	}
	if cap(c.answer) > keepMerged {
		c.answer = nil
	}
	c.canceled.Store(false)
	c.current.Store(nil)
	select {
	case <-c.gone:
	default:
	}
	h.pool.Put(c)
}

// forget empties what was read of the request and asked of the limits.
func (c *call) forget() {
	c.body.Reset()
	c.fields.Reset()
	clear(c.ask.Rates)
	clear(c.ask.Budgets)
	clear(c.charges)
	c.ask = admit.Ask{Rates: c.ask.Rates[:0], Budgets: c.ask.Budgets[:0]}
	c.charges = c.charges[:0]
	clear(c.tried)
	c.tried = c.tried[:0]
	c.way.Reset()
	c.plan.Reset()
	c.wants = route.Request{}
}

// keepMerged is the largest body buffer that a pooled call keeps.
const keepMerged = 64 << 10

// InFlight is the number of calls now between request and last byte.
func (h *Handler) InFlight() int64 { return h.inFlight.Load() }

// call is the state of one call. It lives until its last byte is written and is
// owned by one goroutine at a time: the handler's, then the body writer's.
type call struct {
	thisCall

	// What is kept for the next call: memory, no facts.
	body    jsonscan.Object
	fields  jsonscan.Object // of the body as merged for one deployment
	merged  []byte          // the body as merged
	space   []byte          // for the bodies that translators build
	answer  []byte          // the provider's whole answer
	scratch []byte          // for header values
	ask     admit.Ask
	charges []store.Charge
	tried   []route.Attempt // deployments, in the order in which they were asked
	plan    route.Plan      // what the call may come to
	wants   route.Request   // what the choice depends on
	way     route.Walk      // through the plan

	canceled atomic.Bool                       // the client has left
	gone     chan struct{}                     // holds one when it has
	current  atomic.Pointer[upstream.Exchange] // what a leaving client cancels
}

// thisCall is what is known of one call.
type thisCall struct {
	h      *Handler
	ctx    *fasthttp.RequestCtx
	op     provider.Op
	start  time.Time
	id     store.CallID
	idText string
	ownID  bool // idText is the client's

	snap      *state.Snapshot
	principal auth.Principal
	regions   []string // that the call's data may be in; empty: all
	req       request  // what the client asked, read from body and headers

	denied      *admit.Refusal // what refused the call, if it was a limit or a budget
	reservation *admit.Reservation
	lane        lane
	intent      store.Ref
	max         unit.Money
	growing     bool  // a stream without a maximum of its own: its reservation follows its output
	outputCap   int64 // tokens that the reservation affords; 0: no cap of ours

	attempts int
	use      route.Use     // the running attempt's place in the router's counts
	waited   time.Duration // before the next attempt, so far
	// noThoughts leaves out what models thought earlier: a provider has refused it.
	noThoughts bool
	// discarded is what answers have cost that were not passed on.
	discarded       price.Cost
	discardedTokens int64
	served          route.Candidate
	pcall           provider.Call
	exchange        *upstream.Exchange
	sentAt          time.Time     // when the provider was asked
	firstAt         time.Time     // its first byte
	elsewhere       time.Duration // spent waiting for providers, and between attempts
	atWork          bool          // the provider was asked and has not refused: it may bill
	asked           bool          // the attempt has reached for the provider
	reset           time.Duration // after which a provider that limits us counts anew; 0 unknown

	watch    *time.Timer
	conn     Connection
	counting bool // only the input's tokens are asked for
	settled  bool
	unbooked bool // the ledger refused the entry: the answer is withheld
	entry    store.Entry
	cost     price.Cost
	endAt    time.Time
	stream   *streamBody
	claimed  *claimed // nil for a call without an Idempotency-Key
	cached   *cached  // nil for a call that has nothing to do with kept answers
}

var (
	_ io.ReadCloser         = (*streamBody)(nil)
	_ fasthttp.BodyWriterTo = (*streamBody)(nil)
)
