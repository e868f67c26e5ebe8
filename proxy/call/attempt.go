package call

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"tollgate/config/state"
	"tollgate/ledger/store"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/mock"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
	"tollgate/proxy/upstream"
)

// run makes the intent durable, then tries candidates until one answers.
func (c *call) run() *refusal.Refusal {
	ref, err := c.h.Ledger.Begin(c.intentRecord())
	if err != nil {
		c.reservation.Cancel()
		return refusal.Unavailable("ledger_unavailable", "This node cannot record calls at the moment. Nothing was sent or charged; try again.", time.Second)
	}
	c.intent = ref
	c.watchClient()
	var first *provider.Error
	for try := range c.tries() {
		if c.canceled.Load() {
			break
		}
		fault := c.attempt(try.candidate)
		if fault == nil {
			return nil
		}
		if first == nil {
			first = fault
		}
		if !c.again(fault, try) {
			break
		}
	}
	return c.failed(first)
}

// try is one attempt of the plan.
type try struct {
	candidate route.Candidate
	last      bool // no other attempt follows
}

// tries walks the plan: the group's candidates in turn as often as retries
// allow, then each fallback once. It waits only where a deployment that has
// just failed is asked again.
func (c *call) tries() func(yield func(try) bool) {
	return func(yield func(try) bool) {
		own := c.plan.Candidates
		for i := range own {
			if own[i].Fallback {
				own = own[:i]
				break
			}
		}
		total := len(c.plan.Candidates) - len(own)
		if len(own) > 0 {
			total += c.retries(own[0].Deployment) + 1
		}
		n := 0
		emit := func(cand route.Candidate, wait time.Duration) bool {
			n++
			if wait > 0 && !c.pause(wait) {
				return false
			}
			return yield(try{candidate: cand, last: n == total})
		}
		if len(own) > 0 {
			for i := range c.retries(own[0].Deployment) + 1 {
				var wait time.Duration
				if i >= len(own) {
					wait = backoff(i - len(own))
				}
				if !emit(own[i%len(own)], wait) {
					return
				}
			}
		}
		for _, cand := range c.plan.Candidates[len(own):] {
			if !emit(cand, 0) {
				return
			}
		}
	}
}

// backoff is LiteLLM's: half a second doubling to eight, with jitter.
func backoff(n int) time.Duration {
	d := min(500*time.Millisecond<<min(n, 4), 8*time.Second)
	return d + time.Duration(rand.Int64N(int64(750*time.Millisecond)))
}

// pause waits between attempts, in steps so that a leaving client ends it.
func (c *call) pause(d time.Duration) bool {
	c.elsewhere += d
	select {
	case <-time.After(d):
	case <-c.gone:
	}
	return !c.canceled.Load()
}

func (c *call) retries(d *state.Deployment) int {
	r := c.snap.Routing.Config
	for _, v := range []*int{d.NumRetries, intOr(c.req.numRetries), r.Router.NumRetries, r.LiteLLM.NumRetries} {
		if v != nil {
			return *v
		}
	}
	return 2
}

func intOr(v int) *int {
	if v < 0 {
		return nil
	}
	return &v
}

// again reports whether another attempt may follow this fault.
func (c *call) again(f *provider.Error, t try) bool {
	if t.last || f.Permanent && len(c.plan.Candidates) == 1 {
		return false
	}
	switch f.Class {
	case provider.BadRequest, provider.UnsupportedParams, provider.UnprocessableEntity, provider.ContextWindow, provider.ContentPolicy:
		return false
	case provider.Authentication, provider.NotFound, provider.PermissionDenied:
		return len(c.plan.Candidates) > 1
	}
	return true
}

