// Package anthropic translates between the gateway and Anthropic's Messages
// API: Messages calls pass byte for byte, chat and text completions are turned
// into Messages and their answers back. It is pure; it opens no connection,
// keeps nothing between calls and decides neither retries nor prices.
package anthropic

import (
	"sort"
	"strings"

	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

const (
	defaultBase    = "https://api.anthropic.com"
	defaultVersion = "2023-06-01"
	// oauthBeta is what the API asks for besides a subscription's OAuth token.
	oauthBeta = "oauth-2025-04-20"
)

// Provider speaks to Anthropic and to servers with the same API.
type Provider struct{}

var _ provider.Provider = (*Provider)(nil)

// New makes the translator; it holds no state.
func New() *Provider { return &Provider{} }

// Name is "anthropic".
func (*Provider) Name() string { return "anthropic" }

// Supports reports every operation but embeddings.
func (*Provider) Supports(op provider.Op) bool {
	return op == provider.OpChat || op == provider.OpMessages || op == provider.OpCompletion
}

// Request builds the call to POST /v1/messages.
func (p *Provider) Request(c *provider.Call) (*provider.Request, error) {
	body, dropped, err := p.Body(c)
	if err != nil {
		return nil, err
	}
	d := deployment(c)
	return &provider.Request{
		Method:  "POST",
		URL:     endpoint(d.APIBase),
		Header:  headers(c, d),
		Body:    body,
		Dropped: dropped,
	}, nil
}

// Body builds the Messages request alone, for hosts that serve Claude behind
// an address and credentials of their own.
func (*Provider) Body(c *provider.Call) (body []byte, dropped []string, err error) {
	fields, err := fieldsOf(c)
	if err != nil {
		return nil, nil, err
	}
	switch c.Op {
	case provider.OpMessages:
		return nativeBody(c, fields)
	case provider.OpChat:
		return chatBody(c, fields)
	case provider.OpCompletion:
		return completionBody(c, fields)
	}
	return nil, nil, provider.NewError(provider.BadRequest, "anthropic has no such operation")
}

// deployment is the call's, or an empty one, so that nothing below asks for nil.
func deployment(c *provider.Call) *state.Deployment {
	if c.Deployment != nil {
		return c.Deployment
	}
	return &state.Deployment{}
}

func fieldsOf(c *provider.Call) (*jsonscan.Object, error) {
	if c.Fields != nil {
		return c.Fields, nil
	}
	o := new(jsonscan.Object)
	if err := o.Parse(c.Body); err != nil {
		return nil, provider.NewError(provider.BadRequest, "Invalid JSON payload: "+err.Error())
	}
	return o, nil
}

// endpoint accepts a bare host, a base ending in /v1 and the whole address.
func endpoint(base string) string {
	base = strings.TrimRight(base, "/")
	switch {
	case base == "":
		base = defaultBase
	case strings.HasSuffix(base, "/v1/messages"):
		return base
	case strings.HasSuffix(base, "/v1"):
		return base + "/messages"
	}
	return base + "/v1/messages"
}

// headers are version, betas and credential, then what the deployment adds,
// which wins. The client's version counts only for its own dialect: a
// translated body is written for the version we know.
func headers(c *provider.Call, d *state.Deployment) [][2]string {
	version, betas := defaultVersion, ""
	if c.Header != nil {
		betas = c.Header("anthropic-beta")
		if v := c.Header("anthropic-version"); v != "" && c.Op == provider.OpMessages {
			version = v
		}
	}
	h := make([][2]string, 0, 4+len(d.ExtraHeaders))
	h = append(h, [2]string{"content-type", "application/json"})
	switch {
	case strings.HasPrefix(d.APIKey, "sk-ant-oat"):
		h = append(h, [2]string{"authorization", "Bearer " + d.APIKey})
		betas = joinBetas(betas, oauthBeta)
	case d.APIKey != "":
		h = append(h, [2]string{"x-api-key", d.APIKey})
	}
	names := make([]string, 0, len(d.ExtraHeaders))
	for name := range d.ExtraHeaders {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := d.ExtraHeaders[name]
		switch lower := strings.ToLower(name); lower {
		case "anthropic-beta":
			betas = joinBetas(betas, value)
		case "anthropic-version":
			version = value
		case "content-type":
		case "x-api-key", "authorization":
			h = append(withoutHeader(h, lower), [2]string{lower, value})
		default:
			h = append(h, [2]string{name, value})
		}
	}
	h = append(h, [2]string{"anthropic-version", version})
	if betas != "" {
		h = append(h, [2]string{"anthropic-beta", betas})
	}
	return h
}

func withoutHeader(h [][2]string, name string) [][2]string {
	kept := h[:0]
	for _, pair := range h {
		if pair[0] != name {
			kept = append(kept, pair)
		}
	}
	return kept
}

// joinBetas joins two comma-separated lists without repeating a name.
func joinBetas(a, b string) string {
	out := a
	for name := range strings.SplitSeq(b, ",") {
		name = strings.TrimSpace(name)
		if name == "" || hasBeta(out, name) {
			continue
		}
		if out != "" {
			out += ","
		}
		out += name
	}
	return out
}

func hasBeta(list, name string) bool {
	for have := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(have) == name {
			return true
		}
	}
	return false
}
