package call

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// Question is a call that is not made.
type Question struct {
	Snapshot *state.Snapshot
	// Principal is who would call; NotIdentified is why that is nobody.
	Principal     auth.Principal
	NotIdentified *refusal.Refusal
	Op            provider.Op
	Route         string // as the client would call it
	Model         string // stands in place of the body's; "" leaves that
	Body          []byte // nil: a short question
	Header        [][2]string
	// Narrow asks for somebody who may not see all: it is told what the calls
	// themselves would tell, and no figures of what others share or own.
	Narrow bool
}

// Explain walks a call as Serve does, as far as that can be done without taking,
// sending or writing anything, and tells what it met. All checks are answered
// that can be, also behind the one that refuses.
func (h *Handler) Explain(ctx context.Context, q Question) *Explanation {
	c := &call{gone: make(chan struct{}, 1)}
	c.h, c.ctx, c.op, c.start, c.snap, c.principal = h, &fasthttp.RequestCtx{}, q.Op, h.Clock.Now(), q.Snapshot, q.Principal
	for _, kv := range q.Header {
		c.ctx.Request.Header.Set(kv[0], kv[1])
	}
	c.identify()
	e := &explainer{c: c, narrow: q.Narrow, out: &Explanation{At: c.start.UTC(), Region: h.Region, Route: q.Route, Model: q.Model, Checks: []Check{}}}
	e.walk(ctx, &q)
	e.end()
	return e.out
}

// explainer is one explanation in the making.
type explainer struct {
	c      *call
	narrow bool
	out    *Explanation
}

// check notes the answer to one question and reports whether it let the call pass.
func (e *explainer) check(name, what string, ref *refusal.Refusal) bool {
	if ref != nil {
		what = ref.Message
		e.refuse(name, ref)
	}
	e.note(Check{Name: name, OK: ref == nil, What: what})
	return ref == nil
}

// pass notes a check that had nothing to ask about.
func (e *explainer) pass(name, why string) {
	e.note(Check{Name: name, OK: true, Skipped: true, What: why})
}

func (e *explainer) note(k Check) { e.out.Checks = append(e.out.Checks, k) }

// refuse notes what the caller would be told; the first refusal is that.
func (e *explainer) refuse(check string, ref *refusal.Refusal) {
	if e.out.Refusal != nil {
		return
	}
	r := &Refused{Status: ref.Status, Type: cmp.Or(ref.Type, refusal.TypeByStatus(ref.Status)), Param: ref.Param, Code: ref.CodeText(),
		Message: ref.Message, Check: check}
	for _, h := range ref.Header {
		if h[0] == "retry-after" {
			r.RetryAfter, _ = strconv.ParseFloat(h[1], 64)
		}
	}
	e.out.Refusal = r
}

// walk asks in the order of call.walk.
func (e *explainer) walk(ctx context.Context, q *Question) {
	c := e.c
	e.caller()
	if !e.check("key", e.whoCalls(), q.NotIdentified) {
		return
	}
	e.check("route", q.Route+" is open to the caller", e.routeMay(q.Route))
	if ref := c.stayInside(); ref == nil && len(c.regions) == 0 {
		e.pass("data_regions", "no data_regions hold for the caller")
	} else {
		e.check("data_regions", "this node is in "+c.h.Region+", one of "+strings.Join(c.regions, ", "), ref)
	}
	may := e.check("node", "this node has a configuration and can record calls", c.mayServe())
	if !may && c.snap.Routing == nil {
		return
	}
	body := q.Body
	if body == nil {
		body = shortQuestion(q.Op)
		e.say("no body was given: a short question without max_tokens is assumed")
	}
	if !e.check("request", "the body can be read", c.parse(body, q.Model)) {
		return
	}
	e.out.Model, e.out.Caller.EndUser = c.req.model, c.req.endUser
	for i := range gates {
		e.gate(&gates[i])
	}
	if e.narrow && e.out.Refusal != nil {
		return // which deployments a model has is for those who may use it
	}
	if c.principal.Alias(c.req.model) != c.req.model {
		e.out.Group = c.principal.Alias(c.req.model)
	}
	if !e.check("deployments", "there are deployments for "+c.req.model, c.makePlan()) {
		return
	}
	e.check("price", "what the call may cost is known, or no budget asks", c.askFor())
	e.cost()
	looks := c.h.Admit.Peek(ctx, append([]admit.Ask{c.ask}, e.lanes()...))
	e.limits(&looks[0])
	e.routing(looks[1:])
	e.mention()
}

