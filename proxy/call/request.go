package call

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// request is what a client asked for beside the model's own input: routing
// wishes, attribution and accounting, from body fields and headers.
type request struct {
	model         string
	stream        bool
	wantUsage     bool
	user          string // body user
	endUser       string
	session       string
	tags          []string
	metadata      []byte // client's metadata, raw
	logged        []byte // spend_logs_metadata, raw object
	fallbacks     []string
	noFallback    bool
	numRetries    int // -1: not stated
	timeout       time.Duration
	streamTimeout time.Duration
	clientTags    bool   // the client sent tags
	customer      string // end user named in a header
	dropParams    bool
	extra         []byte // extra_headers, raw object
	mock          string // mock_response
	hasMock       bool
	maxOutput     int64 // as stated; 0: not
	choices       int64
	inputBytes    int64
	images        int64
}

// most is above every maximum that a provider knows.
const most = 1 << 40

// isGatewayField reports whether a body field is meant for the gateway: it
// never reaches a provider.
func isGatewayField(op provider.Op, key []byte) bool {
	switch string(key) {
	case "metadata":
		return op != provider.OpMessages // there it is Anthropic's own
	case "litellm_metadata", "tags", "request_tags", "caching", "cache", "num_retries", "timeout", "request_timeout",
		"stream_timeout", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "disable_fallbacks",
		"context_window_fallback_dict", "mock_response", "mock_timeout", "mock_testing_fallbacks",
		"mock_testing_context_fallbacks", "mock_testing_context_window_fallbacks", "mock_testing_content_policy_fallbacks",
		"mock_testing_rate_limit_error", "guardrails", "disable_global_guardrails", "litellm_session_id",
		"litellm_trace_id", "extra_headers", "drop_params", "allowed_openai_params", "no-log", "enforced_params":
		return true
	}
	return false
}

// parse reads the body's fields. pathModel wins over the body's model.
func (c *call) parse(body []byte, pathModel string) *refusal.Refusal {
	if len(bytes.TrimSpace(body)) == 0 {
		return invalidJSON("Invalid JSON payload: the request body is empty. Send a JSON object with content-type application/json.")
	}
	if err := c.body.Parse(body); err != nil {
		return invalidJSON("Invalid JSON payload: " + err.Error())
	}
	r := &c.req
	r.numRetries, r.choices = -1, 1
	for _, f := range c.body.Fields() {
		if ref := c.field(f.Key, f.Value); ref != nil {
			return ref
		}
	}
	if pathModel != "" {
		r.model = pathModel
	}
	if r.model == "" {
		return refusal.New(400, "invalid_request_error", "model", "you must provide a model parameter")
	}
	c.fromHeaders()
	c.attribute()
	return c.required()
}

func invalidJSON(msg string) *refusal.Refusal {
	return refusal.New(400, "invalid_request_error", "request_body", msg)
}

func wrongType(key []byte, want string) *refusal.Refusal {
	name := string(key)
	return refusal.New(400, "invalid_request_error", name, "Invalid type for '"+name+"': expected "+want+".")
}

// field takes one top-level field of the body.
func (c *call) field(key, raw []byte) *refusal.Refusal {
	r := &c.req
	if jsonscan.IsNull(raw) {
		return nil
	}
	switch string(key) {
	case "model":
		s, ok := jsonscan.String(raw)
		if !ok {
			return wrongType(key, "a string")
		}
		r.model = s
	case "stream":
		v, ok := jsonscan.Bool(raw)
		if !ok {
			return wrongType(key, "a boolean")
		}
		r.stream = v
	case "stream_options":
		v, _ := jsonscan.Bool(jsonscan.Find(raw, "include_usage"))
		r.wantUsage = v
	case "user":
		s, ok := jsonscan.String(raw)
		if !ok && c.op != provider.OpMessages {
			return wrongType(key, "a string")
		}
		r.user = s
	case "metadata", "litellm_metadata":
		if raw[0] != '{' {
			return wrongType(key, "an object")
		}
		if string(key) == "litellm_metadata" || r.metadata == nil {
			r.metadata = raw
		}
	case "tags", "request_tags":
		r.addTags(raw)
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		v, ok := jsonscan.Int(raw)
		if !ok || v < 0 {
			return wrongType(key, "an integer")
		}
		r.maxOutput = max(r.maxOutput, min(v, most)) // times the choices it must not wrap
	case "n", "best_of":
		v, ok := jsonscan.Int(raw)
		if !ok || v < 1 || v > 128 {
			return wrongType(key, "an integer from 1 to 128")
		}
		r.choices = max(r.choices, v)
	case "messages", "prompt", "input", "system", "tools", "functions", "response_format", "instructions", "suffix", "prediction":
		c.measure(raw)
	default:
		return c.gatewayField(key, raw)
	}
	return nil
}

