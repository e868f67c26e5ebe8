package call

import (
	"errors"
	"strings"
	"time"

	"tollgate/config/state"
	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/mock"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
	"tollgate/proxy/upstream"
)

// run chooses a deployment, makes the intent durable, then tries what the router
// says until one answers.
func (c *call) run() *refusal.Refusal {
	c.way.Begin(c.h.Router, c.snap.Routing, &c.plan, &c.wants)
	c.rehearse()
	step, ok := c.way.Next()
	if ok {
		c.served = step.Candidate
	}
	ref, err := c.h.Ledger.Begin(c.intentRecord())
	if err != nil {
		c.reservation.Cancel()
		return refusal.Unavailable("ledger_unavailable", "This node cannot record calls at the moment. Nothing was sent or charged; try again.", time.Second)
	}
	c.intent, c.served = ref, route.Candidate{} // nobody has been asked yet
	c.watchClient()
	for ; ok; step, ok = c.way.Next() {
		if !c.ready(&step) {
			break
		}
		if !c.claim(step.Candidate, step.Alone) {
			c.way.PassOver()
			continue
		}
		fault := c.try(&step)
		if fault == nil {
			return nil
		}
		if c.canceled.Load() {
			break
		}
		c.way.Failed(fault)
	}
	if c.attempts == 0 && !c.canceled.Load() && c.lane.unbooked {
		return c.notBooked()
	}
	first, _ := c.way.First()
	return c.failed(first)
}

// attempt calls one deployment. nil means that an answer is on its way.
func (c *call) attempt(cand route.Candidate, over []byte) *provider.Error {
	d := cand.Deployment
	p, ok := c.h.Providers(d.Provider, c.op)
	if !ok {
		return provider.NewError(provider.BadRequest, "provider "+d.Provider+" does not serve "+c.routeName()+". Choose another model for this route.")
	}
	c.attempts++
	c.served, c.asked, c.reset = cand, false, 0
	c.prepare(cand, over)
	if fault := c.rehearsal(d); fault != nil {
		return fault
	}
	if text, mocked := c.mockText(d); mocked {
		return c.mocked(text)
	}
	if d.Problem != "" {
		return &provider.Error{Class: provider.Authentication, Status: 500, Message: d.Problem}
	}
	req, err := c.requestOf(p)
	if err != nil {
		return asProviderError(err)
	}
	c.keepSpace(req.Body)
	c.addExtraHeaders(req)
	c.atWork, c.asked = true, true
	x, err := c.h.Upstream.Start(req, c.timeouts(d), func(x *upstream.Exchange) {
		c.current.Store(x)
		if c.canceled.Load() {
			x.Cancel()
		}
	})
	now := c.h.Clock.Now()
	c.elsewhere += now.Sub(c.sentAt)
	if err != nil {
		return c.lineFault(err)
	}
	c.exchange, c.firstAt = x, now
	if x.Status() >= 300 {
		c.atWork = false
		body, _ := x.ReadAll(nil, 1<<20)
		fault := c.errorOf(p, x, body)
		c.reset = resetOf(fault, x.Header, now)
		x.Close() // status and headers are the connection's, which serves others from here on
		return fault
	}
	switch {
	case !c.req.stream:
		return c.wholeAnswer(p, x)
	case strings.HasPrefix(x.Header("Content-Type"), "application/json"):
		return c.jsonAsStream(p, x)
	}
	return c.beginStream(p, x)
}

// sameMemory reports whether two slices end in the same place: parts of one
// array do.
func sameMemory(a, b []byte) bool {
	return cap(a) > 0 && cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

// lineFault classes what went wrong on the way to or from the provider.
func (c *call) lineFault(err error) *provider.Error {
	switch {
	case errors.Is(err, upstream.ErrTimeout):
		return provider.NewError(provider.Timeout, "Request timed out: "+err.Error())
	case errors.Is(err, upstream.ErrTooLarge):
		return provider.NewError(provider.APIError, "the provider's answer is larger than this gateway accepts")
	}
	return provider.NewError(provider.APIConnection, "Connection error: "+err.Error())
}

func asProviderError(err error) *provider.Error {
	var pe *provider.Error
	if errors.As(err, &pe) {
		return pe
	}
	return provider.NewError(provider.APIError, err.Error())
}

func (c *call) mockText(d *state.Deployment) (string, bool) {
	if c.req.hasMock {
		return c.req.mock, true
	}
	if d.MockResponse != nil {
		return *d.MockResponse, true
	}
	return "", false
}

// mocked answers with the fixed text, through the same last steps as a
// provider's answer.
func (c *call) mocked(text string) *provider.Error {
	c.firstAt = c.h.Clock.Now()
	if c.req.stream {
		tr, err := mock.NewStream(&c.pcall, text)
		if err != nil {
			return asProviderError(err)
		}
		return c.wholeStream(nil, tr.End, tr)
	}
	a, err := mock.Answer(&c.pcall, text)
	if err != nil {
		return asProviderError(err)
	}
	if f := c.joinVectors(a); f != nil {
		return f
	}
	c.deliver(a)
	return nil
}

func (c *call) intentRecord() *store.Intent {
	p := &c.principal
	in := &store.Intent{CallID: c.id, At: c.start, Max: c.max, Key: p.KeyHash(), User: p.UserID(), EndUser: c.req.endUser,
		Group: c.req.model, CallType: c.callType(), Charges: c.charges}
	if p.Team != nil {
		in.Team = p.Team.ID
	}
	if c.served.Deployment != nil {
		in.Deployment = c.served.Deployment.ID
	}
	return in
}

func (c *call) callType() string {
	switch c.op {
	case provider.OpCompletion:
		return "atext_completion"
	case provider.OpEmbedding:
		return "aembedding"
	case provider.OpMessages:
		return "anthropic_messages"
	}
	return "acompletion"
}
