// Package call is one model call's walk, from a parsed HTTP request to the last
// byte of its answer: principal, plan, reservation, intent, attempts, answer,
// cost, settlement. It is the only place that knows the order of these steps.
// What each step means is decided in the rooms it calls.
package call

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
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
}

// Deps are the rooms that a call walks through.
type Deps struct {
	State     state.Getter
	Admit     *admit.Admitter
	Ledger    *store.Ledger
	Upstream  *upstream.Client
	Providers func(name string, op provider.Op) (provider.Provider, bool)
	Metrics   *Metrics
	Clock     unit.Clock
	Logger    *slog.Logger
	Region    string
	Version   string
}

// Handler serves the model routes.
type Handler struct {
	Deps
	inFlight atomic.Int64
}

// New makes the handler of the model routes.
func New(d Deps) *Handler { return &Handler{Deps: d} }

// InFlight is the number of calls now between request and last byte.
func (h *Handler) InFlight() int64 { return h.inFlight.Load() }

// call is the state of one call. It lives until its last byte is written and is
// owned by one goroutine at a time: the handler's, then the body writer's.
type call struct {
	h      *Handler
	ctx    *fasthttp.RequestCtx
	op     provider.Op
	start  time.Time
	id     store.CallID
	idText string

	snap      *state.Snapshot
	principal auth.Principal
	req       request // what the client asked, read from body and headers
	body      jsonscan.Object
	fields    jsonscan.Object // of the body as merged for one deployment

	plan        route.Plan
	reservation *admit.Reservation
	intent      store.Ref
	charges     []store.Charge
	max         unit.Money
	outputCap   int64 // tokens that the reservation affords; 0: no cap of ours

	attempts int
	served   route.Candidate
	provider provider.Provider
	pcall    provider.Call
	exchange *upstream.Exchange
	sentAt   time.Time // when the provider was asked
	firstAt  time.Time // its first byte

	canceled atomic.Bool
	gone     chan struct{}                     // closed with canceled
	current  atomic.Pointer[upstream.Exchange] // what a leaving client cancels
	watch    *time.Timer
	conn     Connection
	settled  bool
	unbooked bool // the ledger refused the entry: the answer is withheld
	entry    store.Entry
	cost     price.Cost
	endAt    time.Time
	stream   *streamBody
}

var _ io.ReadCloser = (*streamBody)(nil)
