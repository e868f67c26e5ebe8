package call

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
)

// Serve answers one model call. principal and body are the server's work: the
// key is known and the body decoded. A refusal is returned for the server to
// write; nil means that the answer stands in ctx.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx, in Incoming) *refusal.Refusal {
	c := h.take(ctx, &in)
	c.identify()
	h.inFlight.Add(1)
	ref := c.walk(in)
	if ref != nil && ref.Liftable && in.Newer != nil {
		ref = c.walkAnew(in, ref)
	}
	if ref == nil && c.unbooked {
		ref = refusal.Unavailable("ledger_unavailable", "The answer could not be recorded and was withheld.", time.Second)
	}
	if ref != nil {
		c.refused(ref)
		c.setID()
		c.failureHeaders()
	}
	if c.stream == nil { // else its Close does this
		h.inFlight.Add(-1)
		c.release()
	}
	return ref
}

// Incoming is a request as the server hands it over.
type Incoming struct {
	Op        provider.Op
	Start     time.Time
	Snapshot  *state.Snapshot
	Principal auth.Principal
	Body      []byte
	PathModel string
	Conn      Connection
	// Newer is asked before a refusal is given that newer state could lift: the
	// snapshot and caller to judge the call by once more, nil when there is none
	// newer than had, or what is answered instead. Nil: nobody has newer state.
	Newer func(ctx *fasthttp.RequestCtx, had *state.Snapshot) (*state.Snapshot, auth.Principal, *refusal.Refusal)
	// Count asks only how many tokens the input has: nothing is sent, reserved
	// or booked.
	Count bool
}

// identify gives the call its id in the books, which is always ours: a client
// that sends the same id twice has still made two calls. It is shown the id that
// it sent, if that is usable.
func (c *call) identify() {
	if v := c.ctx.Request.Header.Peek("x-litellm-call-id"); len(v) > 0 && len(v) <= 128 && plainID(v) {
		c.idText, c.ownID = string(v), true
	}
	if id, err := uuid.NewV7(); err == nil {
		c.id = store.CallID(id)
	} else {
		_, _ = rand.Read(c.id[:])
	}
	if c.idText == "" {
		c.idText = uuid.UUID(c.id).String()
	}
}

// walk takes the call from body to answer.
func (c *call) walk(in Incoming) *refusal.Refusal {
	if ref := c.stayInside(); ref != nil {
		return ref
	}
	if ref := c.mayServe(); ref != nil {
		return ref
	}
	if ref := c.parse(in.Body, in.PathModel); ref != nil {
		return ref
	}
	if ref := c.authorize(); ref != nil {
		return ref
	}
	if ref := c.makePlan(); ref != nil {
		return ref
	}
	if in.Count {
		c.ctx.SetContentType("application/json")
		c.ctx.SetBody(append(strconv.AppendInt([]byte(`{"input_tokens":`), c.req.inputEstimate(), 10), '}'))
		return nil
	}
	if ref, over := c.claimKey(&in); over {
		return ref
	}
	if ref := c.admitCall(); ref != nil {
		return ref
	}
	if c.fromCache() {
		return nil
	}
	return c.run()
}

// walkAnew takes the whole walk once more by newer state, if there is any. The
// first came to a refusal before anything was reserved, sent or written.
func (c *call) walkAnew(in Incoming, ref *refusal.Refusal) *refusal.Refusal {
	snap, p, instead := in.Newer(c.ctx, c.snap)
	switch {
	case instead != nil:
		return instead
	case snap == nil:
		return ref
	}
	c.forget()
	c.snap, c.principal = snap, p
	c.req, c.growing = request{}, false
	return c.walk(in)
}

func (c *call) compatOld() bool {
	return c.snap.Routing != nil && c.snap.Routing.Config.Tollgate.CompatErrors == "old"
}

func (c *call) routeName() string {
	switch c.op {
	case provider.OpCompletion:
		return "/completions"
	case provider.OpEmbedding:
		return "/embeddings"
	case provider.OpMessages:
		return "/v1/messages"
	}
	return "/chat/completions"
}

// free reports a model whose prices are explicitly zero on every candidate.
func (c *call) free() bool {
	for i := range c.plan.Candidates {
		row := c.plan.Candidates[i].Deployment.Price
		if row == nil || !row.Free() {
			return false
		}
	}
	return true
}

