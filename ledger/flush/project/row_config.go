package project

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// settings finds the sections of the active config. They are shown without
// their secrets, for readers of the table; a row that LiteLLM has saved there is
// never changed.
type settings struct{}

var sections = []string{"general_settings", "litellm_settings", "router_settings"}

func (settings) same(a, b *state.Snapshot) bool { return a.ActiveConfig() == b.ActiveConfig() }

func (settings) versions(s *state.Snapshot) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		c := s.ActiveConfig()
		if c == nil {
			return
		}
		for _, name := range sections {
			if !yield(name, c.Version) {
				return
			}
		}
	}
}

func (settings) brief(s *state.Snapshot, id string) (brief, bool) {
	c := s.ActiveConfig()
	if c == nil || !slices.Contains(sections, id) {
		return brief{}, false
	}
	return brief{version: c.Version, created: c.CreatedIndex}, true
}

type configRow struct {
	Name  string         `json:"param_name"`
	Value map[string]any `json:"param_value"`
}

func (settings) row(v *view, id string) (any, bool) {
	c := v.s.ActiveConfig()
	if c == nil {
		return nil, false
	}
	var out map[string]any
	switch id {
	case "general_settings":
		out = plainFields(c.Config.General)
		overlay(out, c.Config.General.Raw)
	case "litellm_settings":
		out = plainFields(c.Config.LiteLLM)
		litellmNames(out, &c.Config.LiteLLM)
		overlay(out, c.Config.LiteLLM.Raw)
	case "router_settings":
		out = plainFields(c.Config.Router)
		routerNames(out, &c.Config.Router)
		overlay(out, c.Config.Router.Raw)
	default:
		return nil, false
	}
	maps.DeleteFunc(out, func(name string, value any) bool { return internal(name) || secretive(value) })
	return &configRow{id, out}, true
}

// plainFields are the fields of a section by their names in the file.
func plainFields(section any) map[string]any {
	out := map[string]any{}
	data, err := json.Marshal(section)
	if err != nil {
		return out
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		return out
	}
	for name, v := range raw {
		if name != "raw" {
			out[name] = v
		}
	}
	return out
}

func overlay(out map[string]any, raw model.Params) {
	for name, v := range raw {
		out[name] = v
	}
}

// internal reports names that are not LiteLLM's, or that hold what is secret.
func internal(name string) bool {
	return strings.HasSuffix(name, "_nano") || name == "master_key" || name == "master_key_hash" || name == "database_url" ||
		strings.HasPrefix(name, "proxy_budget") || strings.HasPrefix(name, "caller_budget")
}

func secretive(value any) bool {
	raw, ok := value.(json.RawMessage)
	return ok && hasSealed(raw)
}

// hasSealed reports whether a sealed value stands anywhere in a JSON text.
func hasSealed(raw json.RawMessage) bool { return bytes.Contains(raw, []byte("sealed:")) }

// litellmNames puts what is kept in another form back under LiteLLM's names.
func litellmNames(out map[string]any, l *model.LiteLLMSettings) {
	amount := func(name string, m *unit.Money) {
		if m != nil {
			out[name] = m.USD()
		}
	}
	amount("max_budget", l.CallerBudget)
	amount("max_budget", l.ProxyBudget)
	if l.ProxyBudget != nil {
		out["budget_duration"] = l.ProxyBudgetDuration
	}
	amount("max_end_user_budget", l.EndUserBudget)
	amount("max_internal_user_budget", l.InternalUserBudget)
	fallbackNames(out, l.Fallbacks, l.ContextFallbacks, l.ContentFallbacks)
	if len(l.TagBudgets) > 0 {
		out["tag_budget_config"] = namedBudgets(l.TagBudgets)
	}
}

func routerNames(out map[string]any, r *model.RouterSettings) {
	fallbackNames(out, r.Fallbacks, r.ContextFallbacks, r.ContentFallbacks)
	if len(r.Aliases) > 0 {
		aliases := map[string]any{}
		for name, a := range r.Aliases {
			switch {
			case len(a.Groups) == 0:
			case a.Hidden:
				aliases[name] = map[string]any{"model": a.Groups[0], "hidden": true}
			default:
				aliases[name] = a.Groups[0]
			}
		}
		out["model_group_alias"] = aliases
	}
	if len(r.ProviderBudgets) > 0 {
		out["provider_budget_config"] = namedBudgets(r.ProviderBudgets)
	}
	if _, ok := out["tag_match_all"]; ok {
		delete(out, "tag_match_all")
		out["tag_filtering_match_any"] = false
	}
}

// fallbackNames writes fallbacks as LiteLLM's lists of one-entry maps.
func fallbackNames(out map[string]any, general, context, content map[string][]string) {
	for name, m := range map[string]map[string][]string{"fallbacks": general, "context_window_fallbacks": context, "content_policy_fallbacks": content} {
		delete(out, name)
		var entries []map[string][]string
		for _, group := range slices.Sorted(maps.Keys(m)) {
			if group == "*" && name == "fallbacks" {
				out["default_fallbacks"] = m[group]
				continue
			}
			entries = append(entries, map[string][]string{group: m[group]})
		}
		if entries != nil {
			out[name] = entries
		}
	}
}

func namedBudgets(m map[string]model.ModelBudget) map[string]any {
	out := map[string]any{}
	for name, b := range m {
		out[name] = map[string]any{"max_budget": b.Max.USD(), "budget_limit": b.Max.USD(), "budget_duration": b.Duration, "time_period": b.Duration}
	}
	return out
}
