package file

import (
	"net/url"
	"strings"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// models reads model_list. A fault inside an entry leaves out that entry only.
func (p *parser) models(v *value) {
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindList {
		p.fault(v, "model_list", "want a list of models, found "+kindNames[v.kind], "begin each with - model_name:")
		return
	}
	ids := map[string]*value{}
	for i, item := range v.items {
		path := at("model_list", i)
		var s sink
		collect(&s, item, path, SkippedEntry)
		entry := p.entry(&s, item, path)
		bad := false
		for _, f := range s.found {
			bad = bad || f.Level == SkippedEntry
		}
		p.found = append(p.found, s.found...)
		if bad {
			continue
		}
		for _, d := range entry {
			if first := ids[d.ID]; first != nil {
				p.duplicate(item, first, path, d)
				continue
			}
			ids[d.ID] = item
			p.out.Config.Deployments = append(p.out.Config.Deployments, d)
		}
	}
}

func (p *parser) duplicate(item, first *value, path string, d model.Deployment) {
	if _, given := d.Info["id"]; given {
		p.add(SkippedEntry, item, path, "deployment id "+quote(d.ID)+" is already used in line "+itoa(first.line), "give it another model_info.id")
		return
	}
	p.add(SkippedEntry, item, path, "the same entry stands in line "+itoa(first.line), "use weight to give a deployment more load")
}

// entry makes the deployments of one entry: one, or one for each organization.
func (p *parser) entry(s *sink, item *value, path string) []model.Deployment {
	if item.kind != kindMap {
		s.add(SkippedEntry, item, path, "want a map with model_name and litellm_params", "")
		return nil
	}
	e := newSection(s, item, path, SkippedEntry)
	var group string
	if v := e.field("model_name"); v == nil {
		s.add(SkippedEntry, item, path, "a model needs a model_name", "it is the name that clients use")
	} else {
		e.text(v, "model_name", &group)
	}
	params := e.field("litellm_params")
	if params == nil {
		s.add(SkippedEntry, item, path, "a model needs litellm_params", "at least litellm_params: {model: provider/name}")
		return nil
	}
	if params.kind != kindMap {
		e.want(params, "litellm_params", "a map")
		return nil
	}
	info := e.field("model_info")
	if info != nil && info.kind != kindMap {
		e.want(info, "model_info", "a map")
		return nil
	}
	out := p.deployments(s, path, group, params, info)
	// Limits may also stand beside litellm_params, where they win.
	for _, name := range []string{"rpm", "tpm"} {
		var n *int64
		e.Int64(name, &n)
		e.asNumber(name)
		if n != nil {
			for i := range out {
				out[i].Params[name] = item.get(name).json()
			}
		}
	}
	e.Rest(knownEntry)
	if info != nil && !p.wanted(s, info, path) {
		return nil
	}
	return out
}

func (p *parser) deployments(s *sink, path, group string, params, info *value) []model.Deployment {
	c := newSection(s, params, join(path, "litellm_params"), SkippedEntry)
	if m := c.field("model"); m == nil {
		c.bad(params, "model", "a model is needed", "write for example model: openai/gpt-4o")
	} else if m.kind != kindText || strings.TrimSpace(m.text) == "" {
		c.want(m, "model", "a model name")
	}
	orgs := []*value{nil}
	if org := params.get("organization"); org != nil && org.kind == kindList {
		if orgs = org.items; len(orgs) == 0 {
			orgs = []*value{nil}
		}
	}
	var id string
	if info != nil {
		in := newSection(s, info, join(path, "model_info"), SkippedEntry)
		in.Text("id", &id)
		p.checkInfo(in)
	}
	// Ids are made of the values as they were written: before numbers given as
	// text become numbers.
	ids := make([]string, 0, len(orgs))
	for _, org := range orgs {
		ids = append(ids, deploymentID(group, withOrganization(params, org)))
	}
	p.checkParams(c)
	var out []model.Deployment
	for i, org := range orgs {
		d := model.Deployment{Group: group, ID: id}
		if org != nil {
			if org.kind != kindText {
				c.want(org, "organization", "text")
				continue
			}
			if id != "" && len(orgs) > 1 {
				d.ID = id + "-" + org.text
			}
		}
		d.Params = withOrganization(params, org).params()
		if info != nil {
			d.Info = info.params()
		}
		if d.ID == "" {
			d.ID = ids[i]
		}
		out = append(out, d)
	}
	return out
}

func withOrganization(params, org *value) *value {
	if org == nil {
		return params
	}
	with := *params
	with.fields = append([]field(nil), params.fields...)
	with.set(field{name: "organization", key: org, v: org})
	return &with
}

// checkParams checks the parameters that the gateway itself acts on. Numbers
// given as text become numbers, so that later readers see one form.
func (p *parser) checkParams(c *section) {
	var n *int64
	var i *int
	var f *float64
	var b bool
	var t string
	var l []string
	var m model.Params
	for _, name := range []string{"rpm", "tpm", "max_parallel_requests"} {
		c.Int64(name, &n)
		c.asNumber(name)
	}
	for _, name := range []string{"order", "num_retries", "max_retries"} {
		c.Int(name, &i)
		c.asNumber(name)
	}
	for _, name := range []string{"weight", "timeout", "stream_timeout", "cooldown_time", "request_timeout"} {
		c.FloatPtr(name, &f)
		c.asNumber(name)
	}
	for _, name := range []string{"drop_params", "use_in_pass_through", "merge_reasoning_content_in_choices", "hide_from_model_list", "allow_private"} {
		c.Bool(name, &b)
	}
	for _, name := range []string{"api_key", "api_version", "custom_llm_provider", "litellm_credential_name", "region_name", "mock_response", "base_model"} {
		c.Text(name, &t)
	}
	for _, name := range []string{"additional_drop_params", "allowed_openai_params", "tags", "tag_regex"} {
		c.Texts(name, &l)
	}
	for _, name := range []string{"extra_headers", "headers", "extra_body"} {
		c.Params(name, &m)
	}
	for _, name := range []string{"api_base", "base_url"} {
		if v := c.field(name); v != nil {
			c.address(v, name)
		}
	}
	var budget *unit.Money
	c.Money("max_budget", &budget)
	c.Duration("budget_duration", &t)
	c.prices()
	for _, name := range []string{"success_callback", "failure_callback", "callbacks"} {
		if v := c.field(name); v != nil {
			p.callbackNames(newSection(&p.sink, c.v, c.path, Warning), v, name)
		}
	}
	for _, f := range c.v.fields {
		if !c.used[f.name] && !contains(controlParams, f.name) {
			if near := slip(f.name); near != "" {
				c.s.warn(f.key, join(c.path, f.name), "unknown parameter, sent to the provider as it is", "did you mean "+near+"?")
			}
		}
	}
}

func (p *parser) checkInfo(c *section) {
	var n *int64
	var l []string
	for _, name := range []string{"max_tokens", "max_input_tokens", "max_output_tokens", "rpm", "tpm"} {
		c.Int64(name, &n)
		c.asNumber(name)
	}
	for _, name := range []string{"access_groups", "supported_environments"} {
		c.Texts(name, &l)
	}
	c.prices()
}

// prices checks every price by its text; the price book reads it the same way.
func (c *section) prices() {
	for _, f := range c.v.fields {
		if !isPrice(f.name) || f.v.kind == kindNull || f.v.kind >= kindList {
			continue
		}
		if _, err := unit.ParsePrice(f.v.text); err != nil {
			c.bad(f.v, f.name, "want dollars per unit: "+err.Error(), "write for example 2.5e-06")
		}
	}
}

func isPrice(name string) bool {
	return strings.Contains(name, "_cost_per_") || strings.HasSuffix(name, "_token_cost")
}

// address checks that a base can be called at all.
func (c *section) address(v *value, name string) {
	u, err := url.Parse(v.text)
	if v.kind != kindText || err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		c.want(v, name, "an address such as https://host/v1")
	}
}

// asNumber gives text that holds a number a number's form.
func (c *section) asNumber(name string) {
	v := c.v.get(name)
	if v == nil || v.kind != kindText {
		return
	}
	if s := strings.TrimSpace(v.text); isJSONNumber(s) {
		v.kind, v.text = kindFloat, s
	}
}

// wanted applies supported_environments.
func (p *parser) wanted(s *sink, info *value, path string) bool {
	v := info.get("supported_environments")
	if v == nil || v.kind != kindList || len(v.items) == 0 {
		return true
	}
	here, _ := p.env("LITELLM_ENVIRONMENT")
	for _, item := range v.items {
		if item.text == here {
			return true
		}
	}
	s.warn(v, join(path, "model_info.supported_environments"), "not loaded: LITELLM_ENVIRONMENT is "+quote(here), "")
	return false
}

// slip finds the control parameter that a name misspells by one letter. Others
// pass without a word: a provider may know any name.
func slip(name string) string {
	for _, w := range controlParams {
		if len(name) >= 4 && abs(len(w)-len(name)) <= 1 && distance(name, w) == 1 {
			return w
		}
	}
	return ""
}
