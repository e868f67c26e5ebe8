package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/refusal"
)

func metricsHandler(g prometheus.Gatherer) fasthttp.RequestHandler {
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
}

// publicRoute serves what needs no key.
func (s *Server) publicRoute(ctx *fasthttp.RequestCtx, path string) bool {
	switch path {
	case "/", "/health/liveliness", "/health/liveness", "/health/readiness", "/health", "/metrics", "/metrics/":
		if !ctx.IsGet() && !ctx.IsHead() && !ctx.IsOptions() {
			s.methodNotAllowed(ctx, "GET, HEAD, OPTIONS")
			return true
		}
	}
	switch path {
	case "/":
		s.home(ctx)
	case ambiguous:
		s.refuse(ctx, refusal.New(400, "invalid_request_error", "", "The request could not be read: it has both Content-Length and Transfer-Encoding."))
	case "/health/liveliness", "/health/liveness":
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`"I'm alive!"`)
	case "/health/readiness":
		s.readiness(ctx)
	case "/health":
		s.health(ctx)
	case "/metrics", "/metrics/":
		s.serveMetrics(ctx)
	default:
		return false
	}
	return true
}

func (s *Server) home(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.Response.Header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	ctx.SetBodyString(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Tollgate</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}code{background:#eee;padding:.1em .3em}</style>
<h1>Tollgate</h1><p>An LLM gateway is running here. Point an OpenAI or Anthropic SDK at this address.</p>
<ul><li><a href="/health">/health</a></li><li><a href="/health/readiness">/health/readiness</a></li>
<li><a href="/v1/models">/v1/models</a></li><li><a href="/metrics">/metrics</a></li></ul>
<p>Calls: <code>POST /v1/chat/completions</code>, <code>/v1/completions</code>, <code>/v1/embeddings</code>, <code>/v1/messages</code>.
Keys: <code>POST /key/generate</code>.</p></html>`)
}

var errDraining = errors.New("draining")

// ready returns nil, or why balancers should send nothing here.
func (s *Server) ready() error {
	if s.drain.on() {
		return errDraining
	}
	return s.Readiness.Ready()
}

// readiness is 200 exactly when this node may take traffic.
func (s *Server) readiness(ctx *fasthttp.RequestCtx) {
	facts := s.Readiness.Facts()
	if err := s.ready(); err != nil {
		ctx.SetStatusCode(503)
		writeJSON(ctx, map[string]any{"detail": "Service Unhealthy (" + err.Error() + ")"})
		return
	}
	facts["status"] = "healthy"
	writeJSON(ctx, facts)
}

// health without a key is a cheap status; with a key it tells how the models
// are, as LiteLLM does.
func (s *Server) health(ctx *fasthttp.RequestCtx) {
	if _, none := auth.Credential(&ctx.Request.Header, ""); none != nil {
		facts := s.Readiness.Facts()
		facts["status"] = "healthy"
		if err := s.ready(); err != nil {
			facts["status"], facts["reason"] = "unhealthy", err.Error()
			ctx.SetStatusCode(503)
		}
		writeJSON(ctx, facts)
		return
	}
	var snap *state.Snapshot
	ref := s.judged(ctx, func() *refusal.Refusal {
		snap = s.State.State()
		_, ref := s.caller(ctx, snap, "/health")
		return ref
	})
	if ref == nil && snap.Routing == nil {
		ref = refusal.Unavailable("no_config", "This node has no configuration yet.", time.Second)
	}
	if ref != nil {
		s.refuse(ctx, ref)
		return
	}
	args := ctx.QueryArgs()
	writeJSON(ctx, s.models(snap, string(args.Peek("model")), string(args.Peek("model_id"))))
}

// models tells how all models are, or those of one name or id.
func (s *Server) models(snap *state.Snapshot, name, id string) map[string]any {
	wanted := func(d *state.Deployment) bool {
		return (name == "" || d.Group == name || d.FullModel == name) && (id == "" || d.ID == id)
	}
	if s.Checks != nil {
		return s.Checks.Models(snap, wanted)
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return call.ProbeReport(s.Calls.Probe(limit, snap, wanted), true)
}

func (s *Server) serveMetrics(ctx *fasthttp.RequestCtx) {
	snap := s.State.State()
	if r := snap.Routing; r != nil && r.Config.LiteLLM.RequireMetricsAuth {
		ref := s.judged(ctx, func() *refusal.Refusal {
			_, ref := s.identify(ctx, s.State.State(), "/metrics")
			return ref
		})
		if ref != nil {
			s.refuse(ctx, ref)
			return
		}
	}
	s.metrics(ctx)
}

func writeJSON(ctx *fasthttp.RequestCtx, v any) {
	ctx.SetContentType("application/json")
	body, err := json.Marshal(v)
	if err != nil { // facts are plain values
		ctx.SetStatusCode(500)
		return
	}
	ctx.SetBody(body)
}
