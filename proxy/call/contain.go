package call

import (
	"fmt"
	"runtime/debug"
	"strings"

	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

// Translators read bytes of strangers and share no state. A mistake in one must
// cost the call that met it and not the node with all calls in flight, so their
// panics end here. Those of the books and the limits do not: going on after
// them could lose money.

// contain turns a translator's panic into the fault of one call.
func (c *call) contain(err *error) {
	if r := recover(); r != nil {
		c.h.Logger.Error("a translator panicked", "call_id", c.idText, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = provider.NewError(provider.APIError, "the provider's answer or the request could not be translated")
	}
}

func (c *call) requestOf(p provider.Provider) (req *provider.Request, err error) {
	defer c.contain(&err)
	return p.Request(&c.pcall)
}

func (c *call) answerOf(p provider.Provider, x *upstream.Exchange, body []byte) (a *provider.Answer, err error) {
	defer c.contain(&err)
	return p.Answer(&c.pcall, x.Header, body)
}

func (c *call) errorOf(p provider.Provider, x *upstream.Exchange, body []byte) *provider.Error {
	var err error
	fault := func() *provider.Error {
		defer c.contain(&err)
		return p.Error(&c.pcall, x.Status(), x.Header, body)
	}()
	if err != nil {
		return asProviderError(err)
	}
	return fault
}

func (b *streamBody) event(name string, data []byte) (err error) {
	defer b.c.contain(&err)
	return b.tr.Event(name, data, b)
}

func (b *streamBody) ending() (err error) {
	defer b.c.contain(&err)
	return b.tr.End(b)
}

// conceal takes the provider's key out of what the provider said: some repeat in
// an error what they were sent, and neither callers nor the ledger may see it.
func (c *call) conceal(fault *provider.Error) *provider.Error {
	d := c.served.Deployment
	if fault == nil || d == nil || len(d.APIKey) < shortestKey {
		return fault
	}
	for _, text := range []*string{&fault.Message, &fault.Type, &fault.Code, &fault.Param} {
		if strings.Contains(*text, d.APIKey) {
			*text = strings.ReplaceAll(*text, d.APIKey, "****")
		}
	}
	return fault
}

// shortestKey keeps placeholders such as "x" from blotting out words.
const shortestKey = 8
