package state

import (
	"tollgate/config/model"
)

// CarryEnvironment puts into the configuration the provider keys and addresses
// that its deployments leave to the environment, as this node has them. A node
// calls it before it proposes its file, so that other nodes need no provider
// keys of their own; they travel sealed like every environment variable.
func CarryEnvironment(cfg *model.Config, providers map[string]ProviderDefaults, env func(string) (string, bool)) {
	c := &compiler{cfg: cfg, sealed: cfg, providers: providers}
	c.addProviders()
	used := map[string]bool{}
	for i := range cfg.Deployments {
		d := &cfg.Deployments[i]
		p := params(d.Params)
		if name := p.text("litellm_credential_name"); name != "" && len(cfg.Credentials[name]["api_key"]) > 0 {
			continue
		}
		provider, _, ok := c.choose(p.text("model"), p.text("custom_llm_provider"), p.text("api_base"))
		switch {
		case ok:
			used[provider] = true
		case p.text("model") == "*": // any provider
			for name := range c.providers {
				used[name] = true
			}
		}
	}
	for name := range used {
		def := c.providers[name]
		for _, list := range [][]string{def.KeyEnv, def.BaseEnv} {
			for _, v := range list {
				s, ok := env(v)
				if _, given := cfg.Environment[v]; !ok || s == "" || given {
					continue
				}
				if cfg.Environment == nil {
					cfg.Environment = map[string]string{}
				}
				cfg.Environment[v] = s
			}
		}
	}
}
