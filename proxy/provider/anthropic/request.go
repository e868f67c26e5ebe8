package anthropic

import (
	"strconv"
	"strings"

	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// defaultMaxTokens stands in where the API demands a maximum and neither the
// client nor the catalogue knows one.
const defaultMaxTokens = 4096

// request is a Messages request in the making, read from a chat request.
type request struct {
	call *provider.Call
	dep  *state.Deployment
	can  capability

	messages     []byte
	maxTokens    int64
	hasMax       bool
	temperature  []byte
	topP, topK   []byte
	stop         [][]byte
	effort       string
	thinking     []byte
	outputConfig []byte
	format       []byte // response_format
	toolsIn      []byte
	functions    []byte
	choice       []byte
	functionCall []byte
	noParallel   bool
	userID       string
	extra        []state.Param // the API's own fields, passed on as they are

	system  [][]byte
	history history
	tools   [][]byte
	toolOut []byte // tool_choice as sent
	dropped []string
}

// chatBody turns a chat request into a Messages request.
func chatBody(c *provider.Call, fields *jsonscan.Object) ([]byte, []string, error) {
	r := &request{call: c, dep: deployment(c)}
	r.can = capabilityOf(c.Model, r.dep)
	if err := r.read(fields); err != nil {
		return nil, nil, err
	}
	if err := r.convertMessages(); err != nil {
		return nil, nil, err
	}
	if err := r.convertTools(); err != nil {
		return nil, nil, err
	}
	if err := r.convertFormat(); err != nil {
		return nil, nil, err
	}
	r.planThinking()
	r.planSampling()
	return r.encode(), r.dropped, nil
}

// read sorts the client's parameters.
func (r *request) read(fields *jsonscan.Object) error {
	for _, f := range fields.Fields() {
		if jsonscan.IsNull(f.Value) {
			continue
		}
		name := string(f.Key)
		if contains(r.dep.DropAlso, name) {
			r.drop(name)
			continue
		}
		if contains(r.dep.AllowParams, name) && unsupported(name) {
			r.extra = append(r.extra, state.Param{Name: name, Value: f.Value})
			continue
		}
		if err := r.readOne(name, f.Value); err != nil {
			return err
		}
	}
	if r.messages == nil {
		return badParam("messages", "messages: field required")
	}
	return nil
}

func (r *request) readOne(name string, v []byte) error {
	switch name {
	case "model", "stream", "stream_options", "extra_headers", "extra_body":
	case "messages":
		if !jsonscan.IsArray(v) {
			return badParam(name, "messages must be an array")
		}
		r.messages = v
	case "max_tokens", "max_completion_tokens":
		n, ok := jsonscan.Int(v)
		if !ok || n < 0 {
			return badParam(name, name+" must be a whole number")
		}
		if !r.hasMax || name == "max_completion_tokens" {
			r.maxTokens, r.hasMax = n, true
		}
	case "temperature":
		r.temperature = v
	case "top_p":
		r.topP = v
	case "top_k":
		r.topK = v
	case "stop", "stop_sequences":
		return r.readStop(name, v)
	case "tools":
		if !jsonscan.IsArray(v) {
			return badParam(name, "tools must be an array")
		}
		r.toolsIn = v
	case "functions":
		if !jsonscan.IsArray(v) {
			return badParam(name, "functions must be an array")
		}
		r.functions = v
	case "tool_choice":
		r.choice = v
	case "function_call":
		r.functionCall = v
	case "parallel_tool_calls":
		b, ok := jsonscan.Bool(v)
		if !ok {
			return badParam(name, "parallel_tool_calls must be true or false")
		}
		r.noParallel = !b
	case "response_format":
		r.format = v
	case "reasoning_effort":
		return r.readEffort(v)
	case "thinking":
		r.thinking = v
	case "output_config":
		r.outputConfig = v
	case "user", "safety_identifier":
		if s, ok := jsonscan.String(v); ok && (r.userID == "" || name == "user") {
			r.userID = s
		}
	case "metadata":
		if s := jsonscan.Text(v, "user_id"); s != "" {
			r.userID = s
		}
	case "service_tier":
		r.readTier(v)
	case "system":
		return r.readSystem(v)
	case "web_search_options":
		r.tools = append(r.tools, webSearchTool(v))
	case "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "store":
		// Hints to another maker's cache and storage: nothing is lost without them.
		r.drop(name)
	default:
		if !unsupported(name) {
			r.extra = append(r.extra, state.Param{Name: name, Value: v})
			return nil
		}
		if isNoop(name, v) {
			return nil
		}
		return r.refuse(name)
	}
	return nil
}

// refuse drops a parameter if the policy says so, else it is the client's error.
func (r *request) refuse(name string) error {
	if r.call.DropParams || r.dep.DropParams {
		r.drop(name)
		return nil
	}
	e := provider.NewError(provider.UnsupportedParams, "anthropic does not support parameters: ['"+name+"'], for model="+r.call.Model+
		". To drop these, set `litellm.drop_params=True` or for proxy: `litellm_settings:\n drop_params: true`")
	e.Type, e.Code, e.Param = "invalid_request_error", "unsupported_parameter", name
	return e
}

func (r *request) drop(name string) {
	if !contains(r.dropped, name) {
		r.dropped = append(r.dropped, name)
	}
}

// unsupported reports the parameters of OpenAI's that Messages has nothing for.
func unsupported(name string) bool {
	switch name {
	case "n", "best_of", "logprobs", "top_logprobs", "logit_bias", "seed", "frequency_penalty", "presence_penalty",
		"modalities", "audio", "prediction", "verbosity", "moderation", "suffix", "echo":
		return true
	}
	return false
}

// isNoop reports a value that asks for what happens anyway.
func isNoop(name string, v []byte) bool {
	switch name {
	case "n", "best_of":
		n, ok := jsonscan.Int(v)
		return ok && n == 1
	case "frequency_penalty", "presence_penalty":
		f, err := strconv.ParseFloat(string(v), 64)
		return err == nil && f == 0
	case "logprobs", "echo":
		return string(v) == "false"
	case "logit_bias":
		it := jsonscan.Walk(v)
		_, _, some := it.Member()
		return jsonscan.IsObject(v) && !some
	case "modalities":
		return string(jsonscan.Compact(nil, v)) == `["text"]`
	case "suffix":
		return isBlank(v)
	}
	return false
}

func (r *request) readStop(name string, v []byte) error {
	if jsonscan.IsString(v) {
		if !isBlank(v) {
			r.stop = append(r.stop, v)
		}
		return nil
	}
	if !jsonscan.IsArray(v) {
		return badParam(name, name+" must be a string or an array of strings")
	}
	for it := jsonscan.Walk(v); ; {
		s, ok := it.Element()
		if !ok {
			return nil
		}
		if !jsonscan.IsString(s) {
			return badParam(name, name+" must hold strings")
		}
		if !isBlank(s) { // the API refuses sequences of white space
			r.stop = append(r.stop, s)
		}
	}
}

func (r *request) readEffort(v []byte) error {
	if jsonscan.IsObject(v) { // {"effort": …, "summary": …}
		v = jsonscan.Member(v, "effort")
	}
	s, ok := jsonscan.String(v)
	if !ok || !hasWord("none minimal low medium high xhigh max", s) {
		return badParam("reasoning_effort", "reasoning_effort must be one of none, minimal, low, medium, high, xhigh, max")
	}
	r.effort = s
	return nil
}

// readTier keeps the tiers that both makers know; others are a wish that can
// go unfulfilled.
func (r *request) readTier(v []byte) {
	switch s, _ := jsonscan.String(v); s {
	case "auto", "standard_only":
		r.extra = append(r.extra, state.Param{Name: "service_tier", Value: v})
	case "default":
		r.extra = append(r.extra, state.Param{Name: "service_tier", Value: []byte(`"standard_only"`)})
	default:
		r.drop("service_tier")
	}
}

// readSystem takes the API's own system field from a client that mixes both.
func (r *request) readSystem(v []byte) error {
	switch {
	case jsonscan.IsString(v):
		if !isBlank(v) {
			r.system = append(r.system, textBlock(v, nil))
		}
	case jsonscan.IsArray(v):
		for it := jsonscan.Walk(v); ; {
			b, ok := it.Element()
			if !ok {
				break
			}
			r.system = append(r.system, b)
		}
	default:
		return badParam("system", "system must be a string or an array of text blocks")
	}
	return nil
}

func (r *request) encode() []byte {
	b := make([]byte, 0, len(r.call.Body)+1024)
	b = append(b, '{')
	b = jsonscan.AppendText(b, "model", r.call.Model)
	b = jsonscan.AppendInt(b, "max_tokens", r.maxTokens)
	if len(r.system) > 0 {
		b = jsonscan.AppendList(b, "system", r.system)
	}
	b = r.history.append(jsonscan.AppendKey(b, "messages"))
	if len(r.tools) > 0 {
		b = jsonscan.AppendList(b, "tools", r.tools)
		if r.toolOut != nil {
			b = jsonscan.AppendRaw(b, "tool_choice", r.toolOut)
		}
	}
	if len(r.stop) > 0 {
		b = jsonscan.AppendList(b, "stop_sequences", r.stop)
	}
	for _, p := range [...]state.Param{{Name: "temperature", Value: r.temperature}, {Name: "top_p", Value: r.topP}, {Name: "top_k", Value: r.topK},
		{Name: "thinking", Value: r.thinking}, {Name: "output_config", Value: r.outputConfig}} {
		if p.Value != nil {
			b = jsonscan.AppendRaw(b, p.Name, p.Value)
		}
	}
	if r.userID != "" {
		if identifiesPerson(r.userID) {
			r.drop("user") // the API refuses mail addresses and phone numbers
		} else {
			b = jsonscan.AppendRaw(b, "metadata", append(jsonscan.AppendText([]byte{'{'}, "user_id", r.userID), '}'))
		}
	}
	if r.call.Stream {
		b = jsonscan.AppendRaw(b, "stream", []byte("true"))
	}
	for _, p := range r.extra {
		b = append(jsonscan.AppendQuoted(append(b, ','), p.Name), ':')
		b = append(b, p.Value...)
	}
	b = append(b, '}')
	return overlay(b, r.dep.ExtraBody)
}

// overlay lays the deployment's extra body over a request.
func overlay(body []byte, extra []state.Param) []byte {
	if len(extra) == 0 {
		return body
	}
	var o jsonscan.Object
	if o.ParseTop(body) != nil {
		return body
	}
	edits := make([]jsonscan.Edit, len(extra))
	for i, p := range extra {
		edits[i] = jsonscan.Edit{Key: p.Name, Value: p.Value}
	}
	return o.Rewrite(make([]byte, 0, len(body)+256), edits, nil)
}

// identifiesPerson reports user ids that look like a mail address or a phone
// number.
func identifiesPerson(id string) bool {
	if at := strings.IndexByte(id, '@'); at > 0 && strings.IndexByte(id[at:], '.') > 0 && !strings.ContainsAny(id, " \n") {
		return true
	}
	digits := 0
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '+' && i == 0, c == '-', c == ' ', c == '(', c == ')', c == '.':
		default:
			return false
		}
	}
	return digits >= 7 && digits <= 15
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// badParam is a client's mistake in one parameter.
func badParam(param, message string) *provider.Error {
	e := provider.NewError(provider.BadRequest, message)
	e.Type, e.Param = "invalid_request_error", param
	return e
}
