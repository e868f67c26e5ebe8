package file

import (
	"strings"

	"tollgate/config/model"
	"tollgate/config/wildcard"
)

// fallbacks reads the four fallback settings of a section. default_fallbacks
// become the entry "*".
func (p *parser) fallbacks(s *section, general, context, content *map[string][]string) {
	*general = p.fallbackMap(s, "fallbacks")
	*context = p.fallbackMap(s, "context_window_fallbacks")
	*content = p.fallbackMap(s, "content_policy_fallbacks")
	var rest []string
	s.Texts("default_fallbacks", &rest)
	if len(rest) == 0 {
		return
	}
	if *general == nil {
		*general = map[string][]string{}
	}
	if _, given := (*general)["*"]; given {
		p.warn(s.v.get("default_fallbacks"), join(s.path, "default_fallbacks"), `fallbacks already has an entry "*", which wins`, "remove one of the two")
		return
	}
	(*general)["*"] = rest
}

// fallbackMap reads a list of one-key maps, or one plain map.
func (p *parser) fallbackMap(s *section, name string) map[string][]string {
	v := s.field(name)
	if v == nil {
		return nil
	}
	out := map[string][]string{}
	switch v.kind {
	case kindMap:
		p.fallbackFields(s, v, name, out)
	case kindList:
		for i, item := range v.items {
			if item.kind != kindMap {
				s.bad(item, at(name, i), "want a map of one model to its fallbacks", "write - gpt-4o: [gpt-4o-mini]")
				continue
			}
			p.fallbackFields(s, item, at(name, i), out)
		}
	default:
		s.want(v, name, "a list of maps")
		return nil
	}
	return out
}

func (p *parser) fallbackFields(s *section, v *value, name string, out map[string][]string) {
	for _, f := range v.fields {
		place := join(name, f.name)
		if _, given := out[f.name]; given {
			p.warn(f.key, join(s.path, place), "fallbacks of "+quote(f.name)+" are given twice; the first holds", "join the two lists")
			continue
		}
		targets := p.targets(s, f.v, place)
		if len(targets) > 0 {
			out[f.name] = targets
		}
	}
}

func (p *parser) targets(s *section, v *value, name string) []string {
	switch v.kind {
	case kindNull:
		return nil
	case kindText:
		return []string{v.text}
	case kindList:
	default:
		s.want(v, name, "a list of model names")
		return nil
	}
	var out []string
	for i, item := range v.items {
		switch item.kind {
		case kindText:
			out = append(out, item.text)
		case kindMap: // legal in a request, where its fields overwrite the call's
			m := item.get("model")
			if m == nil || m.kind != kindText {
				s.bad(item, at(name, i), "a fallback needs a model name", "write the name alone")
				continue
			}
			if len(item.fields) > 1 {
				p.warn(item, join(s.path, at(name, i)), "only the model of this fallback is used", "other fields work in requests, not here")
			}
			out = append(out, m.text)
		default:
			s.want(item, at(name, i), "a model name")
		}
	}
	return out
}

