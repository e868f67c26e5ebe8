package call

import (
	"errors"
	"math"

	"tollgate/config/price"
	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
	"tollgate/proxy/upstream"
)

// maxAnswer bounds a whole answer that is held in memory.
const maxAnswer = 64 << 20

func (c *call) answerLimit() int {
	if n := c.snap.Routing.Config.Tollgate.MaxResponseBytes; n > 0 {
		return int(n)
	}
	if mb := c.snap.Routing.Config.General.MaxResponseSizeMB; mb > 0 {
		return int(mb * (1 << 20))
	}
	return maxAnswer
}

// wholeAnswer reads, translates, books and writes a non-streamed answer.
func (c *call) wholeAnswer(p provider.Provider, x *upstream.Exchange) *provider.Error {
	body, err := x.ReadAll(c.answer[:0], c.answerLimit())
	c.elsewhere += c.h.Clock.Now().Sub(c.firstAt)
	if err != nil {
		x.Cancel()
		x.Close()
		return c.lineFault(err)
	}
	c.answer = body
	a, err := c.answerOf(p, x, body)
	if err == nil && a.FinishReason == "content_filter" && c.discard(a) {
		err = provider.NewError(provider.ContentPolicy, "The answer was cut off by the provider's content filter (finish_reason content_filter).")
	}
	if err == nil {
		c.passHeaders(x)
	}
	x.Close() // the connection serves others from here on
	if err != nil {
		return asProviderError(err)
	}
	if f := c.joinVectors(a); f != nil {
		return f
	}
	c.deliver(a)
	return nil
}

// deliver books an answer and puts it into the response. Answered means booked:
// if the ledger cannot take the entry the answer is withheld.
func (c *call) deliver(a *provider.Answer) {
	usage := c.usageOf(a)
	c.unwatch()
	if err := c.settle(outcome{status: store.Success, id: a.ID, model: a.Model, usage: usage, rawUsage: a.RawUsage, response: a.Body, answered: true}); err != nil {
		c.unbooked = true
		return
	}
	c.keepAnswer(a)
	c.ctx.SetStatusCode(200)
	c.ctx.Response.Header.SetContentType("application/json")
	c.ctx.Response.SetBody(a.Body) // copied: our memory serves the next call
	c.keepSpace(a.Body)
	c.headers(true)
}

// usageOf is what an answer is billed for.
func (c *call) usageOf(a *provider.Answer) price.Usage {
	if !a.Usage.Known {
		return c.estimate(int64(len(a.Body)))
	}
	return a.Usage
}

// estimate counts what a provider did not: about four bytes a token.
func (c *call) estimate(outBytes int64) price.Usage {
	return price.Usage{InUncached: c.req.inputEstimate(), OutTotal: min((outBytes+3)/4, c.mostOutput()), Known: true, Estimated: true}
}

// mostOutput is the most tokens that the provider was asked for. No estimate goes
// beyond: it would charge budgets more than they have held for the call, for
// tokens that nobody has counted. What a stream without a maximum holds grows
// with what is passed on.
func (c *call) mostOutput() int64 {
	if c.growing {
		return math.MaxInt64
	}
	most := c.outputBound()
	if lowered := c.outputLimit(); lowered > 0 {
		most = min(most, lowered*c.req.choices)
	}
	return most
}

// failed ends a call that no deployment answered: a row without cost, the
// reservation back, the first fault to the client.
func (c *call) failed(f *provider.Error) *refusal.Refusal {
	c.unwatch()
	if c.canceled.Load() {
		return c.abandoned()
	}
	if f == nil {
		f = provider.NewError(provider.InternalServer, "no deployment was tried")
	}
	ref := c.refusalOf(f)
	if err := c.settle(outcome{status: store.Failure, fault: f}); err != nil {
		c.h.Logger.Error("failure row not recorded", "call_id", c.idText, "error", err)
	}
	return ref
}

// refusalOf is what the client is told of the failure that ends its call.
func (c *call) refusalOf(f *provider.Error) *refusal.Refusal {
	first, own := c.way.First()
	switch {
	case f != first || !own:
	case f.Class == provider.RateLimit:
		return c.routerRefusal(f)
	case f.Class == provider.PermissionDenied:
		ref := c.upstreamRefusal(f)
		ref.Code = "region_not_allowed"
		return ref
	}
	return c.upstreamRefusal(f)
}

// abandoned ends a whole-answer call whose client left while the provider was
// at work: the provider bills what it has read, so the input is charged.
func (c *call) abandoned() *refusal.Refusal {
	usage := price.Usage{}
	if c.atWork {
		usage = c.estimate(0)
	}
	if err := c.settle(outcome{status: store.ClientClosed, usage: usage}); err != nil {
		c.h.Logger.Error("abandoned call not recorded", "call_id", c.idText, "error", err)
	}
	return refusal.New(499, "invalid_request_error", "", "The client closed the connection before the answer was there.")
}

var errWithheld = errors.New("the answer could not be recorded and was withheld")
