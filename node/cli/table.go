package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// writeTable prints rows under their columns, aligned. An absent value is "-".
func writeTable(out io.Writer, rows []any, columns []string) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = strings.ToUpper(c)
	}
	if _, err := fmt.Fprintln(w, strings.Join(heads, "\t")); err != nil {
		return err
	}
	for _, row := range rows {
		m, ok := row.(map[string]any)
		if !ok {
			m = map[string]any{columns[0]: row}
		}
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(lookup(m, c))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// lookup follows a dotted column name into nested objects.
func lookup(m map[string]any, column string) any {
	head, rest, nested := strings.Cut(column, ".")
	v := m[head]
	if !nested {
		return v
	}
	inner, _ := v.(map[string]any)
	return lookup(inner, rest)
}

func cell(v any) string {
	switch t := v.(type) {
	case nil:
		return "-"
	case string:
		if t == "" {
			return "-"
		}
		return t
	case map[string]any:
		return asJSON(t)
	case []any:
		if len(t) == 0 {
			return "-"
		}
		parts := make([]string, len(t))
		for i, e := range t {
			if _, nested := e.(map[string]any); nested {
				return asJSON(t)
			}
			parts[i] = cell(e)
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func asJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // it was decoded from JSON
		return "-"
	}
	return string(raw)
}

// firstFields are what a reader looks for first in one object.
var firstFields = []string{"key", "key_alias", "key_name", "token", "user_id", "user_email", "team_id", "team_alias", "budget_id", "model_id", "model_name", "spend", "max_budget"}

// writeFields prints one object, a field a line; what is unset is left out. A
// list prints its objects with a blank line between them.
func writeFields(out io.Writer, v any) error {
	switch t := v.(type) {
	case []any:
		for i, e := range t {
			if i > 0 {
				if _, err := fmt.Fprintln(out); err != nil {
					return err
				}
			}
			if err := writeFields(out, e); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if list, ok := t["data"].([]any); ok {
			return writeFields(out, list)
		}
		return writeObject(out, hoisted(t))
	}
	_, err := fmt.Fprintln(out, cell(v))
	return err
}

func writeObject(out io.Writer, m map[string]any) error {
	names := make([]string, 0, len(m))
	for _, name := range firstFields {
		if _, ok := m[name]; ok {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !contains(firstFields, name) {
			names = append(names, name)
		}
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, name := range names {
		if unset(m[name]) {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", name, cell(m[name])); err != nil {
			return err
		}
	}
	return w.Flush()
}

// hoisted lifts the object out of the envelope that some routes put around it.
func hoisted(m map[string]any) map[string]any {
	for _, name := range []string{"info", "data", "user_info", "team_info"} {
		inner, ok := m[name].(map[string]any)
		if !ok {
			continue
		}
		out := maps.Clone(inner)
		for k, v := range m {
			if _, taken := out[k]; !taken && k != name {
				out[k] = v
			}
		}
		return out
	}
	return m
}

func unset(v any) bool {
	switch t := v.(type) {
	case nil:
		return true
	case string:
		return t == ""
	case bool:
		return !t
	case []any:
		return len(t) == 0
	case map[string]any:
		return len(t) == 0
	}
	return false
}