// aliases reads model_group_alias: a name, {model, hidden}, or a list of names
// that share the load.
func (p *parser) aliases(s *section) map[string]model.AliasTarget {
	const name = "model_group_alias"
	v := s.field(name)
	if v == nil {
		return nil
	}
	if v.kind != kindMap {
		s.want(v, name, "a map of alias to model")
		return nil
	}
	out := make(map[string]model.AliasTarget, len(v.fields))
	for _, f := range v.fields {
		place := join(name, f.name)
		var t model.AliasTarget
		switch f.v.kind {
		case kindText:
			t.Groups = []string{f.v.text}
		case kindList:
			t.Groups = unique(s.texts(f.v, place))
		case kindMap:
			in := newSection(s.s, f.v, join(s.path, place), s.level)
			in.Texts("model", &t.Groups)
			in.Bool("hidden", &t.Hidden)
			in.Rest([]string{"model", "hidden"})
			t.Groups = unique(t.Groups)
		default:
			s.want(f.v, place, "a model name, a list of them, or {model, hidden}")
			continue
		}
		if len(t.Groups) == 0 {
			s.bad(f.v, place, "an alias needs at least one model", "write "+f.name+": [gpt-4o]")
			continue
		}
		out[f.name] = t
	}
	return out
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// references warns of fallbacks and aliases that lead nowhere. They are no
// faults: models may be added over the API later, and LiteLLM loads them too.
func (p *parser) references(root *value) {
	c := p.out.Config
	names := map[string]bool{}
	var patterns []string
	for _, d := range c.Deployments {
		names[d.Group], names[d.ID] = true, true
		if wildcard.Is(d.Group) {
			patterns = append(patterns, d.Group)
		}
	}
	known := func(n string) bool {
		if names[n] {
			return true
		}
		for _, p := range patterns {
			if wildcard.Match(p, n) {
				return true
			}
		}
		return false
	}
	alias := func(n string) bool { _, ok := c.Router.Aliases[n]; return ok }
	var groups []string
	for _, d := range c.Deployments {
		groups = append(groups, d.Group)
	}
	check := func(section, name string, usable func(string) bool) {
		v := root.get(section)
		if v == nil || v.kind != kindMap {
			return
		}
		if v = v.get(name); v == nil {
			return
		}
		eachTarget(v, join(section, name), func(t *value, where string) {
			if !usable(t.text) {
				hint := "add it to model_list or correct the name"
				if near := nearest(t.text, groups); near != "" {
					hint = "did you mean " + near + "?"
				}
				p.warn(t, where, "model "+quote(t.text)+" is in no model_list", hint)
			}
		})
	}
	for _, section := range []string{"litellm_settings", "router_settings"} {
		for _, name := range []string{"fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"} {
			check(section, name, func(n string) bool { return known(n) || alias(n) })
		}
	}
	check("router_settings", "model_group_alias", known)
	for _, section := range []string{"litellm_settings", "router_settings"} {
		for _, name := range []string{"fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_group_retry_policy"} {
			settings := root.get(section)
			if settings == nil {
				continue
			}
			eachGroup(settings.get(name), func(f field) {
				if f.name == "*" || known(f.name) || alias(f.name) || bare(names, f.name) {
					return
				}
				hint := "add it to model_list or correct the name"
				if near := nearest(f.name, groups); near != "" {
					hint = "did you mean " + near + "?"
				}
				p.warn(f.key, join(join(section, name), f.name), "the line is of model "+quote(f.name)+", which is in no model_list", hint)
			})
		}
	}
}

// bare reports a name that some model has behind its provider: fallbacks are also
// looked up by it.
func bare(names map[string]bool, name string) bool {
	for n := range names {
		if _, rest, ok := strings.Cut(n, "/"); ok && rest == name {
			return true
		}
	}
	return false
}

// eachGroup visits the groups that a map, or a list of maps, has entries of.
func eachGroup(v *value, visit func(field)) {
	switch {
	case v == nil:
	case v.kind == kindMap:
		for _, f := range v.fields {
			visit(f)
		}
	case v.kind == kindList:
		for _, item := range v.items {
			if item.kind == kindMap {
				eachGroup(item, visit)
			}
		}
	}
}

// eachTarget visits the names on the right-hand side of fallbacks or aliases.
func eachTarget(v *value, where string, visit func(*value, string)) {
	switch v.kind {
	case kindText:
		visit(v, where)
	case kindList:
		for i, item := range v.items {
			eachTarget(item, at(where, i), visit)
		}
	case kindMap:
		if m := v.get("model"); m != nil {
			eachTarget(m, join(where, "model"), visit)
			return
		}
		for _, f := range v.fields {
			if f.name != "hidden" {
				eachTarget(f.v, join(where, f.name), visit)
			}
		}
	}
}
