package call

import (
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
)

// fromHeaders lets headers set what clients cannot put into the body. Headers
// are walked once: looking each name up walks them anew.
func (c *call) fromHeaders() {
	r := &c.req
	var trace, session, vendor []byte
	for k, v := range c.ctx.Request.Header.All() {
		if len(k) < 3 || k[0]|0x20 != 'x' || k[1] != '-' || len(v) == 0 {
			continue
		}
		switch name := string(k); name { // canonical: fasthttp has normalised it
		case "X-Litellm-Timeout":
			r.timeout = seconds(string(v))
		case "X-Litellm-Stream-Timeout":
			r.streamTimeout = seconds(string(v))
		case "X-Litellm-Num-Retries":
			if n, err := strconv.Atoi(string(v)); err == nil && n >= 0 && n <= maxClientRetries {
				r.numRetries = n
			}
		case "X-Litellm-Tags":
			r.clientTags = true
			for t := range strings.SplitSeq(string(v), ",") {
				r.addTag(strings.TrimSpace(t))
			}
		case "X-Litellm-Spend-Logs-Metadata":
			var object jsonscan.Object
			if object.Parse(v) == nil {
				r.logged = append([]byte(nil), v...)
			}
		case "X-Litellm-Trace-Id":
			trace = v
		case "X-Litellm-Session-Id":
			session = v
		case "X-Litellm-Customer-Id":
			r.customer = string(v)
		case "X-Litellm-End-User-Id":
			if r.customer == "" {
				r.customer = string(v)
			}
		default: // x-<vendor>-session-id of a coding agent
			if strings.HasSuffix(name, "-Session-Id") && len(name) > len("X-Session-Id") && len(v) >= 8 && len(v) <= 128 && plainID(v) {
				vendor = v
			}
		}
	}
	for _, v := range [][]byte{trace, session, vendor} {
		if r.session == "" && len(v) > 0 {
			r.session = string(v)
		}
	}
}

func plainID(v []byte) bool {
	for _, c := range v {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// attribute settles whom the call is for: end user, session and tags.
func (c *call) attribute() {
	r := &c.req
	r.endUser = c.findEndUser()
	if r.metadata == nil {
		return
	}
	r.addTags(jsonscan.Find(r.metadata, "tags"))
	r.addTags(jsonscan.Find(r.metadata, "request_tags"))
	if raw := jsonscan.Find(r.metadata, "spend_logs_metadata"); len(raw) > 0 && raw[0] == '{' && r.logged == nil {
		r.logged = raw
	}
	for _, name := range []string{"session_id", "trace_id"} {
		if r.session == "" {
			r.session, _ = jsonscan.String(jsonscan.Find(r.metadata, name))
		}
	}
}

// findEndUser looks in LiteLLM's order: headers, the configured header, body
// user, metadata, safety_identifier.
func (c *call) findEndUser() string {
	if c.req.customer != "" {
		return c.req.customer
	}
	if name := c.userHeader(); name != "" {
		if v := c.ctx.Request.Header.Peek(name); len(v) > 0 {
			return string(v)
		}
	}
	if c.req.user != "" {
		return c.req.user
	}
	if raw, ok := c.body.Get("litellm_metadata"); ok {
		if s, _ := jsonscan.String(jsonscan.Find(raw, "user")); s != "" {
			return s
		}
	}
	if raw, ok := c.body.Get("metadata"); ok {
		if s, _ := jsonscan.String(jsonscan.Find(raw, "user_id")); s != "" {
			return s
		}
	}
	if raw, ok := c.body.Get("safety_identifier"); ok {
		s, _ := jsonscan.String(raw)
		return s
	}
	return ""
}

func (c *call) userHeader() string {
	if r := c.snap.Routing; r != nil {
		return r.Config.General.UserHeaderName
	}
	return ""
}

func (r *request) addTags(raw []byte) {
	if len(raw) == 0 || raw[0] != '[' {
		return
	}
	it := jsonscan.Walk(raw)
	for v, ok := it.Element(); ok; v, ok = it.Element() {
		r.clientTags = true
		if s, isString := jsonscan.String(v); isString {
			r.addTag(s)
		}
	}
}

// mostTags bounds what a client may name: each tag is looked up and booked.
const mostTags = 64

// addTag takes a tag once: a budget would be charged for each time.
func (r *request) addTag(t string) {
	if t != "" && len(r.tags) < mostTags && !contains(r.tags, t) {
		r.tags = append(r.tags, t)
	}
}

// allTags joins the request's tags with those of key and team, each once.
func (c *call) allTags() []string {
	tags := c.req.tags
	add := func(more []string) {
		for _, t := range more {
			if !contains(tags, t) {
				tags = append(tags, t)
			}
		}
	}
	if k := c.principal.Key; k != nil {
		add(k.Tags)
	}
	if t := c.principal.Team; t != nil {
		add(t.Tags)
	}
	return tags
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
