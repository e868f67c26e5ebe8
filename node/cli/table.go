package cli

import (
	"fmt"
	"io"
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
	case []any:
		parts := make([]string, len(t))
		for i, e := range t {
			parts[i] = fmt.Sprint(e)
		}
		if len(parts) == 0 {
			return "-"
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}
