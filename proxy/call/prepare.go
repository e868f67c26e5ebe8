package call

import (
	"strings"

	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// prepare builds the translator's view of the call for one deployment: the
// deployment's defaults under the client's fields, a fallback's own fields over
// them, the gateway's fields gone.
func (c *call) prepare(cand route.Candidate, over []byte) {
	d := cand.Deployment
	body, fields := c.body.Src(), &c.body
	if over != nil || c.mustRewrite(d) {
		edits := make([]jsonscan.Edit, 0, 8)
		for _, def := range d.Defaults {
			if !c.body.Has(def.Name) && !c.statesOutput(def.Name) {
				edits = append(edits, jsonscan.Edit{Key: def.Name, Value: def.Value})
			}
		}
		edits = c.overwrite(edits, over)
		if c.cached != nil && c.cached.rest != nil {
			edits = append(edits, jsonscan.Edit{Key: "input", Value: c.cached.rest})
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
		DropParams: c.req.dropParams || d.DropParams || c.snap.Routing.Config.LiteLLM.DropParams, MaxOutput: c.outputLimit(),
		InputEstimate: c.req.inputEstimate(), Header: c.clientHeader, Now: c.sentAt, CallID: c.idText, Space: c.space[:0],
		NoThoughts: c.noThoughts,
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

// statesOutput keeps a default max_tokens from meeting a client's
// max_completion_tokens, and the reverse.
func (c *call) statesOutput(name string) bool {
	return (name == "max_tokens" || name == "max_completion_tokens") && c.req.maxOutput > 0
}

func (c *call) mustRewrite(d *state.Deployment) bool {
	if len(d.Defaults) > 0 || c.cached != nil && c.cached.rest != nil {
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
