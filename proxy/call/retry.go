package call

import (
	"strings"
	"time"

	"tollgate/config/price"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// ready waits as long as the router wants. It is false when the client has gone
// meanwhile.
func (c *call) ready(step *route.Step) bool {
	if step.Wait > 0 {
		if !c.pause(step.Wait) {
			return false
		}
		c.waited += step.Wait
	}
	return !c.canceled.Load()
}

// try asks one deployment, and tells everybody whom it concerns how that went.
func (c *call) try(step *route.Step) *provider.Error {
	c.sentAt = c.h.Clock.Now()
	c.tried = append(c.tried, route.Attempt{Deployment: step.Deployment, Group: step.Group, Reason: step.Reason,
		Start: c.sentAt, Wait: c.waited})
	c.waited = 0
	c.use = c.h.Router.Begin(c.snap.Routing, step.Deployment)
	fault := c.conceal(c.attempt(step.Candidate, step.Fields))
	if !c.noThoughts && c.thoughtsRefused(fault) {
		// Signatures are bound to their maker: a call that comes from another
		// provider is asked once more without what that one thought.
		c.noThoughts = true
		c.attempts--
		c.sentAt = c.h.Clock.Now()
		fault = c.conceal(c.attempt(step.Candidate, step.Fields))
	}
	c.report(fault)
	t := &c.tried[len(c.tried)-1]
	switch {
	case fault == nil && c.req.stream:
		t.Took = c.firstAt.Sub(t.Start)
	case fault == nil:
		t.Took = c.endAt.Sub(t.Start)
	default:
		t.Took = c.h.Clock.Now().Sub(t.Start)
	}
	if fault != nil {
		t.Class, t.Status = string(fault.Class), fault.Upstream
		kind, _ := kindOf(fault)
		if kind == route.Timeout && c.impatient() {
			kind = route.Connect // the client's haste says nothing of the deployment's pace
		}
		if kind == route.OK {
			kind = route.ServerError
		}
		c.use.End(route.Took{Kind: kind})
	}
	return fault
}

// thoughtsRefused reports a provider that objects to the thoughts in the request,
// not to what the client asks.
func (c *call) thoughtsRefused(f *provider.Error) bool {
	if f == nil || f.Class != provider.BadRequest || f.Upstream != 400 {
		return false
	}
	text := strings.ToLower(f.Message)
	return strings.Contains(text, "signature") || strings.Contains(text, "thinking") && strings.Contains(text, "block")
}

// leaveDeployment ends the attempt that has answered in the router's counts.
func (c *call) leaveDeployment(u *price.Usage, fault *provider.Error) {
	took := route.Took{Output: u.OutTotal, Total: u.Total()}
	if fault != nil {
		took.Kind = route.ServerError
	}
	if !c.sentAt.IsZero() && !c.firstAt.IsZero() {
		took.Whole = c.endAt.Sub(c.sentAt)
		if c.req.stream {
			took.FirstToken = c.firstAt.Sub(c.sentAt)
		}
	}
	c.use.End(took)
}

// pause waits between attempts; a leaving client ends it.
func (c *call) pause(d time.Duration) bool {
	c.elsewhere += d
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.gone:
	}
	return !c.canceled.Load()
}
