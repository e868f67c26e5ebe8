package openai

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// Request builds the upstream request. The body is the client's but for what
// must differ.
func (p *Provider) Request(c *provider.Call) (*provider.Request, error) {
	url, fault := p.url(c)
	if fault != nil {
		return nil, fault
	}
	var room [16]jsonscan.Edit
	e := editor{call: c, row: &p.row, rule: p.row.rule(c.Model), edits: room[:0]}
	if fault := e.edit(); fault != nil {
		return nil, fault
	}
	body := c.Fields.Rewrite(c.Space[:0], e.edits, nil)
	return &provider.Request{Method: "POST", URL: url, Header: p.header(c), Body: body, Dropped: e.dropped}, nil
}

func (p *Provider) header(c *provider.Call) [][2]string {
	d := c.Deployment
	h := make([][2]string, 0, 6+len(p.row.Headers)+len(d.ExtraHeaders))
	h = append(h, [2]string{"Content-Type", "application/json"})
	if c.Stream {
		h = append(h, [2]string{"Accept", "text/event-stream"})
	} else {
		h = append(h, [2]string{"Accept", "application/json"})
	}
	if d.APIKey != "" {
		h = append(h, [2]string{"Authorization", "Bearer " + d.APIKey})
	}
	if p.row.Organization {
		org := d.Organization
		if org == "" && c.Header != nil {
			org = c.Header("OpenAI-Organization")
		}
		if org != "" {
			h = append(h, [2]string{"OpenAI-Organization", org})
		}
	}
	for _, kv := range p.row.Headers {
		if !hasHeader(d.ExtraHeaders, kv[0]) {
			h = append(h, kv)
		}
	}
	if len(d.ExtraHeaders) == 0 {
		return h
	}
	for _, name := range slices.Sorted(maps.Keys(d.ExtraHeaders)) {
		if !reserved(name) {
			h = append(h, [2]string{name, d.ExtraHeaders[name]})
		}
	}
	return h
}

