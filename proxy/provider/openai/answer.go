package openai

import (
	"bytes"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// Answer translates a whole 2xx answer.
func (p *Provider) Answer(c *provider.Call, header func(string) string, body []byte) (*provider.Answer, error) {
	body = bytes.TrimSpace(body) // some servers send blank lines to keep a waiting client
	if looksStreamed(body) {
		whole, err := p.assemble(c, body)
		if err != nil {
			return nil, err
		}
		body = whole
	}
	o, _ := p.objects.Get().(*jsonscan.Object)
	if o == nil {
		o = new(jsonscan.Object)
	}
	defer func() {
		o.Reset()
		p.objects.Put(o)
	}()
	if err := o.ParseTop(body); err != nil {
		return nil, notAnAnswer(body)
	}
	return p.answer(c, o)
}

func (p *Provider) answer(c *provider.Call, o *jsonscan.Object) (*provider.Answer, error) {
	a := &provider.Answer{}
	var room [4]jsonscan.Edit
	edits := append(room[:0], jsonscan.Edit{Key: "model", Value: jsonscan.AppendQuoted(make([]byte, 0, 64), c.PublicName)})
	var list, usage, tier []byte
	listKey := "choices"
	if c.Op == provider.OpEmbedding {
		listKey = "data"
	}
	for _, f := range o.Fields() {
		switch string(f.Key) {
		case "id":
			a.ID, _ = jsonscan.String(f.Value)
		case "model":
			a.Model, _ = jsonscan.String(f.Value)
		case "usage":
			usage = f.Value
		case "service_tier":
			tier = f.Value
		case "error":
			if !jsonscan.IsNull(f.Value) {
				return nil, inside(o.Src())
			}
		case "x_groq":
			if fault := groqError(f.Value); fault != nil {
				return nil, fault
			}
			if u := jsonscan.Find(f.Value, "usage"); usage == nil && !jsonscan.IsNull(u) {
				usage = u
			}
		case listKey:
			list = f.Value
		}
	}
	if len(list) == 0 || list[0] != '[' {
		return nil, notAnAnswer(o.Src())
	}
	if !jsonscan.IsNull(usage) {
		a.RawUsage = usage
		a.Usage = price.FromOpenAI(a.RawUsage)
		if a.Usage.ServiceTier == "" { // prices go by the tier that served
			a.Usage.ServiceTier, _ = jsonscan.String(tier)
		}
	}
	if c.Op == provider.OpEmbedding {
		if data, changed := encodeEmbeddings(list, wantsBase64(c)); changed {
			edits = append(edits, jsonscan.Edit{Key: "data", Value: data})
		}
	} else {
		repaired, fault := p.checkChoices(a, list)
		if fault != nil {
			return nil, fault
		}
		if repaired != nil {
			edits = append(edits, jsonscan.Edit{Key: "choices", Value: repaired})
		}
	}
	a.Body = o.Rewrite(c.Space[:0], edits, nil)
	return a, nil
}

// checkChoices reads the finish reason and mends what clients would stumble
// over; nil means that every byte may stay.
func (p *Provider) checkChoices(a *provider.Answer, choices []byte) ([]byte, error) {
	mend := false
	for it := jsonscan.Walk(choices); ; {
		choice, ok := it.Element()
		if !ok {
			break
		}
		reason := jsonscan.Find(choice, "finish_reason")
		if fault := finishFault(reason); fault != nil {
			return nil, fault
		}
		name, known := finishName(reason)
		if a.FinishReason == "" {
			a.FinishReason = name
		}
		mend = mend || !known || p.row.PartLists && needsMending(jsonscan.Find(choice, "message"))
	}
	if !mend {
		return nil, nil
	}
	return mendChoices(choices, "message"), nil
}

// finishName gives OpenAI's word for a finish reason and whether the provider
// used it already.
func finishName(raw []byte) (name string, same bool) {
	switch string(raw) {
	case "", "null":
		return "", true
	case `"stop"`:
		return "stop", true
	case `"length"`:
		return "length", true
	case `"tool_calls"`:
		return "tool_calls", true
	case `"content_filter"`:
		return "content_filter", true
	case `"function_call"`:
		return "function_call", true
	case `"model_length"`, `"max_tokens"`:
		return "length", false
	case `"eos"`, `"end_turn"`, `"stop_sequence"`, `"eos_token"`:
		return "stop", false
	case `"tool_use"`:
		return "tool_calls", false
	}
	name, _ = jsonscan.String(raw)
	return name, true
}

// finishFault are the finish reasons that say that there is no answer.
func finishFault(raw []byte) error {
	switch string(raw) {
	case `"insufficient_system_resource"`:
		return provider.NewError(provider.ServiceUnavailable, "the provider ran out of resources while answering")
	case `"error"`:
		return provider.NewError(provider.InternalServer, "the provider ended the answer with an error and did not say which")
	}
	return nil
}

func groqError(raw []byte) error {
	if e := jsonscan.Find(raw, "error"); !jsonscan.IsNull(e) {
		return inside(raw)
	}
	return nil
}

// notAnAnswer is the failure of a provider that says 200 and sends something
// else.
func notAnAnswer(body []byte) *provider.Error {
	var o jsonscan.Object
	if o.ParseTop(body) == nil && (o.Has("message") || o.Has("detail") || o.Has("code")) {
		return inside(body)
	}
	what := "something that is not a JSON object"
	switch {
	case len(body) == 0:
		what = "an empty body"
	case body[0] == '<':
		what = "an HTML page"
	case body[0] == '{':
		what = "an object that holds no answer"
	}
	e := provider.NewError(provider.APIError, "the provider answered with status 200 and "+what)
	e.Upstream = 200
	return e
}
