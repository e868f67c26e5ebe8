package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/wildcard"
)

// compiled is what a deployment keeps for requests through wildcards, where
// the model is known only then.
type compiled struct {
	requested string       // litellm_params.model
	keyed     bool         // the key was given in the configuration
	based     bool         // the address was
	custom    model.Params // prices and limits stated for this deployment
	baseModel string
	mock      *string
}

// deployment compiles one entry; nil leaves it out.
func (c *compiler) deployment(d, sealed *model.Deployment, db bool) *Deployment {
	p := c.params(d)
	out := &Deployment{ID: d.ID, Group: d.Group, Params: sealed.Params, Info: sealed.Info, DBModel: db}
	out.requested = p.text("model")
	if out.requested == "" {
		c.warn(d.Group, d.ID, "litellm_params.model is missing, the deployment is left out")
		return nil
	}
	if wildcard.Is(out.requested) && !wildcard.Is(d.Group) {
		c.warn(d.Group, d.ID, "model %q has a star but the name has none to fill it, the deployment is left out", out.requested)
		return nil
	}
	if asBool(d.Info["blocked"]) {
		return nil
	}
	out.APIKey, out.keyed = p.text("api_key"), p.text("api_key") != ""
	out.APIBase = p.text("api_base")
	if out.APIBase == "" {
		out.APIBase = p.text("base_url")
	}
	out.APIBase = strings.TrimRight(out.APIBase, "/")
	out.based = out.APIBase != ""
	out.Wildcard = wildcard.Is(d.Group) && wildcard.Is(out.requested)
	out.APIVersion = p.text("api_version")
	out.Organization = p.text("organization")
	out.mock = asText(p["mock_response"])
	c.routing(out, p, d.Info)
	c.request(out, p)
	c.figures(out, p, d.Info)
	if out.Wildcard && !c.fixedProvider(out, p) {
		// "*" serves every provider: the choice falls with the name.
		return out
	}
	if !c.bind(out, out.requested, p.text("custom_llm_provider")) {
		c.warn(d.Group, d.ID, "no provider for %q: it is unknown or not available in this release; write provider/model, the deployment is left out", out.requested)
		return nil
	}
	if out.Problem != "" {
		c.warn(d.Group, d.ID, "%s", out.Problem)
	}
	if !out.Wildcard && out.Price == nil && out.MockResponse == nil && c.book != nil {
		c.warn(d.Group, d.ID, "no price is known for %s: its calls are marked unpriced; set input_cost_per_token and output_cost_per_token", out.FullModel)
	}
	return out
}

// fixedProvider reports whether a wildcard deployment always goes to one
// provider.
func (c *compiler) fixedProvider(d *Deployment, p params) bool {
	_, _, ok := c.choose(d.requested, p.text("custom_llm_provider"), d.APIBase)
	return ok
}

// params lays the deployment's parameters over the named credential and the
// router's defaults.
func (c *compiler) params(d *model.Deployment) params {
	p := params{}
	maps.Copy(p, c.cfg.Router.DefaultParams)
	if name := params(d.Params).text("litellm_credential_name"); name != "" {
		cred, ok := c.cfg.Credentials[name]
		if !ok {
			c.warn(d.Group, d.ID, "credential %q is not in credential_list", name)
		}
		maps.Copy(p, cred)
	}
	for k, v := range d.Params {
		if string(v) != "null" {
			p[k] = v
		}
	}
	return p
}

// routing fills what steers the choice among deployments.
func (c *compiler) routing(d *Deployment, p params, info model.Params) {
	i := params(info)
	d.RPM, d.TPM = p.count("rpm"), p.count("tpm")
	if d.RPM == nil {
		d.RPM = i.count("rpm")
	}
	if d.TPM == nil {
		d.TPM = i.count("tpm")
	}
	d.Parallel = p.count("max_parallel_requests")
	if d.Parallel == nil {
		d.Parallel = params(c.cfg.Router.Raw).count("default_max_parallel_requests")
	}
	d.Weight = p.number("weight")
	if n := p.count("order"); n != nil {
		order := int(*n)
		d.Order = &order
	}
	if n := p.count("num_retries"); n != nil {
		retries := int(*n)
		d.NumRetries = &retries
	}
	d.Timeout = p.seconds("timeout")
	if d.Timeout == 0 {
		d.Timeout = p.seconds("request_timeout")
	}
	d.StreamTimeout = p.seconds("stream_timeout")
	if p.number("cooldown_time") != nil {
		cool := p.seconds("cooldown_time")
		d.Cooldown = &cool
	}
	d.Tags = p.texts("tags")
	d.AccessGroups = i.texts("access_groups")
	d.Hidden = asBool(p["hide_from_model_list"]) || asBool(i["hide_from_model_list"]) || i.text("team_id") != ""
	d.Mode = i.text("mode")
	for _, name := range []string{"region_name", "aws_region_name", "vertex_location", "watsonx_region_name"} {
		if d.Region == "" {
			d.Region = p.text(name)
		}
	}
}

