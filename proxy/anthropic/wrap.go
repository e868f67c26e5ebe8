package anthropic

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// wrapped serves Messages through a provider of chat completions.
type wrapped struct {
	provider.Provider
	keep keeps
}

var _ provider.Provider = (*wrapped)(nil)

// Wrap makes a provider that answers chat completions serve Messages too. All
// other operations pass through.
func Wrap(p provider.Provider) provider.Provider {
	return &wrapped{Provider: p, keep: keepsOf(p.Name())}
}

// Supports adds Messages to what chat makes possible.
func (w *wrapped) Supports(op provider.Op) bool {
	if op == provider.OpMessages {
		return w.Provider.Supports(provider.OpChat)
	}
	return w.Provider.Supports(op)
}

// Request translates the call and lets the provider build its request.
func (w *wrapped) Request(c *provider.Call) (*provider.Request, error) {
	if c.Op != provider.OpMessages {
		return w.Provider.Request(c)
	}
	inner, dropped, err := w.chat(c)
	if err != nil {
		return nil, err
	}
	r, err := w.Provider.Request(inner)
	if err != nil {
		return nil, err
	}
	r.Dropped = append(r.Dropped, dropped...)
	return r, nil
}

// chat is the call as the provider sees it. It is made anew each time it is
// needed: a translator keeps nothing of a call.
func (w *wrapped) chat(c *provider.Call) (*provider.Call, []string, error) {
	var body []byte
	var dropped []string
	var err error
	if c.Fields != nil {
		body, dropped, err = convert(c.Fields, w.keep)
	} else {
		body, dropped, err = toChat(c.Body, w.keep)
	}
	if err != nil {
		return nil, nil, err
	}
	inner := *c
	inner.Op, inner.Body, inner.Fields = provider.OpChat, body, new(jsonscan.Object)
	inner.WantUsage = true // message_delta cannot go without
	if err := inner.Fields.Parse(body); err != nil {
		return nil, nil, bad("", "Invalid JSON payload: "+err.Error())
	}
	return &inner, dropped, nil
}

// Answer translates a whole answer back.
func (w *wrapped) Answer(c *provider.Call, header func(string) string, body []byte) (*provider.Answer, error) {
	if c.Op != provider.OpMessages {
		return w.Provider.Answer(c, header, body)
	}
	inner, _, err := w.chat(c)
	if err != nil {
		return nil, err
	}
	a, err := w.Provider.Answer(inner, header, body)
	if err != nil {
		return nil, err
	}
	message, err := FromChat(a)
	if err != nil {
		return nil, err
	}
	a.Body = message
	return a, nil
}

// Stream translates the provider's chunks into events.
func (w *wrapped) Stream(c *provider.Call) provider.Stream {
	if c.Op != provider.OpMessages {
		return w.Provider.Stream(c)
	}
	inner, _, err := w.chat(c)
	if err != nil { // cannot be: the same body has made the request
		inner = new(provider.Call)
		*inner = *c
		inner.Op, inner.WantUsage = provider.OpChat, true
	}
	return NewStream(w.Provider.Stream(inner), c)
}

// Error classifies as the provider does; classes are the same in all dialects.
func (w *wrapped) Error(c *provider.Call, status int, header func(string) string, body []byte) *provider.Error {
	return w.Provider.Error(c, status, header, body)
}