func hasHeader(h map[string]string, name string) bool {
	for k := range h {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

// reserved are headers that configuration may not set: they would replace the
// credential or break the message's framing.
func reserved(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "host", "content-length", "content-type", "content-encoding", "transfer-encoding",
		"connection", "accept-encoding", "expect", "upgrade", "te", "trailer":
		return true
	}
	return strings.ContainsAny(name, " \t\r\n:") || name == ""
}

// editor collects what changes in one body.
type editor struct {
	call    *provider.Call
	row     *Row
	rule    *ModelRule
	edits   []jsonscan.Edit
	dropped []string
}

func (e *editor) set(key string, value []byte) {
	e.edits = append(e.edits, jsonscan.Edit{Key: key, Value: value})
}

// get reads a field as it will be sent.
func (e *editor) get(key string) []byte {
	for i := len(e.edits) - 1; i >= 0; i-- {
		if e.edits[i].Key == key {
			return e.edits[i].Value
		}
	}
	v, _ := e.call.Fields.Get(key)
	return v
}

// leaveOut takes a field away and says so; fields that are not there stay silent.
func (e *editor) leaveOut(key string) {
	if e.get(key) != nil {
		e.set(key, nil)
		e.dropped = append(e.dropped, key)
	}
}

func (e *editor) allowed(key string) bool { return slices.Contains(e.call.Deployment.AllowParams, key) }

// refuse leaves a field out where the caller wants that, else it is the
// client's mistake.
func (e *editor) refuse(key, why string) *provider.Error {
	if e.call.DropParams {
		e.leaveOut(key)
		return nil
	}
	err := provider.NewError(provider.UnsupportedParams, e.row.Name+" does not support parameter "+key+
		" for model "+e.call.Model+why+". To leave such parameters out, set litellm_settings.drop_params: true.")
	err.Param, err.Type, err.Code = key, "invalid_request_error", "unsupported_parameter"
	return err
}

func (e *editor) edit() *provider.Error {
	d := e.call.Deployment
	for _, x := range d.ExtraBody {
		e.set(x.Name, x.Value)
	}
	for _, name := range d.DropAlso {
		e.leaveOut(name)
	}
	if fault := e.restrict(); fault != nil {
		return fault
	}
	e.rename()
	switch e.call.Op {
	case provider.OpEmbedding:
		if e.row.FloatOnly && string(e.get("encoding_format")) == `"base64"` {
			e.set("encoding_format", []byte(`"float"`))
		}
	case provider.OpChat:
		if fault := e.chat(); fault != nil {
			return fault
		}
		e.limit()
	default:
		e.limit()
	}
	e.stream()
	e.set("model", jsonscan.AppendQuoted(make([]byte, 0, 64), e.model()))
	return nil
}

// restrict takes out what the provider or the model refuses.
func (e *editor) restrict() *provider.Error {
	for _, name := range e.row.Strip {
		if !e.allowed(name) {
			e.leaveOut(name)
		}
	}
	for _, name := range e.row.Unsupported {
		if v := e.get(name); v != nil && !neutral(name, v) && !e.allowed(name) {
			if fault := e.refuse(name, ""); fault != nil {
				return fault
			}
		}
	}
	if e.rule == nil {
		return nil
	}
	for _, name := range e.rule.Strip {
		if !e.allowed(name) {
			e.leaveOut(name)
		}
	}
	if e.rule.FreeWithoutReasoning {
		if effort := e.get("reasoning_effort"); jsonscan.IsNull(effort) || string(effort) == `"none"` {
			return nil
		}
	}
	for _, name := range e.rule.Fixed {
		if v := e.get(name); v != nil && !neutral(name, v) && !e.allowed(name) {
			if fault := e.refuse(name, " (only its default)"); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// neutral reports whether a value says the same as leaving the field out.
func neutral(name string, raw []byte) bool {
	if jsonscan.IsNull(raw) {
		return true
	}
	switch name {
	case "temperature", "top_p", "n":
		n, ok := jsonscan.Int(raw)
		return ok && n == 1
	case "presence_penalty", "frequency_penalty", "top_logprobs":
		n, ok := jsonscan.Int(raw)
		return ok && n == 0
	case "logprobs":
		return string(raw) == "false"
	case "logit_bias":
		it := jsonscan.Walk(raw)
		_, _, some := it.Member()
		return !some
	}
	return false
}

// rename gives fields the provider's names, in the order of the body.
func (e *editor) rename() {
	if e.rule != nil && e.rule.CompletionTokens && e.call.Op == provider.OpChat {
		e.move("max_tokens", "max_completion_tokens")
	}
	if len(e.row.Rename) == 0 {
		return
	}
	for _, f := range e.call.Fields.Fields() {
		if to, ok := e.row.Rename[string(f.Key)]; ok {
			e.move(string(f.Key), to)
		}
	}
	for _, x := range e.call.Deployment.ExtraBody {
		if to, ok := e.row.Rename[x.Name]; ok {
			e.move(x.Name, to)
		}
	}
}

// move renames a field; a value already under the new name wins.
func (e *editor) move(from, to string) {
	v := e.get(from)
	if v == nil {
		return
	}
	e.set(from, nil)
	if jsonscan.IsNull(e.get(to)) {
		e.set(to, v)
	}
}

// limit keeps the output within what has been reserved, in the field that the
// provider reads.
func (e *editor) limit() {
	most := e.call.MaxOutput
	if most <= 0 {
		return
	}
	for _, name := range [...]string{"n", "best_of"} {
		if n, ok := jsonscan.Int(e.get(name)); ok && n > 1 {
			most = max(most/n, 1) // every choice may take the whole limit
			break
		}
	}
	stated := false
	for _, name := range [...]string{"max_completion_tokens", "max_tokens"} {
		v := e.get(name)
		if jsonscan.IsNull(v) {
			continue
		}
		stated = true
		if n, ok := jsonscan.Int(v); !ok || n > most {
			e.set(name, strconv.AppendInt(nil, most, 10))
		}
	}
	if stated {
		return
	}
	name := "max_tokens"
	if e.rule != nil && e.rule.CompletionTokens {
		name = "max_completion_tokens"
	}
	if e.call.Op == provider.OpCompletion {
		most = min(most, 16) // what text completions end at when nothing is said
	}
	e.set(name, strconv.AppendInt(nil, most, 10))
}

func (e *editor) stream() {
	asked, _ := jsonscan.Bool(e.get("stream"))
	if asked != e.call.Stream {
		e.set("stream", strconv.AppendBool(nil, e.call.Stream))
	}
	if e.row.Usage == UsageInclude && e.call.Op != provider.OpEmbedding && e.get("usage") == nil {
		e.set("usage", []byte(`{"include":true}`))
	}
	if !e.call.Stream || e.row.Usage == UsageAlways {
		return
	}
	options := e.get("stream_options")
	if len(options) > 0 && options[0] == '{' {
		var o jsonscan.Object
		if string(jsonscan.Find(options, "include_usage")) == "true" {
			return
		}
		if o.ParseTop(options) == nil {
			e.set("stream_options", o.Rewrite(nil, []jsonscan.Edit{{Key: "include_usage", Value: []byte("true")}}, nil))
			return
		}
	}
	e.set("stream_options", []byte(`{"include_usage":true}`))
}

// model is the name the provider knows.
func (e *editor) model() string {
	name := e.call.Model
	if e.row.ModelPrefix != "" && !strings.Contains(name, "/") {
		return e.row.ModelPrefix + name
	}
	if e.row.ModelRouted {
		if first, rest, ok := strings.Cut(name, "/"); ok && strings.Contains(rest, "/") {
			return rest + ":" + first
		}
	}
	return name
}

// chat applies the rows' ways with messages and tools.
func (e *editor) chat() *provider.Error {
	e.ownThoughts()
	if string(e.get("tool_choice")) == `"required"` {
		switch {
		case e.row.RequiredAny:
			e.set("tool_choice", []byte(`"any"`))
		case e.row.NoRequired:
			if fault := e.refuse("tool_choice", " as required"); fault != nil {
				return fault
			}
		}
	}
	if e.row.FlattenLists || e.row.NoNames || e.row.ShortToolIDs {
		if m := e.get("messages"); len(m) > 0 && m[0] == '[' {
			e.set("messages", e.row.messages(m))
		}
	}
	return nil
}
