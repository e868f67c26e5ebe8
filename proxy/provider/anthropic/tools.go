package anthropic

import (
	"strconv"

	"tollgate/proxy/jsonscan"
)

// jsonTool is the tool that a model without structured output is made to call;
// its input is the answer.
const jsonTool = "json_tool_call"

// convertTools builds tools and tool_choice.
func (r *request) convertTools() error {
	allowed, err := r.convertChoice()
	if err != nil {
		return err
	}
	i := -1
	for it := jsonscan.Walk(r.toolsIn); ; {
		raw, ok := it.Element()
		if !ok {
			break
		}
		i++
		where := "tools[" + strconv.Itoa(i) + "]"
		if !jsonscan.IsObject(raw) {
			return badParam(where, "a tool must be an object")
		}
		fn := jsonscan.Member(raw, "function")
		switch kind := jsonscan.Text(raw, "type"); {
		case fn != nil:
			if allowed != nil && !contains(allowed, jsonscan.Text(fn, "name")) {
				continue
			}
			t, err := r.tool(where, raw, fn)
			if err != nil {
				return err
			}
			r.tools = append(r.tools, t)
		case kind == "function", kind == "custom" && jsonscan.Member(raw, "input_schema") == nil:
			return badParam(where, "only function tools can be translated")
		default: // the API's own kind
			r.tools = append(r.tools, raw)
		}
	}
	i = -1
	for it := jsonscan.Walk(r.functions); ; {
		fn, ok := it.Element()
		if !ok {
			break
		}
		i++
		t, err := r.tool("functions["+strconv.Itoa(i)+"]", nil, fn)
		if err != nil {
			return err
		}
		r.tools = append(r.tools, t)
	}
	if len(r.tools) == 0 {
		r.toolOut = nil
		r.toolsOfHistory()
		return nil
	}
	r.settleChoice()
	return nil
}

// toolsOfHistory defines what the conversation has called: the API refuses
// tool blocks in a request that defines no tools. The model may not call them.
func (r *request) toolsOfHistory() {
	for _, name := range r.history.toolUse {
		b := jsonscan.AppendText([]byte{'{'}, "name", name)
		r.tools = append(r.tools, append(jsonscan.AppendRaw(b, "input_schema", []byte(emptySchema)), '}'))
	}
	if len(r.tools) > 0 {
		r.toolOut = []byte(`{"type":"none"}`)
	}
}

const emptySchema = `{"type":"object","properties":{}}`

func (r *request) tool(where string, raw, fn []byte) ([]byte, error) {
	name := jsonscan.Member(fn, "name")
	if !jsonscan.IsString(name) || isBlank(name) {
		return nil, badParam(where+".function.name", "a function needs a name")
	}
	strict := string(jsonscan.Member(fn, "strict")) == "true" && r.can.schema
	schema := jsonscan.Member(fn, "parameters")
	switch {
	case schema == nil:
		schema = []byte(emptySchema)
	case !jsonscan.IsObject(schema):
		return nil, badParam(where+".function.parameters", "parameters must be a JSON schema")
	case strict:
		schema = cleanSchema(schema)
	}
	if jsonscan.Member(schema, "type") == nil {
		schema = setMember(schema, "type", []byte(`"object"`))
	}
	b := append(make([]byte, 0, len(schema)+256), '{')
	b = jsonscan.AppendRaw(b, "name", name)
	if d := jsonscan.Member(fn, "description"); jsonscan.IsString(d) {
		b = jsonscan.AppendRaw(b, "description", d)
	}
	b = jsonscan.AppendRaw(b, "input_schema", schema)
	if strict {
		b = jsonscan.AppendRaw(b, "strict", []byte("true"))
	}
	cache := cacheMark(fn)
	if raw != nil && cache == nil {
		cache = cacheMark(raw)
	}
	for _, own := range [...]string{"defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"} {
		if v := jsonscan.Member(raw, own); v != nil {
			b = jsonscan.AppendRaw(b, own, v)
		}
	}
	return closeBlock(b, cache), nil
}

// convertChoice reads tool_choice; a list of allowed tools is returned for
// filtering.
func (r *request) convertChoice() (allowed []string, err error) {
	choice := r.choice
	if choice == nil {
		choice = r.functionCall
	}
	if choice == nil {
		return nil, nil
	}
	if s, ok := jsonscan.String(choice); ok {
		return nil, r.chooseMode(s)
	}
	if !jsonscan.IsObject(choice) {
		return nil, badParam("tool_choice", "tool_choice must be a string or an object")
	}
	kind := jsonscan.Text(choice, "type")
	switch kind {
	case "allowed_tools":
		list := jsonscan.Member(choice, "allowed_tools")
		allowed = []string{}
		for it := jsonscan.Walk(jsonscan.Member(list, "tools")); ; {
			t, ok := it.Element()
			if !ok {
				break
			}
			allowed = append(allowed, orElse(jsonscan.Text(jsonscan.Member(t, "function"), "name"), jsonscan.Text(t, "name")))
		}
		return allowed, r.chooseMode(orElse(jsonscan.Text(list, "mode"), "auto"))
	case "auto", "any", "tool", "none": // the API's own form
		r.toolOut = choice
		return nil, nil
	}
	name := orElse(jsonscan.Text(jsonscan.Member(choice, "function"), "name"), jsonscan.Text(choice, "name"))
	if name == "" {
		return nil, badParam("tool_choice", "tool_choice names no function")
	}
	r.chooseTool(name)
	return nil, nil
}

