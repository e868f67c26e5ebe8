package anthropic

import (
	"strconv"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// keeps says what of the Messages API a target understands inside a chat
// request, so that it is not lost on the way.
type keeps struct {
	cache    bool // cache_control on parts and tools
	thinking bool // thinking_blocks with signatures
	reasons  bool // reasoning_content of turns that called tools
}

// keepsOf knows the targets that more than OpenAI's own fields reach.
func keepsOf(providerName string) keeps {
	switch providerName {
	case "bedrock", "vertex_ai", "databricks", "litellm_proxy":
		return keeps{cache: true, thinking: true}
	case "openrouter", "gemini", "dashscope":
		return keeps{cache: true}
	case "deepseek", "moonshot", "zai":
		return keeps{reasons: true}
	}
	return keeps{}
}

// ToChat turns a Messages request into a chat completions request. Only what
// every chat API knows is carried over; the rest has no meaning elsewhere.
func ToChat(body []byte) ([]byte, error) {
	out, _, err := toChat(body, keeps{})
	return out, err
}

// chatRequest is a chat request in the making.
type chatRequest struct {
	keep     keeps
	messages [][]byte
	tools    [][]byte
	effort   string // as output_config states it
	params   []byte // `,"name":value` each
	dropped  []string
}

func toChat(body []byte, keep keeps) (out []byte, dropped []string, err error) {
	var o jsonscan.Object
	if err := o.Parse(body); err != nil {
		return nil, nil, bad("", "Invalid JSON payload: "+err.Error())
	}
	return convert(&o, keep)
}

func convert(o *jsonscan.Object, keep keeps) (out []byte, dropped []string, err error) {
	r := &chatRequest{keep: keep}
	if raw, ok := o.Get("system"); ok {
		if err := r.system(raw); err != nil {
			return nil, nil, err
		}
	}
	messages, _ := o.Get("messages")
	if !jsonscan.IsArray(messages) {
		return nil, nil, bad("messages", "messages: field required")
	}
	i := -1
	for it := jsonscan.Walk(messages); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		i++
		if err := r.message(i, raw); err != nil {
			return nil, nil, err
		}
	}
	if tools, ok := o.Get("tools"); ok && !jsonscan.IsNull(tools) {
		if err := r.addTools(tools); err != nil {
			return nil, nil, err
		}
	}
	config, _ := o.Get("output_config")
	r.effort = jsonscan.Text(config, "effort")
	for _, f := range o.Fields() {
		if jsonscan.IsNull(f.Value) {
			continue
		}
		if err := r.param(string(f.Key), f.Value); err != nil {
			return nil, nil, err
		}
	}
	b := append(make([]byte, 0, len(o.Src())+512), '{')
	if model, ok := o.Get("model"); ok {
		b = jsonscan.AppendRaw(b, "model", model)
	}
	b = jsonscan.AppendList(b, "messages", r.messages)
	if len(r.tools) > 0 {
		b = jsonscan.AppendList(b, "tools", r.tools)
	}
	return append(append(b, r.params...), '}'), r.dropped, nil
}

func (r *chatRequest) drop(name string) {
	for _, have := range r.dropped {
		if have == name {
			return
		}
	}
	r.dropped = append(r.dropped, name)
}

func (r *chatRequest) put(name string, raw []byte) {
	r.params = append(append(append(r.params, ',', '"'), name...), '"', ':')
	r.params = append(r.params, raw...)
}

func (r *chatRequest) param(name string, v []byte) error {
	switch name {
	case "model", "messages", "system", "tools":
	case "max_tokens", "temperature", "top_p", "stream", "stream_options":
		r.put(name, v)
	case "stop_sequences":
		return r.stops(v)
	case "tool_choice":
		if len(r.tools) > 0 { // chat APIs refuse a choice between nothing
			return r.choice(v)
		}
	case "thinking":
		r.thinking(v)
	case "output_config":
		r.output(v)
	case "metadata":
		if id := jsonscan.Member(v, "user_id"); jsonscan.IsString(id) {
			r.put("user", id)
		}
	default:
		r.drop(name)
	}
	return nil
}

// maxStops is how many stop sequences chat APIs take.
const maxStops = 4

