package call

import (
	"bytes"
	"cmp"
	"strconv"
	"time"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// request is what a client asked for beside the model's own input: routing
// wishes, attribution and accounting, from body fields and headers.
type request struct {
	wishes

	model         string
	stream        bool
	wantUsage     bool
	user          string // body user
	endUser       string
	session       string
	sessions      [3]string // body's session_id, litellm_session_id, litellm_trace_id: the first that is set
	tags          []string
	metadata      []byte // client's metadata, raw
	logged        []byte // spend_logs_metadata, raw object
	timeout       time.Duration
	streamTimeout time.Duration
	clientTags    bool   // the client sent tags
	customer      string // end user named in a header
	dropParams    bool
	noLog         bool   // prompt and answer are not stored
	extra         []byte // extra_headers, raw object
	mock          string // mock_response
	hasMock       bool
	maxOutput     int64 // as stated; 0: not
	choices       int64
	inputBytes    int64
	images        int64
	overwritten   int64 // the most input that a fallback's own fields add
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
		"mock_testing_rate_limit_error", "guardrails", "disable_global_guardrails", "session_id", "litellm_session_id",
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
	r.settle(r.model)
	r.session = cmp.Or(r.sessions[:]...)
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
	case "timeout", "request_timeout":
		r.timeout = seconds(string(bytes.Trim(raw, `"`)))
	case "stream_timeout":
		r.streamTimeout = seconds(string(bytes.Trim(raw, `"`)))
	case "no-log":
		r.noLog, _ = jsonscan.Bool(raw)
	case "drop_params":
		r.dropParams, _ = jsonscan.Bool(raw)
	case "extra_headers":
		if raw[0] != '{' {
			return wrongType(key, "an object of strings")
		}
		r.extra = raw
	case "mock_response":
		r.mock, r.hasMock = jsonscan.String(raw)
	case "session_id":
		r.sessions[0], _ = jsonscan.String(raw)
	case "litellm_session_id":
		r.sessions[1], _ = jsonscan.String(raw)
	case "litellm_trace_id":
		r.sessions[2], _ = jsonscan.String(raw)
	case "api_base", "base_url", "api_key":
		return c.gatewayOnly(key)
	default:
		r.wish(key, raw)
	}
	return nil
}

// gatewayOnly refuses a field that would choose where the call goes.
func (c *call) gatewayOnly(key []byte) *refusal.Refusal {
	return refusal.New(400, "invalid_request_error", string(key),
		"'"+string(key)+"' may not be set by a client: providers and their keys are configured on the gateway.")
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

func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f <= 0 || f > 86400 {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}
