package server

import (
	"strings"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/dialect"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// serve routes one request. Routes are few and fixed: a switch is the router.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	s.route(ctx)
	if s.drain.on() { // asked last: the answer, also of a stream, leaves after this
		ctx.SetConnectionClose()
	}
}

func (s *Server) route(ctx *fasthttp.RequestCtx) {
	if len(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) > 0 && crossOrigin(ctx) {
		return
	}
	path := string(ctx.Path())
	if op, pathModel, ok := modelRoute(path); ok {
		s.modelCall(ctx, op, pathModel, path)
		return
	}
	if s.publicRoute(ctx, path) {
		return
	}
	s.keyedRoute(ctx, path)
}

// crossOrigin lets pages of any origin call, as LiteLLM does: what counts is the
// key, and no cookie is read here. It reports whether the request only asked
// for leave and is answered.
func crossOrigin(ctx *fasthttp.RequestCtx) (answered bool) {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	if !ctx.IsOptions() || len(ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestMethod)) == 0 {
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, "*")
		return false
	}
	h.Set(fasthttp.HeaderAccessControlAllowMethods, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
	if asked := ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, asked)
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("OK")
	return true
}

// modelRoute reads the model routes in all their forms: with and without /v1,
// and Azure's, where the path names the model.
func modelRoute(path string) (op provider.Op, pathModel string, ok bool) {
	switch path {
	case "/v1/chat/completions", "/chat/completions":
		return provider.OpChat, "", true
	case "/v1/completions", "/completions":
		return provider.OpCompletion, "", true
	case "/v1/embeddings", "/embeddings":
		return provider.OpEmbedding, "", true
	case "/v1/messages", "/messages", "/v1/messages/count_tokens", "/messages/count_tokens":
		return provider.OpMessages, "", true
	}
	if rest, found := strings.CutPrefix(path, "/openai/v1"); found {
		return modelRoute(rest)
	}
	for _, prefix := range []string{"/openai/deployments/", "/engines/", "/v1/engines/"} {
		rest, found := strings.CutPrefix(path, prefix)
		if !found {
			continue
		}
		for _, s := range azureSuffixes {
			if m, has := strings.CutSuffix(rest, s.path); has && m != "" {
				return s.op, m, true
			}
		}
	}
	return 0, "", false
}

// azureSuffixes are tried in order: "/chat/completions" also ends in
// "/completions", which would take "gpt-4o/chat" for the model's name.
var azureSuffixes = []struct {
	path string
	op   provider.Op
}{
	{"/chat/completions", provider.OpChat},
	{"/embeddings", provider.OpEmbedding},
	{"/completions", provider.OpCompletion},
}

// ModelRoute reads a path as the server does: what a model route asks for, and
// the model that the path itself names. ok is false for all other paths.
func ModelRoute(path string) (op provider.Op, pathModel string, ok bool) { return modelRoute(path) }

// modelCall serves one of the model routes.
func (s *Server) modelCall(ctx *fasthttp.RequestCtx, op provider.Op, pathModel, path string) {
	start := s.Clock.Now()
	s.drain.note()
	if !ctx.IsPost() {
		s.methodNotAllowed(ctx, "POST")
		return
	}
	snap, newer := s.State.State(), s.newer
	p, ref := s.caller(ctx, snap, path)
	if ref != nil && ref.Liftable && newer != nil {
		if fresh, who, why := newer(ctx, snap); fresh != nil || why != nil {
			snap, p, ref = fresh, who, why
		}
		newer = nil // what is refused after that is refused by the newest state
	}
	if ref == nil {
		ref = s.tooOld(snap)
	}
	var body []byte
	if ref == nil {
		body, ref = decodeBody(ctx, s.bodyLimit())
	}
	if ref == nil {
		in := call.Incoming{Op: op, Start: start, Snapshot: snap, Principal: p, Body: body, PathModel: pathModel, Newer: newer, Count: strings.HasSuffix(path, "/count_tokens")}
		if c, ok := ctx.Conn().(*watchedConn); ok {
			in.Conn = c
		}
		ref = s.Calls.Serve(ctx, in)
	}
	if ref != nil {
		s.refuse(ctx, ref)
	}
	s.requestIDs(ctx)
}

// identify finds out who calls. On a public route a caller may go without a key.
func (s *Server) identify(ctx *fasthttp.RequestCtx, snap *state.Snapshot, path string) (auth.Principal, *refusal.Refusal) {
	old := snap.Routing != nil && snap.Routing.Config.Tollgate.CompatErrors == "old"
	key, ref := s.credential(ctx, snap)
	if ref != nil {
		if publicRouteListed(snap, path) {
			return auth.Principal{Public: true}, nil
		}
		return auth.Principal{}, ref
	}
	p, ref := auth.Identify(snap, s.MasterHash(), key, s.Clock.Now(), old)
	if r := snap.Routing; ref == nil && r != nil {
		ref = p.ProxyAllows(path, r.Config.General.AllowedRoutes, r.Config.General.AdminOnlyRoutes)
	}
	return p, ref
}