// request fills what goes into requests to the provider. Fields stand sorted:
// the same deployment must send the same bytes every time.
func (c *compiler) request(d *Deployment, p params) {
	d.DropParams = asBool(p["drop_params"])
	d.DropAlso = p.texts("additional_drop_params")
	d.AllowParams = p.texts("allowed_openai_params")
	for _, name := range []string{"headers", "extra_headers"} {
		for k, v := range p.object(name) {
			if d.ExtraHeaders == nil {
				d.ExtraHeaders = map[string]string{}
			}
			if t := asText(v); t != nil {
				d.ExtraHeaders[k] = *t
			}
		}
	}
	d.ExtraBody = fields(p.object("extra_body"))
	defaults := map[string]json.RawMessage{}
	for name, v := range p {
		if !isControl(name) {
			defaults[name] = v
		}
	}
	d.Defaults = fields(defaults)
}

func fields(m map[string]json.RawMessage) []Param {
	var out []Param
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if string(m[name]) != "null" {
			out = append(out, Param{Name: name, Value: m[name]})
		}
	}
	return out
}

// figures keeps stated prices and limits. litellm_params win over model_info.
func (c *compiler) figures(d *Deployment, p params, info model.Params) {
	d.baseModel = p.text("base_model")
	if d.baseModel == "" {
		d.baseModel = params(info).text("base_model")
	}
	d.custom = model.Params{}
	for name, v := range info {
		d.custom[name] = v
	}
	for name, v := range p {
		if price.IsKey(name) {
			d.custom[name] = v
		}
	}
	if _, err := (*price.Row)(nil).With(d.custom); err != nil {
		c.warn(d.Group, d.ID, "its own prices are not used: %v", err)
		d.custom = nil
	}
}

// bind gives the deployment its provider, model, address, key and price. It is
// the part that waits, for "*", until a request names a model.
func (c *compiler) bind(d *Deployment, name, stated string) bool {
	provider, rest, ok := c.choose(name, stated, d.APIBase)
	if !ok {
		return false
	}
	def := c.providers[provider]
	d.Provider, d.Model = provider, rest
	d.FullModel = provider + "/" + rest
	if d.APIBase == "" {
		d.APIBase = strings.TrimRight(c.env(def.BaseEnv), "/")
		if d.APIBase == "" {
			d.APIBase = def.Base
		}
	}
	if d.APIKey == "" {
		d.APIKey = c.env(def.KeyEnv)
	}
	c.priceOf(d)
	missing := d.APIKey == "" && !def.KeyOptional && !d.based
	switch {
	case d.mock != nil && !(c.cfg.Tollgate.MockWithoutKey && !missing):
		d.MockResponse = d.mock
	case missing:
		d.Problem = "no API key: set " + strings.Join(append(slices.Clone(def.KeyEnv), "litellm_params.api_key"), " or ")
	case d.APIBase == "":
		d.Problem = "no address: set " + strings.Join(append(slices.Clone(def.BaseEnv), "litellm_params.api_base"), " or ")
	}
	if d.Problem == "" && d.MockResponse == nil && d.APIBase != "" {
		if err := CheckBase(d.APIBase, asBool(d.Params["allow_private"])); err != nil {
			d.Problem = err.Error()
		}
	}
	return true
}

// priceOf finds the row, lays the deployment's own figures over it, and takes
// the limits from it.
func (c *compiler) priceOf(d *Deployment) {
	d.Price, d.MaxInput, d.MaxOutput = nil, 0, 0
	name, provider := d.Model, d.Provider
	if d.baseModel != "" {
		name = d.baseModel
		if p, rest, ok := c.prefix(name); ok {
			provider, name = p, rest
		}
	}
	var row *price.Row
	if c.book != nil {
		if found, ok := c.book.Describe(provider, name); ok {
			row = found
		}
		if found, ok := c.book.Find(provider, name); ok {
			row = found
		}
	}
	own, err := row.With(d.custom)
	if err == nil {
		row = own
	}
	info := params(d.custom)
	for name, to := range map[string]*int64{"max_input_tokens": &d.MaxInput, "max_output_tokens": &d.MaxOutput} {
		if n := info.count(name); n != nil {
			*to = *n
		}
	}
	if n := info.count("max_tokens"); n != nil && d.MaxOutput == 0 {
		d.MaxOutput = *n
	}
	if row == nil {
		return
	}
	if d.MaxInput == 0 {
		d.MaxInput = row.MaxInput
	}
	if d.MaxOutput == 0 {
		d.MaxOutput = row.MaxOutput
	}
	if d.Mode == "" {
		d.Mode = row.Mode
	}
	if row.Priced() {
		d.Price = row
	}
}

// named is a copy of a wildcard deployment for one model name. It differs from
// the original in what depends on the name only. nil: no provider serves it.
func (c *compiler) named(d *Deployment, name string) *Deployment {
	out := *d
	if !d.keyed {
		out.APIKey = ""
	}
	if !d.based {
		out.APIBase = ""
	}
	out.MockResponse, out.Problem = nil, ""
	if !c.bind(&out, name, params(d.Params).text("custom_llm_provider")) {
		return nil
	}
	return &out
}
