package file

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"tollgate/config/model"
)

// Difference is one value that two configs do not share. Secrets are compared
// as they are and shown masked.
type Difference struct {
	Path string // model_list[gpt-4o].litellm_params.rpm
	Old  string // "" when it was added
	New  string // "" when it was removed
}

// Diff lists what changes from one config to another, in a fixed order. Both
// must have their secrets open.
func Diff(old, next *model.Config) ([]Difference, error) {
	a, err := plain(old)
	if err != nil {
		return nil, fmt.Errorf("compare configs: %w", err)
	}
	b, err := plain(next)
	if err != nil {
		return nil, fmt.Errorf("compare configs: %w", err)
	}
	var d differ
	// The master key is given outside the file's content and compared by it.
	for _, root := range []any{a, b} {
		if m, ok := root.(map[string]any); ok {
			if g, ok := m["general_settings"].(map[string]any); ok {
				delete(g, "master_key_hash")
			}
		}
	}
	d.compare("", "", a, b)
	return d.out, nil
}

type differ struct{ out []Difference }

func (d *differ) compare(path, name string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			d.members(path, name, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok && path == "model_list" {
			d.members(path, name, byName(x), byName(y))
			return
		}
	}
	old, next := text(a), text(b)
	if old == next {
		return
	}
	d.out = append(d.out, Difference{Path: path, Old: shown(a, name), New: shown(b, name)})
}

func (d *differ) members(path, name string, a, b map[string]any) {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		at := k
		switch {
		case path == "model_list":
			at = path + "[" + k + "]"
		case path != "":
			at = path + "." + k
		}
		under := k
		if name == "environment_variables" || name == "credentials" {
			under = name // everything below is secret
		}
		d.compare(at, under, a[k], b[k])
	}
}

// byName makes deployments comparable whatever their order: by group, and
// within a group by id, which follows from the content unless it was given.
func byName(list []any) map[string]any {
	out := make(map[string]any, len(list))
	count := map[string]int{}
	for _, e := range list {
		m, _ := e.(map[string]any)
		group, _ := m["model_name"].(string)
		count[group]++
		key := group
		if n := count[group]; n > 1 {
			key = fmt.Sprintf("%s#%d", group, n)
		}
		// An id made from the content differs whenever anything does: it tells
		// nothing that the other lines do not.
		rest := maps.Clone(m)
		delete(rest, "id")
		out[key] = rest
	}
	return out
}

func text(v any) string {
	if v == nil {
		return ""
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func shown(v any, name string) string {
	switch {
	case v == nil:
		return ""
	case name == "environment_variables" || name == "credentials" || hides(name):
		return mask
	}
	if s, ok := v.(string); ok {
		return s
	}
	return text(masked(clone(v), name)) // lists too: their entries have names
}

func clone(v any) any {
	raw := text(v)
	var out any
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		return raw
	}
	return out
}