// credential is the key that the request carries.
func (s *Server) credential(ctx *fasthttp.RequestCtx, snap *state.Snapshot) ([]byte, *refusal.Refusal) {
	custom := ""
	if r := snap.Routing; r != nil {
		custom = r.Config.General.KeyHeaderName
	}
	return auth.Credential(&ctx.Request.Header, custom)
}

// caller finds out who calls, and whether it may call this route.
func (s *Server) caller(ctx *fasthttp.RequestCtx, snap *state.Snapshot, path string) (auth.Principal, *refusal.Refusal) {
	p, ref := s.identify(ctx, snap, path)
	if ref == nil {
		ref = p.MayCallRoute(path, ctx.IsGet())
	}
	return p, ref
}

func publicRouteListed(snap *state.Snapshot, path string) bool {
	if snap.Routing == nil {
		return false
	}
	for _, r := range snap.Routing.Config.General.PublicRoutes {
		if r == path || auth.NormalizeRoute(r) == auth.NormalizeRoute(path) {
			return true
		}
	}
	return false
}

// keyedRoute serves everything that needs a key but is no model call.
func (s *Server) keyedRoute(ctx *fasthttp.RequestCtx, path string) {
	s.drain.note()
	models := path == "/v1/models" || path == "/models" || strings.HasPrefix(path, "/v1/models/") || strings.HasPrefix(path, "/models/")
	room, allowed := s.roomOf(path)
	if models {
		allowed = []string{fasthttp.MethodGet}
	}
	if len(allowed) == 0 {
		s.notFound(ctx)
		return
	}
	if method := string(ctx.Method()); !listed(allowed, method) {
		s.methodNotAllowed(ctx, strings.Join(allowed, ", "))
		return
	}
	ref := s.judged(ctx, func() *refusal.Refusal {
		snap := s.State.State()
		p, ref := s.caller(ctx, snap, path)
		switch {
		case ref != nil:
			return ref
		case models:
			return s.listModels(ctx, snap, &p, path)
		}
		if ref = p.Expired(s.Clock.Now()); ref == nil {
			_, ref = room.Handle(ctx, &p)
		}
		return ref
	})
	if ref != nil {
		s.refuse(ctx, ref)
	}
	s.requestIDs(ctx)
}

// roomOf finds who serves a path, and with which methods.
func (s *Server) roomOf(path string) (Management, []string) {
	if methods := s.Management.Methods(path); len(methods) > 0 {
		return s.Management, methods
	}
	for _, m := range s.More {
		if methods := m.Methods(path); len(methods) > 0 {
			return m, methods
		}
	}
	return nil, nil
}

// listModels is GET /v1/models and /v1/models/{id}: what this caller may call.
func (s *Server) listModels(ctx *fasthttp.RequestCtx, snap *state.Snapshot, p *auth.Principal, path string) *refusal.Refusal {
	if snap.Routing == nil {
		return refusal.Unavailable("no_config", "This node has no configuration yet.", headerTimeout)
	}
	names := p.Models(snap, snap.Routing.VisibleModels())
	if id, ok := strings.CutPrefix(auth.NormalizeRoute(path), "/models/"); ok && id != "" {
		if !listed(names, id) {
			return refusal.New(404, "invalid_request_error", "model", "The model '"+id+"' does not exist or you do not have access to it.").With("x-should-retry", "false").Lift()
		}
		ctx.SetContentType("application/json")
		ctx.SetBody(openai.AppendModel(nil, id))
		return nil
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(openai.AppendModels(nil, names))
	return nil
}

func listed(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// refuse writes a refusal in the dialect of the route.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, r *refusal.Refusal) {
	old := false
	if routing := s.State.State().Routing; routing != nil {
		old = routing.Config.Tollgate.CompatErrors == "old"
	}
	id := string(s.requestIDs(ctx))
	ctx.Response.ResetBody()
	ctx.SetStatusCode(r.Status)
	ctx.SetContentType("application/json")
	for _, h := range r.Header {
		ctx.Response.Header.Set(h[0], h[1])
	}
	ctx.Response.Header.Set("x-litellm-version", s.Version)
	ctx.SetBody(dialect.OfPath(string(ctx.Path())).AppendError(nil, r, id, old))
}

// The names under which SDKs look for a request's id, in canonical form.
var (
	headerCallID    = []byte("X-Litellm-Call-Id")
	headerXRequest  = []byte("X-Request-Id")
	headerRequestID = []byte("Request-Id")
)

// requestIDs names the request in the headers that each SDK reads.
func (s *Server) requestIDs(ctx *fasthttp.RequestCtx) []byte {
	h := &ctx.Response.Header
	id := h.PeekBytes(headerCallID)
	if len(id) == 0 {
		id = []byte(uuid.NewString())
		h.SetCanonical(headerCallID, id)
	}
	h.SetCanonical(headerXRequest, id)
	h.SetCanonical(headerRequestID, id)
	return id
}

func (s *Server) notFound(ctx *fasthttp.RequestCtx) {
	s.refuse(ctx, &refusal.Refusal{Status: 404, Detail: true, Message: "Not Found"})
}

func (s *Server) methodNotAllowed(ctx *fasthttp.RequestCtx, allow string) {
	s.refuse(ctx, (&refusal.Refusal{Status: 405, Detail: true, Message: "Method Not Allowed"}).With("allow", allow))
}