// attempt calls one deployment. nil means that an answer is on its way.
func (c *call) attempt(cand route.Candidate) *provider.Error {
	d := cand.Deployment
	p, ok := c.h.Providers(d.Provider, c.op)
	if !ok {
		return provider.NewError(provider.BadRequest, "provider "+d.Provider+" does not serve "+c.routeName()+". Choose another model for this route.")
	}
	c.attempts++
	c.served, c.provider = cand, p
	c.sentAt = c.h.Clock.Now()
	c.prepare(cand)
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
	c.atWork = true
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

// prepare builds the translator's view of the call for one deployment: the
// deployment's defaults under the client's fields, the gateway's fields gone.
func (c *call) prepare(cand route.Candidate) {
	d := cand.Deployment
	body, fields := c.body.Src(), &c.body
	if c.mustRewrite(d) {
		edits := make([]jsonscan.Edit, 0, 8)
		for _, def := range d.Defaults {
			if !c.body.Has(def.Name) && !c.statesOutput(def.Name) {
				edits = append(edits, jsonscan.Edit{Key: def.Name, Value: def.Value})
			}
		}
		c.merged = c.body.Rewrite(c.merged[:0], edits, func(key []byte) bool { return isGatewayField(c.op, key) })
		body = c.merged
		if err := c.fields.ParseTop(body); err == nil { // it was valid JSON and still is
			fields = &c.fields
		}
	}
	c.pcall = provider.Call{
		Op: c.op, Stream: c.req.stream, Body: body, Fields: fields, Deployment: d, Model: cand.Model,
		PublicName: c.publicName(cand), WantUsage: c.req.wantUsage || c.snap.Routing.Config.General.AlwaysStreamUsage,
		DropParams: c.req.dropParams || d.DropParams || c.snap.Routing.Config.LiteLLM.DropParams, MaxOutput: c.outputCap,
		InputEstimate: c.req.inputEstimate(), Header: c.clientHeader, Now: c.sentAt, CallID: c.idText, Space: c.space[:0],
	}
}

// keepSpace keeps a body that a translator built as memory for the next one. A
// translator that had nothing to change may hand back what it was given, which
// is the client's memory or the provider's answer.
func (c *call) keepSpace(body []byte) {
	if cap(body) > cap(c.space) && cap(body) <= keepMerged &&
		!sameMemory(body, c.body.Src()) && !sameMemory(body, c.merged) && !sameMemory(body, c.answer) {
		c.space = body[:0]
	}
}

// sameMemory reports whether two slices end in the same place: parts of one
// array do.
func sameMemory(a, b []byte) bool {
	return cap(a) > 0 && cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

// statesOutput keeps a default max_tokens from meeting a client's
// max_completion_tokens, and the reverse.
func (c *call) statesOutput(name string) bool {
	return (name == "max_tokens" || name == "max_completion_tokens") && c.req.maxOutput > 0
}

func (c *call) mustRewrite(d *state.Deployment) bool {
	if len(d.Defaults) > 0 {
		return true
	}
	for _, f := range c.body.Fields() {
		if isGatewayField(c.op, f.Key) {
			return true
		}
	}
	return false
}

// publicName is the model name in the answer: the client's, unless a fallback
// served the call.
func (c *call) publicName(cand route.Candidate) string {
	if cand.Fallback {
		return cand.Group
	}
	return c.req.model
}

// clientHeader gives translators the client headers that providers may need.
// Credentials and hop-by-hop headers are never among them.
func (c *call) clientHeader(name string) string {
	switch strings.ToLower(name) {
	case "anthropic-version", "anthropic-beta", "openai-beta", "user-agent", "accept-language":
		return string(c.ctx.Request.Header.Peek(name))
	case "openai-organization", "openai-project":
		if c.snap.Routing.Config.General.ForwardOrgID {
			return string(c.ctx.Request.Header.Peek(name))
		}
	}
	return ""
}

// guarded headers are the gateway's own: extra_headers may not set them.
func guarded(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "x-api-key", "api-key", "x-goog-api-key", "host", "content-length", "transfer-encoding",
		"connection", "cookie", "accept-encoding", "content-type", "content-encoding":
		return true
	}
	return false
}

// addExtraHeaders sends the request's extra_headers as HTTP headers, and the
// client's x- headers where the settings say so.
func (c *call) addExtraHeaders(req *provider.Request) {
	if c.req.extra != nil {
		it := jsonscan.Walk(c.req.extra)
		for k, v, ok := it.Member(); ok; k, v, ok = it.Member() {
			name := string(k)
			if unq, isString := jsonscan.String(k); isString {
				name = unq
			}
			if value, isString := jsonscan.String(v); isString && !guarded(name) {
				req.Header = append(req.Header, [2]string{name, value})
			}
		}
	}
	if !c.snap.Routing.Config.General.ForwardClientHeader {
		return
	}
	for k, v := range c.ctx.Request.Header.All() {
		name := strings.ToLower(string(k))
		if strings.HasPrefix(name, "x-") && !strings.HasPrefix(name, "x-stainless") && !strings.HasPrefix(name, "x-litellm") && !guarded(name) {
			req.Header = append(req.Header, [2]string{name, string(v)})
		}
	}
}

// timeouts of one attempt, strongest first: the call's, the deployment's, the
// router's, the settings'.
func (c *call) timeouts(d *state.Deployment) upstream.Options {
	r := c.snap.Routing.Config
	t := c.req.timeout
	if t == 0 && c.req.stream {
		t = firstPositive(d.StreamTimeout, seconds64(r.Router.StreamTimeout))
	}
	if t == 0 {
		t = firstPositive(d.Timeout, seconds64(r.Router.Timeout), seconds64(r.LiteLLM.RequestTimeout), 6000*time.Second)
	}
	if c.req.stream {
		return upstream.Options{FirstByte: t, Idle: t}
	}
	return upstream.Options{Deadline: c.sentAt.Add(t)}
}

func firstPositive(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}

func seconds64(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

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
	if len(c.plan.Candidates) > 0 {
		in.Deployment = c.plan.Candidates[0].Deployment.ID
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

// watchClient begins, a moment after the provider was asked, to wait for the
// client's leaving.
func (c *call) watchClient() {
	if c.conn == nil {
		return
	}
	conn, epoch := c.conn, c.conn.Arm()
	c.watch = time.AfterFunc(watchAfter, func() { conn.Watch(epoch, c.clientGone) })
}

// clientGone cancels what runs upstream. The goroutine that reads there settles.
func (c *call) clientGone() {
	if c.snap.Routing.Config.Tollgate.DrainUpstream {
		return
	}
	if c.canceled.CompareAndSwap(false, true) {
		c.gone <- struct{}{} // holds one: nobody may be waiting
		if x := c.current.Load(); x != nil {
			x.Cancel()
		}
	}
}

// unwatch gives the connection back before fasthttp reads it again.
func (c *call) unwatch() {
	if c.watch == nil {
		return
	}
	if !c.watch.Stop() {
		c.conn.Unwatch()
	}
	c.watch = nil
}