// shortQuestion stands in for a body that nobody gave.
func shortQuestion(op provider.Op) []byte {
	switch op {
	case provider.OpCompletion:
		return []byte(`{"prompt":"Hello"}`)
	case provider.OpEmbedding:
		return []byte(`{"input":"Hello"}`)
	case provider.OpMessages:
		return []byte(`{"max_tokens":1024,"messages":[{"role":"user","content":"Hello"}]}`)
	}
	return []byte(`{"messages":[{"role":"user","content":"Hello"}]}`)
}

func (e *explainer) say(text string) { e.out.Notes = append(e.out.Notes, text) }

// caller tells who would call; a key goes by its hash.
func (e *explainer) caller() {
	p := &e.c.principal
	w := &e.out.Caller
	w.Master, w.User, w.Organization = p.Master, p.UserID(), p.OrganizationID()
	if k := p.Key; k != nil {
		w.Key, w.KeyName, w.KeyAlias, w.Team = k.Hash, k.Name, k.Alias, k.TeamID
	}
	if p.Team != nil {
		w.TeamAlias = p.Team.Alias
	}
}

func (e *explainer) whoCalls() string {
	switch w := &e.out.Caller; {
	case w.Master:
		return "the master key"
	case w.Key == "":
		return "nobody in particular: the route is public"
	default:
		return "key " + cmp.Or(w.KeyAlias, w.KeyName, w.Key) + " is known and not blocked"
	}
}

func (e *explainer) routeMay(path string) *refusal.Refusal {
	p := &e.c.principal
	if r := e.c.snap.Routing; r != nil {
		if ref := p.ProxyAllows(path, r.Config.General.AllowedRoutes, r.Config.General.AdminOnlyRoutes); ref != nil {
			return ref
		}
	}
	return p.MayCallRoute(path, false)
}

// gate asks for one right.
func (e *explainer) gate(g *gate) {
	ref := g.ask(e.c)
	what, asked := e.gateWords(g.name)
	if ref == nil && !asked {
		e.pass(g.name, what)
		return
	}
	e.check(g.name, what, ref)
}

// gateWords is what an open gate says, and whether there was anything to ask.
func (e *explainer) gateWords(name string) (what string, asked bool) {
	c := e.c
	switch name {
	case "end_user":
		if c.req.endUser == "" {
			return "no end user is named", false
		}
		return "end user " + c.req.endUser + " is not blocked", true
	case "key_models":
		return "the key may use " + c.req.model, true
	case "key_expiry":
		if k := c.principal.Key; k != nil && k.Expires != nil {
			return "the key is valid until " + stamp(*k.Expires), true
		}
		return "the key does not expire", false
	case "owner_models":
		return "team, user and organization may use " + c.req.model, true
	case "client_tags":
		if tags := c.allTags(); len(tags) > 0 {
			return "tags of the call: " + strings.Join(tags, ", "), true
		}
		return "the call has no tags", false
	case "user_param":
		if r := c.snap.Routing; r != nil && r.Config.General.EnforceUserParam {
			return "the call has the param user", true
		}
		return "the param user is not required", false
	}
	return "", false
}

// cost is what the call would reserve.
func (e *explainer) cost() {
	c := e.c
	in, out := c.req.inputBound(), c.outputBound()
	worst, priced := c.plan.Worst(in, out)
	m := &MaxCost{USD: worst.USD(), Input: in, Output: out, Priced: priced}
	if len(c.ask.Budgets) > 0 {
		m.USD = c.ask.Max.USD()
		if c.ask.Clamp {
			m.Least = c.ask.Min.USD()
			e.say("the call states no max_tokens: it reserves less, and is cut shorter, where the budget has no more")
		}
		if c.growing {
			e.say("the stream states no max_tokens: it reserves as it grows")
		}
	} else {
		e.say("no budget counts the call: nothing is reserved of its cost")
	}
	e.out.MaxCost = m
}

// mention notes what may answer before anybody is asked.
func (e *explainer) mention() {
	c := e.c
	if len(c.ctx.Request.Header.Peek("Idempotency-Key")) > 0 && c.h.Answers != nil {
		e.say("the call has an Idempotency-Key: if it was answered before, that answer is given again and nothing is counted; that was not looked up")
	}
	if cfg := c.snap.Routing.Config; cfg.Cache != nil {
		e.say("a response cache is on: an answer that it has is given after the limits, costs nothing and asks no deployment; that was not looked up")
	}
}

// end draws the sum.
func (e *explainer) end() {
	o := e.out
	if r := o.Refusal; r != nil {
		o.Verdict, o.Chosen = NotAdmitted, nil
		o.Summary = "The call would be refused with status " + strconv.Itoa(r.Status) + " by the check " + r.Check + ": " + r.Message
		return
	}
	o.Verdict = Admitted
	o.Summary = "The call would be admitted."
	if ch := o.Chosen; ch != nil {
		o.Summary = "The call would be admitted and sent to " + ch.ID + " (" + ch.Model + "), " + ch.Rule + "."
	}
}