func (r *chatRequest) stops(v []byte) error {
	if !jsonscan.IsArray(v) {
		return bad("stop_sequences", "stop_sequences must be an array of strings")
	}
	var list [][]byte
	for it := jsonscan.Walk(v); ; {
		s, ok := it.Element()
		if !ok {
			break
		}
		if len(list) == maxStops {
			r.drop("stop_sequences")
			break
		}
		list = append(list, s)
	}
	if len(list) > 0 {
		b := append([]byte(nil), '[')
		for i, s := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, s...)
		}
		r.put("stop", append(b, ']'))
	}
	return nil
}

func (r *chatRequest) addTools(v []byte) error {
	if !jsonscan.IsArray(v) {
		return bad("tools", "tools must be an array")
	}
	i := -1
	for it := jsonscan.Walk(v); ; {
		t, ok := it.Element()
		if !ok {
			return nil
		}
		i++
		if kind := jsonscan.Text(t, "type"); kind != "" && kind != "custom" {
			r.drop("tools." + kind) // runs at Anthropic only
			continue
		}
		name := jsonscan.Member(t, "name")
		if !jsonscan.IsString(name) {
			return bad("tools["+strconv.Itoa(i)+"].name", "a tool needs a name")
		}
		b := []byte(`{"type":"function","function":{`)
		b = jsonscan.AppendRaw(b, "name", name)
		if d := jsonscan.Member(t, "description"); jsonscan.IsString(d) {
			b = jsonscan.AppendRaw(b, "description", d)
		}
		schema := jsonscan.Member(t, "input_schema")
		if !jsonscan.IsObject(schema) {
			schema = []byte(`{"type":"object","properties":{}}`)
		}
		b = append(jsonscan.AppendRaw(b, "parameters", schema), '}')
		if cc := jsonscan.Member(t, "cache_control"); cc != nil && r.keep.cache {
			b = jsonscan.AppendRaw(b, "cache_control", cc)
		}
		r.tools = append(r.tools, append(b, '}'))
	}
}

func (r *chatRequest) choice(v []byte) error {
	switch kind := jsonscan.Text(v, "type"); kind {
	case "auto", "none":
		r.put("tool_choice", jsonscan.Quoted(kind))
	case "any":
		r.put("tool_choice", []byte(`"required"`))
	case "tool":
		b := append([]byte(`{"type":"function","function":`), '{')
		b = append(jsonscan.AppendRaw(b, "name", jsonscan.Quoted(jsonscan.Text(v, "name"))), "}}"...)
		r.put("tool_choice", b)
	default:
		return bad("tool_choice", "tool_choice.type must be auto, any, tool or none")
	}
	if string(jsonscan.Member(v, "disable_parallel_tool_use")) == "true" {
		r.put("parallel_tool_calls", []byte("false"))
	}
	return nil
}

// thinking becomes an effort: the one that output_config states, else the one
// that the budget stands for. Without thinking nothing is asked for, as models
// that cannot reason refuse the parameter.
func (r *chatRequest) thinking(v []byte) {
	effort := r.effort
	switch jsonscan.Text(v, "type") {
	case "enabled":
		budget, _ := jsonscan.Int(jsonscan.Member(v, "budget_tokens"))
		switch {
		case effort != "":
		case budget >= 10000:
			effort = "high"
		case budget >= 5000:
			effort = "medium"
		default:
			effort = "low"
		}
	case "adaptive":
		if effort == "" {
			effort = "medium"
		}
	default:
		return
	}
	if effort == "xhigh" || effort == "max" { // few models elsewhere know these
		effort = "high"
	}
	r.put("reasoning_effort", jsonscan.Quoted(effort))
}

func (r *chatRequest) output(v []byte) {
	if schema := jsonscan.Member(jsonscan.Member(v, "format"), "schema"); jsonscan.IsObject(schema) {
		b := append([]byte(`{"type":"json_schema","json_schema":{"name":"answer","schema":`), schema...)
		r.put("response_format", append(b, "}}"...))
	}
}

// bad is a client's mistake in one parameter.
func bad(param, message string) *provider.Error {
	e := provider.NewError(provider.BadRequest, message)
	e.Type, e.Param = "invalid_request_error", param
	return e
}