// askFor works out what the call asks of limits and budgets.
func (c *call) askFor() *refusal.Refusal {
	group := c.principal.Alias(c.req.model)
	in, out := c.req.inputBound(), c.outputBound()
	sub := auth.Subject{Principal: &c.principal, Group: group, EndUser: c.req.endUser, Tags: c.allTags(), Free: c.free()}
	sub.Tokens = c.tokenEstimate(group, out)
	ask := &c.ask
	sub.Charges(c.snap, ask, c.h.Admit.LimitID)
	if len(ask.Budgets) > 0 {
		worst, priced := c.plan.Worst(in, out)
		if !priced && (c.snap.Routing.Config.Tollgate.Unpriced == "reject" || hard(ask.Budgets)) {
			return refusal.New(400, "invalid_request_error", "model", "Model "+c.req.model+
				" has no price, and the caller has a budget: set input_cost_per_token and output_cost_per_token on the deployment, or `unpriced: flag` and a soft budget.").Lift()
		}
		ask.Max = worst
		if c.unstated() && c.snap.Routing.Config.Tollgate.Unbounded == "reject" {
			return refusal.New(400, "invalid_request_error", "max_tokens", "This gateway takes calls against a budget only with a maximum: set max_tokens or max_completion_tokens (budget.unbounded: reject).")
		}
		c.bound(ask, group, in, out)
	}
	return nil
}

// admitCall reserves rate units and money for the call.
func (c *call) admitCall() *refusal.Refusal {
	if ref := c.askFor(); ref != nil {
		return ref
	}
	ask, in := &c.ask, c.req.inputBound()
	res, err := c.h.Admit.Acquire(c.admitContext(), ask)
	if err != nil {
		return c.notAdmitted(err)
	}
	c.reservation = res
	c.max = ask.Max
	if len(ask.Budgets) > 0 {
		c.capOutput(ask, in)
		var buf [8]int64
		for i, w := range res.Windows(buf[:0]) {
			c.charges = append(c.charges, store.Charge{Scope: ask.Budgets[i].Scope, Window: w})
		}
	}
	return nil
}

// bound decides how much a call without a stated maximum reserves: a stream
// starts at the learned size and grows, another call takes the model's maximum
// or what the budget affords.
func (c *call) bound(ask *admit.Ask, group string, in, out int64) {
	if !c.unstated() {
		return
	}
	if c.snap.Routing.Config.Tollgate.Unbounded == "reserve_max" {
		return
	}
	learned := c.h.Admit.Learned(c.principal.KeyHash(), group)
	if c.req.stream {
		ask.Max, _ = c.plan.Worst(in, min(learned+growthMargin, out))
		c.growing = true
		return
	}
	small, _ := c.plan.Worst(in, min(max(learned, 64), out))
	ask.Clamp, ask.Min = true, min(small, ask.Max)
}

// unstated reports a call whose caller set no maximum on its output.
func (c *call) unstated() bool { return c.req.maxOutput == 0 && c.op != provider.OpEmbedding }

// capOutput turns a clamped grant into the most output tokens it pays for.
func (c *call) capOutput(ask *admit.Ask, in int64) {
	granted := c.reservation.Granted()
	if granted >= ask.Max || ask.Max == 0 {
		return
	}
	c.max = granted
	// The provider's maximum is that of each choice; the grant pays for all.
	c.outputCap = max(route.Affordable(&c.plan, in, granted)/c.req.choices, 1)
}

func (c *call) outputBound() int64 {
	if c.op == provider.OpEmbedding {
		return 0
	}
	if c.req.maxOutput > 0 {
		return c.req.maxOutput * c.req.choices
	}
	return c.plan.MaxOutput() * c.req.choices
}

func (c *call) tokenEstimate(group string, out int64) int64 {
	t := c.snap.Routing.Config.Tollgate.TPMCount
	if t == "actual" {
		return 0
	}
	if c.req.maxOutput == 0 {
		out = min(out, c.h.Admit.Learned(c.principal.KeyHash(), group))
	}
	switch c.snap.Routing.Config.General.TokenLimitType {
	case "input":
		return c.req.inputEstimate()
	case "output":
		return out
	}
	return c.req.inputEstimate() + out
}

func hard(b []admit.BudgetCharge) bool {
	for i := range b {
		if !b[i].Def.Soft {
			return true
		}
	}
	return false
}

// admitContext ends with the client's patience: a caller that has gone need not
// wait for credit.
func (c *call) admitContext() context.Context { return context.Background() }

// notAdmitted puts the limiter's refusal into LiteLLM's words.
func (c *call) notAdmitted(err error) *refusal.Refusal {
	var no *admit.Refusal
	if !errors.As(err, &no) {
		return refusal.Unavailable("admission_unavailable", "What has to be asked first did not answer in time ("+err.Error()+"). Nothing was charged; try again.", time.Second)
	}
	c.denied = no
	if no.Budget {
		return c.budgetRefusal(no)
	}
	return rateRefusal(no, c.start)
}
