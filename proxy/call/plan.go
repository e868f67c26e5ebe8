package call

import (
	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
)

// makePlan finds the deployments that may answer.
func (c *call) makePlan() *refusal.Refusal {
	if ref := c.checkOverwrites(); ref != nil {
		return ref
	}
	r, cfg := &c.req, c.snap.Routing.Config
	c.wants = route.Request{
		Name: c.principal.Alias(r.model), Caller: c, Regions: c.modelRegions(), Tokens: r.inputEstimate(), Stream: r.stream,
		DropParams: r.dropParams || cfg.LiteLLM.DropParams, Schema: cfg.Router.PreCallChecks && c.body.Has("response_format"),
		Retries: r.numRetries, Fallbacks: r.fallbacks, ContextFallbacks: r.contextFallbacks, ContentFallbacks: r.contentFallbacks,
		NoFallbacks: r.noFallback,
	}
	if cfg.Router.TagFiltering {
		c.wants.Tags = c.allTags()
	}
	ok := c.h.Router.Plan(&c.plan, c.snap.Routing, &c.wants)
	c.plan.Name = r.model
	switch {
	case ok:
		return nil
	case c.plan.Outside > 0:
		return c.noDeploymentInside()
	}
	typ := "invalid_request_error"
	if c.compatOld() {
		typ = refusal.None
	}
	return refusal.New(400, typ, "", "{'error': '"+c.routeName()+": Invalid model name passed in model="+r.model+
		". Call `/v1/models` to view available models for your key.'}").Lift()
}

// MayReach reports whether a fallback's group may serve the caller.
func (c *call) MayReach(group string) bool { return c.principal.MayReach(c.snap, group) }

// retries is how often the call is tried again at a deployment where no policy
// speaks of the error.
func (c *call) retries(d *state.Deployment) int {
	return route.Retries(c.snap.Routing, d, c.req.numRetries)
}

// rehearse fails the call before any provider is asked, where the request says
// so: that is how operators try their fallbacks.
func (c *call) rehearse() {
	w := &c.req.wishes
	var class provider.Class
	var what string
	switch {
	case w.mockFallbacks:
		class, what = provider.InternalServer, "a fallback"
	case w.mockContext:
		class, what = provider.ContextWindow, "a context window fallback"
	case w.mockContent:
		class, what = provider.ContentPolicy, "a content policy fallback"
	default:
		return
	}
	c.way.Raise(provider.NewError(class, "This is a mock exception for model="+c.req.model+", to trigger "+what+". Fallbacks="+c.fallbackList()))
}

// rehearsal is the failure of one attempt, where the request says so: a rate
// limit at the first, so that the retries can be seen to work, or silence until
// the time is up at each.
func (c *call) rehearsal(d *state.Deployment) *provider.Error {
	switch w := &c.req.wishes; {
	case w.mockRateLimit && c.attempts == 1:
		return provider.NewError(provider.RateLimit, "This is a mock exception for model="+c.req.model+", to trigger a rate limit error.")
	case w.mockTimeout:
		c.pause(c.patienceOf(d, c.req.timeout, c.req.streamTimeout))
		return provider.NewError(provider.Timeout, "This is a mock timeout error")
	}
	return nil
}

var _ route.Caller = (*call)(nil)
