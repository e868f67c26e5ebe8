package file

import (
	"strings"
)

// reference marks a string that names an environment variable.
const reference = "os.environ/"

// exports reads environment_variables first, so that references anywhere else
// see them: LiteLLM resolves in the other order and gives null.
func (p *parser) exports(root *value) {
	v := root.take("environment_variables")
	out := map[string]string{}
	if v != nil && v.kind != kindNull {
		p.collect(v, "environment_variables", Fault)
		if v.kind != kindMap {
			p.fault(v, "environment_variables", "want a map of names and values", "write NAME: value")
		}
		for _, f := range v.fields {
			path := join("environment_variables", f.name)
			p.resolve(f.v, path, p.env, 0)
			switch f.v.kind {
			case kindNull:
				if f.v.fromEnv == "" {
					out[f.name] = ""
				}
			case kindList, kindMap:
				p.fault(f.v, path, "want text, found "+kindNames[f.v.kind], "quote the value")
			case kindBool: // as Python's str() gives it
				out[f.name] = strings.ToUpper(f.v.text[:1]) + f.v.text[1:]
			default:
				out[f.name] = f.v.text
			}
		}
	}
	if len(out) > 0 {
		p.out.Exports = out
		p.out.Config.Environment = out
		under := p.env
		p.env = func(name string) (string, bool) {
			if s, ok := out[name]; ok {
				return s, true
			}
			return under(name)
		}
	}
	p.resolve(root, "", p.env, 0)
}

// resolve replaces references in place, strings inside lists included.
func (p *parser) resolve(v *value, path string, env Env, depth int) {
	switch v.kind {
	case kindText:
		name, ok := strings.CutPrefix(v.text, reference)
		if !ok {
			return
		}
		p.lookup(v, path, strings.TrimSpace(name), env)
	case kindList:
		for i, item := range v.items {
			p.resolve(item, at(path, i), env, depth+1)
		}
	case kindMap:
		for _, f := range v.fields {
			p.resolve(f.v, join(path, f.name), env, depth+1)
		}
	}
}

func (p *parser) lookup(v *value, path, name string, env Env) {
	v.fromEnv = name
	if name == "" || strings.ContainsAny(name, " \t\n=") {
		p.fault(v, path, "no environment variable can be named "+quote(name), "write os.environ/NAME")
		return
	}
	s, set := env(name)
	if !set || s == "" {
		v.kind, v.text = kindNull, ""
		if p.missing[name] {
			return
		}
		if p.missing == nil {
			p.missing = map[string]bool{}
		}
		p.missing[name] = true
		p.warn(v, path, "environment variable "+name+" is not set", "export it or add "+name+"=… to .env")
		return
	}
	v.text = s
	switch strings.ToLower(s) {
	case "true", "false":
		v.kind, v.text = kindBool, strings.ToLower(s)
	}
}

// collect reports what was found wrong while the tree was built.
func (p *parser) collect(v *value, path string, level Level) {
	collect(&p.sink, v, path, level)
}

func collect(s *sink, v *value, path string, level Level) {
	for _, f := range v.faults {
		f.Path, f.Level = path, level
		s.found = append(s.found, f)
	}
	v.faults = nil
	for i, item := range v.items {
		collect(s, item, at(path, i), level)
	}
	for _, f := range v.fields {
		collect(s, f.v, join(path, f.name), level)
	}
}

// environmentDefaults fills settings that LiteLLM lets the environment choose
// where the file says nothing. They are resolved here, on the node that reads
// the file, so that all nodes run with the same values.
func (p *parser) environmentDefaults() {
	c := p.out.Config
	if c.General.MasterKeyHash == "" {
		if s, ok := p.env("LITELLM_MASTER_KEY"); ok && s != "" {
			p.setMasterKey(s)
		}
	}
	p.envBool("STORE_MODEL_IN_DB", &c.General.StoreModelInDB)
	p.envBool("LITELLM_DROP_PARAMS", &c.LiteLLM.DropParams)
	p.envBool("LITELLM_MODIFY_PARAMS", &c.LiteLLM.ModifyParams)
	if c.LiteLLM.RequestTimeout == 0 {
		p.envFloat("REQUEST_TIMEOUT", &c.LiteLLM.RequestTimeout)
	}
	p.envFloat("LITELLM_MAX_STREAMING_DURATION_SECONDS", &c.LiteLLM.MaxStreaming)
	if c.Router.MaxFallbacks == nil {
		p.envInt("ROUTER_MAX_FALLBACKS", &c.Router.MaxFallbacks)
	}
	if c.LiteLLM.NumRetries == nil && c.Router.NumRetries == nil {
		p.envInt("DEFAULT_MAX_RETRIES", &c.LiteLLM.NumRetries)
	}
	p.envFloat("INITIAL_RETRY_DELAY", &c.Router.RetryDelay)
	p.envFloat("MAX_RETRY_DELAY", &c.Router.RetryDelayMax)
	if c.LiteLLM.AllowedFails == nil && c.Router.AllowedFails == nil {
		p.envInt("DEFAULT_ALLOWED_FAILS", &c.LiteLLM.AllowedFails)
	}
	if c.LiteLLM.CooldownTime == nil && c.Router.CooldownTime == nil {
		var f float64
		p.envFloat("DEFAULT_COOLDOWN_TIME_SECONDS", &f)
		if f > 0 {
			c.LiteLLM.CooldownTime = &f
		}
	}
}

func (p *parser) envBool(name string, into *bool) {
	s, _ := p.env(name)
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "yes", "on":
		*into = true
	}
}

func (p *parser) envFloat(name string, into *float64) {
	if v := p.envValue(name); v != nil {
		sec := section{s: &p.sink, path: "environment", level: Fault}
		sec.float(v, name, into)
	}
}

func (p *parser) envInt(name string, into **int) {
	if v := p.envValue(name); v != nil {
		sec := section{s: &p.sink, path: "environment", level: Fault}
		sec.int(v, name, into)
	}
}

func (p *parser) envValue(name string) *value {
	s, ok := p.env(name)
	if !ok || strings.TrimSpace(s) == "" {
		return nil
	}
	return &value{kind: kindText, text: strings.TrimSpace(s), file: "$" + name, fromEnv: name}
}