// gatewayField takes the fields that steer the gateway.
func (c *call) gatewayField(key, raw []byte) *refusal.Refusal {
	r := &c.req
	switch string(key) {
	case "fallbacks":
		r.fallbacks = fallbackNames(raw, r.model)
	case "disable_fallbacks":
		r.noFallback, _ = jsonscan.Bool(raw)
	case "num_retries":
		if v, ok := jsonscan.Int(raw); ok && v >= 0 && v <= 10 {
			r.numRetries = int(v)
		}
	case "timeout", "request_timeout":
		r.timeout = seconds(string(bytes.Trim(raw, `"`)))
	case "drop_params":
		r.dropParams, _ = jsonscan.Bool(raw)
	case "extra_headers":
		if raw[0] != '{' {
			return wrongType(key, "an object of strings")
		}
		r.extra = raw
	case "mock_response":
		r.mock, r.hasMock = jsonscan.String(raw)
	case "litellm_session_id":
		r.session, _ = jsonscan.String(raw)
	case "litellm_trace_id":
		if r.session == "" {
			r.session, _ = jsonscan.String(raw)
		}
	case "api_base", "base_url", "api_key":
		return refusal.New(400, "invalid_request_error", string(key),
			"'"+string(key)+"' may not be set by a client: providers and their keys are configured on the gateway.")
	}
	return nil
}

// required checks what every call of the operation must have, so that a
// malformed call is refused here, alike for every provider.
func (c *call) required() *refusal.Refusal {
	need := "messages"
	switch c.op {
	case provider.OpCompletion:
		need = "prompt"
	case provider.OpEmbedding:
		need = "input"
	}
	raw, ok := c.body.Get(need)
	if !ok || jsonscan.IsNull(raw) {
		return refusal.New(400, "invalid_request_error", need, "Missing required parameter: '"+need+"'.")
	}
	if need == "messages" && raw[0] != '[' {
		return wrongType([]byte(need), "an array of messages")
	}
	if c.op == provider.OpMessages && !c.counting && c.req.maxOutput == 0 && !c.body.Has("max_tokens") {
		return refusal.New(400, "invalid_request_error", "max_tokens", "max_tokens: Field required")
	}
	return nil
}

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
			if r.stream {
				r.streamTimeout = seconds(string(v))
			}
		case "X-Litellm-Num-Retries":
			if n, err := strconv.Atoi(string(v)); err == nil && n >= 0 && n <= 10 {
				r.numRetries = n
			}
		case "X-Litellm-Tags":
			r.clientTags = true
			for t := range strings.SplitSeq(string(v), ",") {
				if t = strings.TrimSpace(t); t != "" {
					r.tags = append(r.tags, t)
				}
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
	if r.streamTimeout > 0 {
		r.timeout = r.streamTimeout
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
		if s, isString := jsonscan.String(v); isString && s != "" && len(r.tags) < 64 {
			r.tags = append(r.tags, s)
		}
	}
}

// fallbackNames reads the request's own fallbacks: names, {model: name} maps,
// or {group: [names]} for the group asked for.
func fallbackNames(raw []byte, group string) []string {
	names := []string{}
	if raw[0] != '[' {
		return names
	}
	it := jsonscan.Walk(raw)
	for v, ok := it.Element(); ok; v, ok = it.Element() {
		if s, isString := jsonscan.String(v); isString {
			names = append(names, s)
			continue
		}
		if s, isString := jsonscan.String(jsonscan.Find(v, "model")); isString {
			names = append(names, s)
			continue
		}
		list := jsonscan.Find(v, group)
		if len(list) > 0 && list[0] == '[' {
			inner := jsonscan.Walk(list)
			for e, more := inner.Element(); more; e, more = inner.Element() {
				if s, isString := jsonscan.String(e); isString {
					names = append(names, s)
				}
			}
		}
	}
	return names
}

// imageTokens bounds what one inline image or file counts as; its base64 text
// is no prompt text.
const imageTokens = 3000

// measure counts the bytes of prompt text, leaving out inline base64 data. A
// token is at least one byte, so the count bounds the input tokens.
func (c *call) measure(raw []byte) {
	n := int64(len(raw))
	rest := raw
	for {
		i := bytes.Index(rest, []byte(";base64,"))
		if i < 0 {
			break
		}
		rest = rest[i+len(";base64,"):]
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			break
		}
		n -= int64(end)
		c.req.images++
		rest = rest[end:]
	}
	if c.op == provider.OpMessages {
		n -= c.inlineData(raw)
	}
	c.req.inputBytes += n
}

// inlineData finds Anthropic's base64 sources: a "data" field beside a media type.
func (c *call) inlineData(raw []byte) (bytesOut int64) {
	rest := raw
	for {
		i := bytes.Index(rest, []byte(`"data":`))
		if i < 0 {
			return bytesOut
		}
		rest = bytes.TrimLeft(rest[i+len(`"data":`):], " ")
		if len(rest) == 0 || rest[0] != '"' {
			continue
		}
		end := bytes.IndexByte(rest[1:], '"')
		if end < 0 {
			return bytesOut
		}
		if end > 1024 {
			bytesOut += int64(end)
			c.req.images++
		}
		rest = rest[1+end:]
	}
}

// inputBound is the most input tokens the call can be billed for.
func (r *request) inputBound() int64 { return r.inputBytes + r.images*imageTokens + 16 }

// inputEstimate is the likely number of input tokens, for token limits.
func (r *request) inputEstimate() int64 { return r.inputBytes/4 + r.images*1000 + 1 }

func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f <= 0 || f > 86400 {
		return 0
	}
	return time.Duration(f * float64(time.Second))
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
