package file

import (
	"strings"

	"tollgate/config/model"
)

// callbackLists reads success_callback, failure_callback and callbacks, which
// is both.
func (p *parser) callbackLists(s *section) {
	c := &p.out.Config.LiteLLM
	for _, name := range []string{"success_callback", "failure_callback", "callbacks"} {
		v := s.field(name)
		if v == nil {
			continue
		}
		for _, cb := range p.callbackNames(s, v, name) {
			if name != "failure_callback" && !contains(c.SuccessCallbacks, cb) {
				c.SuccessCallbacks = append(c.SuccessCallbacks, cb)
			}
			if name != "success_callback" && !contains(c.FailureCallbacks, cb) {
				c.FailureCallbacks = append(c.FailureCallbacks, cb)
			}
		}
	}
}

// callbackNames checks the names of one list. A callback never stops a start
// and never touches a request, so all it can get is one warning.
func (p *parser) callbackNames(s *section, v *value, name string) []string {
	var out []string
	for _, cb := range s.texts(v, name) {
		if p.callbacks == nil {
			p.callbacks = map[string]bool{}
		}
		seen := p.callbacks[cb]
		p.callbacks[cb] = true
		path := join(s.path, name)
		switch {
		case strings.Contains(cb, "."):
			if !seen {
				p.warn(v, path, "callback "+quote(cb)+" is a Python object, which cannot run here; it is left out", "use a callback by name")
			}
			continue
		case seen || cb == "prometheus":
		case p.own[cb] != nil || cb == model.CallbackWebhook:
		case contains(callbackNames, cb):
			p.warn(v, path, "callback "+cb+": not available in this release; requests are not affected", "")
		default:
			hint := ""
			if near := nearest(cb, callbackNames); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.warn(v, path, "callback "+quote(cb)+" is unknown; requests are not affected", hint)
		}
		out = append(out, cb)
	}
	return out
}

// topLevelParams takes callbacks from a litellm_params section beside
// model_list. LiteLLM ignores the section; users who wrote it meant
// litellm_settings.
func (p *parser) topLevelParams(root *value) {
	s := p.section(root, "litellm_params")
	if s == nil {
		return
	}
	p.callbackLists(s)
	if len(s.used) > 0 {
		for _, name := range []string{"success_callback", "failure_callback", "callbacks"} {
			if v := s.v.get(name); v != nil {
				p.warn(v, join(s.path, name), "read as litellm_settings."+name, "move it there to silence this notice")
			}
		}
	}
	for _, f := range s.v.fields {
		if !s.used[f.name] {
			p.warn(f.key, join(s.path, f.name), "only callbacks are read from this section", "model parameters belong into model_list")
		}
	}
}
