package call

import (
	"time"

	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// report tells how an attempt went to whoever keeps the deployments' health. A
// client that left says nothing of the provider, and neither does an attempt
// that never got to it.
func (c *call) report(f *provider.Error) { c.tell(f, false) }

// tell is report; late says that the attempt has been told of as begun well.
func (c *call) tell(f *provider.Error, late bool) {
	if c.h.Health == nil || !c.asked || c.canceled.Load() {
		return
	}
	if f == nil && c.stream != nil {
		f = c.stream.fault // it failed behind the first bytes, which have to leave all the same
	}
	kind, tells := kindOf(f)
	if !tells || kind == route.Timeout && c.impatient() {
		return
	}
	o := route.Outcome{Kind: kind, Reset: c.reset, Late: late}
	switch {
	case f != nil:
		if kind != route.OK {
			o.Class, o.Status = f.Class, f.Status
		}
		o.Latency = c.h.Clock.Now().Sub(c.sentAt)
	case c.req.stream:
		o.FirstToken = c.firstAt.Sub(c.sentAt)
	default:
		o.FirstToken, o.Latency = c.firstAt.Sub(c.sentAt), c.endAt.Sub(c.sentAt)
		o.Tokens = c.entry.Usage.OutTotal
	}
	c.h.Health.Report(c.served.Deployment, o)
}

// impatient reports whether the client itself asked for less time than the
// operator gives the deployment. Then that it was too slow is no fault of the
// deployment's, and one client's haste must not close it for all.
func (c *call) impatient() bool {
	d := c.served.Deployment
	return c.patienceOf(d, c.req.timeout, c.req.streamTimeout) < c.patience(d)
}

// reportLate tells of a failure in a stream that had begun well.
func (c *call) reportLate(f *provider.Error) {
	if c.stream != nil { // else the attempt is still running, and told of when it ends
		c.tell(f, true)
	}
}

// kindOf says what a failure tells of the deployment, if anything.
func kindOf(f *provider.Error) (kind route.Kind, tells bool) {
	if f == nil {
		return route.OK, true
	}
	switch {
	case f.Upstream == 402 || f.Permanent || f.Code == "insufficient_quota":
		return route.Quota, true
	case f.Upstream == 401:
		return route.Auth, true
	case f.Upstream == 403:
		// Providers say so of accounts, of models and of what one caller wrote. The
		// last must not close a credential for all.
		return route.OK, false
	}
	switch f.Class {
	case provider.RateLimit:
		return route.RateLimited, true
	case provider.Authentication:
		return route.Auth, true
	case provider.Timeout:
		return route.Timeout, true
	case provider.APIConnection:
		return route.Connect, true
	case provider.InternalServer, provider.BadGateway, provider.ServiceUnavailable, provider.APIError:
		return route.ServerError, true
	case provider.NotFound:
		return route.NotFound, f.Upstream == 404
	case provider.BadRequest, provider.UnsupportedParams, provider.UnprocessableEntity, provider.ContextWindow, provider.ContentPolicy:
		return route.OK, f.Upstream > 0 // it has understood enough to refuse
	}
	return route.OK, false
}

// resetOf is how long a provider that limits us wants to be left alone: what it
// asks for, else when the limit that is used up counts anew.
func resetOf(f *provider.Error, header func(string) string, now time.Time) time.Duration {
	if f.RetryAfter > 0 || f.Class != provider.RateLimit {
		return f.RetryAfter
	}
	var wait time.Duration
	for _, l := range limitHeaders {
		if header(l.remaining) != "0" {
			continue
		}
		v := header(l.reset)
		if d, err := time.ParseDuration(v); err == nil {
			wait = max(wait, d)
		} else if at, err := time.Parse(time.RFC3339, v); err == nil {
			wait = max(wait, at.Sub(now))
		}
	}
	return min(wait, 24*time.Hour)
}

// limitHeaders are those of OpenAI and its likes, and Anthropic's.
var limitHeaders = [...]struct{ remaining, reset string }{
	{"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
	{"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
	{"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
	{"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
	{"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
	{"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
}
