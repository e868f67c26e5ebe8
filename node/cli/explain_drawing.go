package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// drawing is the text that is made of an explanation.
type drawing struct {
	strings.Builder
	m   map[string]any
	now time.Time // of the node, when it answered
	// shortens holds ids of many characters and what stands for them: a key's
	// alias, or an id's beginning. The whole ones stand in the JSON.
	shortens *strings.Replacer
}

func newDrawing(m map[string]any) *drawing {
	d := &drawing{m: m}
	d.now, _ = time.Parse(time.RFC3339, cell(m["at"]))
	var pairs []string
	if who, ok := m["caller"].(map[string]any); ok {
		if hash := cell(who["key_hash"]); len(hash) > longID {
			short := first(who["key_alias"], brief(hash))
			pairs = append(pairs, hash, short)
		}
	}
	for _, list := range []string{"candidates", "attempts"} {
		for _, x := range objectsOf(m[list]) {
			if id := cell(x["model_id"]); len(id) > longID {
				pairs = append(pairs, id, brief(id))
			}
		}
	}
	d.shortens = strings.NewReplacer(pairs...)
	return d
}

// short is a text with long ids shortened.
func (d *drawing) short(s string) string { return d.shortens.Replace(s) }

// line writes one line. Writing to memory does not fail.
func (d *drawing) line(parts ...string) {
	d.WriteString(strings.Join(parts, ""))
	d.WriteByte('\n')
}

// columns aligns rows of cells.
func (d *drawing) columns(rows [][]string) {
	w := tabwriter.NewWriter(&d.Builder, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, "  "+strings.Join(r, "\t"))
	}
	_ = w.Flush() // memory
}

// table is columns under a head; those that say nothing are left out.
func (d *drawing) table(head []string, rows [][]string) {
	for j := len(head) - 1; j >= 0; j-- {
		if slices.ContainsFunc(rows, func(r []string) bool { return r[j] != "-" }) {
			continue
		}
		head = slices.Delete(slices.Clone(head), j, j+1)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], j, j+1)
		}
	}
	d.columns(slices.Insert(rows, 0, head))
}

func (d *drawing) notes() {
	notes, _ := d.m["notes"].([]any)
	if len(notes) == 0 {
		return
	}
	d.line("")
	for _, n := range notes {
		d.line("Note: ", strings.TrimSuffix(cell(n), "."), ".")
	}
}

// until is a time to come: how long from now when that is soon, else when.
func (d *drawing) until(v any) string {
	at, err := time.Parse(time.RFC3339, cell(v))
	if err != nil {
		return cell(v)
	}
	left := at.Sub(d.now)
	switch {
	case left < 0 || left >= 48*time.Hour:
		return toSecond(v)
	case left < 2*time.Minute:
		return fmt.Sprintf("in %d s", int(left.Seconds()+.999))
	case left < 2*time.Hour:
		return fmt.Sprintf("in %d min", int(left.Minutes()))
	}
	return fmt.Sprintf("in %d h", int(left.Hours()))
}

// toSecond is a time to the second.
func toSecond(v any) string {
	at, err := time.Parse(time.RFC3339, cell(v))
	if err != nil {
		return cell(v)
	}
	return at.UTC().Format("2006-01-02 15:04:05 UTC")
}

// millis is a duration that came in milliseconds.
func millis(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return cell(v)
	}
	f, err := n.Float64()
	switch {
	case err != nil:
		return cell(v)
	case f >= 1000:
		return fmt.Sprintf("%.2f s", f/1000)
	case f >= 10 || f == 0:
		return fmt.Sprintf("%.0f ms", f)
	}
	return fmt.Sprintf("%.1f ms", f)
}

func percent(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return "-"
	}
	f, err := n.Float64()
	if err != nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*f)
}

// number is an amount; one that was left out is nought.
func number(v any) string {
	if v == nil {
		return "0"
	}
	return cell(v)
}

// longID is how many characters of an id stand in a row.
const longID = 16

// brief is an id by its beginning.
func brief(id string) string {
	if len(id) <= longID {
		return id
	}
	return id[:12] + "…"
}

// first is the first value that is there.
func first(of ...any) string {
	for _, v := range of {
		if text := cell(v); text != "-" {
			return text
		}
	}
	return "-"
}

// objectsOf are the objects of a list.
func objectsOf(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