func (r *request) chooseMode(mode string) error {
	switch mode {
	case "auto":
		r.toolOut = []byte(`{"type":"auto"}`)
	case "none":
		r.toolOut = []byte(`{"type":"none"}`)
	case "required", "any":
		r.toolOut = []byte(`{"type":"any"}`)
	default:
		return badParam("tool_choice", "tool_choice must be none, auto or required")
	}
	return nil
}

func (r *request) chooseTool(name string) {
	b := jsonscan.AppendText([]byte{'{'}, "type", "tool")
	r.toolOut = append(jsonscan.AppendText(b, "name", name), '}')
}

// forced reports a choice that makes the model call something.
func (r *request) forcedChoice() bool {
	kind := jsonscan.Text(r.toolOut, "type")
	return kind == "any" || kind == "tool"
}

// settleChoice adds what parallel_tool_calls asks for, and turns a forced call
// into a request where the model refuses to be forced.
func (r *request) settleChoice() {
	if r.forcedChoice() && !r.can.forced {
		hint := "You must answer by calling one of the available tools."
		if jsonscan.Text(r.toolOut, "type") == "tool" {
			hint = "You must answer by calling the tool " + strconv.Quote(jsonscan.Text(r.toolOut, "name")) + "."
		}
		r.toolOut = []byte(`{"type":"auto"}`)
		r.system = append(r.system, textBlock(jsonscan.Quoted(hint), nil))
	}
	if !r.noParallel || jsonscan.Text(r.toolOut, "type") == "none" {
		return
	}
	if r.toolOut == nil {
		r.toolOut = []byte(`{"type":"auto"}`)
	}
	r.toolOut = setMember(r.toolOut, "disable_parallel_tool_use", []byte("true"))
}

// webSearchTool is the server's own search, with what OpenAI's options say.
func webSearchTool(options []byte) []byte {
	b := jsonscan.AppendText([]byte{'{'}, "type", "web_search_20250305")
	b = jsonscan.AppendText(b, "name", "web_search")
	switch jsonscan.Text(options, "search_context_size") {
	case "low":
		b = jsonscan.AppendInt(b, "max_uses", 1)
	case "medium":
		b = jsonscan.AppendInt(b, "max_uses", 5)
	case "high":
		b = jsonscan.AppendInt(b, "max_uses", 10)
	}
	if where := jsonscan.Member(options, "user_location"); where != nil {
		if approximate := jsonscan.Member(where, "approximate"); approximate != nil {
			where = setMember(approximate, "type", []byte(`"approximate"`))
		}
		b = jsonscan.AppendRaw(b, "user_location", where)
	}
	return append(b, '}')
}

// convertFormat makes structured output of response_format.
func (r *request) convertFormat() error {
	if r.format == nil {
		return nil
	}
	schema := formatSchema(r.format)
	switch kind := jsonscan.Text(r.format, "type"); {
	case kind == "text":
		return nil
	case schema != nil && !jsonscan.IsObject(schema):
		return badParam("response_format", "the schema of response_format must be an object")
	case schema != nil && r.can.schema:
		b := jsonscan.AppendText([]byte{'{'}, "type", "json_schema")
		b = append(jsonscan.AppendRaw(b, "schema", cleanSchema(schema)), '}')
		r.outputConfig = setMember(r.outputConfig, "format", b)
		return nil
	case schema != nil:
		r.forceJSON(schema)
		return nil
	case kind == "json_object", kind == "json_schema":
		r.system = append(r.system, textBlock(jsonscan.Quoted("Answer with one valid JSON object and nothing else: no prose, no code fences."), nil))
		return nil
	default:
		return badParam("response_format", "response_format.type must be text, json_object or json_schema")
	}
}

// formatSchema finds the schema in any of the forms clients use, nil for none.
func formatSchema(format []byte) []byte {
	if s := jsonscan.Member(jsonscan.Member(format, "json_schema"), "schema"); s != nil {
		return s
	}
	return jsonscan.Member(format, "response_schema")
}

// forceJSON offers the schema as a tool and makes the model call it. Beside
// the client's own tools it must call one of them or this one.
func (r *request) forceJSON(schema []byte) {
	if jsonscan.Member(schema, "type") == nil {
		schema = setMember(schema, "type", []byte(`"object"`))
	}
	b := jsonscan.AppendText([]byte{'{'}, "name", jsonTool)
	b = jsonscan.AppendText(b, "description", orElse(jsonscan.Text(jsonscan.Member(r.format, "json_schema"), "description"), "Give the answer in this form."))
	b = append(jsonscan.AppendRaw(b, "input_schema", schema), '}')
	own := len(r.tools) > 0 && jsonscan.Text(r.toolOut, "type") != "none"
	r.tools = append(r.tools, b)
	switch {
	case jsonscan.Text(r.toolOut, "type") == "tool":
		return // the client wants that call first
	case !r.can.forced || r.willThink():
		r.toolOut = []byte(`{"type":"auto"}`) // thinking and forced calls exclude each other
		r.system = append(r.system, textBlock(jsonscan.Quoted("Give your final answer by calling the tool "+strconv.Quote(jsonTool)+"."), nil))
	case own:
		r.toolOut = []byte(`{"type":"any"}`)
	default:
		r.chooseTool(jsonTool)
	}
	if r.noParallel {
		r.toolOut = setMember(r.toolOut, "disable_parallel_tool_use", []byte("true"))
	}
}

// willThink reports whether planThinking is going to turn thinking on.
func (r *request) willThink() bool {
	if r.thinking != nil {
		return r.thinkingOn()
	}
	return r.effort != "" && r.effort != "none" && (r.can.adaptive || r.can.budget)
}
