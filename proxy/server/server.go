// Package server is the HTTP front of a node: listener, limits of headers and
// bodies, routes, who is calling, health and metrics. It decides nothing about
// calls and objects; it hands them to the rooms that do and writes refusals in
// the caller's dialect.
package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/refusal"
)

// Management serves the management API.
type Management interface {
	Handle(ctx *fasthttp.RequestCtx, p *auth.Principal) (ok bool, r *refusal.Refusal)
	Methods(path string) []string
}

// Readiness says whether this node may take traffic, and what it knows of itself.
type Readiness interface {
	// Ready returns nil, or why not.
	Ready() error
	// Facts are shown by /health and /health/readiness.
	Facts() map[string]any
}

// Checks tells how the models are that are wanted, as LiteLLM's /health does.
type Checks interface {
	Models(snap *state.Snapshot, wanted func(*state.Deployment) bool) map[string]any
}

// Deps are what the server hands requests to.
type Deps struct {
	State      state.Getter
	MasterHash func() string
	Calls      *call.Handler
	Management Management
	// More are asked in turn where Management knows nothing of a path.
	More      []Management
	Readiness Readiness
	// Checks tells how the models are; nil: they are asked now.
	Checks Checks
	// CatchUp brings this node to the newest state that concerns a key (by its
	// hash, "" for a caller without one) and says whether that was newer than what
	// it had. It is asked before a refusal that newer state could lift; an error
	// means that nobody could tell in time. Nil: this node has all there is.
	CatchUp func(ctx context.Context, keyHash string) (moved bool, err error)
	// Staleness is how long ago this node last heard of the cluster's leader. Nil:
	// its state is never old.
	Staleness func() time.Duration
	// Notice is how long a node that stops goes on taking calls, so that whoever
	// sends them can learn that it goes. Nil or 0: it is alone, nobody need look
	// elsewhere.
	Notice   func() time.Duration
	Gatherer prometheus.Gatherer
	Clock    unit.Clock
	Logger   *slog.Logger
	Version  string
}

// Bounds that protect the process. Nobody set them, so they are wide and
// documented, and a config may set others.
const (
	maxHeaderBytes = 12 << 10
	maxBodyBytes   = 100 << 20
	headerTimeout  = 10 * time.Second
	idleTimeout    = 75 * time.Second
	minBodyRate    = 1 << 10 // bytes a second, after headerTimeout
)

// Server serves one listener.
type Server struct {
	Deps
	http    *fasthttp.Server
	metrics fasthttp.RequestHandler
	open    connections
	drain   draining
	// newer is callerByNewer, nil when nobody has newer state.
	newer func(*fasthttp.RequestCtx, *state.Snapshot) (*state.Snapshot, auth.Principal, *refusal.Refusal)
}

// New makes a server; Run serves.
func New(d Deps) *Server {
	s := &Server{Deps: d}
	s.metrics = metricsHandler(d.Gatherer)
	if d.CatchUp != nil {
		s.newer = s.callerByNewer
	}
	s.http = &fasthttp.Server{
		Handler:                      s.serve,
		ErrorHandler:                 s.malformed,
		HeaderReceived:               s.headerReceived,
		Name:                         "",
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		ReadBufferSize:               maxHeaderBytes,
		WriteBufferSize:              4 << 10,
		ReduceMemoryUsage:            true, // no read buffer while a connection rests or a stream is answered
		ReadTimeout:                  headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxRequestBodySize:           maxBodyBytes,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		ConnState:                    stateOfConn,
		Logger:                       quiet{},
	}
	return s
}

// quiet drops fasthttp's own log: it reports what clients send, line by line.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// headerReceived gives a request the time its body may take: a sender slower
// than the minimum rate is cut.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	limit := s.bodyLimit()
	n := h.ContentLength()
	if n == -1 && bothFramings(h.RawHeaders()) {
		h.SetRequestURI(ambiguous)
		h.SetConnectionClose()
	}
	if n < 0 { // chunked: as long as the largest body may take at a fair rate
		n = 4 << 20
	}
	return fasthttp.RequestConfig{
		ReadTimeout:        headerTimeout + time.Duration(n/minBodyRate)*time.Second/8 + time.Minute*time.Duration(min(n, 1)),
		MaxRequestBodySize: limit,
	}
}

func (s *Server) bodyLimit() int {
	r := s.State.State().Routing
	if r == nil {
		return maxBodyBytes
	}
	return bodyLimitOf(r.Config)
}

// malformed answers what fasthttp could not read as a request.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	r := refusal.New(400, "invalid_request_error", "", "The request could not be read: "+err.Error()+".")
	switch {
	case errors.As(err, &small):
		r = refusal.New(431, "invalid_request_error", "", fmt.Sprintf("The request's headers are larger than %d bytes.", maxHeaderBytes))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r = tooLarge(s.bodyLimit())
	case errors.As(err, &timeout) && timeout.Timeout():
		r = refusal.New(408, "invalid_request_error", "", "The request was sent too slowly.")
	}
	ctx.SetConnectionClose()
	if c, ok := ctx.Conn().(*watchedConn); ok {
		c.linger.Store(true) // much of the request may be unread
	}
	s.refuse(ctx, r)
}

// ambiguous stands in for the path of a request that states its length twice.
// Proxies disagree on which length counts, and a request could be hidden in the
// difference; no client of good will sends it.
const ambiguous = "/\x00"

func bothFramings(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("content-length")) {
			return true
		}
	}
	return false
}

func tooLarge(limit int) *refusal.Refusal {
	return refusal.New(413, "invalid_request_error", "request_body", fmt.Sprintf(
		"The request body is larger than %d bytes. Send less, or raise general_settings.max_request_size_mb.", limit))
}
