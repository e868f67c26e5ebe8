package clusterapi

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// within bounds one operation that does not stream: longer than a leader change
// in a cluster over far regions, shorter than what clients wait.
const within = 60 * time.Second

// call is one operator's request on its way.
type call struct {
	h     *Handler
	ctx   *fasthttp.RequestCtx
	p     *auth.Principal
	route string
	param string // the part of the path that {} stands for
}

// bounded is the context of an operation. It does not end when the client
// leaves: a change that was sent is waited for, so that its outcome is logged.
func (c *call) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), within)
}

// who is the caller as "by" shows it.
func (c *call) who() string {
	if id := c.p.UserID(); id != "" {
		return id
	}
	return c.p.KeyHash()
}

func (c *call) ok(v any) *refusal.Refusal { return c.write(200, v) }

func (c *call) write(status int, v any) *refusal.Refusal {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		c.h.Logger.Error("answer not encodable", "path", c.route, "error", err)
		return refusal.New(500, "internal_server_error", "", "the answer could not be encoded")
	}
	c.ctx.Response.SetStatusCode(status)
	c.ctx.Response.Header.SetContentType("application/json")
	c.ctx.Response.SetBodyRaw(body)
	return nil
}

// done notes a change in the log, marks the answer with the state that this
// node has reached, and answers. The log line is the audit: who did what.
func (c *call) done(status int, v any, facts ...any) *refusal.Refusal {
	c.h.Logger.Info("cluster operation", append([]any{"operation", c.route, "by", c.who()}, facts...)...)
	c.ctx.Response.Header.Set("X-State-Index", strconv.FormatUint(c.h.State.State().Index, 10))
	return c.write(status, v)
}

// failed tells what went wrong: the caller's fault, or an outage.
func (c *call) failed(err error) *refusal.Refusal {
	var f *Fault
	if !errors.As(err, &f) {
		c.h.Logger.Warn("cluster operation failed", "operation", c.route, "by", c.who(), "error", err)
		return c.h.Unavailable(err)
	}
	status := f.Status
	if status < 400 || status > 599 {
		status = fasthttp.StatusBadRequest
	}
	if status == fasthttp.StatusServiceUnavailable {
		return refusal.Unavailable(f.Code, f.Message, time.Second)
	}
	r := refusal.New(status, refusal.TypeByStatus(status), "", f.Message)
	r.Code = f.Code
	return r
}
